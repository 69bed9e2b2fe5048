"""Filters in the space of the cosine transform, which mirrored borders diagonalise."""

from __future__ import annotations

import torch
from torch import Tensor


def filter_cosines(x: Tensor, gain: Tensor, ndim: int) -> Tensor:
    """Multiply the type-2 cosine transform of ``x``: the real FFT of its even extension, in which every axis doubles.

    Shapes: ``x`` (..., *grid); ``gain``, even along each axis, broadcasts against the real FFT of twice the grid.
    Source: Strang, *The Discrete Cosine Transform*, 1999.
    """
    grid, axes = x.shape[-ndim:], tuple(range(-ndim, 0))
    for axis in axes:
        x = torch.cat([x, x.flip(axis)], dim=axis)
    x = torch.fft.irfftn(gain * torch.fft.rfftn(x, dim=axes), s=x.shape[-ndim:], dim=axes)
    for axis, n in zip(axes, grid, strict=True):
        x = x.narrow(axis, 0, n)
    return x
