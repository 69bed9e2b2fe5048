"""Matrices of one-dimensional resampling by Keys' cubic convolution."""

from __future__ import annotations

import torch
from torch import Tensor


def cubic(t: Tensor) -> Tensor:
    """Keys' kernel with a = -1/2, exact for parabolas, support [-2, 2].

    Source: Keys, *Cubic convolution interpolation for digital image processing*, 1981, eq. 15.
    """
    t = t.abs()
    near = (1.5 * t - 2.5) * t * t + 1
    far = ((-0.5 * t + 2.5) * t - 4) * t + 2
    return torch.where(t <= 1, near, torch.where(t < 2, far, 0))


def shrinking_matrix(n: int, m: int) -> Tensor:
    """Antialiased bicubic reduction of ``n`` pixels to ``m <= n``: the kernel stretched by ``n / m``, rows sum to one.

    Equals ``torch.nn.functional.interpolate(mode="bicubic", antialias=True)``. Shapes: (m, n), float64.
    """
    scale = n / m
    centres = (torch.arange(m, dtype=torch.float64) + 0.5) * scale
    places = torch.arange(n, dtype=torch.float64) + 0.5
    weights = cubic((places - centres[:, None]) / scale)
    return weights / weights.sum(dim=1, keepdim=True)


def interpolating_matrix(places: Tensor, m: int) -> Tensor:
    """Cubic interpolation of ``m`` samples at real ``places``, the edge sample repeated. Shapes: (len(places), m)."""
    base = places.floor()
    taps = base[:, None] + torch.arange(-1, 3)
    weights = cubic(places[:, None] - taps)
    matrix = torch.zeros(len(places), m, dtype=torch.float64)
    return matrix.scatter_add(1, taps.long().clamp(0, m - 1), weights)
