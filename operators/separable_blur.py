"""Convolution by a product of one-dimensional kernels, with any border: FFTs forward, small matrices for the solve."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from .bordered_blur import BorderedBlur, border_matrix
from .cache import Cache
from .direct import Direct
from .kronecker import Kronecker, outer


class SeparableBlur(Direct, BorderedBlur):
    """A `BorderedBlur` whose kernel is the outer product of ``profiles``: its solve is exact.

    Forward and adjoint take FFTs, which beat the dense one-axis matrices from 256 pixels a side; the solve takes the
    singular values of those matrices, whatever the border or the conditioning.

    Shapes: ``profiles`` one (n_i,) for each of the last axes of ``shape``.
    """

    def __init__(self, profiles: Sequence[Tensor], shape: tuple[int, ...], boundary: str) -> None:
        super().__init__(outer(profiles), shape, boundary, ndim=len(profiles))
        for axis, profile in enumerate(profiles):
            self.register_buffer(f"profile{axis}", profile)
        self._solver: Cache[Kronecker] = Cache()

    def _keep(self, kernel: Tensor) -> None:
        """Only the profiles are kept: rounding the kernel too would leave two operators that differ by it."""

    def _point_spread(self) -> Tensor:
        return outer(self._profiles())

    def _regularised_inverse(self, r: Tensor, rho: float | Tensor) -> Tensor:
        return self._matrices()._regularised_inverse(r, rho)

    def _solve_dual(self, r: Tensor, rho: float | Tensor) -> Tensor:
        return self._matrices()._solve_dual(r, rho)

    def _solve_primal(self, b: Tensor, rho: float | Tensor) -> Tensor:
        return self._matrices()._solve_primal(b, rho)

    def norm(self) -> float:
        return self._matrices().norm()

    def route(self) -> str:
        return self._matrices().route()

    def _profiles(self) -> list[Tensor]:
        return [self.get_buffer(f"profile{axis}") for axis in range(self.ndim)]

    def _matrices(self) -> Kronecker:
        return self._solver.get(self._profiles(), self._build)

    def _build(self) -> Kronecker:
        grid = self.in_shape[-self.ndim :]
        matrices = [border_matrix(p, n, self.boundary) for p, n in zip(self._profiles(), grid, strict=True)]
        return Kronecker(matrices, lead=self.in_shape[: -self.ndim])
