"""Denoising: the problem whose operator is a multiple of the identity."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from .data_terms import LeastSquares
from .result import Status
from .run import Run
from .solver import Solver


@dataclasses.dataclass(frozen=True, kw_only=True)
class Denoising(Solver):
    """One prior call on the data of ``A = factor * I``, at noise ``level`` (image units, > 0, (B, 1, 1, 1))."""

    level: Tensor
    factor: float = 1.0

    @property
    def iterations(self) -> int:
        return 1

    def _loop(self, run: Run) -> None:
        if not isinstance(run.f, LeastSquares):
            raise TypeError(f"Denoising.solve: expected a LeastSquares data term, got {run.f!r}.")
        v = run.f.data.reshape(run.start.shape) / self.factor
        if run.iteration:  # resumed after the only call
            run.stop(Status.CONVERGED)
        for _ in run.iterations():
            x = run.prior_step(v, self.level)
            change = x - v
            run.finish(x, change, change, self.level, torch.zeros(len(v), dtype=torch.bool))
            run.stop(Status.CONVERGED)  # what a callback or the clock has not stopped
