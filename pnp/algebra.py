"""Algebra of linear operators that keeps what its parts know: products, sums, multiples, adjoints and stacks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .linear_operator import LinearOperator


class Adjoint(LinearOperator):
    """``A^H``; its data side is the image side of ``A``, so every closed form carries over."""

    def __init__(self, operator: LinearOperator) -> None:
        super().__init__(
            operator.out_shape,
            operator.in_shape,
            complex_in=operator.complex_out,
            complex_out=operator.complex_in,
            ndim=operator.ndim,
        )
        self.operator = operator

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

    def __repr__(self) -> str:
        return f"({self.operator!r}).H"


class Conjugate(LinearOperator):
    """``conj(A)``: the operator ``x -> conj(A conj(x))``."""

    def __init__(self, operator: LinearOperator) -> None:
        super().__init__(
            operator.in_shape,
            operator.out_shape,
            complex_in=operator.complex_in,
            complex_out=operator.complex_out,
            ndim=operator.ndim,
        )
        self.operator = operator

    def _forward(self, x: Tensor) -> Tensor:
        return self.operator._forward(x.conj()).conj()

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.operator._adjoint(y.conj()).conj()

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

    def __repr__(self) -> str:
        return f"conj({self.operator!r})"


class Scaled(LinearOperator):
    """``c A`` for a number ``c``; every closed form of ``A`` remains with ``rho / |c|^2``."""

    def __init__(self, factor: float | complex, operator: LinearOperator) -> None:
        if isinstance(factor, complex) and not (operator.complex_in and operator.complex_out):
            raise TypeError(f"{operator!r}: a complex factor needs an operator between complex spaces, got {factor!r}.")
        if factor == 0 or not math.isfinite(abs(factor)):
            raise ValueError(f"{operator!r}: expected a finite factor other than 0, got {factor!r}.")
        super().__init__(
            operator.in_shape,
            operator.out_shape,
            complex_in=operator.complex_in,
            complex_out=operator.complex_out,
            ndim=operator.ndim,
        )
        self.factor, self.operator = factor, operator
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

    def observed(self) -> Tensor | None:
        return self.operator.observed()

    @property
    def solves_dual(self) -> bool:
        return self.operator.solves_dual

    @property
    def solves_primal(self) -> bool:
        return self.operator.solves_primal

    @property
    def rows(self) -> int:
        return self.operator.rows

    @property
    def incoherent(self) -> bool:
        return self.operator.incoherent

    @property
    def constant_row(self) -> int | None:
        return self.operator.constant_row

    def start(self, y: Tensor) -> Tensor:
        return self.operator.start(y / self.factor)

    def noise_level(self, y: Tensor) -> Tensor | None:
        level = self.operator.noise_level(y / self.factor)
        return None if level is None else abs(self.factor) * level

    def route(self) -> str:
        return self.operator.route()

    def norm(self) -> float:
        return abs(self.factor) * self.operator.norm()

    def __repr__(self) -> str:
        return f"{self.factor!r} * {self.operator!r}"


class Weighted(LinearOperator):
    """``W A`` with ``W`` a diagonal of positive weights, one per measurement: whitened data.

    Shapes: ``weight`` like ``A.out_shape``.
    """

    def __init__(self, weight: Tensor, operator: LinearOperator) -> None:
        super().__init__(
            operator.in_shape,
            operator.out_shape,
            complex_in=operator.complex_in,
            complex_out=operator.complex_out,
            ndim=operator.ndim,
        )
        self.operator = operator
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

    def observed(self) -> Tensor | None:
        return self.operator.observed()

    @property
    def rows(self) -> int:
        return self.operator.rows

    def start(self, y: Tensor) -> Tensor:
        return self.operator.start(y / self.weight)

    def __repr__(self) -> str:
        return f"weighted {self.operator!r}"


class Composition(LinearOperator):
    """``A B``. Exact where the factors make it so: both circulant; rows of ``B`` or columns of ``A`` orthogonal; ``B``
    circulant and ``A`` a decimation, or whatever else leaves ``A B B^H A^H`` circulant on its own grid.
    """

    def __init__(self, outer: LinearOperator, inner: LinearOperator) -> None:
        if outer.in_shape != inner.out_shape:
            raise ValueError(f"{outer!r} @ {inner!r}: {outer.in_shape} does not match {inner.out_shape}.")
        if inner.complex_out and not outer.complex_in and outer.complex_out:
            raise TypeError(
                f"{outer!r} @ {inner!r}: the left factor takes real images, the right one gives complex data."
            )
        complex_in = inner.complex_in or (outer.complex_in and not inner.complex_out)
        complex_out = outer.complex_out or (inner.complex_out and not outer.complex_in)
        super().__init__(
            inner.in_shape, outer.out_shape, complex_in=complex_in, complex_out=complex_out, ndim=inner.ndim
        )
        self.outer, self.inner = outer, inner

    def _forward(self, x: Tensor) -> Tensor:
        return self.outer.forward(self.inner.forward(x))

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.inner.adjoint(self.outer.adjoint(y))

    def _solve_dual(self, r: Tensor, rho: float | Tensor) -> Tensor:
        gram = self.inner.row_gram  # A B B^H A^H = gram A A^H
        if self.row_gram is None and gram and self.outer.solves_dual:
            return self.outer._solve_dual(r, rho / gram) / gram
        power = None if self.row_gram is not None else self._folded()
        if power is None:
            return super()._solve_dual(r, rho)
        return _divide(r, power + rho, self.ndim)

    def _solve_primal(self, b: Tensor, rho: float | Tensor) -> Tensor:
        gram = self.outer.column_gram  # B^H A^H A B = gram B^H B
        if self.column_gram is None and gram and self.inner.solves_primal:
            return self.inner._solve_primal(b, rho / gram) / gram
        return super()._solve_primal(b, rho)

    @property
    def solves_dual(self) -> bool:
        facts = self.row_gram is not None or self._folded() is not None
        return facts or (bool(self.inner.row_gram) and self.outer.solves_dual)

    @property
    def solves_primal(self) -> bool:
        facts = self.column_gram is not None or self.spectrum() is not None
        return facts or bool(self.outer.column_gram) and self.inner.solves_primal

    @property
    def row_gram(self) -> float | None:
        outer, inner = self.outer.row_gram, self.inner.row_gram
        return None if outer is None or inner is None else outer * inner

    @property
    def column_gram(self) -> float | None:
        outer, inner = self.outer.column_gram, self.inner.column_gram
        return None if outer is None or inner is None else outer * inner

    def spectrum(self) -> Tensor | None:
        if self.outer.ndim != self.inner.ndim:
            return None
        outer, inner = self.outer.spectrum(), self.inner.spectrum()
        return None if outer is None or inner is None else outer * inner

    def fold(self, power: Tensor) -> Tensor | None:
        inner = self.inner.fold(power) if self.inner.ndim == self.outer.ndim else None
        return None if inner is None else self.outer.fold(inner)

    def circulant(self) -> Tensor | float | None:
        outer, inner = self.outer.circulant(), self.inner.circulant()
        same_grid = self.inner.in_shape[-self.ndim :] == self.outer.in_shape[-self.outer.ndim :]
        if outer is None or inner is None or (isinstance(outer, Tensor) and not same_grid):
            return super().circulant()
        return outer * inner

    def _folded(self) -> Tensor | None:
        """Spectrum of ``A B B^H A^H``, if it is a circular convolution."""
        h = self.inner.spectrum()
        return None if h is None or self.inner.ndim != self.outer.ndim else self.outer.fold(h.abs().square())

    def observed(self) -> Tensor | None:
        return self.outer.observed()

    @property
    def rows(self) -> int:
        return self.outer.rows

    def __repr__(self) -> str:
        return f"{self.outer!r} @ {self.inner!r}"


class Sum(LinearOperator):
    """``A + B``; exact where both are circular convolutions."""

    def __init__(self, left: LinearOperator, right: LinearOperator) -> None:
        if (left.in_shape, left.out_shape) != (right.in_shape, right.out_shape):
            raise ValueError(f"{left!r} + {right!r}: the shapes differ.")
        if (left.complex_in, left.complex_out) != (right.complex_in, right.complex_out):
            raise TypeError(f"{left!r} + {right!r}: one is complex, the other real.")
        super().__init__(
            left.in_shape, left.out_shape, complex_in=left.complex_in, complex_out=left.complex_out, ndim=left.ndim
        )
        self.left, self.right = left, right

    def _forward(self, x: Tensor) -> Tensor:
        return self.left._forward(x) + self.right._forward(x)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.left._adjoint(y) + self.right._adjoint(y)

    def spectrum(self) -> Tensor | None:
        if self.left.ndim != self.right.ndim:
            return None
        left, right = self.left.spectrum(), self.right.spectrum()
        return None if left is None or right is None else left + right

    def circulant(self) -> Tensor | float | None:
        left, right = self.left.circulant(), self.right.circulant()
        if left is None or right is None or self.spectrum() is not None:
            return super().circulant()
        return left + right

    def __repr__(self) -> str:
        return f"{self.left!r} + {self.right!r}"


class Stack(LinearOperator):
    """``[A; B; ...]``: several measurements of one image, their data concatenated as flat vectors.

    Exact on the image side where every part is a circular convolution or has orthogonal columns; on the data side
    nothing is claimed, because the parts' rows overlap.

    Shapes: ``x`` (..., *in_shape); data (..., M1 + M2 + ...).
    Raises: ValueError if the parts are none or act on different images, TypeError if they mix real and complex ones.
    """

    def __init__(self, operators: Sequence[LinearOperator]) -> None:
        if not operators:
            raise ValueError("Stack: expected at least one operator.")
        first = operators[0]
        if any(A.in_shape != first.in_shape or A.ndim != first.ndim for A in operators):
            raise ValueError(f"Stack: the operators act on different images: {[A.in_shape for A in operators]}.")
        if any((A.complex_in, A.complex_out) != (first.complex_in, first.complex_out) for A in operators):
            raise TypeError("Stack: expected all operators real or all complex.")
        self_rows = sum(math.prod(A.out_shape) for A in operators)
        super().__init__(
            first.in_shape, (self_rows,), complex_in=first.complex_in, complex_out=first.complex_out, ndim=first.ndim
        )
        self.operators = torch.nn.ModuleList(operators)

    @property
    def parts(self) -> list[LinearOperator]:
        """The stacked operators."""
        return [A for A in self.operators if isinstance(A, LinearOperator)]

    def join(self, data: Sequence[Tensor]) -> Tensor:
        """The data of the parts as one flat vector per item."""
        return torch.cat([y.flatten(-len(A.out_shape)) for A, y in zip(self.parts, data, strict=True)], dim=-1)

    def split(self, y: Tensor) -> list[Tensor]:
        """The flat data as the list of the parts' data."""
        pieces = torch.split(y, [math.prod(A.out_shape) for A in self.parts], dim=-1)
        return [piece.reshape(*y.shape[:-1], *A.out_shape) for A, piece in zip(self.parts, pieces, strict=True)]

    def _forward(self, x: Tensor) -> Tensor:
        return self.join([A._forward(x) for A in self.parts])

    def _adjoint(self, y: Tensor) -> Tensor:
        images = [A._adjoint(piece) for A, piece in zip(self.parts, self.split(y), strict=True)]
        return torch.stack(images).sum(dim=0)

    def _solve_primal(self, b: Tensor, rho: float | Tensor) -> Tensor:
        if self.column_gram is not None:
            return b / (self.column_gram + rho)
        power = self._power()
        if power is None:
            raise NotImplementedError(f"{self!r} has no closed form.")
        return _divide(b, power + rho, self.ndim)

    @property
    def solves_primal(self) -> bool:
        return self.column_gram is not None or self._power() is not None

    @property
    def column_gram(self) -> float | None:
        grams = [A.column_gram for A in self.parts]
        return None if None in grams else sum(gram for gram in grams if gram is not None)

    @property
    def rows(self) -> int:
        return sum(A.rows for A in self.parts)

    def observed(self) -> Tensor | None:
        marks = [A.observed() for A in self.parts]
        if all(mark is None for mark in marks):
            return None
        ones = [torch.ones(A.out_shape, dtype=torch.bool, device=self.device) for A in self.parts]
        return self.join([one if mark is None else mark for one, mark in zip(ones, marks, strict=True)])

    def circulant(self) -> Tensor | float | None:
        powers = [A.circulant() for A in self.parts]
        known = [power for power in powers if power is not None]
        return sum(known[1:], known[0]) if known else None

    def _power(self) -> Tensor | None:
        """``sum_i |h_i|^2`` where every part is a circular convolution."""
        spectra = [A.spectrum() for A in self.parts]
        if any(h is None for h in spectra):
            return None
        return torch.stack([h.abs().square() for h in spectra if h is not None]).sum(dim=0)

    def __repr__(self) -> str:
        return f"Stack([{', '.join(map(repr, self.parts))}])"


def _divide(x: Tensor, spectrum: Tensor, ndim: int) -> Tensor:
    """Divide the real FFT of ``x`` over its last ``ndim`` axes."""
    axes = tuple(range(-ndim, 0))
    quotient: Tensor = torch.fft.irfftn(torch.fft.rfftn(x, dim=axes) / spectrum, s=x.shape[-ndim:], dim=axes)
    return quotient
