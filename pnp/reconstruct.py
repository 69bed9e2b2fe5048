"""The front door: an image from data, an operator and a prior, with nothing to choose."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import torch
from torch import Tensor

from .admm import ADMM
from .automatic import LONG, SAFE, TOLERANCE, Plan, anchored_for_rows, annealing, recipe_for, recipes
from .checkpoint import Checkpoint, fingerprint
from .damp import DAMP
from .data_terms import DataTerm, LeastSquares
from .denoising import Denoising
from .functional import Functional
from .images import ArrayLike
from .linear_operator import LinearOperator
from .problem import Problem, pose
from .ranking import ranked
from .result import Choice, Result
from .run import Callback, Watch
from .solver import Solver, deadline_of

EFFORTS = ("fast", "auto", "best")
FEW_ROWS = 40  # below which message passing can end 10 dB behind ADMM; from here on it wins
MANY_ROWS = 0.2  # M / N from which ADMM recovers texture better with total variation: by 0.2 dB on average
STRENGTHS = (0.5, 1.0, 2.0)  # times the noise level, of the denoised images that are mixed


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
    for an identity the prior at three strengths, for rows that are random approximate message passing, for a convex
    prior with a value the minimiser itself, for missing pixels or an expensive prior a single annealed run, for
    everything else a few short annealed runs. What is run more than once is mixed so that Stein's unbiased risk
    estimate is least (without a noise level the best by generalised cross-validation is taken). ``effort="fast"`` makes
    one safe run, ``"best"`` more and longer ones. A ``Solver`` is used as it is.

    ``bounds`` (low, high) clips what the prior returns. ``truth`` adds the PSNR to history and progress bar, nothing
    else. Ctrl-C, ``time_limit`` (seconds), ``max_prior_calls`` and a callback that returns True end the work with the
    best image so far; ``checkpoint`` names a file that is written as the work goes and resumed when it exists.

    ``result.extras`` holds the ``"residual"`` A x - y where the data are a picture, and for an identity an
    ``"error_map"``, the expected rms error around each pixel.

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
    extras = {name: problem.restore(image) for name, image in result.extras.items()}
    if len(A.out_shape) >= A.ndim:
        extras["residual"] = problem.residual(result.x)
    parameters = problem.choices | dict(result.parameters)
    return dataclasses.replace(result, x=problem.restore(result.x), parameters=parameters, extras=extras)


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
            recipe = recipe_for(solver, f.operator, g)
            return self._single(recipe.plan(self.problem.noise, self.problem.span, LONG), "solver given")
        if solver != "auto":
            raise ValueError(f"reconstruct: expected a Solver, 'ADMM', 'HQS' or 'auto', got {solver!r}.")
        if not isinstance(f, LeastSquares):
            margin = 1.0 if f.operator.multiple is not None else 2.0  # 2 is better by up to 0.6 dB for photon counts
            schedule = annealing(self.problem.noise, self.problem.span, margin, 30)
            return self._single(
                Plan("ADMM", ADMM(s=schedule, tol=TOLERANCE), turns=True),
                "annealed, for a data term that is not Gaussian",
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
        return ranked(self.problem, plans, self._run, self.seed)

    def _plans(self, f: LeastSquares, effort: str) -> list[Plan]:
        choices = recipes(f, self.problem.g, effort)
        return [recipe.plan(self.problem.noise, self.problem.span, iterations) for recipe, iterations in choices]

    # ------------------------------------------------------------------ the ways
    def _denoise(self, f: LeastSquares, factor: float, effort: str) -> Result:
        """``A = c I``: the prior itself at several strengths, mixed with the data."""
        noise = torch.maximum(self.problem.noise, 1e-9 * self.problem.span)
        expensive = self.problem.g.cost == "expensive"
        few = self.max_calls is not None and self.max_calls < 2 * len(STRENGTHS)
        strengths = (1.0,) if effort == "fast" or expensive or few else STRENGTHS
        plans = [Plan(f"denoising at {k:g} noise levels", Denoising(level=k * noise, factor=factor)) for k in strengths]
        if expensive or self.max_calls == 1:
            return self._single(plans[0], "the operator is a multiple of the identity")
        return ranked(self.problem, plans, self._run, self.seed, factor)

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
        recipe = SAFE if self.problem.g.calibrated else anchored_for_rows(A.rows / A.columns)
        return self._single(recipe.plan(self.problem.noise, self.problem.span, 30), reason)

    def _single(self, plan: Plan, reason: str) -> Result:
        if self.max_calls is not None and plan.calls > self.max_calls:
            iterations = max(1, self.max_calls // plan.solver.calls_per_iteration)
            plan = dataclasses.replace(plan, solver=plan.solver.shortened(iterations))
            reason += f"; cut to {self.max_calls} prior calls"
        result = self._run(plan, self._strengthened(plan), self.problem.start, plan.name, self.watch.truth)
        parameters = {
            "solver": Choice(plan.name, reason),
            "prior_calls": Choice(result.prior_calls, "spent"),
        }
        if result.expected_psnr is None:
            parameters["expected_psnr"] = Choice(None, "unknown: the data say nothing about what the operator destroys")
        return dataclasses.replace(result, parameters=parameters)

    def _strengthened(self, plan: Plan) -> Any:
        f = self.problem.f
        return f.scaled(plan.strength) if isinstance(f, LeastSquares) and plan.strength != 1 else f

    def _run(self, plan: Plan, f: Any, start: Tensor, section: str, truth: Tensor | None) -> Result:
        watch = dataclasses.replace(self.watch, section=section, truth=truth)
        result = plan.solver.run(f, plan.prior(self.problem.g), start, watch)
        if result.history is None:
            return result
        history = dataclasses.replace(result.history, misfit=result.history.misfit * plan.strength)  # of the data's own
        return dataclasses.replace(result, history=history)
