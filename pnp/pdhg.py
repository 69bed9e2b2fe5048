"""Primal-dual hybrid gradient, for several convex terms behind operators of their own."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

import torch
from torch import Tensor

from .data_terms import DataTerm
from .functional import Functional
from .images import ArrayLike
from .linear_operator import LinearOperator
from .result import Result
from .run import Callback, Run, rms
from .solver import Solver
from .terms import Terms

SAFE = 0.99  # of the largest stable step: norms found by iteration are lower bounds
BALANCE = 1.5  # ratio of the residuals that moves the steps, and
ADAPTIVITY, DECAY = 0.5, 0.95  # by how much at first, and how fast that fades (Goldstein et al., sec. 3 and 6)
LONGEST = 1e3  # longest step, in units of the first: residuals of 0 on both sides say nothing about the scale


@dataclasses.dataclass(frozen=True, kw_only=True)
class PDHG(Solver):
    """Primal-dual hybrid gradient for ``min f(x) + sum_i g_i(K_i x)``, all convex.

    For problems with several convex terms, each behind an operator: one application of every ``K_i`` and its adjoint an
    iteration, one prox of every term, and no linear solve. The primal step is ``s^2``, the dual step of term ``i``
    ``1 / (m s^2 ||K_i||^2)`` for ``m`` terms; ``balanced`` moves ``s`` while it keeps primal and dual residual within a
    factor of 1.5 of each other, less and less as the run goes on. ``s`` sets the pace, not the answer.

    ``explicit`` takes a smooth ``f`` by its gradient instead of its prox (Condat, Vũ), with ``s^2`` at most one over the
    Lipschitz constant.

    A run has converged when the root mean squares of both residuals, ``s P`` and ``D_i / (s sqrt(m) ||K_i||)``, are below
    ``tol``, where ``P = (x - x_new) / s^2 - K^H (p - p_new)`` lies in the subdifferential of the primal objective and
    ``D = (p - p_new) / sigma - K (x - x_new)`` in that of the dual one. In the history ``primal`` and ``dual`` are these
    two numbers.

    Source: Chambolle & Pock, *A First-Order Primal-Dual Algorithm for Convex Problems*, 2011, alg. 1; Condat, *A
    Primal-Dual Splitting Method for Convex Optimization ...*, 2013, alg. 3.1; Goldstein et al., *Adaptive Primal-Dual
    Hybrid Gradient Methods for Saddle-Point Problems*, 2013, alg. 1.
    """

    s: float = 0.05
    balanced: bool = True
    explicit: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.s < float("inf"):
            raise ValueError(f"PDHG: expected s > 0 and finite, got {self.s!r}.")

    @property
    def iterations(self) -> int:
        return 2000 if self.max_iter is None else self.max_iter

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
        """Minimise ``f + sum_i g_i(K_i x)`` for ``g = [(g1, K1), ...]``; a single ``g`` stands for ``[(g, identity)]``.

        Everything else as for every solver: see ``Solver.solve``.

        Raises: ValueError for NaN/inf or a wrong shape, TypeError for integers or for what is no pair of a Functional
        and a LinearOperator.
        """
        return super().solve(
            f,
            g if isinstance(g, Functional) else Terms(g),
            x0,
            callback=callback,
            checkpoint=checkpoint,
            progress=progress,
            truth=truth,
            time_limit=time_limit,
        )

    def _loop(self, run: Run) -> None:
        if not isinstance(run.g, Terms):
            run.g = Terms([(run.g, None)])
        one = torch.ones_like(run.start.real.flatten(1)[:, :1]).reshape(-1, *(1,) * (run.start.ndim - 1))
        first = self.s * one
        if self.explicit:
            limit = torch.as_tensor(run.f.lipschitz(), dtype=one.dtype, device=one.device).rsqrt() * one
            first = torch.minimum(first, limit)
        norms = run.g.norms()
        K_x = run.g.forward(run.start)
        adaptivity = ADAPTIVITY * one
        x, s, K_x, p, K_p, adaptivity, limit = run.begin(
            x=run.start, s=first, K_x=K_x, p=torch.zeros_like(K_x), K_p=torch.zeros_like(run.start),
            adaptivity=adaptivity, limit=limit if self.explicit else LONGEST * first,
        )  # fmt: skip
        for _ in run.iterations():
            sigma = self._dual_step(s, norms)
            back = s**2 * K_p
            x, x_old = run.gradient_step(x, s) - back if self.explicit else run.data_step(x - back, s), x
            K_x, K_x_old = run.g.forward(x), K_x
            
            q = p / sigma + 2 * K_x - K_x_old
            p, p_old = sigma * (q - run.prior_step(q, sigma.rsqrt())), p
            K_p, K_p_old = run.g.adjoint(p), K_p
