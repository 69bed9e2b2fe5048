"""Operators whose regularised inverse is one known linear map, applied in a single pass."""

from __future__ import annotations

from torch import Tensor

from pnp.linear_operator import LinearOperator
from pnp.tikhonov import align, by_parts


class Direct(LinearOperator):
    """An operator that knows ``A^H (A A^H + rho I)^-1`` itself, through its singular values.

    A singular value ``s`` is met with the gain ``s / (s^2 + rho)``, at most ``1 / (2 sqrt(rho))``; the two-step route
    through a Gram matrix divides by ``rho`` first, which in float32 loses all digits once ``rho < 1e-7 ||A||^2``.
    """

    def _regularised_inverse(self, r: Tensor, rho: float | Tensor) -> Tensor:
        """``A^H (A A^H + rho I)^-1 r``; ``rho`` broadcasts against ``r``."""
        raise NotImplementedError(f"{self!r} does not implement _regularised_inverse.")

    def _tikhonov(
        self, y: Tensor, rho: float | Tensor, v: Tensor | None, tol: float | None, start: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        if y.is_complex() and not self.complex_out or v is not None and v.is_complex() and not self.complex_in:
            return by_parts(self, y, rho, v, tol), None
        step = self._regularised_inverse(self._residual(y, v), align(self, rho, self.out_shape))
        return (step if v is None else v + step), None
