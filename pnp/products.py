"""Products and sums of linear operators, with the closed forms that remain true."""

from __future__ import annotations

from torch import Tensor

from .circulant import divide
from .linear_operator import LinearOperator, common_lead


class Composition(LinearOperator):
    """``A B``. Exact where the factors make it so: both circulant; rows of ``B`` or columns of ``A`` orthogonal; ``B``
    circulant and ``A`` a decimation, or whatever else leaves ``A B B^H A^H`` circulant on its own grid.
    """

    def __init__(self, outer: LinearOperator, inner: LinearOperator) -> None:
        if outer.in_shape != inner.out_shape:
            raise ValueError(
                f"{outer!r} @ {inner!r}: expected the left factor to take what the right one gives, got "
                f"{outer.in_shape} and {inner.out_shape}; {_remedy(outer.in_shape, inner.out_shape)}."
            )
        if inner.complex_out and not outer.complex_in and outer.complex_out:
            raise TypeError(
                f"{outer!r} @ {inner!r}: the left factor takes real images, the right one gives complex data."
            )
        complex_in = inner.complex_in or (outer.complex_in and not inner.complex_out)
        complex_out = outer.complex_out or (inner.complex_out and not outer.complex_in)
        super().__init__(
            inner.in_shape,
            outer.out_shape,
            complex_in=complex_in,
            complex_out=complex_out,
            ndim=inner.ndim,
            lead=common_lead(outer, inner),
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
        return divide(r, power + rho, self.ndim)

    def _solve_primal(self, b: Tensor, rho: float | Tensor) -> Tensor:
        gram = self.outer.column_gram  # B^H A^H A B = gram B^H B
        if self.column_gram is None and gram and self.inner.solves_primal:
            return self.inner._solve_primal(b, rho / gram) / gram
        return super()._solve_primal(b, rho)

    def _precondition_dual(self, r: Tensor, rho: float | Tensor) -> Tensor:
        """Where ``A A^H = D`` is diagonal, ``S = D^-1/2 A`` selects from the grid on which ``B B^H`` is near a circular
        convolution ``C``, and ``(S C S^H + rho I)^-1`` is near ``S (C + rho I)^-1 S^H``.
        """
        powers = self.outer.row_powers
        power = self.inner.circulant() if self.inner.in_shape == self.inner.out_shape else None
        if powers is None or not isinstance(power, Tensor) or self.complex_in or self.complex_out:
            return super()._precondition_dual(r, rho)
        mean = powers
        if isinstance(powers, Tensor):  # entries that weigh next to nothing are left to the penalty
            mean = powers.sum() / (powers > 0).sum()
            powers = powers + rho / power.mean()
        inner_rho = rho
        if isinstance(rho, Tensor) and rho.ndim:  # from the shape of the data to that of the inner grid
            lead = rho.shape[: rho.ndim - len(self.out_shape)]
            inner_rho = rho.reshape(*lead, *(1,) * len(self.inner.out_shape))
        x = divide(self.outer._adjoint(r / powers), power + inner_rho / mean, self.inner.ndim)
        return self.outer._forward(x) / powers

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

    def _take(self, keep: Tensor) -> LinearOperator:
        return Composition(self.outer.take(keep), self.inner.take(keep))

    def __repr__(self) -> str:
        return f"{self.outer!r} @ {self.inner!r}"


class Sum(LinearOperator):
    """``A + B``; exact where both are circular convolutions."""

    def __init__(self, left: LinearOperator, right: LinearOperator) -> None:
        if (left.in_shape, left.out_shape) != (right.in_shape, right.out_shape):
            same_images = left.in_shape == right.in_shape
            different = (left.out_shape, right.out_shape) if same_images else (left.in_shape, right.in_shape)
            raise ValueError(
                f"{left!r} + {right!r}: expected operators between the same shapes, got {left.in_shape} -> "
                f"{left.out_shape} and {right.in_shape} -> {right.out_shape}; "
                f"{_remedy(*different)}."
            )
        if (left.complex_in, left.complex_out) != (right.complex_in, right.complex_out):
            raise TypeError(f"{left!r} + {right!r}: one is complex, the other real.")
        super().__init__(
            left.in_shape,
            left.out_shape,
            complex_in=left.complex_in,
            complex_out=left.complex_out,
            ndim=left.ndim,
            lead=common_lead(left, right),
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

    def _take(self, keep: Tensor) -> LinearOperator:
        return Sum(self.left.take(keep), self.right.take(keep))

    def __repr__(self) -> str:
        return f"{self.left!r} + {self.right!r}"


def _remedy(left: tuple[int, ...], right: tuple[int, ...]) -> str:
    """What to do about two shapes that do not fit."""
    short, long = sorted((left, right), key=len)
    if long[len(long) - len(short) :] == short:
        return f"leading dimensions are batch: build both for {short}, or both for {long}"
    return "build both for the same pixels"
