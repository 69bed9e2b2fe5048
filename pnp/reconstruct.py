"""The front door: an image from data, an operator and a prior, with nothing to choose."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .admm import ADMM
from .automatic import SAFE, TOLERANCE, Plan, Recipe, annealing, recipes
from .checkpoint import Checkpoint, fingerprint
from .damp import DAMP
from .data_terms import DataTerm, LeastSquares
from .denoising import Denoising
from .functional import Functional
from .hqs import HQS
from .images import ArrayLike
from .linear_operator import LinearOperator
from .problem import Problem, pose
from .result import Choice, History, Result, Status, worst
from .risk import PROBE, Probe
from .run import Callback, Watch
from .solver import Solver, deadline_of

CUT_SHORT = (Status.INTERRUPTED, Status.TIME_LIMIT)
EFFORTS = ("fast", "auto", "best")
FEW_ROWS = 40  # below which message passing can end 10 dB behind ADMM; from here on it wins
MANY_ROWS = 0.2  # M / N from which ADMM recovers texture better with total variation: by 0.2 dB on average
STRENGTHS = tuple(0.5 * 2 ** (k / 3) for k in range(7))  # of an uncalibrated prior: half to twice the noise level


@torch.no_grad()
def reconstruct(
    y: ArrayLike,
    A: LinearOperator,
    prior: Functional,
    *,
    sigma: float | Tensor | str = "auto",
    solver: Solver | str = "auto",
    effort: str = "auto",
    data_term: DataTerm | None = None,
    bounds: tuple[float, float] | None = None,
    x0: ArrayLike | None = None,
    truth: ArrayLike | None = None,
    seed: int = 0,
    progress: bool = True,
    callback: Callback | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    time_limit: float | None = None,
    max_prior_calls: int | None = None,
) -> Result:
    """The image behind ``y = A x + noise``, as the prior sees it; ``y``, ``A`` and the prior suffice.

    What is chosen, and told in ``result.parameters``: the noise level (``estimate_noise``) unless ``sigma`` gives it;
    for an identity one denoising call, for rows that are random approximate message passing, for a convex prior with a
    value the minimiser itself, for a prior that is expensive a single annealed run, for everything else a few short
    annealed runs ranked by Stein's unbiased risk estimate (generalised cross-validation without a noise level).
    ``effort="fast"`` makes one safe run, ``"best"`` more and longer ones. A ``Solver`` is used as it is.

    ``bounds`` (low, high) clips what the prior returns. ``truth`` adds the PSNR to history and progress bar, nothing
    else. Ctrl-C, ``time_limit`` (seconds), ``max_prior_calls`` and a callback that returns True end the work with the
    best image so far; ``checkpoint`` names a file that is written as the work goes and resumed when it exists.

    Shapes: ``y`` (..., *A.out_shape) to ``x`` (..., *A.in_shape); NumPy in, NumPy out.
    Units: ``sigma`` and ``bounds`` in those of ``y`` and ``x``. Scaling ``y`` and ``sigma`` scales the answer.
    Raises: ValueError for a wrong shape, NaN/inf in observed data, a negative or NaN ``sigma``, an unknown word;
    TypeError for integers, or for a prior or operator that is none.
    """
    problem = pose(y, A, prior, sigma, data_term, bounds, x0, truth)
    if effort not in EFFORTS:
        raise ValueError(f"reconstruct: expected effort to be one of {EFFORTS}, got {effort!r}.")
    if max_prior_calls is not None and max_prior_calls < 1:
        raise ValueError(f"reconstruct: expected max_prior_calls >= 1, got {max_prior_calls!r}.")
    file = None
    if checkpoint is not None:
        settings = [repr(prior), solver, effort, seed, bounds, max_prior_calls, problem.start, *problem.f.identity()]
        file = Checkpoint(checkpoint, fingerprint(settings))
    deadline = deadline_of(time_limit, "reconstruct")
    watch = Watch(callback=callback, checkpoint=file, progress=progress, truth=problem.truth, deadline=deadline)
    work = _Work(problem, watch, seed, max_prior_calls)
    result = work.done_by(solver, effort)
    return dataclasses.replace(
        result, x=problem.restore(result.x), parameters=problem.choices | dict(result.parameters)
    )


@dataclasses.dataclass(frozen=True)
class _Work:
    """A posed problem with the means to solve it."""

    problem: Problem
    watch: Watch
    seed: int
    max_calls: int | None

    def done_by(self, solver: Solver | str, effort: str) -> Result:
        """The result of the solver, or of the rule that fits the problem."""
        f, g = self.problem.f, self.problem.g
        if isinstance(solver, Solver):
            return self._single(Plan(type(solver).__name__, solver), "given")
        if solver in ("ADMM", "HQS"):
            recipe = Recipe(
                ADMM if solver == "ADMM" else HQS, 1.0 if solver == "ADMM" else 0.3, 4.0 if solver == "ADMM" else 1.0
            )
            return self._single(
                recipe.plan(self.problem.noise, self.problem.span, 24), "solver given, annealed schedule"
            )
        if solver != "auto":
            raise ValueError(f"reconstruct: expected a Solver, 'ADMM', 'HQS' or 'auto', got {solver!r}.")
        if not isinstance(f, LeastSquares):
            margin = 1.0 if f.operator.multiple is not None else 2.0  # 2 is better by up to 0.6 dB for photon counts
            schedule = annealing(self.problem.noise, self.problem.span, margin, 30)
            return self._single(
                Plan("ADMM", ADMM(s=schedule, tol=TOLERANCE)), "annealed, for a data term that is not Gaussian"
            )
        if f.operator.multiple:
            return self._denoise(f, f.operator.multiple, effort)
        if g.convex and g.has_value:
            solver = ADMM(s=0.1 * self.problem.span.double()[None], balanced=True, max_iter=500, tol=1e-3)
            return self._single(Plan("ADMM", solver), "convex prior of given weight: the minimiser itself")
        if f.operator.incoherent and g.cost != "expensive" and not self.problem.start.is_complex():
            return self._random_rows(f)
        if g.cost == "expensive":
            plan = SAFE.plan(self.problem.noise, self.problem.span, 20)
            return self._single(plan, "an expensive prior gets one annealed run")
        plans = self._plans(f, effort)
        if effort == "fast" or self.max_calls is not None and self.max_calls < 2 * sum(plan.calls for plan in plans):
            return self._single(self._plans(f, "fast")[0], "the single safe schedule")
        return self._ranked(plans, f)

    def _plans(self, f: LeastSquares, effort: str) -> list[Plan]:
        choices, iterations = recipes(f, self.problem.g, effort)
        return [recipe.plan(self.problem.noise, self.problem.span, iterations) for recipe in choices]

    # ------------------------------------------------------------------ the ways
    def _denoise(self, f: LeastSquares, factor: float, effort: str) -> Result:
        """``A = c I``: the prior itself, its strength by SURE where it is not calibrated."""
        g, span = self.problem.g, self.problem.span
        noise = torch.maximum(self.problem.noise, 1e-9 * span)
        strengths = (1.0,) if g.calibrated or effort == "fast" else STRENGTHS
        if self.max_calls is not None and self.max_calls < 2 * len(strengths):
            strengths = (1.0,)
        measured = (len(strengths) > 1 or g.cost != "expensive") and self.max_calls != 1
        solver = Denoising(noise=noise, factor=factor, strengths=strengths, measured=measured, seed=self.seed)
        result = self._run(Plan("denoising", solver), f, self.problem.start, "denoising", self.watch.truth)
        parameters = {
            "solver": Choice("one denoising call", "the operator is a multiple of the identity"),
            "prior_calls": Choice(result.iterations * solver.calls_per_iteration, "spent, probes included"),
        }
        if len(strengths) > 1 and result.history is not None:
            levels, moved = result.history.s, result.history.dual > 0
            last = (moved * torch.arange(1, len(levels) + 1)[:, None]).argmax(dim=0)  # the last level that won
            chosen = levels[last, torch.arange(levels.shape[1])] / noise.flatten().double().cpu()
            parameters["strength"] = Choice(chosen, f"least SURE of {len(strengths)} strengths")
        return dataclasses.replace(result, parameters=parameters)

    def _random_rows(self, f: LeastSquares) -> Result:
        """Message passing, unless the prior leaves its strength open and the rows are many."""
        A = f.operator
        if self.max_calls == 1:  # an iteration of message passing takes two
            reason = "a single prior call"
        elif A.rows < FEW_ROWS:
            reason = "too few random rows for message passing, which reads its noise level off them"
        elif not self.problem.g.calibrated and A.rows >= MANY_ROWS * A.columns:
            reason = "many random rows and a prior that leaves its strength open"
        else:
            plan = Plan("DAMP", DAMP(seed=self.seed))
            return self._single(plan, "random rows: every iteration knows its noise level")
        return self._single(SAFE.plan(self.problem.noise, self.problem.span, 24), reason)

    def _single(self, plan: Plan, reason: str) -> Result:
        if self.max_calls is not None and plan.calls > self.max_calls:
            iterations = max(1, self.max_calls // plan.solver.calls_per_iteration)
            plan = dataclasses.replace(plan, solver=plan.solver.shortened(iterations))
            reason += f"; cut to {self.max_calls} prior calls"
        result = self._run(plan, self._strengthened(plan), self.problem.start, plan.name, self.watch.truth)
        parameters = {
            "solver": Choice(plan.name, reason),
            "prior_calls": Choice(result.iterations * plan.solver.calls_per_iteration, "spent"),
        }
        if result.expected_psnr is None:
            parameters["expected_psnr"] = Choice(None, "unknown: the data say nothing about what the operator destroys")
        return dataclasses.replace(result, parameters=parameters)

    def _ranked(self, plans: Sequence[Plan], f: LeastSquares) -> Result:
        """Every plan twice, on the data and on slightly moved data; per image the one of least predicted risk."""
        scale = max(f.operator.norm(), torch.finfo(self.problem.start.real.dtype).tiny)
        step = PROBE * scale * torch.maximum(self.problem.noise, 1e-4 * self.problem.span)
        probe = Probe(f, step, scale * self.problem.span, self.seed)
        moved = probe.shifted()
        moved_start = (
            self.problem.start if self.problem.given_start else moved.start().reshape(self.problem.start.shape)
        )
        results: list[Result] = []
        risks: list[Tensor] = []
        errors: list[Tensor] = []
        calls, stopped = 0, None
        for plan in plans:
            result = self._run(plan, self._strengthened(plan), self.problem.start, plan.name, self.watch.truth)
            results.append(result)
            calls += result.iterations
            if result.status in CUT_SHORT:
                stopped = result.status
                break
            shifted_term = self._strengthened(plan).moved(probe.step * probe.direction)
            shifted = self._run(plan, shifted_term, moved_start, f"{plan.name}, probe", None)
            calls += shifted.iterations
            if shifted.status in CUT_SHORT:
                stopped = shifted.status
                break
            risk = probe.ranking(result.x, shifted.x) if self.problem.known_noise else probe.gcv(result.x, shifted.x)
            errors.append(probe.sure(result.x, shifted.x))
            bad = torch.tensor([status is Status.NON_FINITE for status in result.statuses], device=risk.device)
            risks.append(torch.where(bad | risk.isnan(), math.inf, risk))
        criterion = "SURE" if self.problem.known_noise else "GCV"
        if not risks:
            parameters = {"solver": Choice(plans[0].name, "stopped before any ranking")}
            return dataclasses.replace(results[0], status=stopped or results[0].status, parameters=parameters)
        table = torch.stack(risks)
        winners = table.argmin(dim=0).tolist()
        expected = torch.stack([errors[w][i] for i, w in enumerate(winners)]).clamp_min(0).sqrt()
        merged = _merge(results, winners)
        names = [plans[w].name for w in winners]
        ranking = "; ".join(f"{plan.name}: {row.mean():.3g}" for plan, row in zip(plans, table, strict=False))
        reason = f"least {criterion} of {ranking}" if len(plans) > 1 else "the schedule for missing data"
        return dataclasses.replace(
            merged,
            status=stopped or merged.status,
            parameters={
                "solver": Choice(names[0] if len(set(names)) == 1 else names, reason),
                "prior_calls": Choice(calls, "spent, probes included"),
                "expected_data_error": Choice(expected, "rms of A x - A truth, by SURE"),
                "expected_psnr": Choice(None, "unknown: the data say nothing about what the operator destroys"),
            },
        )

    def _strengthened(self, plan: Plan) -> Any:
        f = self.problem.f
        return f.scaled(plan.strength) if isinstance(f, LeastSquares) and plan.strength != 1 else f

    def _run(self, plan: Plan, f: Any, start: Tensor, section: str, truth: Tensor | None) -> Result:
        return plan.solver.run(f, self.problem.g, start, dataclasses.replace(self.watch, section=section, truth=truth))


def _merge(results: Sequence[Result], winners: list[int]) -> Result:
    """Image ``i`` of result ``winners[i]``; seconds are those of all runs."""
    histories = [result.history for result in results if result.history is not None]
    length = max(len(history.s) for history in histories)

    def pad(column: Tensor) -> Tensor:
        missing = torch.full((length - column.shape[0], *column.shape[1:]), math.nan if column.ndim > 1 else 0.0)
        return torch.cat([column, missing.to(column)])

    columns = {}
    for field in dataclasses.fields(History):
        padded = [pad(getattr(history, field.name)) for history in histories]
        per_image = padded[0].ndim > 1
        columns[field.name] = (
            torch.stack([padded[w][:, i] for i, w in enumerate(winners)], dim=1)
            if per_image
            else torch.stack(padded).sum(0)
        )
    statuses = tuple(results[w].statuses[i] for i, w in enumerate(winners))
    x = torch.stack([results[w].x[i] for i, w in enumerate(winners)])
    iterations = max(results[w].iterations for w in winners)
    return Result(x, worst(list(statuses)), iterations, History(**columns), statuses=statuses)
