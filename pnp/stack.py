"""Several measurements of one image."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .circulant import divide
from .linear_operator import LinearOperator, common_lead


class Stack(LinearOperator):
    """``[A; B; ...]``: several measurements of one image, their data concatenated as flat vectors.

    Exact on the image side where every part is a circular convolution or has orthogonal columns; on the data side
    nothing is claimed, because the parts' rows overlap.

    Shapes: ``x`` (..., *in_shape); data (..., M1 + M2 + ...).
    Raises: ValueError if the parts are none or act on different images, TypeError if they mix real and complex ones.
    """

    def __init__(self, operators: Sequence[LinearOperator]) -> None:
        if not isinstance(operators, Sequence) or not all(isinstance(A, LinearOperator) for A in operators):
            raise TypeError(f"Stack: expected a list of linear operators, got {_kinds(operators)}; call Stack([A, B]).")
        if not operators:
            raise ValueError("Stack: expected at least one operator, got none; call Stack([A, B]).")
        first = operators[0]
        if any(A.in_shape != first.in_shape or A.ndim != first.ndim for A in operators):
            raise ValueError(f"Stack: the operators act on different images: {[A.in_shape for A in operators]}.")
        if any((A.complex_in, A.complex_out) != (first.complex_in, first.complex_out) for A in operators):
            raise TypeError("Stack: expected all operators real or all complex.")
        self_rows = sum(math.prod(A.out_shape) for A in operators)
        super().__init__(
            first.in_shape,
            (self_rows,),
            complex_in=first.complex_in,
            complex_out=first.complex_out,
            ndim=first.ndim,
            lead=common_lead(*operators),
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
        return divide(b, power + rho, self.ndim)

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
        powers = [h.abs().square() for h in (A.spectrum() for A in self.parts) if h is not None]
        return sum(powers[1:], powers[0]) if len(powers) == len(self.parts) else None

    def _take(self, keep: Tensor) -> LinearOperator:
        return Stack([A.take(keep) for A in self.parts])

    def __repr__(self) -> str:
        return f"Stack([{', '.join(map(repr, self.parts))}])"


def _kinds(operators: object) -> str:
    if isinstance(operators, Sequence):
        return f"one of {', '.join(type(A).__name__ for A in operators)}"
    return type(operators).__name__
