"""The BM3D prior: what happens to an image before and after the two stages."""

from __future__ import annotations

import torch
from torch import Tensor

from pnp.functional import Functional

from ..checks import image_batch
from .settings import PROFILES
from .stages import Backend, denoise
from .transforms import cosine

BACKENDS = ("auto", "numba", "torch", "reference")
_SMALLEST = 17  # side to which smaller pictures are continued, so that a block has a few neighbours
_INVISIBLE = 1e-6  # noise below this fraction of the image's range drowns in float32 rounding


class BM3D(Functional):
    """Block matching and 3-D filtering: similar blocks are stacked and denoised together in a transform domain.

    The strongest of the priors without training on natural images with repeated structure. Stage one thresholds the
    coefficients of 8 x 8 bior1.5 blocks and Haar along the stack; stage two is an empirical Wiener filter (DCT) steered
    by the first. No function has this prox, so it comes without value and without a promise of convergence.

    Profiles: ``"fast"`` stage one only, ``"normal"`` both.

    Shapes: (..., C, H, W), any size. One channel is grey; three are decorrelated by the opponent transform and any other
    number by the principal components of the image; blocks are matched on the first of the resulting channels.
    Raises: ValueError for an unknown profile or backend.
    Source: Dabov, Foi, Katkovnik & Egiazarian, *Image Denoising by Sparse 3-D Transform-Domain Collaborative Filtering*,
    2007; *Color Image Denoising via Sparse 3-D Collaborative Filtering with Grouping Constraint in
    Luminance-Chrominance Space*, 2007.
    """

    convex = False
    deterministic = True
    has_value = False
    cost = "cheap"

    def __init__(self, profile: str = "normal", *, backend: str = "auto") -> None:
        if profile not in PROFILES:
            raise ValueError(f"BM3D: profile must be one of {sorted(PROFILES)}, got {profile!r}.")
        if backend not in BACKENDS:
            raise ValueError(f"BM3D: backend must be one of {BACKENDS}, got {backend!r}.")
        self.profile, self.backend = profile, backend
        self.settings = PROFILES[profile]

    @torch.no_grad()
    def prox(self, v: Tensor, tau: float | Tensor) -> Tensor:
        images, variance = image_batch(v, tau, who=f"{self!r}.prox")
        low, high = (
            images.amin(dim=(1, 2, 3), keepdim=True),
            images.amax(dim=(1, 2, 3), keepdim=True),
        )
        scale = torch.where(high > low, high - low, torch.ones_like(low))
        normal = ((images - (low + high) / 2) / scale).float()
        sigma = (variance.sqrt() / scale).float().flatten()
        mixing = decorrelation(normal)
        channels = torch.einsum("bij,bjhw->bihw", mixing, normal)
        clean = denoise(continued(channels), sigma, self.settings, self._backend(v.device))
        clean = torch.einsum("bij,bihw->bjhw", mixing, clean[..., : v.shape[-2], : v.shape[-1]])
        change = (clean - normal).to(v.dtype) * scale  # a change, so that float64 images keep their digits
        visible = sigma.reshape(-1, 1, 1, 1) > _INVISIBLE
        return (images + torch.where(visible, change, torch.zeros_like(change))).reshape(v.shape)

    def _backend(self, device: torch.device) -> Backend:
        from .numba_backend import NumbaBackend

        return NumbaBackend()

    def __repr__(self) -> str:
        return f"BM3D(profile={self.profile!r}, backend={self.backend!r})"


def decorrelation(images: Tensor) -> Tensor:
    """Orthonormal mixing of the channels, (B, C, C), the most telling one first.

    Three channels: the opponent colour space (luminance, red - blue, green against both), which is the 3-point DCT.
    Otherwise the principal components: real and imaginary part of a nearly real image stay themselves.
    """
    batch, channels = images.shape[:2]
    if channels in (1, 3):
        matrix = torch.from_numpy(cosine(channels)).to(images)
        return matrix.expand(batch, channels, channels)
    pixels = images.flatten(2).double()
    pixels = pixels - pixels.mean(dim=2, keepdim=True)
    return torch.linalg.eigh(pixels @ pixels.mT)[1].flip(-1).mT.to(images)


def continued(images: Tensor) -> Tensor:
    """``images`` continued at the bottom and right by their mirror image to sides 8 + 3 k, at least 17."""
    for axis in (-2, -1):
        length = images.shape[axis]
        side = max(_SMALLEST, 8 + -(-(length - 8) // 3) * 3)
        index = torch.arange(side, device=images.device) % (2 * length)
        images = images.index_select(axis, torch.minimum(index, 2 * length - 1 - index))
    return images.contiguous()
