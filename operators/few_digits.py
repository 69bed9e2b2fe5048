"""Conjugate gradients in float32 for square, ill-conditioned operators."""

from __future__ import annotations

import torch
from torch import Tensor

from pnp.linear_operator import LinearOperator
from pnp.tikhonov import DEFAULT_TOLERANCE, align, largest_singular_value, primal_cg

from .cache import Cache

THRESHOLD = 1e-3  # rho / ||A||^2 below which the data side of a square system loses digits of float32


class FewDigits(LinearOperator):
    """An operator that solves on the image side where float32 has too few digits for the data side.

    Data that no image explains are divided by ``rho`` on the data side; once that exceeds the digits, only the image
    side is backward stable, to a residual of ``8 eps ||A||^2 ||x||``.
    """

    def __init__(self, in_shape: tuple[int, ...], out_shape: tuple[int, ...], *, ndim: int = 2) -> None:
        super().__init__(in_shape, out_shape, ndim=ndim)
        self._norm: Cache[float] = Cache()

    def norm(self) -> float:
        return self._norm.get(self._tensors(), lambda: largest_singular_value(self))

    def _tikhonov(
        self, y: Tensor, rho: float | Tensor, v: Tensor | None, tol: float | None, start: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        reals = not y.is_complex() and (v is None or not v.is_complex())
        if y.dtype == torch.float64 or not reals or self.in_shape != self.out_shape:
            return super()._tikhonov(y, rho, v, tol, start)
        condition = self.norm() ** 2 / float(torch.as_tensor(rho).min())
        if condition * THRESHOLD <= 1:
            return super()._tikhonov(y, rho, v, tol, start)
        reachable = 8 * torch.finfo(y.dtype).eps * condition
        gradient = self._adjoint(y if v is None else y - self._forward(v))
        rho = align(self, rho, self.in_shape)
        step = primal_cg(self, gradient, rho, v, max(tol or DEFAULT_TOLERANCE, reachable), None).x
        return (step if v is None else v + step), None
