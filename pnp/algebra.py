"""Algebra of linear operators that keeps what its parts know: adjoints, conjugates, multiples, weights."""

from __future__ import annotations

import math

from torch import Tensor

from .linear_operator import LinearOperator
from .products import Composition, Sum
from .stack import Stack

__all__ = ["Adjoint", "Around", "Composition", "Conjugate", "Derived", "Scaled", "Stack", "Sum", "Weighted"]


class Derived(LinearOperator):
    """An operator made of another one, between the same spaces or, ``turned``, from its data to its images."""

    def __init__(self, operator: LinearOperator, *, turned: bool = False) -> None:
        images, data = (operator.in_shape, operator.complex_in), (operator.out_shape, operator.complex_out)
        (source, complex_in), (target, complex_out) = (data, images) if turned else (images, data)
        super().__init__(
            source, target, complex_in=complex_in, complex_out=complex_out, ndim=operator.ndim, lead=operator.lead
        )
        self.operator = operator


class Adjoint(Derived):
    """``A^H``; its data side is the image side of ``A``, so every closed form carries over."""

    def __init__(self, operator: LinearOperator) -> None:
        super().__init__(operator, turned=True)

    def _forward(self, x: Tensor) -> Tensor:
        return self.operator._adjoint(x)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.operator._forward(y)

    def _solve_dual(self, r: Tensor, rho: float | Tensor) -> Tensor:
        return self.operator._solve_primal(r, rho)

    def _solve_primal(self, b: Tensor, rho: float | Tensor) -> Tensor:
        return self.operator._solve_dual(b, rho)

    def _precondition_dual(self, r: Tensor, rho: float | Tensor) -> Tensor:
        return self.operator._precondition_primal(r, rho)

    def _precondition_primal(self, b: Tensor, rho: float | Tensor) -> Tensor:
        return self.operator._precondition_dual(b, rho)

    @property
    def row_gram(self) -> float | None:
        return self.operator.column_gram

    @property
    def column_gram(self) -> float | None:
        return self.operator.row_gram

    def spectrum(self) -> Tensor | None:
        h = self.operator.spectrum()
        return None if h is None else h.conj()

    def circulant(self) -> Tensor | float | None:
        return self.operator.circulant() if self.in_shape == self.out_shape else super().circulant()

    @property
    def solves_dual(self) -> bool:
        return self.operator.solves_primal

    @property
    def solves_primal(self) -> bool:
        return self.operator.solves_dual

    @property
    def columns(self) -> int:
        return self.operator.rows

    @property
    def H(self) -> LinearOperator:
        return self.operator

    def norm(self) -> float:
        return self.operator.norm()

    def _take(self, keep: Tensor) -> LinearOperator:
        return Adjoint(self.operator.take(keep))

    def __repr__(self) -> str:
        return f"({self.operator!r}).H"


class Around(Derived):
    """An operator between the same spaces as another one, whose data count where the other one's do."""

    def observed(self) -> Tensor | None:
        return self.operator.observed()

    @property
    def rows(self) -> int:
        return self.operator.rows


class Conjugate(Around):
    """``conj(A)``: the operator ``x -> conj(A conj(x))``."""

    def _forward(self, x: Tensor) -> Tensor:
        return self.operator._forward(x.conj()).conj().resolve_conj()  # NumPy refuses a lazy one

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.operator._adjoint(y.conj()).conj().resolve_conj()

    def _solve_dual(self, r: Tensor, rho: float | Tensor) -> Tensor:
        return self.operator._solve_dual(r.conj(), rho).conj()

    def _solve_primal(self, b: Tensor, rho: float | Tensor) -> Tensor:
        return self.operator._solve_primal(b.conj(), rho).conj()

    @property
    def row_gram(self) -> float | None:
        return self.operator.row_gram

    @property
    def column_gram(self) -> float | None:
        return self.operator.column_gram

    @property
    def solves_dual(self) -> bool:
        return self.operator.solves_dual

    @property
    def solves_primal(self) -> bool:
        return self.operator.solves_primal

    def norm(self) -> float:
        return self.operator.norm()

    def _take(self, keep: Tensor) -> LinearOperator:
        return Conjugate(self.operator.take(keep))

    def __repr__(self) -> str:
        return f"conj({self.operator!r})"


class Scaled(Around):
    """``c A`` for a number ``c``; every closed form of ``A`` remains with ``rho / |c|^2``."""

    def __init__(self, factor: float | complex, operator: LinearOperator) -> None:
        if isinstance(factor, complex) and not (operator.complex_in and operator.complex_out):
            raise TypeError(f"{operator!r}: a complex factor needs an operator between complex spaces, got {factor!r}.")
        if factor == 0 or not math.isfinite(abs(factor)):
            raise ValueError(f"{operator!r}: expected a finite factor other than 0, got {factor!r}.")
        super().__init__(operator)
        self.factor = factor
        self.power = abs(factor) ** 2

    def _forward(self, x: Tensor) -> Tensor:
        return self.factor * self.operator._forward(x)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.factor.conjugate() * self.operator._adjoint(y)

    def _solve_dual(self, r: Tensor, rho: float | Tensor) -> Tensor:
        return self.operator._solve_dual(r, rho / self.power) / self.power

    def _solve_primal(self, b: Tensor, rho: float | Tensor) -> Tensor:
        return self.operator._solve_primal(b, rho / self.power) / self.power

    def _precondition_dual(self, r: Tensor, rho: float | Tensor) -> Tensor:
        return self.operator._precondition_dual(r, rho / self.power) / self.power

    def _precondition_primal(self, b: Tensor, rho: float | Tensor) -> Tensor:
        return self.operator._precondition_primal(b, rho / self.power) / self.power

    @property
    def row_gram(self) -> float | None:
        gram = self.operator.row_gram
        return None if gram is None else self.power * gram

    @property
    def column_gram(self) -> float | None:
        gram = self.operator.column_gram
        return None if gram is None else self.power * gram

    @property
    def row_powers(self) -> Tensor | float | None:
        powers = self.operator.row_powers
        return None if powers is None else self.power * powers

    @property
    def multiple(self) -> float | None:
        c = self.operator.multiple
        return None if c is None or isinstance(self.factor, complex) else self.factor * c

    def spectrum(self) -> Tensor | None:
        h = self.operator.spectrum()
        return None if h is None else self.factor * h

    def fold(self, power: Tensor) -> Tensor | None:
        folded = self.operator.fold(power)
        return None if folded is None else self.power * folded

    def circulant(self) -> Tensor | float | None:
        power = self.operator.circulant()
        return None if power is None else self.power * power

    @property
    def solves_dual(self) -> bool:
        return self.operator.solves_dual

    @property
    def solves_primal(self) -> bool:
        return self.operator.solves_primal

    @property
    def incoherent(self) -> bool:
        return self.operator.incoherent

    @property
    def constant_row(self) -> int | None:
        return self.operator.constant_row

    @property
    def interpolates(self) -> bool:
        return self.operator.interpolates

    def start(self, y: Tensor) -> Tensor:
        return self.operator.start(y / self.factor)

    def noise_level(self, y: Tensor) -> Tensor | None:
        level = self.operator.noise_level(y / self.factor)
        return None if level is None else abs(self.factor) * level

    def route(self) -> str:
        return self.operator.route()

    def norm(self) -> float:
        return abs(self.factor) * self.operator.norm()

    def _take(self, keep: Tensor) -> LinearOperator:
        return Scaled(self.factor, self.operator.take(keep))

    def __repr__(self) -> str:
        return f"{self.factor!r} * {self.operator!r}"


class Weighted(Around):
    """``W A`` with ``W`` a diagonal of positive weights, one per measurement: whitened data.

    Shapes: ``weight`` like ``A.out_shape``.
    """

    def __init__(self, weight: Tensor, operator: LinearOperator) -> None:
        super().__init__(operator)
        self.register_buffer("weight", weight)
        self.weight: Tensor

    def _forward(self, x: Tensor) -> Tensor:
        return self.weight * self.operator._forward(x)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.operator._adjoint(self.weight * y)

    def _solve_dual(self, r: Tensor, rho: float | Tensor) -> Tensor:
        gram = self.operator.row_gram
        if gram is None:
            raise NotImplementedError(f"{self!r} has no closed form.")
        return r / (gram * self.weight.square() + rho)  # W A A^H W is diagonal

    def _precondition_dual(self, r: Tensor, rho: float | Tensor) -> Tensor:
        return r / self.weight.square()

    def circulant(self) -> Tensor | float | None:
        power = self.operator.circulant()
        return None if power is None else power * float(self.weight.square().mean())

    @property
    def solves_dual(self) -> bool:
        return self.operator.row_gram is not None

    @property
    def solves_primal(self) -> bool:
        return False

    @property
    def interpolates(self) -> bool:
        return self.operator.interpolates

    def start(self, y: Tensor) -> Tensor:
        return self.operator.start(y / self.weight)

    def _take(self, keep: Tensor) -> LinearOperator:
        return Weighted(self.weight, self.operator.take(keep))

    def __repr__(self) -> str:
        return f"weighted {self.operator!r}"
