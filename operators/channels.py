"""Each channel through an operator of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pnp.linear_operator import LinearOperator


class Channels(LinearOperator):
    """``(A x)_c = A_c x_c``; the solve is that of the parts.

    Shapes: ``parts`` each from (*grid) to (*data); ``x`` (..., C, *grid), ``A x`` (..., C, *data).
    """

    def __init__(self, parts: Sequence[LinearOperator]) -> None:
        first = parts[0]
        super().__init__((len(parts), *first.in_shape), (len(parts), *first.out_shape), ndim=first.ndim)
        self.parts = torch.nn.ModuleList(parts)

    def _forward(self, x: Tensor) -> Tensor:
        return self._each(lambda A, c: A._forward(self._channel(x, c)))

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._each(lambda A, c: A._adjoint(self._channel(y, c)))

    def _solve_dual(self, r: Tensor, rho: float | Tensor) -> Tensor:
        return self._each(lambda A, c: A._solve_dual(self._channel(r, c), rho))

    def _solve_primal(self, b: Tensor, rho: float | Tensor) -> Tensor:
        return self._each(lambda A, c: A._solve_primal(self._channel(b, c), rho))

    def _tikhonov(
        self, y: Tensor, rho: float | Tensor, v: Tensor | None, tol: float | None, start: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        def solve(A: LinearOperator, c: int) -> Tensor:
            return A._tikhonov(self._channel(y, c), rho, None if v is None else self._channel(v, c), tol, None)[0]

        return self._each(solve), None

    @property
    def solves_dual(self) -> bool:
        return all(A.solves_dual for A in self._operators())

    @property
    def solves_primal(self) -> bool:
        return all(A.solves_primal for A in self._operators())

    def norm(self) -> float:
        return max(A.norm() for A in self._operators())

    def route(self) -> str:
        return f"a channel at a time, {self._operators()[0].route()}"

    def _operators(self) -> list[LinearOperator]:
        return [A for A in self.parts if isinstance(A, LinearOperator)]

    def _each(self, f: Callable[[LinearOperator, int], Tensor]) -> Tensor:
        return torch.cat([f(A, c) for c, A in enumerate(self._operators())], dim=-self.ndim - 1)

    def _channel(self, x: Tensor, c: int) -> Tensor:
        return x.narrow(-self.ndim - 1, c, 1)
