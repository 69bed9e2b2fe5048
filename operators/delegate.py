"""Operators that choose one of several implementations and stand for it."""

from __future__ import annotations

from torch import Tensor

from pnp.algebra import Derived
from pnp.linear_operator import LinearOperator


class Delegate(Derived):
    """An operator that does what its ``engine`` does: the engine's maps, solves and facts are its own."""

    @property
    def engine(self) -> LinearOperator:
        """The implementation that was chosen."""
        return self.operator

    def _forward(self, x: Tensor) -> Tensor:
        return self.engine._forward(x)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.engine._adjoint(y)

    def _solve_dual(self, r: Tensor, rho: float | Tensor) -> Tensor:
        return self.engine._solve_dual(r, rho)

    def _solve_primal(self, b: Tensor, rho: float | Tensor) -> Tensor:
        return self.engine._solve_primal(b, rho)

    def _precondition_dual(self, r: Tensor, rho: float | Tensor) -> Tensor:
        return self.engine._precondition_dual(r, rho)

    def _precondition_primal(self, b: Tensor, rho: float | Tensor) -> Tensor:
        return self.engine._precondition_primal(b, rho)

    def _tikhonov(
        self, y: Tensor, rho: float | Tensor, v: Tensor | None, tol: float | None, start: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        return self.engine._tikhonov(y, rho, v, tol, start)

    def _check(self, x: Tensor, shape: tuple[int, ...], method: str, what: str = "data") -> None:
        super()._check(x, shape, method, what)
        self.engine._check(x, shape, method, what)

    @property
    def row_gram(self) -> float | None:
        return self.engine.row_gram

    @property
    def column_gram(self) -> float | None:
        return self.engine.column_gram

    @property
    def row_powers(self) -> Tensor | float | None:
        return self.engine.row_powers

    @property
    def multiple(self) -> float | None:
        return self.engine.multiple

    def spectrum(self) -> Tensor | None:
        return self.engine.spectrum()

    def fold(self, power: Tensor) -> Tensor | None:
        return self.engine.fold(power)

    def circulant(self) -> Tensor | float | None:
        return self.engine.circulant()

    def observed(self) -> Tensor | None:
        return self.engine.observed()

    @property
    def solves_dual(self) -> bool:
        return self.engine.solves_dual

    @property
    def solves_primal(self) -> bool:
        return self.engine.solves_primal

    @property
    def rows(self) -> int:
        return self.engine.rows

    @property
    def incoherent(self) -> bool:
        return self.engine.incoherent

    @property
    def constant_row(self) -> int | None:
        return self.engine.constant_row

    @property
    def interpolates(self) -> bool:
        return self.engine.interpolates

    def start(self, y: Tensor) -> Tensor:
        return self.engine.start(y)

    def noise_level(self, y: Tensor) -> Tensor | None:
        return self.engine.noise_level(y)

    def route(self) -> str:
        return self.engine.route()

    def norm(self) -> float:
        return self.engine.norm()
