"""One small matrix an axis: separable operators, solved exactly by the singular values of the matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .cache import Cache
from .direct import Direct

LONGEST = 2048  # longest side whose one-axis matrices are decomposed: seconds of work, once


class Factors(NamedTuple):
    """Full singular value decomposition ``U diag(s) V^T`` of one axis' matrix; ``s`` padded with zeros."""

    left: Tensor
    values_left: Tensor
    right: Tensor
    values_right: Tensor


class Kronecker(Direct):
    """``A x``: the matrix of each of the last axes of ``x`` applied along it, ``L x R^T`` for pictures.

    One solve costs four small matrix products an axis, whatever the borders or the conditioning.

    Shapes: ``matrices`` one (m_i, n_i) for each axis; ``x`` (..., *lead, n_1, n_2),
    ``A x`` (..., *lead, m_1, m_2).
    Source: Hansen, Nagy & O'Leary, *Deblurring Images*, SIAM 2006, sec. 4.4.
    """

    def __init__(self, matrices: Sequence[Tensor], *, lead: tuple[int, ...] = ()) -> None:
        ndim = len(matrices)
        super().__init__((*lead, *(a.shape[1] for a in matrices)), (*lead, *(a.shape[0] for a in matrices)), ndim=ndim)
        for axis, matrix in enumerate(matrices):
            self.register_buffer(f"matrix{axis}", matrix)
        self._factors: Cache[list[Factors]] = Cache()

    @property
    def matrices(self) -> list[Tensor]:
        """The matrix of each axis."""
        return [self.get_buffer(f"matrix{axis}") for axis in range(self.ndim)]

    def _forward(self, x: Tensor) -> Tensor:
        return along_axes(self.matrices, x)

    def _adjoint(self, y: Tensor) -> Tensor:
        return along_axes([a.mT for a in self.matrices], y)

    def _regularised_inverse(self, r: Tensor, rho: float | Tensor) -> Tensor:
        factors = self._decomposition()
        ranks = [min(a.shape) for a in self.matrices]
        spectral = along_axes([f.left[:, :k].mT for f, k in zip(factors, ranks, strict=True)], r)
        s = outer([f.values_left[:k] for f, k in zip(factors, ranks, strict=True)])
        return along_axes(
            [f.right[:, :k] for f, k in zip(factors, ranks, strict=True)], s / (s.square() + rho) * spectral
        )

    def _solve_dual(self, r: Tensor, rho: float | Tensor) -> Tensor:
        factors = self._decomposition()
        power = outer([f.values_left for f in factors]).square()
        spectral = along_axes([f.left.mT for f in factors], r) / (power + rho)
        return along_axes([f.left for f in factors], spectral)

    def _solve_primal(self, b: Tensor, rho: float | Tensor) -> Tensor:
        factors = self._decomposition()
        power = outer([f.values_right for f in factors]).square()
        spectral = along_axes([f.right.mT for f in factors], b) / (power + rho)
        return along_axes([f.right for f in factors], spectral)

    def norm(self) -> float:
        largest = 1.0
        for f in self._decomposition():
            largest *= float(f.values_left[0])
        return largest

    def route(self) -> str:
        return "exact: separable, one cached singular value decomposition an axis"

    def _decomposition(self) -> list[Factors]:
        return self._factors.get(self.matrices, lambda: [_decompose(a) for a in self.matrices])


def along_axes(matrices: Sequence[Tensor], x: Tensor) -> Tensor:
    """Each matrix applied along its own one of the last axes."""
    for axis, matrix in enumerate(reversed(matrices)):
        x = (
            x @ matrix.mT
            if axis == 0
            else (x.movedim(-1 - axis, -2).transpose(-1, -2) @ matrix.mT).transpose(-1, -2).movedim(-2, -1 - axis)
        )
    return x


def outer(vectors: Sequence[Tensor]) -> Tensor:
    """The product of one entry of each vector, for all combinations."""
    product = vectors[0]
    for vector in vectors[1:]:
        product = product[..., None] * vector
    return product


def _decompose(matrix: Tensor) -> Factors:
    left, s, right = torch.linalg.svd(
        matrix.double(), full_matrices=True
    )  # in float64 once: float32 would keep 1e-7 ||A||
    values = [torch.nn.functional.pad(s, (0, n - len(s))) for n in matrix.shape]
    return Factors(*(t.to(matrix.dtype) for t in (left, values[0], right.mT.contiguous(), values[1])))
