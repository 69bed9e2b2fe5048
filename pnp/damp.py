"""Denoising-based approximate message passing, for operators with random rows."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from .data_terms import LeastSquares
from .functional import Functional
from .result import History, Result, worst
from .risk import Moments
from .run import Run, Watch
from .solver import Solver

PROBE = 0.1  # step of the divergence probe, in units of the noise level
MAX_DIVERGENCE = 0.9  # per pixel; beyond it the correction amplifies noise
STALLED, RISEN = 0.99, 1.10  # of the best noise level: twice above the first, or once above the second, ends a run
# The last images differ by errors of their own: their mean is better by 0.05 dB, and by 0.3 dB where few measurements
# let the level wander. A level below the first share of the best begins a new mean, one above the second is left out.
BETTER, NEAR = 0.95, 1.2
# Near the end, at small noise levels, the prior's result at a higher level is mixed in by least risk: 0.3 dB at half of
# the measurements, 1 dB with non-local means. Earlier, or at higher levels, what this gains is lost again later.
HIGHER = 1.5  # times the noise level
SETTLED, FINE = 0.8, 0.05  # mixed at levels above this share of the last and below this share of the range
RIDGE = 0.01  # of the mixture, in units of the noise


@dataclasses.dataclass(frozen=True, kw_only=True)
class DAMP(Solver):
    """Approximate message passing with a denoiser: ``x = D(r, s)``, ``r`` the truth plus white noise of level ``s``.

    For operators whose rows are random (``A.incoherent``) each iteration knows its own noise level: there is nothing
    to choose, and ``s`` is an honest error estimate. Rows that are orthogonal (``A A^H = c I``) take the orthogonal
    form, in which the denoiser's output is made divergence-free; independent rows with columns of unit norm take the
    Onsager term. The row that sees the constant image gets unit gain, because its coefficient is no random sample. A
    run ends when ``s`` stops falling, and returns the mean of the images near the smallest ``s``. One iteration costs
    two prior calls, the second for the divergence by a Monte-Carlo probe; near the end four, because the results at two
    levels are mixed by least risk. The channels of a picture are solved apart: what is still missing is alike in all of
    them, so that their errors together are not white.

    Source: Metzler, Maleki & Baraniuk, *From Denoising to Compressed Sensing*, 2016, eq. 9 (D-AMP) and sec. V-B (the
    probe); Ma & Ping, *Orthogonal AMP*, 2017, eq. 13; Xue, Ma & Yuan, *Denoising-Based Turbo Compressed Sensing*, 2017.
    """

    seed: int = 0

    @property
    def iterations(self) -> int:
        return 25 if self.max_iter is None else self.max_iter

    @property
    def calls_per_iteration(self) -> int:
        return 4  # at most

    def run(self, f: Functional, g: Functional, start: Tensor, watch: Watch) -> Result:
        batch, channels = start.shape[:2]
        A = self._check(f).operator
        if channels == 1 or len(A.in_shape) > A.ndim:
            return super().run(f, g, start, watch)
        apart = start.reshape(batch * channels, 1, *start.shape[2:])
        truth = None if watch.truth is None else watch.truth.reshape(apart.shape)
        result = super().run(self._check(f).channels_apart(), g, apart, dataclasses.replace(watch, truth=truth))
        return _together(result, batch, channels)

    def _check(self, f: Functional) -> LeastSquares:
        if not isinstance(f, LeastSquares):
            raise TypeError(f"DAMP.solve: expected a LeastSquares data term, got {f!r}.")
        if f.data.is_complex():
            raise TypeError(f"DAMP.solve: expected real data, got {f.data.dtype}; use ADMM or HQS.")
        if f.operator.row_gram is None and not f.operator.incoherent:
            raise ValueError(f"DAMP.solve: {f.operator!r} has neither orthogonal nor random rows; use ADMM or HQS.")
        return f

    def _loop(self, run: Run) -> None:
        f = self._check(run.f)
        first = _mean_image(f, run.start)
        generator = torch.Generator().manual_seed(self.seed)
        sign = torch.randint(0, 2, run.start.shape[1:], generator=generator).to(run.start) * 2 - 1
        huge = torch.full((len(first), *(1,) * (first.ndim - 1)), math.inf).to(first)
        none = torch.zeros_like(huge)
        x, memory, best, count, s_best, s_last, stalls, risk = run.begin(
            x=first,
            memory=torch.zeros_like(f.data),
            best=first,
            count=none,
            s_best=huge,
            s_last=huge,
            stalls=none,
            risk=huge,
        )
        for _ in run.iterations():
            f = self._check(run.f)
            r, s, memory = _decouple(f, x, memory, run)
            image, a = _denoised(run, r, s, sign)
            late = (s >= SETTLED * s_last) & (s <= FINE * run.still_running(run.range).reshape(s.shape))
            if late.any():
                image, a = _mixed(run, r, s, sign, image, a, late.flatten().nonzero()[:, 0])
            a = a.clamp(0, MAX_DIVERGENCE)
            x = (image - a * r) / (1 - a) if f.operator.row_gram is not None else image
            onsager = a * (f.operator.columns / f.operator.rows)  # times the residual: the next one's correction
            memory = memory * onsager.reshape(-1, *(1,) * (memory.ndim - 1))

            stalls = stalls + (s >= STALLED * s_best)
            done = (stalls >= 2) | (s > RISEN * s_best)
            count = torch.where(s < BETTER * s_best, 0, count)
            near = s <= NEAR * s_best
            count = count + near
            change = torch.where(near, (image - best) / count.clamp_min(1), 0)
            best = best + change
            error = (image - r).square().flatten(1).mean(dim=1).reshape(s.shape) + s**2 * (2 * a - 1)
            risk = torch.where(near, error, risk)
            s_best = torch.minimum(s, s_best)
            run.predict(risk)
            x, memory, best, count, s_best, s_last, stalls, risk = run.finish(
                best,
                change,
                change,
                s,
                done.flatten(),
                x=x,
                memory=memory,
                best=best,
                count=count,
                s_best=s_best,
                s_last=s,
                stalls=stalls,
                risk=risk,
            )


def _denoised(
    run: Run, r: Tensor, s: Tensor, sign: Tensor, times: float = 1.0, only: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The prior's result for noise of level ``times * s``, and its divergence a pixel, (B, 1, ...)."""
    probe = PROBE * s
    image = run.prior_step(r, times * s, only)
    moved = run.prior_step(r + probe * sign, times * s, only)
    return image, (sign * (moved - image)).flatten(1).mean(dim=1).reshape(s.shape) / probe


def _mixed(
    run: Run, r: Tensor, s: Tensor, sign: Tensor, image: Tensor, a: Tensor, only: Tensor
) -> tuple[Tensor, Tensor]:
    """``image`` and its divergence ``a``, those of the images ``only`` mixed with the result at a higher level."""
    r, s = r[only], s[only]
    higher, its_a = _denoised(run, r, s, sign, HIGHER, only)
    residuals = torch.stack([image[only] - r, higher - r], dim=1).flatten(2).double()
    divergences = torch.stack([a[only], its_a], dim=1).flatten(1).double()
    variance = s.flatten(1).double().square()
    products = residuals @ residuals.transpose(1, 2) / residuals.shape[-1]
    weights = Moments(products, variance * divergences, variance[:, 0]).mixture(RIDGE).to(image)
    share = weights[:, 1].reshape(s.shape)  # the two sum to one
    return (
        image.index_copy(0, only, image[only] + share * (higher - image[only])),
        a.index_copy(0, only, a[only] + share * (its_a - a[only])),
    )


def _together(result: Result, batch: int, channels: int) -> Result:
    """The result of images whose channels were solved as images of their own."""
    groups = [result.statuses[i : i + channels] for i in range(0, batch * channels, channels)]
    statuses = tuple(worst(list(group)) for group in groups)
    columns = {}
    for field in dataclasses.fields(History):
        column = getattr(result.history, field.name)
        columns[field.name] = column if column.ndim == 1 else column.unflatten(1, (batch, channels)).nanmean(dim=2)
    expected = result.expected_psnr
    if expected is not None:
        expected = -10 * torch.log10((10 ** (-expected / 10)).reshape(batch, channels).mean(dim=1))
    x = result.x.reshape(batch, channels, *result.x.shape[2:])
    return dataclasses.replace(
        result, x=x, status=worst(list(statuses)), statuses=statuses, history=History(**columns), expected_psnr=expected
    )


def _mean_image(f: LeastSquares, start: Tensor) -> Tensor:
    """The constant image of the first one's mean: what the constant row knows."""
    axes = tuple(range(-f.operator.ndim, 0))
    return start.mean(dim=axes, keepdim=True).expand(start.shape).contiguous()


def _decouple(f: LeastSquares, x: Tensor, memory: Tensor, run: Run) -> tuple[Tensor, Tensor, Tensor]:
    """``r = truth + s * white noise``, its level ``s`` and the corrected residual."""
    A, gram = f.operator, f.operator.row_gram
    n, m = A.columns, A.rows
    shape = (-1, *(1,) * (x.ndim - 1))
    noise = f.sigma.reshape(shape) ** 2
    smallest = (torch.finfo(x.dtype).eps * run.still_running(run.range)).reshape(shape)
    z = -f.residual(x)
    if gram is None:
        z = z + memory
        s = z.square().flatten(1).mean(dim=1).sqrt().reshape(shape)
        return x + A.adjoint(z), torch.maximum(s, smallest), z
    gain = n / m
    b = A.adjoint(z) / gram
    mean = b.mean(dim=tuple(range(-A.ndim, 0)), keepdim=True) * (A.constant_row is not None)
    items = x[0].numel() // n  # channels share one level
    power = z.square().flatten(1).sum(dim=1).reshape(shape) / gram
    constant = n * mean.square().flatten(1).sum(dim=1).reshape(shape)
    excess = ((power - constant) / (m * items) - noise / gram).clamp_min(0)
    s = ((gain - 1) * excess + gain * noise / gram).sqrt()
    return x + gain * b + (1 - gain) * mean, torch.maximum(s, smallest), z
