"""Proximal gradient descent, accelerated."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from .functional import Functional
from .run import Run
from .solver import Solver


@dataclasses.dataclass(frozen=True, kw_only=True)
class FISTA(Solver):
    """Accelerated proximal gradient descent for ``min f(x) + g(x)`` with smooth ``f``.

    One gradient of ``f`` an iteration in place of a solve: for operators without a closed form, or data terms without a
    prox. The step is ``1/L``, one over the Lipschitz constant of the gradient, so the prior is asked to denoise at the
    level ``s = 1/sqrt(L)``; for ``LeastSquares`` that is the noise of the data in image units, ``sigma / ||A||``.
    ``momentum=False`` is plain proximal gradient descent, the safer loop for a denoiser that is no proximal map.
    ``restart`` drops the momentum of an image whenever it points uphill, which removes the ripples of convex problems.

    Source: Beck & Teboulle, *A Fast Iterative Shrinkage-Thresholding Algorithm for Linear Inverse Problems*, 2009,
    eq. 4.1 to 4.3; O'Donoghue & Candès, *Adaptive Restart for Accelerated Gradient Schemes*, 2015, eq. 12.
    """

    momentum: bool = True
    restart: bool = True

    @property
    def iterations(self) -> int:
        return 500 if self.max_iter is None else self.max_iter

    @property
    def patience(self) -> int:
        return 4  # momentum makes ripples

    def _loop(self, run: Run) -> None:
        first = torch.ones_like(run.still_running(run.range)).reshape(-1, *(1,) * (run.start.ndim - 1))
        x, z, t, s = run.begin(x=run.start, z=run.start, t=first, s=_level(run.f, first))
        for _ in run.iterations():
            x, x_old = run.prior_step(run.gradient_step(z, s), s), x
            if self.restart:
                t = torch.where(_inner(z - x, x - x_old) > 0, 1, t)
            t, t_old = (1 + (1 + 4 * t**2).sqrt()) / 2, t
            gradient, change = x - z, x - x_old
            z = x + (t_old - 1) / t * change if self.momentum else x
            x, z, t, s = run.finish(x, gradient, change, s, x=x, z=z, t=t, s=s)


def _level(f: Functional, like: Tensor) -> Tensor:
    """``s = 1/sqrt(L)`` of every image."""
    constant = torch.as_tensor(f.lipschitz(), dtype=like.dtype, device=like.device)
    if not ((constant > 0) & (constant < math.inf)).all():
        raise ValueError(
            f"FISTA.solve: the gradient of {f!r} has no usable Lipschitz constant, got {constant.flatten().tolist()}; "
            "give a noise level (LeastSquares) or a background (Poisson) above 0, or use ADMM."
        )
    return constant.rsqrt() * like


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """Real part of ``<a, b>`` of each image, (B, 1, 1, 1)."""
    return (a.conj() * b).real.flatten(1).sum(dim=1).reshape(-1, *(1,) * (a.ndim - 1))
