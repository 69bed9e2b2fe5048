"""Denoising-based approximate message passing, for operators with random rows."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from .data_terms import LeastSquares
from .functional import Functional
from .result import History, Result, worst
from .run import Run, Watch
from .solver import Solver

PROBE = 0.1  # step of the divergence probe, in units of the noise level
MAX_DIVERGENCE = 0.9  # per pixel; beyond it the correction amplifies noise
LATER = 1.02  # of the best noise level: at a level this near, the later of two images is the better one
STALLED, RISEN = 0.99, 1.10  # of the best noise level: twice above the first, or once above the second, ends a run


@dataclasses.dataclass(frozen=True, kw_only=True)
class DAMP(Solver):
    """Approximate message passing with a denoiser: ``x = D(r, s)``, ``r`` the truth plus white noise of level ``s``.

    For operators whose rows are random (``A.incoherent``) each iteration knows its own noise level: there is nothing
    to choose, and ``s`` is an honest error estimate. Rows that are orthogonal (``A A^H = c I``) take the orthogonal
    form, in which the denoiser's output is made divergence-free; independent rows with columns of unit norm take the
    Onsager term. The row that sees the constant image gets unit gain, because its coefficient is no random sample. A
    run ends when ``s`` stops falling, and returns the last image near the smallest ``s``. One iteration costs two
    prior calls, the second for the divergence by a Monte-Carlo probe. The channels of a picture are solved apart:
    what is still missing is alike in all of them, so that their errors together are not white.

    Source: Metzler, Maleki & Baraniuk, *From Denoising to Compressed Sensing*, 2016, eq. 9 (D-AMP) and sec. V-B (the
    probe); Ma & Ping, *Orthogonal AMP*, 2017, eq. 13; Xue, Ma & Yuan, *Denoising-Based Turbo Compressed Sensing*, 2017.
    """

    seed: int = 0

    @property
    def iterations(self) -> int:
        return 25 if self.max_iter is None else self.max_iter

    @property
    def calls_per_iteration(self) -> int:
        return 2

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
        x, memory, best, s_best, stalls, risk = run.begin(
            x=first, memory=torch.zeros_like(f.data), best=first, s_best=huge, stalls=torch.zeros_like(huge), risk=huge
        )
        for _ in run.iterations():
            f = self._check(run.f)
            r, s, memory = _decouple(f, x, memory, run)
            image = run.prior_step(r, s)
            probe = PROBE * s
            divergence = (sign * (run.prior_step(r + probe * sign, s) - image)).flatten(1).mean(dim=1)
            a = (divergence.reshape(s.shape) / probe).clamp(0, MAX_DIVERGENCE)
            x = (image - a * r) / (1 - a) if f.operator.row_gram is not None else image
            onsager = a * (f.operator.columns / f.operator.rows)  # times the residual: the next one's correction
            memory = memory * onsager.reshape(-1, *(1,) * (memory.ndim - 1))

            stalls = stalls + (s >= STALLED * s_best)
            done = (stalls >= 2) | (s > RISEN * s_best)
            error = (image - r).square().flatten(1).mean(dim=1).reshape(s.shape) + s**2 * (2 * a - 1)
            better = s <= LATER * s_best
            change = torch.where(better, image - best, 0)
            best, risk = torch.where(better, image, best), torch.where(better, error, risk)
            s_best = torch.minimum(s, s_best)
            run.predict(risk)
            x, memory, best, s_best, stalls, risk = run.finish(
                best,
                change,
                change,
                s,
                done.flatten(),
                x=x,
                memory=memory,
                best=best,
                s_best=s_best,
                stalls=stalls,
                risk=risk,
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
