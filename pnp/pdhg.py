"""Primal-dual hybrid gradient, for several convex terms behind operators of their own."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence

import torch
from torch import Tensor

from .functional import Functional
from .images import ArrayLike
from .linear_operator import LinearOperator
from .result import Result
from .run import Callback, Run
from .solver import Solver
from .terms import Same, Terms

SHARE = 0.1  # of the largest value of the first image: where s starts unless given
FIRST_BALANCE = 10  # iterations before the step moves, again after twice as many, and so on
BOUND, EXPLICIT_BOUND = 0.98, 0.49  # of ||K||^2 after scaling; 1 and 1/2 are the limits of theory, norms are estimates


@dataclasses.dataclass(frozen=True, kw_only=True)
class PDHG(Solver):
    """Primal-dual hybrid gradient for ``min f(x) + sum_i g_i(K_i x)``, all convex.

    For several convex terms, each behind an operator: an iteration applies every ``K_i`` and its adjoint once and takes
    one prox of every term; it solves no linear system. The primal step is ``s^2``, the dual step of each of ``m`` terms
    ``1 / (m s^2 ||K_i||^2)``. ``s`` sets the pace, not the answer, and is a tenth of the largest value of the first
    image unless given; ``balanced`` moves it after 10, 20, 40 ... iterations towards ``s^2 = ||x - x0|| / ||p||``, the
    ratio of the ways that primal and dual variable have come, which would have been best from the start. ``explicit``
    takes a smooth ``f`` by its gradient instead of its prox, with ``s^2`` at most ``1/L``.

    With ``K`` scaled to norm 1 and ``u`` the dual variable times ``s^2``, the residuals are
    ``P = (x_old - x) - K^H (u_old - u)`` and ``D = (u_old - u) - K (x_old - x)``: ``P / s^2`` is a subgradient of the
    Lagrangian in ``x``, ``D`` one in the dual variable (with ``explicit``, ``P`` up to the change of the gradient of
    ``f``). An image has converged when the root mean squares of both are below ``tol s``; the history holds them as
    ``primal`` and ``dual``, in units of ``s``.

    Source: Chambolle & Pock, *A First-Order Primal-Dual Algorithm for Convex Problems*, 2011, alg. 1; Condat, *A
    Primal-Dual Splitting Method for Convex Optimization Involving Lipschitzian, Proximable and Linear Composite Terms*,
    2013, alg. 3.1; Applegate et al., *Practical Large-Scale Linear Programming using Primal-Dual Hybrid Gradient*,
    2021, sec. 3.3 (the ratio).
    """

    s: float | None = None
    balanced: bool = True
    explicit: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.s is not None and not 0 < self.s < math.inf:
            raise ValueError(f"PDHG: expected s > 0 and finite, got {self.s!r}.")

    @property
    def iterations(self) -> int:
        return 2000 if self.max_iter is None else self.max_iter

    @property
    def patience(self) -> int:
        return 20  # the residuals rise and fall before they settle

    def solve(
        self,
        f: Functional,
        g: Functional | Sequence[tuple[Functional, LinearOperator]],
        x0: ArrayLike | None = None,
        *,
        callback: Callback | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        progress: bool = True,
        truth: ArrayLike | None = None,
        time_limit: float | None = None,
    ) -> Result:
        """Minimise ``f + sum_i g_i(K_i x)`` for ``g = [(g1, K1), ...]``; all else is as for every solver.

        A single functional ``g`` stands for ``[(g, identity)]``.

        Raises: ValueError for NaN/inf or a wrong shape, TypeError for integers or for what is no pair of a Functional
        and a LinearOperator.
        """
        terms = g if isinstance(g, Functional) else Terms(g, bound=self._bound)
        return super().solve(
            f,
            terms,
            x0,
            callback=callback,
            checkpoint=checkpoint,
            progress=progress,
            truth=truth,
            time_limit=time_limit,
        )

    def _loop(self, run: Run) -> None:
        pairs = run.g if isinstance(run.g, Terms) else Terms([(run.g, Same(run.start.shape[1:]))], bound=self._bound)
        run.g = K = pairs.on(run.start)
        s, limit = self._steps(run)
        x, u, s, s_old, limit = run.begin(
            x=run.start, u=torch.zeros_like(K.forward(run.start)), s=s, s_old=s, limit=limit
        )
        for iteration in run.iterations():
            u = u * ((s / s_old) ** 2).reshape(-1, 1)  # the dual variable is u / s^2, and keeps its value
            back = K.adjoint(u)
            x, x_old = run.gradient_step(x, s) - back if self.explicit else run.data_step(x - back, s), x
            q = u + K.forward(2 * x - x_old)
            u, u_old = q - run.prior_step(q, s.reshape(-1, 1)), u  # Moreau: the prox of the conjugate

            primal = (x_old - x) - K.adjoint(u_old - u)
            dual = (u_old - u) - K.forward(x_old - x)
            s_next = self._balance(s, x - run.still_running(run.start), u, limit, iteration)
            x, u, s, s_old, limit = run.finish(x, primal, dual, s, x=x, u=u, s=s_next, s_old=s, limit=limit)

    @property
    def _bound(self) -> float:
        return EXPLICIT_BOUND if self.explicit else BOUND

    def _steps(self, run: Run) -> tuple[Tensor, Tensor]:
        """``s`` of every image at first, and the largest that is stable."""
        largest = run.still_running(run.range).reshape(-1, *(1,) * (run.start.ndim - 1))
        dark = largest <= torch.finfo(largest.dtype).tiny
        s = torch.where(dark, 1, SHARE * largest) if self.s is None else torch.full_like(largest, self.s)
        limit = torch.full_like(s, math.inf)
        if self.explicit:
            limit = torch.as_tensor(run.f.lipschitz(), dtype=s.dtype, device=s.device).rsqrt() * torch.ones_like(s)
            if not (limit > 0).all():
                raise ValueError(
                    f"PDHG.solve: the gradient of {run.f!r} has no Lipschitz constant; use explicit=False."
                )
        return torch.minimum(s, limit), limit

    def _balance(self, s: Tensor, moved: Tensor, u: Tensor, limit: Tensor, iteration: int) -> Tensor:
        """``s`` moved half the way, on a logarithmic scale, to where both variables have come equally far."""
        periods, rest = divmod(iteration, FIRST_BALANCE)
        if not self.balanced or rest or periods & (periods - 1) or iteration > self.iterations // 2:
            return s
        primal, dual = moved.flatten(1).norm(dim=1), u.flatten(1).norm(dim=1)
        known = (primal > 0) & (dual > 0)
        ratio = torch.where(known, primal, 1) / torch.where(known, dual, 1)  # of ||x - x0|| to s^2 ||p||
        return torch.minimum(s * ratio.reshape(-1, *(1,) * (s.ndim - 1)) ** 0.25, limit)
