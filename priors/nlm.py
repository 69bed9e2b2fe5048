"""Non-local means."""

from __future__ import annotations

import torch
from torch import Tensor

from pnp.functional import Functional

from .checks import image_batch


class NLM(Functional):
    """Non-local means: each pixel becomes the mean of those in a window whose patches look alike.

    The weight of a pixel is ``exp(-max(d^2 - 2 tau, 0) / (strength^2 tau))``, d^2 the mean squared difference of the two
    patches over pixels and channels, of which noise alone makes ``2 tau``. Good on textures and repeated structure; no
    function has this prox, so it comes without value and without a promise of convergence.

    Shapes: (..., C, H, W); ``patch`` and ``window`` are odd side lengths in pixels. Patches are mirrored at the border,
    pixels outside the picture are never averaged.
    Units: ``strength`` in noise levels.
    Raises: ValueError unless ``patch`` and ``window`` are odd and positive and ``strength`` is positive.
    Source: Buades, Coll & Morel, *A Non-Local Algorithm for Image Denoising*, 2005; *Non-Local Means Denoising*, 2011
    (the noise-aware distance); Condat, *A Simple Trick to Speed Up the Non-Local Means*, 2010 (whole shifted images).
    """

    def __init__(self, patch: int = 5, window: int = 13, strength: float = 0.7) -> None:
        for name, side in (("patch", patch), ("window", window)):
            if side < 1 or side % 2 == 0:
                raise ValueError(f"NLM: {name} must be an odd number of pixels, got {side!r}.")
        if not 0 < strength < float("inf"):
            raise ValueError(f"NLM: strength must be finite and > 0, got {strength!r}.")
        self.patch, self.window, self.strength = patch, window, float(strength)

    def prox(self, v: Tensor, tau: float | Tensor) -> Tensor:
        images, variance = image_batch(v, tau, who=f"{self!r}.prox")
        return average(images, variance, self.patch // 2, self.window // 2, self.strength).reshape(v.shape)

    def __repr__(self) -> str:
        return f"NLM(patch={self.patch}, window={self.window}, strength={self.strength:g})"


def average(v: Tensor, variance: Tensor, patch: int, window: int, strength: float) -> Tensor:
    """The weighted mean over shifted copies of the whole image; ``patch`` and ``window`` are radii.

    A shift and its opposite share their weights, so that half of the window is visited.
    Shapes: v (B, C, H, W), variance (B, 1, 1, 1).
    """
    height, width = v.shape[-2:]
    noise, inverse = 2 * variance, 1 / (strength**2 * variance).clamp_min(torch.finfo(v.dtype).tiny)
    padded = mirrored(v, patch)
    total, weights = v.clone(), torch.ones_like(v[:, :1])
    for dy in range(min(window + 1, height)):
        for dx in range(-window if dy else 1, window + 1):
            if abs(dx) >= width:
                continue
            rows, here, there = height - dy, max(0, -dx), max(0, dx)
            columns = width - abs(dx)
            near = padded[..., : rows + 2 * patch, here : here + columns + 2 * patch]
            far = padded[..., dy:, there : there + columns + 2 * patch]
            distance = box_mean(box_mean((near - far).square().mean(dim=1, keepdim=True), patch, -1), patch, -2)
            weight = torch.exp(-(distance - noise).clamp_min(0) * inverse)
            a = (..., slice(0, rows), slice(here, here + columns))
            b = (..., slice(dy, height), slice(there, there + columns))
            total[a] += weight * v[b]
            total[b] += weight * v[a]
            weights[a] += weight
            weights[b] += weight
    return total / weights


def mirrored(v: Tensor, margin: int) -> Tensor:
    """``v`` continued by ``margin`` pixels of its mirror image, edge pixels repeated; any size."""
    for axis in (-2, -1):
        length = v.shape[axis]
        index = torch.arange(-margin, length + margin, device=v.device) % (2 * length)
        v = v.index_select(axis, torch.minimum(index, 2 * length - 1 - index))
    return v


def box_mean(x: Tensor, radius: int, axis: int) -> Tensor:
    """Mean over ``2 radius + 1`` neighbours where all of them exist, by sums of doubling length."""
    side = 2 * radius + 1
    length = x.shape[axis] - side + 1
    total, power, done, size = None, x, 0, 1
    while True:
        if side & size:
            part = power.narrow(axis, done, length)
            total = part if total is None else total + part
            done += size
        if 2 * size > side:
            return total / side if total is not None else x
        count = power.shape[axis] - size
        power, size = power.narrow(axis, 0, count) + power.narrow(axis, size, count), 2 * size
