"""Alternating direction method of multipliers."""

from __future__ import annotations

import dataclasses

import torch

from .run import Run, rms
from .solver import Splitting

BALANCE = 10.0  # residual ratio that moves the penalty, and
BALANCE_STEP = 2.0  # the factor it moves by (Boyd et al., sec. 3.4.1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ADMM(Splitting):
    """Alternating direction method of multipliers for ``min f(x) + g(x)``, split as ``x = z``.

    The penalty is ``1/s^2``. A fixed ``s`` sets the pace, not the answer, of a convex problem; a falling schedule
    anneals a denoiser; ``balanced`` keeps primal and dual residual within a factor of ten of each other, for convex
    problems whose scale is unknown. ``relaxation`` between 1 and 2 extrapolates the data step.

    Source: Boyd et al., *Distributed Optimization and Statistical Learning via the Alternating Direction Method of
    Multipliers*, 2011, sec. 3.1.1, 3.3.1, 3.4.1 and 3.4.3; Venkatakrishnan, Bouman & Wohlberg, *Plug-and-Play Priors
    for Model Based Reconstruction*, 2013.
    """

    relaxation: float = 1.0
    balanced: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.relaxation < 2:
            raise ValueError(f"ADMM: expected relaxation in (0, 2), got {self.relaxation!r}.")

    def _loop(self, run: Run) -> None:
        first = self.level(1, run.start)
        z, u, s, s_old = run.begin(z=run.start, u=torch.zeros_like(run.start), s=first, s_old=first)
        for iteration in run.iterations():
            s = s if self.balanced else run.still_running(self.level(iteration, run.start))
            u = u * (s / s_old) ** 2  # the dual variable is u / s^2, and keeps its value when s changes
            x = run.data_step(z - u, s)
            x = self.relaxation * x + (1 - self.relaxation) * z
            z, z_old = run.prior_step(x + u, s), z
            u = u + x - z
            s_next = self._balance(s, rms(x - z), rms(z - z_old), iteration) if self.balanced else s
            z, u, s, s_old = run.finish(z, x - z, z - z_old, s, z=z, u=u, s=s_next, s_old=s)

    def _balance(self, s: torch.Tensor, primal: torch.Tensor, dual: torch.Tensor, iteration: int) -> torch.Tensor:
        if iteration > self.iterations // 2:  # a penalty that settles keeps the convergence theorem
            return s
        shape = (-1, *(1,) * (s.ndim - 1))
        larger = (primal > BALANCE * dual).reshape(shape)
        smaller = (dual > BALANCE * primal).reshape(shape)
        root = BALANCE_STEP**0.5
        return torch.where(larger, s / root, torch.where(smaller, s * root, s))
