"""Non-local means."""

from __future__ import annotations

import importlib.util
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import torch
from torch import Tensor

from pnp.functional import Functional

from .checks import image_batch, whole
from .windows import box_mean, middles, mirrored


class NLM(Functional):
    """Non-local means: each pixel becomes the mean of those in a window whose patches look alike.

    A pixel weighs ``exp(-max(d^2 - 2 tau, 0) / (strength^2 tau))``, d^2 the mean squared difference of the two patches
    over pixels and channels, of which noise alone makes ``2 tau``; the weights of one shift are averaged over
    neighbouring pixels, ``2 spread + 1`` a side but no farther than the patch reaches (0 for the plain filter, 0.1 to
    0.3 dB worse). Good on texture and repeated structure. No function has this prox, so it comes without a value and
    without a promise of convergence.

    With ``strength="auto"`` it is 0.7 in grey. In C channels its square is ``0.49 c + 0.1 (1 - c) r`` with
    ``c = C^-1/2``, at most 0.8, r the ratio of the standard deviations of picture and noise: what chance puts between
    like patches averages out over the channels, what the picture puts there does not.

    ``backend`` is "numba" (CPU, when installed; no autograd), "torch" (any device) or "auto".

    Shapes: (..., C, H, W); ``patch`` and ``window`` are sides in pixels, an even patch reaches one farther down and
    right than up and left. Patches are mirrored at the border, pixels outside the picture are never averaged.
    Units: a number for ``strength`` is in noise levels.
    Raises: TypeError unless ``patch``, ``window`` and ``spread`` are whole numbers; ValueError unless ``patch`` and a
    number for ``strength`` are positive, ``window`` odd and ``spread`` >= 0.
    Source: Buades, Coll & Morel, *A Non-Local Algorithm for Image Denoising*, 2005; *Non-Local Means Denoising*, 2011
    (noise-aware distance, patchwise average); Condat, *A Simple Trick to Speed Up and Improve the Non-Local Means*,
    2010 (whole shifted images, two weights from one distance).
    """

    def __init__(
        self,
        patch: int = 5,
        window: int = 13,
        strength: float | Literal["auto"] = "auto",
        *,
        spread: int = 1,
        backend: str = "auto",
    ) -> None:
        patch = whole(patch, least=1, who="NLM", what="patch")
        window = whole(window, least=1, who="NLM", what="window")
        spread = whole(spread, least=0, who="NLM", what="spread")
        if window % 2 == 0:
            raise ValueError(f"NLM: window must be an odd number of pixels, got {window!r}.")
        if strength != "auto" and (isinstance(strength, str) or not 0 < strength < math.inf):
            raise ValueError(f"NLM: strength must be finite and > 0, or 'auto', got {strength!r}.")
        if backend not in ("auto", "numba", "torch"):
            raise ValueError(f"NLM: backend must be 'auto', 'numba' or 'torch', got {backend!r}.")
        self.patch, self.window = patch, window
        self.strength = strength if isinstance(strength, str) else float(strength)
        self.spread, self.backend = min(spread, (patch - 1) // 2), backend  # a wider one would average unlike pixels

    def prox(self, v: Tensor, tau: float | Tensor) -> Tensor:
        images, variance = image_batch(v, tau, who=f"{self!r}.prox")
        middle = middles(images)  # taken off for the sake of float32
        exact = images - middle
        variance = variance.clamp_min(torch.finfo(exact.dtype).tiny)
        squared = self._squared_strength(exact, variance)
        inverse = 1 / (squared * variance).clamp_min(torch.finfo(exact.dtype).tiny)
        average = _compiled if self._use_compiled(exact) else _shifted
        shift = 2 / squared  # what noise alone makes of the exponent
        x = average(exact, inverse, shift, self.patch, self.window // 2, self.spread) + middle
        return x.reshape(v.shape).to(v.dtype)

    def _squared_strength(self, v: Tensor, variance: Tensor) -> Tensor:
        """Of each image, (B, 1, 1, 1)."""
        if not isinstance(self.strength, str):
            return torch.full_like(variance, self.strength**2)
        power = v.var(dim=(-2, -1), correction=0, keepdim=True).mean(dim=-3, keepdim=True)
        ratio = ((power - variance).clamp_min(0) / variance).sqrt()
        c = 1 / math.sqrt(v.shape[-3])
        return (0.49 * c + 0.1 * (1 - c) * ratio).clamp_max(0.8)

    def _use_compiled(self, v: Tensor) -> bool:
        if self.backend == "auto":
            return v.device.type == "cpu" and not _traced(v) and importlib.util.find_spec("numba") is not None
        return self.backend == "numba"

    def __repr__(self) -> str:
        averaging = f"strength={self.strength!r}, spread={self.spread}, backend={self.backend!r}"
        return f"NLM(patch={self.patch}, window={self.window}, {averaging})"


def _traced(v: Tensor) -> bool:
    """Whether autograd is watching, to which compiled code is opaque."""
    return v.requires_grad and torch.is_grad_enabled()


def _shifted(v: Tensor, inverse: Tensor, shift: Tensor, patch: int, window: int, spread: int) -> Tensor:
    """The weighted mean over shifted copies of the whole image.

    ``patch`` is a side, ``window`` and ``spread`` are radii. A shift and its opposite share their weights, so half of
    the window is visited.
    Shapes: v (B, C, H, W), inverse and shift (B, 1, 1, 1).
    """
    height, width = v.shape[-2:]
    padded, weights = _framed(v, patch), _own_weight(v, spread)
    total, weights = weights * v, weights.clone()
    for dy in range(min(window + 1, height)):
        for dx in range(-window if dy else 1, window + 1):
            if abs(dx) >= width:
                continue
            rows, here, there = height - dy, max(0, -dx), max(0, dx)
            columns = width - abs(dx)
            near = padded[..., : rows + patch - 1, here : here + columns + patch - 1]
            far = padded[..., dy:, there : there + columns + patch - 1]
            squares = (near - far).square().mean(dim=1, keepdim=True)
            distance = box_mean(box_mean(squares, patch, -1), patch, -2)
            weight = _spread(torch.exp(-(distance * inverse - shift).clamp_min(0)), spread)
            a = (..., slice(0, rows), slice(here, here + columns))
            b = (..., slice(dy, height), slice(there, there + columns))
            total[a] += weight * v[b]
            total[b] += weight * v[a]
            weights[a] += weight
            weights[b] += weight
    return total / weights


def _compiled(v: Tensor, inverse: Tensor, shift: Tensor, patch: int, window: int, spread: int) -> Tensor:
    """The same, one image at a time in a compiled loop."""
    from .nlm_compiled import average

    v = v.detach()
    weights = _own_weight(v, spread)
    total = weights * v
    area = (2 * spread + 1) ** 2  # the loop adds where _spread takes means
    scales, shifts = (inverse / (v.shape[1] * patch**2)).flatten().tolist(), shift.flatten().tolist()
    total, weights = (total * area).contiguous(), (weights * area).contiguous()
    padded = _framed(v, patch).contiguous().numpy()
    totals, denominators = total.numpy(), weights.numpy()  # views: written in place

    def one(index: int) -> None:
        average(
            padded[index], patch, window, spread, scales[index], shifts[index], totals[index], denominators[index, 0]
        )

    workers = min(torch.get_num_threads(), v.shape[0])
    if workers == 1:
        for index in range(v.shape[0]):
            one(index)
    else:
        with ThreadPoolExecutor(workers) as pool:  # the kernel holds no lock
            list(pool.map(one, range(v.shape[0])))
    return total / weights


def _framed(v: Tensor, patch: int) -> Tensor:
    """``v`` with what patches around its border pixels reach of its mirror image."""
    cut = 1 - patch % 2  # an even patch reaches one pixel less up and left
    return mirrored(v, patch // 2)[..., cut:, cut:]


def _own_weight(v: Tensor, spread: int) -> Tensor:
    return _spread(torch.ones_like(v[:, :1]), spread)


def _spread(weight: Tensor, spread: int) -> Tensor:
    """Mean over neighbouring pixels, none of them beyond the border."""
    if spread == 0:
        return weight
    return box_mean(box_mean(torch.nn.functional.pad(weight, (spread,) * 4), 2 * spread + 1, -1), 2 * spread + 1, -2)
