"""Denoising: the problem whose operator is a multiple of the identity."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from .data_terms import LeastSquares
from .run import Run
from .solver import Solver

PROBE = 0.2  # of the noise level: less flatters block matching, more wrongs non-local means

LEAST_RISK = 1e-3  # of the noise variance: no denoiser is believed to gain more than 30 dB


@dataclasses.dataclass(frozen=True, kw_only=True)
class Denoising(Solver):
    """One prior call an iteration, at each of ``strengths`` times the noise level; the least estimated error wins.

    ``noise`` (image units, > 0) is one number an image, (B, 1, 1, 1). ``measured`` costs a second call, for the
    divergence by a Monte-Carlo probe; without it the last strength wins.

    Source: Stein, *Estimation of the Mean of a Multivariate Normal Distribution*, 1981; Ramani, Blu & Unser,
    *Monte-Carlo SURE*, 2008, eq. 14.
    """

    noise: Tensor
    factor: float = 1.0
    strengths: tuple[float, ...] = (1.0,)
    measured: bool = True
    seed: int = 0

    @property
    def iterations(self) -> int:
        return len(self.strengths)

    @property
    def calls_per_iteration(self) -> int:
        return 1 + self.measured

    def _loop(self, run: Run) -> None:
        if not isinstance(run.f, LeastSquares):
            raise TypeError(f"Denoising.solve: expected a LeastSquares data term, got {run.f!r}.")
        v = run.f.data.reshape(run.start.shape) / self.factor
        signs = _signs(v, self.seed)
        step = PROBE * self.noise
        nothing = torch.zeros_like(v)
        x, best = run.begin(x=v, best=torch.full_like(self.noise, math.inf))
        fresh = run.g
        for iteration in run.iterations():
            run.g = fresh.fresh()
            level = self.strengths[iteration - 1] * self.noise
            candidate = run.prior_step(v, level)
            risk = torch.full_like(best, -math.inf)
            if self.measured:
                change = (run.prior_step(v + step * signs, level) - candidate) / step
                freedom = (signs.conj() * change).real.flatten(1).mean(dim=1).reshape(best.shape)
                parts = 1 + v.is_complex()
                error = (candidate - v).abs().square().flatten(1).mean(dim=1).reshape(best.shape)
                risk = error + self.noise**2 * (2 * freedom - parts)
                run.predict(torch.maximum(torch.minimum(best, risk), LEAST_RISK * self.noise**2))
            better = risk < best
            moved = torch.where(better, candidate - x, nothing)
            x, best = torch.where(better, candidate, x), torch.minimum(best, risk)
            done = torch.full((len(v),), iteration == self.iterations)
            x, best = run.finish(x, moved, moved, level, done, x=x, best=best)


def _signs(v: Tensor, seed: int) -> Tensor:
    """Random signs, the same for every image of a batch; of both parts of a complex image."""
    generator = torch.Generator().manual_seed(seed)

    def draw() -> Tensor:
        return torch.randint(0, 2, v.shape[1:], generator=generator).double() * 2 - 1

    return (torch.complex(draw(), draw()) if v.is_complex() else draw()).to(v)
