"""Point spread functions: Gaussian, motion and defocus; each sums to one and has its origin at the centre pixel."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .arguments import number, precision

SUPPORT = 4.0  # standard deviations kept on each side: beyond lie 6e-5 of the mass


def gaussian(sigma: float | Sequence[float], *, ndim: int = 2, dtype: torch.dtype | None = None) -> Tensor:
    """Sampled Gaussian ``exp(-|x|^2 / (2 sigma^2))``, normalised, on the pixels within 4 sigma along each axis.

    Shapes: (h, w), or (d, h, w) with ``ndim=3``; ``sigma`` one number or one an axis.
    Units: ``sigma`` in pixels; 0 gives the identity.
    Raises: ValueError for a negative or NaN ``sigma``.
    """
    sigmas = list(sigma) if isinstance(sigma, Sequence) and not isinstance(sigma, str) else [sigma] * ndim
    for s in sigmas:
        number(s, "sigma", "gaussian(sigma)")
    if len(sigmas) != ndim or not all(0 <= s < math.inf for s in sigmas):
        raise ValueError(f"gaussian: expected sigma >= 0, one number or {ndim}, got {sigma!r}.")
    kernel = torch.ones((), dtype=torch.float64)
    for s in sigmas:
        radius = math.ceil(SUPPORT * s)
        x = torch.arange(-radius, radius + 1, dtype=torch.float64)
        profile = torch.exp(-0.5 * (x / s).square()) if s > 0 else torch.ones(1, dtype=torch.float64)
        kernel = kernel[..., None] * (profile / profile.sum())
    return kernel.to(precision(dtype, "gaussian(sigma)"))


def motion(length: float, angle: float = 0.0, *, dtype: torch.dtype | None = None) -> Tensor:
    """Uniform motion along a straight line: each pixel weighs the length of the segment inside it.

    Shapes: (h, w), both odd.
    Units: ``length`` in pixels; ``angle`` in degrees, counter-clockwise from the horizontal.
    Raises: ValueError unless ``length > 0`` and ``angle`` is finite.
    """
    number(length, "length", "motion(length, angle)")
    number(angle, "angle", "motion(length, angle)")
    if not (0 < length < math.inf and math.isfinite(angle)):
        raise ValueError(f"motion: expected length > 0 and a finite angle, got {length!r}, {angle!r}.")
    dx, dy = math.cos(math.radians(angle)), -math.sin(math.radians(angle))  # rows grow downwards
    dx, dy = (0.0 if abs(d) < 1e-12 else d for d in (dx, dy))
    radii = [max(math.ceil(abs(d) * length / 2 - 0.5 - 1e-9), 0) for d in (dy, dx)]
    rows, cols = (torch.arange(-radius, radius + 1, dtype=torch.float64) for radius in radii)
    low = torch.full((len(rows), len(cols)), -length / 2, dtype=torch.float64)
    high = -low
    for centre, direction in ((rows[:, None], dy), (cols[None, :], dx)):  # Liang & Barsky clipping, 1984
        if direction == 0:
            continue
        a, b = (centre - 0.5) / direction, (centre + 0.5) / direction
        low, high = torch.maximum(low, torch.minimum(a, b)), torch.minimum(high, torch.maximum(a, b))
    kernel = (high - low).clamp_min(0)
    return (kernel / kernel.sum()).to(precision(dtype, "motion(length, angle)"))


def disk(radius: float, *, dtype: torch.dtype | None = None) -> Tensor:
    """Defocus: a uniform disk; each pixel weighs the area of the disk inside it.

    Shapes: (h, w), both odd.
    Units: ``radius`` in pixels; up to 0.5 it is the identity.
    Raises: ValueError for a negative or NaN ``radius``.
    """
    number(radius, "radius", "disk(radius)")
    if not 0 <= radius < math.inf:
        raise ValueError(f"disk: expected radius >= 0, got {radius!r}.")
    if radius <= 0.5:  # inside one pixel
        return torch.ones(1, 1, dtype=precision(dtype, "disk(radius)"))
    extent, samples = max(math.ceil(radius - 0.5), 0), 256  # midpoint rule across, exact along: error below 1e-4
    offsets = (torch.arange(samples, dtype=torch.float64) + 0.5) / samples - 0.5
    pixels = torch.arange(-extent, extent + 1, dtype=torch.float64)
    half = (radius**2 - (pixels[:, None] + offsets).square()).clamp_min(0).sqrt()[:, None, :]
    y = pixels[None, :, None]
    inside = torch.minimum(half, y + 0.5) - torch.maximum(-half, y - 0.5)
    kernel = inside.clamp_min(0).mean(dim=-1)
    kernel = (kernel + kernel.T) / 2  # the rule treats the two axes differently; the disk does not
    return (kernel / kernel.sum()).to(precision(dtype, "disk(radius)"))


def separate(kernel: Tensor) -> list[Tensor] | None:
    """One profile an axis whose outer product is the kernel, in float64; None if there are none to rounding."""
    rest, profiles = kernel.double(), []
    tolerance = 4 * torch.finfo(kernel.dtype).eps
    for _ in range(kernel.ndim - 1):
        left, s, right = torch.linalg.svd(rest.reshape(rest.shape[0], -1), full_matrices=False)
        if not bool((s[1:] <= tolerance * s[0]).all()) or s[0] == 0:
            return None
        profiles.append(left[:, 0] * s[0].sqrt())
        rest = (right[0] * s[0].sqrt()).reshape(rest.shape[1:])
    return [*profiles, rest]
