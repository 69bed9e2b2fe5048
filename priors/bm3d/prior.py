"""The BM3D prior: what happens to an image before and after the two stages."""

from __future__ import annotations

import copy
import importlib.util
import math
from typing import Any

import torch
from torch import Tensor

from pnp.functional import Functional

from ..checks import image_batch, whole
from .memory import Memory
from .settings import PROFILES
from .stages import Backend, denoise
from .stock import Stock
from .transforms import cosine

BACKENDS = ("auto", "numba", "torch", "reference")
# Noise of the channels beyond the first counts this much more, a share per unit of noise and at most: their blocks were
# matched on the first, and agree the less the noisier it is. Mean gain on ihc, motorcycle_left, retina and rocket:
# 0.01 dB at noise of 50/255, 0.03 dB at 100/255, none below.
CAUTION, MOST_CAUTION = 0.2, 0.06
KEPT = 2**28  # bytes of tables kept for the next call
_INVISIBLE = 1e-6  # noise below this fraction of the image's range drowns in float32 rounding


class BM3D(Functional):
    """Block matching and 3-D filtering: similar blocks are stacked and denoised together in a transform domain.

    The strongest prior here that needs no training, above all on repeated structure. Stage one thresholds the
    coefficients of 8 x 8 bior1.5 blocks and Haar along the stack; stage two is an empirical Wiener filter (DCT) steered
    by the first. No function has this prox, so it comes without value and without a promise of convergence.

    Profiles: ``"fast"`` stage one alone, half the time of ``"normal"``, which does both and gains 0.8 dB by it (0.35
    to 2 dB on six photographs); ``"high"`` both on two reference grids, twice the time for another 0.02 to 0.1 dB.
    Backends: ``"numba"`` compiled, CPU; ``"torch"`` on any device; ``"reference"`` the authors' ``bm3d`` package (grey
    and colour, for comparison; its licence allows non-commercial use only). ``"auto"`` is numba on the CPU where it is
    installed, else torch.
    Threads: as many as ``torch.get_num_threads()`` says. The compiled kernels share bands of rows among plain threads,
    with the same result to the last bit on any number of them; no OpenMP runs meanwhile, whose waiting threads would
    slow a busy machine down. Many small pictures go through one channel a thread.
    A ``fresh`` copy keeps the block matches between calls: ``rematch_every`` = n matches anew in every n-th call;
    ``"auto"`` does so for an image that moved by more than a tenth of its noise level since it was matched, or whose
    noise level changed by more than a half.
    ``memory`` bounds, in bytes, the tables of coefficients and distances: pictures beyond it go through in bands and
    strips, batches in parts, with the same result but for rounding. What is as large as the images comes on top (about
    200 bytes a pixel), and less than 20 MB is not kept to. Up to 256 MB of the compiled kernels' tables, but not above
    ``memory``, are kept for the next call of the prior or of its ``fresh`` copies.

    Shapes: (..., C, H, W), any size. One channel is grey; three are decorrelated by the opponent transform and any
    other number by the principal components of the image; blocks are matched on the first of the resulting channels.
    Units: computed in float32 whatever the type of the image; noise below 1e-6 of the image's range is left alone.
    Raises: ValueError for an unknown profile or backend, for ``rematch_every`` and ``memory`` that are not positive and
    finite (TypeError for the wrong kind), and for a noise level that varies inside an image (white noise is assumed).
    Source: Dabov, Foi, Katkovnik & Egiazarian, *Image Denoising by Sparse 3-D Transform-Domain Collaborative
    Filtering*, 2007; *Color Image Denoising via Sparse 3-D Collaborative Filtering with Grouping Constraint in
    Luminance-Chrominance Space*, 2007; Makinen, Azzari & Foi, *Collaborative Filtering of Correlated Noise*, 2020, for
    the noise of overlapping blocks.
    """

    def __init__(
        self,
        profile: str = "normal",
        *,
        backend: str = "auto",
        rematch_every: int | str = "auto",
        memory: float = 5e8,
    ) -> None:
        if profile not in PROFILES:
            raise ValueError(f"BM3D: profile must be one of {sorted(PROFILES)}, got {profile!r}.")
        if backend not in BACKENDS:
            raise ValueError(f"BM3D: backend must be one of {BACKENDS}, got {backend!r}.")
        if not isinstance(rematch_every, str):
            whole(rematch_every, least=1, who="BM3D", what="rematch_every, if not 'auto',")
        elif rematch_every != "auto":
            raise ValueError(f"BM3D: rematch_every must be 'auto' or a number of calls >= 1, got {rematch_every!r}.")
        if not 0 < memory < math.inf:
            raise ValueError(f"BM3D: memory must be a finite number of bytes > 0, got {memory!r}.")
        self.profile, self.backend, self.rematch_every, self.memory = profile, backend, rematch_every, memory
        self.settings = PROFILES[profile]
        self._matches: Memory | None = None  # only a fresh copy remembers
        self._stock = Stock(min(KEPT, memory))

    @torch.no_grad()
    def prox(self, v: Tensor, tau: float | Tensor) -> Tensor:
        images, variance = image_batch(v, tau, who=f"{self!r}.prox")
        if self.backend == "reference":
            from .reference import reference

            return reference(images, variance, self.profile).to(v.dtype).reshape(v.shape)
        backend = self._backend(images.device)
        with backend.at_work():
            return self._denoised(images, variance, backend).to(v.dtype).reshape(v.shape)

    def _denoised(self, images: Tensor, variance: Tensor, backend: Backend) -> Tensor:
        """Normalise, decorrelate, filter, and add the change to ``images`` (B, C, H, W)."""
        memory = Memory(1) if self._matches is None else self._matches
        level = variance.sqrt().flatten()
        stale = memory.stale(images, level)
        mixing = decorrelation(images)
        if memory.mixing is not None and stale is not None:  # the groups belong to these channels
            mixing = memory.mixing.index_copy(0, stale, mixing[stale])
        low, high = images.amin(dim=(1, 2, 3), keepdim=True), images.amax(dim=(1, 2, 3), keepdim=True)
        scale = torch.where(high > low, high - low, torch.ones_like(low))
        normal = ((images - (low + high) / 2) / scale).float()
        sigma = (level / scale.flatten()).float()
        channels = torch.einsum("bij,bjhw->bihw", mixing.float(), normal)
        caution = 1 + (CAUTION * sigma).clamp_max(MOST_CAUTION).reshape(-1, 1, 1, 1)
        channels[:, 1:] /= caution
        clean = self._over_grids(channels, sigma, backend, memory, stale)
        clean[:, 1:] *= caution
        memory.remember(images, level, mixing, stale)
        clean = torch.einsum("bij,bihw->bjhw", mixing.float(), clean)
        change = (clean - normal).to(images.dtype) * scale  # a change, so that float64 images keep their digits
        visible = sigma.reshape(-1, 1, 1, 1) > _INVISIBLE
        return images + torch.where(visible, change, torch.zeros_like(change))

    def _over_grids(
        self, channels: Tensor, sigma: Tensor, backend: Backend, memory: Memory, stale: Tensor | None
    ) -> Tensor:
        """The mean over the profile's reference grids, which go through the stages as one batch."""
        batch, _, height, width = channels.shape
        grids, sides = self.settings.grids, self.settings.sides(height, width)
        moved = torch.cat([continued(channels, *shift, *sides) for shift in grids])
        if stale is not None:
            stale = torch.cat([stale + batch * k for k in range(len(grids))])
        clean = denoise(moved, sigma.repeat(len(grids)), self.settings, backend, memory, stale)
        total = torch.zeros_like(channels)
        for part, (y, x) in zip(clean.reshape(len(grids), batch, *clean.shape[1:]), grids, strict=True):
            total += part[..., y : y + height, x : x + width]
        return total / len(grids)

    def fresh(self) -> BM3D:
        """A copy whose calls share their block matches."""
        private = copy.copy(self)
        private._matches = Memory(self.rematch_every)
        return private

    def take(self, keep: Tensor) -> BM3D:
        if self._matches is None:
            return self
        private = copy.copy(self)
        private._matches = self._matches.take(keep)
        return private

    def state_dict(self) -> dict[str, Any]:
        return {} if self._matches is None else self._matches.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self._matches is None:
            return super().load_state_dict(state)
        self._matches = Memory.restored(state, self.rematch_every, self.settings)

    def _backend(self, device: torch.device) -> Backend:
        compiled = self.backend == "numba" or (
            self.backend == "auto" and device.type == "cpu" and importlib.util.find_spec("numba") is not None
        )
        if compiled and device.type != "cpu":
            raise ValueError(f"{self!r}.prox: the numba backend works on the CPU; use backend='torch' on {device}.")
        if compiled:
            from .numba_backend import NumbaBackend

            return NumbaBackend(self.memory, self._stock)
        from .torch_backend import TorchBackend

        return TorchBackend(self.memory)

    def __repr__(self) -> str:
        settings = f"backend={self.backend!r}, rematch_every={self.rematch_every!r}, memory={self.memory!r}"
        return f"BM3D(profile={self.profile!r}, {settings})"


def decorrelation(images: Tensor) -> Tensor:
    """Orthonormal mixing of the channels, (B, C, C), the most telling one first.

    Three channels: the opponent colour space (luminance, red - blue, green against both), which is the 3-point DCT.
    Otherwise the principal components: real and imaginary part of a nearly real image stay themselves.
    """
    batch, channels = images.shape[:2]
    if channels in (1, 3):
        return torch.from_numpy(cosine(channels)).to(images).expand(batch, channels, channels)
    pixels = images.flatten(2).double()
    pixels = pixels - pixels.mean(dim=2, keepdim=True)
    components: Tensor = torch.linalg.eigh(pixels @ pixels.mT)[1]
    return components.flip(-1).mT.to(images)


def continued(images: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    """``images`` continued by their mirror image to ``height`` and ``width``, ``top`` and ``left`` pixels before."""
    for axis, before, side in ((-2, top, height), (-1, left, width)):
        length = images.shape[axis]
        index = torch.arange(-before, side - before, device=images.device) % (2 * length)
        images = images.index_select(axis, torch.minimum(index, 2 * length - 1 - index))
    return images.contiguous()
