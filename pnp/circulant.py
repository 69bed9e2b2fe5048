"""Division in Fourier space."""

from __future__ import annotations

import torch
from torch import Tensor


def divide(x: Tensor, spectrum: Tensor, ndim: int) -> Tensor:
    """Divide the real FFT of ``x`` over its last ``ndim`` axes.

    Shapes: ``x`` (..., *grid); ``spectrum`` broadcasts against its real FFT.
    """
    axes = tuple(range(-ndim, 0))
    quotient: Tensor = torch.fft.irfftn(torch.fft.rfftn(x, dim=axes) / spectrum, s=x.shape[-ndim:], dim=axes)
    return quotient
