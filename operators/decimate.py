"""Every f-th pixel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pnp.linear_operator import LinearOperator

from .arguments import number, shape_of
from .interpolation import fill


class Decimate(LinearOperator):
    """``(A x)_i = x_{f i}``: every ``factor``-th pixel along each axis, from the first one.

    Shapes: ``x`` (..., *shape), ``A x`` (..., ceil(H / f), ceil(W / f)); ``factor`` one number or one an axis.
    Raises: ValueError for a factor below 1.
    """

    def __init__(self, shape: Sequence[int], factor: int | Sequence[int], *, ndim: int = 2) -> None:
        usage = "Decimate(shape, factor)"
        shape = shape_of(shape, usage)
        factors = tuple(factor) if isinstance(factor, Sequence) else (factor,) * ndim
        for f in factors:
            number(f, "factor", usage)
        if len(factors) != ndim or not 1 <= ndim <= len(shape) or any(f % 1 or f < 1 for f in factors):
            raise ValueError(f"Decimate: expected integer factors >= 1 for {ndim} axes of {shape}, got {factor!r}.")
        factors = tuple(int(f) for f in factors)
        coarse = tuple(-(-n // f) for n, f in zip(shape[-ndim:], factors, strict=True))
        super().__init__(shape, (*shape[:-ndim], *coarse), ndim=ndim)
        self.factors = factors

    def _forward(self, x: Tensor) -> Tensor:
        for axis, (f, m) in enumerate(zip(self.factors, self.out_shape[-self.ndim :], strict=True), start=-self.ndim):
            x = x.index_select(axis, torch.arange(m, device=x.device) * f)
        return x

    def _adjoint(self, y: Tensor) -> Tensor:
        for axis, (f, n) in enumerate(zip(self.factors, self.in_shape[-self.ndim :], strict=True), start=-self.ndim):
            shape = list(y.shape)
            shape[axis] = n
            y = y.new_zeros(shape).index_copy(axis, torch.arange(y.shape[axis], device=y.device) * f, y)
        return y

    @property
    def row_gram(self) -> float:
        return 1.0

    @property
    def interpolates(self) -> bool:
        return True

    def start(self, y: Tensor) -> Tensor:
        seen = self._adjoint(torch.ones(self.out_shape, device=y.device)) > 0
        return fill(self._adjoint(y), seen, ndim=self.ndim)

    def fold(self, power: Tensor) -> Tensor | None:
        grid = self.in_shape[-self.ndim :]
        if any(n % f for n, f in zip(grid, self.factors, strict=True)):
            return None
        axes = tuple(range(-self.ndim, 0))
        response = torch.fft.irfftn(power, s=grid, dim=axes)  # of one impulse; decimated, it is the coarse grid's
        folded: Tensor = torch.fft.rfftn(self._forward(response), dim=axes).real.clamp_min(0)
        return folded
