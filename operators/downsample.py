"""Low resolution: blur and keep every f-th pixel."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pnp.algebra import Composition
from pnp.linear_operator import LinearOperator

from .arguments import number, precision, real_tensor, refusal, shape_of
from .banded import along_axes
from .circular_blur import CircularBlur, wrap
from .decimate import Decimate
from .delegate import Delegate
from .kernels import separate
from .kronecker import LONGEST, Kronecker
from .resampling import interpolating_matrix, shrinking_matrix


class Downsample(Delegate):
    """Low resolution ``A x = (kernel * x)`` at every ``factor``-th pixel.

    ``kernel="bicubic"`` is the antialiased bicubic reduction of picture programs, pixel centres aligned, borders
    renormalised: ``torch.nn.functional.interpolate(mode="bicubic", antialias=True)``. A tensor is applied as a periodic
    convolution with its origin at its centre pixel, and pixels 0, f, 2f, ... are kept. The solve is exact: by one
    small decomposition an axis for separable kernels, else on the folded spectrum where ``factor`` divides the sides.

    Shapes: ``x`` (..., H, W), ``A x`` (..., ceil(H / f), ceil(W / f)); ``kernel`` (h, w).
    Units: ``A x`` has the units of ``x`` when the kernel sums to one.
    Raises: ValueError for a factor below 1 or an unknown kernel.
    Source: Zhao, Wei, Basarab, Dobigeon, Kouame & Tourneret, *Fast single image super-resolution using a new analytical
    solution for l2-l2 problems*, 2016, sec. III.
    """

    def __init__(
        self,
        shape: Sequence[int],
        factor: int,
        kernel: str | Tensor = "bicubic",
        *,
        dtype: torch.dtype | None = None,
    ) -> None:
        usage = 'Downsample(shape, factor, kernel="bicubic")'
        shape = shape_of(shape, usage)
        number(factor, "factor", usage)
        if factor % 1 or factor < 1 or len(shape) not in (2, 3) or any(n % 1 or n < 1 for n in shape):
            raise ValueError(refusal(usage, "an integer factor >= 1 and integers (H, W)", (factor, shape)))
        if isinstance(kernel, str) and kernel != "bicubic":
            raise ValueError(f'Downsample: expected kernel="bicubic" or a tensor, got {kernel!r}.')
        kernel = kernel if isinstance(kernel, str) else real_tensor(kernel, "kernel", usage)
        dtype = kernel.dtype if dtype is None and isinstance(kernel, Tensor) else precision(dtype, usage)
        super().__init__(_engine(shape, int(factor), kernel, dtype))
        self.factor, self.centred = int(factor), not isinstance(kernel, Tensor)

    def start(self, y: Tensor) -> Tensor:
        """Bicubic interpolation of the data."""
        matrices = []
        for n, m in zip(self.in_shape[-2:], self.out_shape[-2:], strict=True):
            places = torch.arange(n, dtype=torch.float64)
            places = (places + 0.5) * m / n - 0.5 if self.centred else places / self.factor
            matrices.append(interpolating_matrix(places, m).to(y.device, y.real.dtype))
        if y.is_complex():
            return torch.complex(along_axes(matrices, y.real), along_axes(matrices, y.imag))
        return along_axes(matrices, y)

    def __repr__(self) -> str:
        return f"{self._name[:-1]}, factor {self.factor})"


def _engine(shape: tuple[int, ...], factor: int, kernel: str | Tensor, dtype: torch.dtype) -> LinearOperator:
    lead, grid = shape[:-2], shape[-2:]
    coarse = tuple(math.ceil(n / factor) for n in grid)
    if not isinstance(kernel, Tensor):
        matrices = [shrinking_matrix(n, m) for n, m in zip(grid, coarse, strict=True)]
        return Kronecker([a.to(dtype) for a in matrices], lead=lead)
    if kernel.ndim != 2 or not bool(torch.isfinite(kernel).all()):
        raise ValueError(f"Downsample: expected a finite kernel (h, w), got shape {tuple(kernel.shape)}.")
    profiles = separate(kernel) if max(grid) <= LONGEST else None
    if profiles is None:
        return Composition(Decimate(shape, factor), CircularBlur(kernel.to(dtype), shape))
    return Kronecker(
        [_rows(p, n, factor).to(kernel.device, dtype) for p, n in zip(profiles, grid, strict=True)], lead=lead
    )


def _rows(profile: Tensor, n: int, factor: int) -> Tensor:
    """Every ``factor``-th row of the circulant matrix of a one-dimensional kernel."""
    response = wrap(profile, (n,))
    places = torch.arange(n, device=profile.device)
    return response[(places[::factor, None] - places) % n]
