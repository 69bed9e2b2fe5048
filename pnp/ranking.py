"""Several reconstructions of the same data, made into one: each is probed, and the mixture of least risk returned."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .automatic import Plan, fading
from .band_gains import equalized
from .data_terms import LeastSquares
from .problem import Problem
from .result import Choice, History, Result, Status, worst
from .risk import PROBE, Probe

# Pull of a mixture towards its best part, in units of the noise. On six pictures, four priors and three noise levels
# denoising gains 0.11 dB over the one fixed strength (0.04 by selection) and loses 0.08 dB at worst. On camera, coins
# and astronaut undoing a blur or decimation gains 0.05 dB over the selected candidate and 0.02 over the best one.
RIDGE_DENOISING, RIDGE = 0.03, 0.002
LEAST_NOISE = 1e-4  # of the range: the smallest step of a probe
LEAST_RISK = 1e-3  # of the noise variance: no denoiser is believed to gain more than 30 dB
# Of the noise variance: a risk estimated this far below zero, and four standard errors of the estimate, says that the
# noise is weaker than it was called. Denoising camera and coins (64 pixels, noise 0.1) with twice the true level, the
# extrapolating mixture lost 12 to 14 dB to the denoiser alone.
IMPOSSIBLE = 0.1
CUT_SHORT = (Status.INTERRUPTED, Status.TIME_LIMIT)

RunPlan = Callable[[Plan, LeastSquares, Tensor, str, Tensor | None], Result]


def ranked(problem: Problem, plans: Sequence[Plan], run: RunPlan, seed: int, factor: float | None = None) -> Result:
    """Run every plan twice, on the data and on slightly moved data, and mix the outcomes, image by image.

    ``run(plan, data term, start, section, truth)`` makes one run. ``factor`` c says that ``A = c I``: the data
    themselves are a candidate then, and the risk is that of the image; if it comes out impossibly low, the noise is
    weaker than its level says, and neither extrapolation nor gains are trusted. Without a noise level the best
    candidate is taken as it is.
    """
    f = problem.f
    if not isinstance(f, LeastSquares):
        raise TypeError(f"ranked: expected a LeastSquares data term, got {f!r}.")
    shape = problem.start.shape
    scale = max(f.operator.norm(), torch.finfo(problem.start.real.dtype).tiny)
    level = scale * torch.maximum(problem.noise, LEAST_NOISE * problem.span)
    probe = Probe(f, level, scale * problem.span, PROBE, seed)
    moved = probe.shifted()
    moved_start = problem.start if problem.given_start else moved.start().reshape(shape)
    results: list[Result] = []
    pairs: list[tuple[Tensor, Tensor]] = []
    calls, stopped = 0, None
    for plan in plans:
        first = run(plan, f.scaled(plan.strength), problem.start, plan.name, problem.truth)
        calls += first.prior_calls
        if first.status in CUT_SHORT:
            stopped = first.status
            break
        again = run(plan, moved.scaled(plan.strength), moved_start, f"{plan.name}, probe", None)
        calls += again.prior_calls
        if again.status in CUT_SHORT:
            stopped = again.status
            break
        results.append(first)
        pairs.append((first.x, again.x))
    if not results:
        parameters = {
            "solver": Choice(plans[0].name, "stopped before any ranking"),
            "prior_calls": Choice(calls, "spent, probes included"),
            "expected_psnr": Choice(None, "unknown: stopped before a probe had measured the risk"),
        }
        return _cut(dataclasses.replace(first, parameters=parameters), stopped)
    names = [plan.name for plan in plans[: len(results)]]
    if factor is not None and problem.known_noise:  # cross-validation is blind to an estimate that fits everything
        names.append("the data themselves")
        pairs.append((f.data.reshape(shape) / factor, moved.data.reshape(shape) / factor))
    images, shifted = zip(*pairs, strict=True)
    criterion = "SURE" if problem.known_noise else "GCV"
    risks, weights = _weights(problem, probe, images, shifted, factor)
    broken = torch.tensor([[s is Status.NON_FINITE for s in result.statuses] for result in results]).T.to(risks.device)
    risks[:, : len(results)].masked_fill_(broken, math.inf)
    alone = broken.any(dim=1) | risks.isnan().any(dim=1)
    weights = torch.where(alone[:, None], _alone(risks), weights)
    x, x_shifted = (_mix(part, weights) for part in (images, shifted))
    parameters = {}
    doubtful = torch.full_like(alone, not problem.known_noise)
    if problem.known_noise:
        doubtful = _impossible(probe, x, x_shifted)
        better, better_shifted, gains = equalized(probe, x, x_shifted, fading(problem.g))
        plain = ~gains.isfinite().all(dim=1)
        if factor is not None:
            plain |= doubtful
            if bool((doubtful & ~alone).any()):
                careful = probe.moments(images, shifted).mixture(RIDGE_DENOISING, convex=True)
                weights = torch.where((doubtful & ~alone)[:, None], careful, weights)
                x, x_shifted = (_mix(part, weights) for part in (images, shifted))
        where = plain.reshape(-1, *(1,) * (x.ndim - 1))
        x, x_shifted = torch.where(where, x, better), torch.where(where, x_shifted, better_shifted)
        gains = torch.where(plain[:, None], 1, gains)
        parameters["gains"] = Choice(gains, "of bands of frequency, two an octave, by least SURE")
    x, x_shifted = problem.bounded(x), problem.bounded(x_shifted)
    error = probe.sure(x, x_shifted).masked_fill(doubtful, math.nan)
    merged = _merge(results, risks[:, : len(results)].argmin(dim=1).tolist())
    each = ", ".join(f"{risk:.3g}" for risk in risks.mean(dim=0).tolist())
    reason = f"mixed by least {criterion}; alone {each}" if len(names) > 1 else "the schedule for what was not measured"
    parameters |= {
        "solver": Choice("; ".join(names), reason),
        "weights": Choice(weights, "of these in the mixture"),
        "prior_calls": Choice(calls, "spent, probes included"),
        "expected_data_error": Choice(error.clamp_min(0).sqrt(), "rms of A x - A truth, by SURE"),
    }
    blind = "the noise is weaker than sigma says" if problem.known_noise else "so is the noise level"
    if doubtful.all():
        parameters["expected_data_error"] = Choice(None, f"unknown: {blind}")
    expected, extras = None, {}
    if factor is None:
        parameters["expected_psnr"] = Choice(None, "unknown: the data say nothing about what the operator destroys")
    elif doubtful.all():
        parameters["expected_psnr"] = Choice(None, f"unknown: {blind}")
    else:
        expected = -10 * torch.log10(torch.maximum(error, LEAST_RISK * level.flatten() ** 2) / factor**2).double().cpu()
        if not x.is_complex():
            extras["error_map"] = probe.error_map(x, x_shifted).reshape(shape) / abs(factor)
    return _cut(dataclasses.replace(merged, x=x, expected_psnr=expected, parameters=parameters, extras=extras), stopped)


def _cut(result: Result, stopped: Status | None) -> Result:
    """The result of candidates of which the last was stopped."""
    if stopped is None:
        return result
    statuses = [worst([status, stopped]) for status in result.statuses]
    return dataclasses.replace(result, status=worst(statuses), statuses=tuple(statuses))


def _impossible(probe: Probe, x: Tensor, x_shifted: Tensor) -> Tensor:
    """Where the estimated risk is further below zero than its own error allows. Shape (B,)."""
    error = math.sqrt(2 / (probe.f.count() * probe.parts))
    unit = probe.parts * probe.f.sigma.reshape(-1).square()
    return probe.sure(x, x_shifted) < -(IMPOSSIBLE + 4 * error) * unit


def _weights(
    problem: Problem, probe: Probe, images: Sequence[Tensor], shifted: Sequence[Tensor], factor: float | None
) -> tuple[Tensor, Tensor]:
    """The risk of every candidate and its weight in the mixture, both (B, K)."""
    if not problem.known_noise:
        risks = torch.stack([probe.gcv(x, later) for x, later in zip(images, shifted, strict=True)], dim=1).double()
        return risks, _alone(risks)
    moments = probe.moments(images, shifted)
    if factor is None:  # what the operator dims is known less well: beyond the candidates 2 dB were lost
        return moments.risks, moments.mixture(RIDGE, convex=True)
    return moments.risks, moments.mixture(RIDGE_DENOISING)


def _alone(risks: Tensor) -> Tensor:
    """Weight one for the least risk of each image."""
    return torch.eye(risks.shape[1]).to(risks)[risks.nan_to_num(math.inf).argmin(dim=1)]


def _mix(images: Sequence[Tensor], weights: Tensor) -> Tensor:
    """The mixture of each image; what has no weight may hold anything."""
    mixture = torch.zeros_like(images[0])
    for image, weight in zip(images, weights.T.to(images[0].real.dtype), strict=True):
        weight = weight.reshape(-1, *(1,) * (image.ndim - 1))
        mixture = mixture + torch.where(weight != 0, weight * image, 0)
    return mixture


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
    iterations, calls = (max(getattr(results[w], name) for w in winners) for name in ("iterations", "prior_calls"))
    return Result(x, worst(list(statuses)), iterations, History(**columns), statuses=statuses, prior_calls=calls)
