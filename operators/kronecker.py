"""One small matrix an axis: separable operators, solved exactly by the singular values of the matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .banded import Blocks, along_axes, blocks
from .cache import Cache
from .direct import Direct

LONGEST = 2048  # longest side whose one-axis matrices are decomposed: seconds of work, once
MILD = 1e-3  # smallest over largest eigenvalue of A A^H down to which float32 divides by it without losing the answer


class Factors(NamedTuple):
    """Economy singular value decomposition ``U diag(s) V^T`` of one axis' matrix."""

    left: Tensor
    values: Tensor
    right: Tensor


class Kronecker(Direct):
    """``A x``: the matrix of each of the last axes of ``x`` applied along it, ``L x R^T`` for pictures.

    Entries that are zero cost nothing: where the matrices are banded, forward and adjoint take time in proportion to
    the pixels. One solve costs these and four small dense products an axis, whatever the borders or the conditioning.

    Shapes: ``matrices`` one (m_i, n_i) for each axis; ``x`` (..., *lead, n_1, n_2),
    ``A x`` (..., *lead, m_1, m_2).
    Source: Hansen, Nagy & O'Leary, *Deblurring Images*, SIAM 2006, sec. 4.4.
    """

    def __init__(self, matrices: Sequence[Tensor], *, lead: tuple[int, ...] = ()) -> None:
        ndim = len(matrices)
        super().__init__((*lead, *(a.shape[1] for a in matrices)), (*lead, *(a.shape[0] for a in matrices)), ndim=ndim)
        for axis, matrix in enumerate(matrices):
            self.register_buffer(f"matrix{axis}", matrix)
        self._there: Cache[list[Tensor | Blocks]] = Cache()
        self._back: Cache[list[Tensor | Blocks]] = Cache()
        self._factors: Cache[list[Factors]] = Cache()
        self._is_mild: Cache[bool] = Cache()
        self._power: Cache[Tensor] = Cache()

    @property
    def matrices(self) -> list[Tensor]:
        """The matrix of each axis."""
        return [self.get_buffer(f"matrix{axis}") for axis in range(self.ndim)]

    def _forward(self, x: Tensor) -> Tensor:
        return along_axes(self._there.get(self.matrices, lambda: [blocks(a) or a for a in self.matrices]), x)

    def _adjoint(self, y: Tensor) -> Tensor:
        return along_axes(self._back.get(self.matrices, lambda: [blocks(a.mT) or a.mT for a in self.matrices]), y)

    def _regularised_inverse(self, r: Tensor, rho: float | Tensor) -> Tensor:
        if self._mild():
            return self._adjoint(self._solve_dual(r, rho))
        factors = self._decomposition()
        spectral = along_axes([f.left.mT for f in factors], r)
        s = outer([f.values for f in factors])
        return along_axes([f.right for f in factors], s / (s.square() + rho) * spectral)

    def _solve_dual(self, r: Tensor, rho: float | Tensor) -> Tensor:
        return self._invert([f.left for f in self._decomposition()], r, rho)

    def _solve_primal(self, b: Tensor, rho: float | Tensor) -> Tensor:
        return self._invert([f.right for f in self._decomposition()], b, rho)

    def circulant(self) -> Tensor:
        return self._power.get(self.matrices, lambda: _nearest_circulant(self.matrices))

    def norm(self) -> float:
        largest = 1.0
        for f in self._decomposition():
            largest *= float(f.values[0])
        return largest

    def route(self) -> str:
        return "exact: separable, one cached singular value decomposition an axis"

    def _invert(self, bases: Sequence[Tensor], r: Tensor, rho: float | Tensor) -> Tensor:
        """``(Q diag(s^2) Q^T + rho I)^-1 r`` where ``Q``, the product of the bases, has orthonormal columns."""
        power = outer([f.values for f in self._decomposition()]).square()
        spectral = along_axes([q.mT for q in bases], r)
        if all(q.shape[0] == q.shape[1] for q in bases):
            return along_axes(bases, spectral / (power + rho))
        return r / rho + along_axes(bases, (1 / (power + rho) - 1 / rho) * spectral)  # what Q misses is divided by rho

    def _mild(self) -> bool:
        """Whether ``A A^H`` is so far from singular that its inverse is accurate for every penalty."""

        def mild() -> bool:
            smallest, largest = 1.0, 1.0
            for f in self._decomposition():
                smallest, largest = smallest * float(f.values[-1]), largest * float(f.values[0])
            return self.rows <= self.columns and smallest**2 >= MILD * largest**2

        return self._is_mild.get(self.matrices, mild)

    def _decomposition(self) -> list[Factors]:
        return self._factors.get(self.matrices, lambda: [_decompose(a) for a in self.matrices])


def _nearest_circulant(matrices: Sequence[Tensor]) -> Tensor:
    """Spectrum of the circulants nearest to each ``A^H A``: the power that ``A`` leaves of each wave.

    Source: T. Chan, *An Optimal Circulant Preconditioner for Toeplitz Systems*, 1988, eq. 4.
    """
    powers = [torch.fft.fft(a, dim=1).abs().square().sum(dim=0) / a.shape[1] for a in matrices]
    half = matrices[-1].shape[1] // 2 + 1  # real images: as rfft keeps them
    return outer([*powers[:-1], powers[-1][:half]])


def outer(vectors: Sequence[Tensor]) -> Tensor:
    """The product of one entry of each vector, for all combinations."""
    product = vectors[0]
    for vector in vectors[1:]:
        product = product[..., None] * vector
    return product


def _decompose(matrix: Tensor) -> Factors:
    # in float64 once: float32 would keep 1e-7 ||A||
    left, s, right = torch.linalg.svd(matrix.double(), full_matrices=False)
    return Factors(left.to(matrix.dtype), s.to(matrix.dtype), right.mT.to(matrix.dtype).contiguous())
