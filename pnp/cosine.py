"""Filters in the space of the cosine transform, which mirrored borders diagonalise."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def filter_cosines(x: Tensor, gain: Tensor, ndim: int) -> Tensor:
    """Multiply the type-2 cosine transform of ``x``: the real FFT of its even extension, in which every axis doubles.

    Shapes: ``x`` (..., *grid); ``gain``, even along each axis, broadcasts against the real FFT of twice the grid.
    Source: Strang, *The Discrete Cosine Transform*, 1999.
    """
    return cosine_parts(x, (gain,), ndim)[0]


def cosine_parts(x: Tensor, gains: Sequence[Tensor], ndim: int) -> list[Tensor]:
    """``filter_cosines`` with several gains; complex images part by part."""
    if x.is_complex():
        pairs = zip(cosine_parts(x.real, gains, ndim), cosine_parts(x.imag, gains, ndim), strict=True)
        return [torch.complex(real, imaginary) for real, imaginary in pairs]
    grid, axes = x.shape[-ndim:], tuple(range(-ndim, 0))
    for axis in axes:
        x = torch.cat([x, x.flip(axis)], dim=axis)
    spectrum = torch.fft.rfftn(x, dim=axes)
    corner = (..., *(slice(n) for n in grid))
    # A corner of what comes back would keep all of it: four or eight times the image, for every part.
    return [torch.fft.irfftn(gain * spectrum, s=x.shape[-ndim:], dim=axes)[corner].clone() for gain in gains]
