"""What an operator law looks at: an operator with reproducible random images and data."""

from __future__ import annotations

import dataclasses
import functools

import torch
from torch import Tensor

from pnp.linear_operator import LinearOperator


@dataclasses.dataclass(frozen=True)
class Probe:
    """An operator, the seed of its random images and data, their leading (batch) dimensions and their real dtype.

    ``complex_values`` also feeds complex images and data to a real operator, which acts on both parts.
    """

    operator: LinearOperator
    seed: int = 0
    lead: tuple[int, ...] = ()
    dtype: torch.dtype | None = None
    complex_values: bool = False

    @property
    def real(self) -> torch.dtype:
        """The real dtype in use: the operator's own unless given."""
        return self.dtype or self.operator.dtype.to_real()

    @property
    def tol(self) -> float:
        """Relative rounding error allowed to one forward or adjoint."""
        return 1e-12 if self.real == torch.float64 else 1e-5 if self.real == torch.float32 else 5e-2

    @property
    def solve_tol(self) -> float:
        """Relative error allowed to one regularised solve."""
        return 1e-9 if self.real == torch.float64 else 1e-5 if self.real == torch.float32 else 5e-2

    @functools.cached_property
    def norm(self) -> float:
        """The operator's norm, computed once."""
        return self.operator.norm()

    @property
    def rho(self) -> float:
        """A middling penalty for one solve, on the operator's own scale."""
        return 0.1 * (self.norm**2 or 1.0)

    @functools.cached_property
    def solvable(self) -> bool:
        """Whether the solve can be asked for: conjugate gradients do not end where the pair is wrong."""
        if "CG" not in self.operator.route():
            return True
        x, y = self.image(), self.data()
        Ax, Ahy = self.operator.forward(x), self.operator.adjoint(y)
        if float((self.operator.forward(-x) + Ax).norm()) > 10 * self.tol * float(Ax.norm()):
            return False
        gap = ((Ax.conj() * y).sum() - (x.conj() * Ahy).sum()).real.abs()
        return float(gap) <= 10 * self.tol * float(Ax.norm() * y.norm() + x.norm() * Ahy.norm())

    def image(self, k: int = 0) -> Tensor:
        """The ``k``-th random image, of the field that the operator's images are from."""
        A = self.operator
        mixed = self.complex_values and not A.complex_out  # a real operator takes them by parts
        return self._random(A.in_shape, 2 * k, A.complex_in or mixed)

    def data(self, k: int = 0) -> Tensor:
        """The ``k``-th random data, of the field that the operator's data are from."""
        A = self.operator
        return self._random(A.out_shape, 2 * k + 1, A.complex_out or (self.complex_values and not A.complex_in))

    def observed(self, y: Tensor) -> Tensor:
        """``y`` with the entries that do not count set to zero."""
        mark = self.operator.observed()
        return y if mark is None else torch.where(mark, y, 0)

    def _random(self, shape: tuple[int, ...], stream: int, complex_: bool) -> Tensor:
        generator = torch.Generator().manual_seed(1000 * self.seed + stream)
        dtype = torch.complex128 if complex_ else torch.float64
        x = torch.randn(*self.lead, *shape, generator=generator, dtype=dtype)
        return x.to(self.operator.device, self.real.to_complex() if complex_ else self.real)
