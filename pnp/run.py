"""The bookkeeping of one run around a solver's loop: clocks, history, finished images, checkpoint."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from .checkpoint import Checkpoint
from .data_terms import DataTerm
from .functional import Functional, proximal, value
from .metrics import psnr
from .result import History, Result, Status, empty_history, worst

if TYPE_CHECKING:
    from .solver import Solver

STAGNATION = (10, 0.95)  # iterations without a 5 % lower residual: block-matching priors end in a small limit cycle
CONVEX_STAGNATION = (50, 0.999)  # a convex problem converges, if slowly: only rounding stops it
DIVERGENCE = 20.0  # residual, in units of the range of the first image, beyond which a run is lost


class Step(NamedTuple):
    """What a callback sees after an iteration: the unfinished images and where they stand."""

    iteration: int
    x: Tensor
    s: Tensor
    residual: Tensor
    misfit: Tensor
    psnr: Tensor


Callback = Callable[[Step], bool | None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Watch:
    """Who watches a run: a callback, a section of a checkpoint, a progress bar, the truth, the clock."""

    callback: Callback | None = None
    checkpoint: Checkpoint | None = None
    section: str = "run"
    progress: bool = False
    truth: Tensor | None = None
    deadline: float = math.inf


def _flat(x: Tensor) -> Tensor:
    """Pictures and volumes alike as (B, C, 1, pixels)."""
    return x.flatten(2)[:, :, None]


def rms(x: Tensor) -> Tensor:
    """Root mean square of each image. Shapes: (B, ...) to (B,)."""
    return x.abs().square().flatten(1).mean(dim=1).sqrt()


class Run:
    """One run of a solver on a batch: private copies of both terms, clocks, history, finished images, checkpoint."""

    def __init__(self, solver: Solver, f: Functional, g: Functional, start: Tensor, watch: Watch) -> None:
        self.solver, self.f, self.g, self.start, self.watch = solver, f.fresh(), g.fresh(), start, watch
        images = start.shape[0]
        self.range = (start.abs().amax(dim=tuple(range(1, start.ndim)))).clamp_min(torch.finfo(start.real.dtype).tiny)
        self.active = torch.arange(images)
        self.output = start.clone()
        self.statuses: list[Status | None] = [None] * images
        self.risk = torch.full((images,), math.nan, dtype=torch.float64)
        self.iteration = self.calls = 0
        self.columns = empty_history(solver.iterations, images)
        self._data_seconds = self._prior_seconds = 0.0
        self._state: dict[str, Tensor] = {}
        self._resume()

    # ------------------------------------------------------------------ what a loop uses
    def begin(self, **state: Tensor) -> tuple[Tensor, ...]:
        """The loop's variables: as given, or as the checkpoint left them."""
        return tuple(self._state.get(name, value) for name, value in state.items())

    def iterations(self) -> Iterator[int]:
        """Iteration numbers until every image has finished."""
        with self._bar() as bar:
            while self.iteration < self.solver.iterations and len(self.active):
                self.iteration += 1
                self._data_seconds = self._prior_seconds = 0.0
                yield self.iteration
                bar.update(1)
                bar.set_postfix_str(self._summary(), refresh=False)
        self.stop(None)

    def still_running(self, values: Tensor) -> Tensor:
        """The rows of a per-image tensor that belong to unfinished images."""
        return values[self.active.to(values.device)]

    def data_step(self, v: Tensor, s: Tensor) -> Tensor:
        """``f.prox(v, s^2)``, timed."""
        started = time.perf_counter()
        x = self.f.prox(v, s**2)
        self._data_seconds += time.perf_counter() - started
        return x

    def gradient_step(self, v: Tensor, s: Tensor) -> Tensor:
        """``v - s^2 f.gradient(v)``, timed."""
        started = time.perf_counter()
        x = v - s**2 * self.f.gradient(v)
        self._data_seconds += time.perf_counter() - started
        return x

    def prior_step(self, v: Tensor, s: Tensor, only: Tensor | None = None) -> Tensor:
        """``g.prox(v, s^2)``, timed; complex images as two channels where the prior is real-valued.

        ``only``: the indices of the images that ``v`` and ``s`` belong to; the prior forgets such a call, so that no
        image's result depends on whether another one needed it.
        """
        started = time.perf_counter()
        x = proximal(self.g if only is None else self.g.take(only), v, s**2)
        self._prior_seconds += time.perf_counter() - started
        self.calls += 1
        return x

    def finish(
        self, image: Tensor, primal: Tensor, dual: Tensor, s: Tensor, done: Tensor | None = None, /, **state: Tensor
    ) -> tuple[Tensor, ...]:
        """Close an iteration: record it, retire the images that have finished, and return ``state`` for the others.

        ``image`` is the current estimate, ``primal`` and ``dual`` the residual images. A solver with a stopping rule of
        its own says which images are ``done``.
        """
        level = s.flatten()
        residual, change = rms(primal) / level, rms(dual) / level
        row = self._record(image, residual, change, level)
        finite = torch.isfinite(image.abs().flatten(1).sum(dim=1)) & torch.isfinite(residual)
        self.output[self.active[finite.cpu()]] = image[finite]
        gone = self._retire(torch.maximum(residual, change), level, finite, done)
        keep = torch.tensor([i for i, index in enumerate(self.active.tolist()) if index not in gone], dtype=torch.long)
        if len(keep) < len(self.active):
            self.active = self.active[keep]
            where = keep.to(image.device)
            if len(keep):
                self.f, self.g = self.f.take(where), self.g.take(where)
            state = {name: value[where] for name, value in state.items()}
        self._save(state)
        if self.watch.callback is not None and self.watch.callback(row):
            self.stop(Status.INTERRUPTED)
        if time.monotonic() > self.watch.deadline:
            self.stop(Status.TIME_LIMIT)
        return tuple(state.values())

    def predict(self, risk: Tensor) -> None:
        """Note the mean squared error that a solver expects of its unfinished images."""
        self.risk[self.active] = risk.flatten().double().cpu()

    def stop(self, status: Status | None) -> None:
        """End every unfinished image with ``status``, or by the iteration limit."""
        for index in self.active.tolist():
            self.statuses[index] = status or Status.MAX_ITER
        self.active = self.active[:0]

    def result(self) -> Result:
        """The record of the run, with the images as one batch."""
        if self.watch.checkpoint is not None:
            self.watch.checkpoint.write()
        statuses = [status or Status.INTERRUPTED for status in self.statuses]
        history = History(**{name: column[: self.iteration] for name, column in self.columns.items()})
        expected = None if self.risk.isnan().any() else -10 * torch.log10(self.risk.clamp_min(1e-30))
        return Result(
            self.output,
            worst(statuses),
            self.iteration,
            history,
            statuses=tuple(statuses),
            expected_psnr=expected,
            prior_calls=self.calls,
        )

    # ------------------------------------------------------------------ bookkeeping
    def _record(self, image: Tensor, primal: Tensor, dual: Tensor, level: Tensor) -> Step:
        row, active = self.iteration - 1, self.active
        nan = torch.full_like(level, math.nan)
        misfit = self.f.misfit(image) if isinstance(self.f, DataTerm) else nan
        objective = value(self.f, image) + value(self.g, image) if self.f.has_value and self.g.has_value else nan
        truth = None if self.watch.truth is None else self.still_running(self.watch.truth)
        quality = nan if truth is None else psnr(_flat(image), _flat(truth)).to(level)
        values = torch.stack([level, primal, dual, misfit, objective, quality]).double().cpu()
        for name, numbers in zip(("s", "primal", "dual", "misfit", "objective", "psnr"), values, strict=True):
            self.columns[name][row, active] = numbers
        self.columns["data_seconds"][row] = self._data_seconds
        self.columns["prior_seconds"][row] = self._prior_seconds
        return Step(self.iteration, image, level, torch.maximum(primal, dual), misfit, quality)

    def _retire(self, residual: Tensor, level: Tensor, finite: Tensor, done: Tensor | None) -> set[int]:
        """Give a status to the images that have finished; return their indices in the batch."""
        gone: set[int] = set()
        settled = self.iteration >= self.solver.settled_after
        size = self.range[self.active.to(level.device)]
        size = torch.where(size > torch.finfo(size.dtype).tiny, size, math.inf)  # a first image of zeros has no range
        far = (residual * level / size).tolist()
        rows = residual.tolist()
        for i, index in enumerate(self.active.tolist()):
            if not finite[i]:
                self.statuses[index] = Status.NON_FINITE
            elif far[i] > DIVERGENCE:
                self.statuses[index] = Status.DIVERGED
            elif done[i] if done is not None else settled and rows[i] <= self.solver.tol:
                self.statuses[index] = Status.CONVERGED
            elif done is None and settled and self._stagnated(index):
                self.statuses[index] = Status.STAGNATED
            else:
                continue
            gone.add(index)
        return gone

    def _stagnated(self, index: int) -> bool:
        window, factor = CONVEX_STAGNATION if self.f.convex and self.g.convex else STAGNATION
        window *= self.solver.patience
        first = max(self.solver.settled_after - 1, 0)
        if self.iteration - first < 2 * window:
            return False
        residuals = torch.maximum(self.columns["primal"][:, index], self.columns["dual"][:, index])
        before = residuals[first : self.iteration - window].min()
        return bool(residuals[self.iteration - window : self.iteration].min() > factor * before)

    def _bar(self) -> Any:
        if not (self.watch.progress and sys.stderr.isatty()):
            return contextlib.nullcontext(_Silent())
        from tqdm.auto import tqdm

        return tqdm(total=self.solver.iterations, initial=self.iteration, desc=self.watch.section, leave=False)

    def _summary(self) -> str:
        def mean(name: str) -> float:
            return float(self.columns[name][self.iteration - 1].nanmean())

        parts = [f"s {mean('s'):.3g}", f"misfit {mean('misfit'):.2f}"]
        if self.watch.truth is not None:
            parts.append(f"PSNR {mean('psnr'):.2f} dB")
        return ", ".join(parts)

    def _save(self, state: dict[str, Tensor]) -> None:
        if self.watch.checkpoint is None:
            return
        everything = {
            "iteration": self.iteration,
            "calls": self.calls,
            "active": self.active,
            "output": self.output,
            "risk": self.risk,
            "statuses": [None if status is None else status.name for status in self.statuses],
            "columns": self.columns,
            "state": state,
            "f": self.f.state_dict(),
            "g": self.g.state_dict(),
        }
        self.watch.checkpoint.put(self.watch.section, everything)

    def _resume(self) -> None:
        saved = None if self.watch.checkpoint is None else self.watch.checkpoint.get(self.watch.section)
        if saved is None:
            return
        self.iteration, self.active, self.output = saved["iteration"], saved["active"], saved["output"]
        self.calls, self.risk = saved["calls"], saved["risk"]
        self.statuses = [None if name is None else Status[name] for name in saved["statuses"]]
        self.columns, self._state = saved["columns"], saved["state"]
        if len(self.active):
            where = self.active.to(self.output.device)
            self.f, self.g = self.f.take(where), self.g.take(where)
            self.f.load_state_dict(saved["f"])
            self.g.load_state_dict(saved["g"])


class _Silent:
    """A progress bar that shows nothing."""

    def update(self, n: int) -> None: ...

    def set_postfix_str(self, text: str, refresh: bool = True) -> None: ...
