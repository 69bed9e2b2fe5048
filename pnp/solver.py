"""What every solver shares: settings as a frozen record, and the bookkeeping of one run around its loop."""

from __future__ import annotations

import dataclasses
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .checkpoint import Checkpoint, fingerprint
from .data_terms import DataTerm
from .functional import Functional
from .images import ArrayLike, batched, check_finite
from .metrics import psnr
from .result import History, Result, Status, empty_history, worst

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


@dataclasses.dataclass(frozen=True)
class Solver:
    """Settings of an iterative solver for ``min f(x) + g(x)``; holds no state.

    ``s`` (> 0, image units) is the internal noise level at which the prior denoises: one number, one an iteration (the
    last is kept when they run out), or a tensor (K, B, 1, 1, 1) of one an iteration and image. ``tol`` is the residual,
    in units of ``s``, below which a run has converged. ``max_iter`` is 100, or the length of a schedule, unless given.
    """

    s: float | Sequence[float] | Tensor = 0.05
    max_iter: int | None = None
    tol: float = 1e-3

    def __post_init__(self) -> None:
        who = type(self).__name__
        levels = torch.as_tensor(self.s, dtype=torch.float64)
        if levels.numel() == 0 or not ((levels > 0) & torch.isfinite(levels)).all():
            raise ValueError(f"{who}: expected every s to be > 0 and finite, got {self.s!r}.")
        if self.max_iter is not None and self.max_iter < 1:
            raise ValueError(f"{who}: expected max_iter >= 1, got {self.max_iter!r}.")
        if not self.tol >= 0:
            raise ValueError(f"{who}: expected tol >= 0, got {self.tol!r}.")

    @property
    def iterations(self) -> int:
        """The iteration limit."""
        if self.max_iter is not None:
            return self.max_iter
        levels = torch.as_tensor(self.s)
        return 100 if levels.ndim == 0 else levels.shape[0]

    def level(self, iteration: int) -> Tensor:
        """``s`` of an iteration, counted from 1, as a float64 tensor that broadcasts against (B, 1, 1, 1)."""
        levels = torch.as_tensor(self.s, dtype=torch.float64)
        return levels if levels.ndim == 0 else levels[min(iteration, levels.shape[0]) - 1]

    @property
    def settled_after(self) -> int:
        """The iteration from which ``s`` no longer changes."""
        levels = torch.as_tensor(self.s)
        return 1 if levels.ndim == 0 else levels.shape[0]

    @torch.no_grad()
    def solve(
        self,
        f: Functional,
        g: Functional,
        x0: ArrayLike | None = None,
        *,
        callback: Callback | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        progress: bool = True,
        truth: ArrayLike | None = None,
        time_limit: float | None = None,
    ) -> Result:
        """Minimise ``f + g`` from ``x0``, by default the data term's own start.

        Each image of a batch runs on its own: it stops when it has converged, and its result does not depend on its
        mates. Ctrl-C, ``time_limit`` (seconds) and a callback that returns True end the run with its current image.
        ``checkpoint`` is written as the run goes and resumed when it exists.

        Raises: ValueError for NaN/inf or a wrong shape, TypeError for integers or for what is no Functional.
        """
        for name, term in (("f", f), ("g", g)):
            if not isinstance(term, Functional):
                raise TypeError(
                    f"{type(self).__name__}.solve: expected {name} to be a Functional, got {type(term).__name__}; "
                    "LeastSquares(A, y, sigma) makes a data term, Denoiser(D) a prior."
                )
        if x0 is None and not isinstance(f, DataTerm):
            raise ValueError(f"{type(self).__name__}.solve: {f!r} cannot start a run; give x0.")
        who = f"{type(self).__name__}.solve"
        ndim = f.operator.ndim if isinstance(f, DataTerm) else 2
        images, restore = batched(f.start() if x0 is None and isinstance(f, DataTerm) else x0, ndim=ndim, who=who)
        check_finite(images, who=who, what="x0")
        if isinstance(f, DataTerm) and images.shape[0] != f.data.shape[0]:
            raise ValueError(f"{who}: x0 has {images.shape[0]} images, the data {f.data.shape[0]}.")
        target = None if truth is None else batched(truth, ndim=ndim, who=who)[0].to(images)
        run = Run(self, f, g, images, target, callback, checkpoint, progress, time_limit)
        try:
            self._loop(run)
        except KeyboardInterrupt:
            run.stop(Status.INTERRUPTED)
        return dataclasses.replace(run.result(), x=restore(run.output))

    def _loop(self, run: Run) -> None:
        raise NotImplementedError(f"{type(self).__name__} does not implement _loop.")


def rms(x: Tensor) -> Tensor:
    """Root mean square of each image. Shapes: (B, ...) to (B,)."""
    return x.abs().square().flatten(1).mean(dim=1).sqrt()


class Run:
    """One run of a solver on a batch: private copies of both terms, clocks, history, finished images, checkpoint."""

    def __init__(
        self,
        solver: Solver,
        f: Functional,
        g: Functional,
        start: Tensor,
        truth: Tensor | None,
        callback: Callback | None,
        checkpoint: str | os.PathLike[str] | None,
        progress: bool,
        time_limit: float | None,
    ) -> None:
        self.solver, self.f, self.g, self.start, self.truth = solver, f.fresh(), g.fresh(), start, truth
        self.callback, self.progress = callback, progress
        self.deadline = math.inf if time_limit is None else time.monotonic() + time_limit
        images = start.shape[0]
        self.range = (start.abs().amax(dim=tuple(range(1, start.ndim)))).clamp_min(torch.finfo(start.real.dtype).tiny)
        self.active = torch.arange(images)
        self.output = start.clone()
        self.statuses: list[Status | None] = [None] * images
        self.iteration = 0
        self.columns = empty_history(solver.iterations, images)
        self._data_seconds = self._prior_seconds = 0.0
        self._state: dict[str, Tensor] = {}
        self._checkpoint = None
        if checkpoint is not None:
            what = [solver, repr(f), repr(g), start]
            if isinstance(f, DataTerm):
                what += [f.operator, f.data, f.sigma]
            self._checkpoint = Checkpoint(checkpoint, fingerprint(what))
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

    def level(self, iteration: int) -> Tensor:
        """``s`` of an iteration for the images still running; broadcasts against them."""
        s = self.solver.level(iteration).to(self.output.device, self.output.real.dtype)
        s = s.expand(len(self.statuses), *(1,) * (self.output.ndim - 1)) if s.ndim == 0 or s.shape[0] == 1 else s
        return s[self.active]

    def data_step(self, v: Tensor, s: Tensor) -> Tensor:
        """``f.prox(v, s^2)``, timed."""
        started = time.perf_counter()
        x = self.f.prox(v, s**2)
        self._data_seconds += time.perf_counter() - started
        return x

    def prior_step(self, v: Tensor, s: Tensor) -> Tensor:
        """``g.prox(v, s^2)``, timed."""
        started = time.perf_counter()
        x = self.g.prox(v, s**2)
        self._prior_seconds += time.perf_counter() - started
        return x

    def finish(self, image: Tensor, primal: Tensor, dual: Tensor, s: Tensor, /, **state: Tensor) -> tuple[Tensor, ...]:
        """Close an iteration: record it, retire the images that are done, and return ``state`` for the others.

        ``image`` is the current estimate, ``primal`` and ``dual`` the residual images.
        """
        level = s.flatten()
        residual, change = rms(primal) / level, rms(dual) / level
        row = self._record(image, residual, change, level)
        finite = torch.isfinite(image.abs().flatten(1).sum(dim=1)) & torch.isfinite(residual)
        self.output[self.active[finite.cpu()]] = image[finite]
        done = self._retire(torch.maximum(residual, change), level, finite)
        keep = torch.tensor([i for i, index in enumerate(self.active.tolist()) if index not in done], dtype=torch.long)
        if len(keep) < len(self.active):
            self.active = self.active[keep]
            where = keep.to(image.device)
            self.f, self.g = self.f.take(where), self.g.take(where)
            state = {name: value[where] for name, value in state.items()}
        if self.callback is not None and self.callback(row):
            self.stop(Status.INTERRUPTED)
        if time.monotonic() > self.deadline:
            self.stop(Status.TIME_LIMIT)
        self._save(state)
        return tuple(state.values())

    def stop(self, status: Status | None) -> None:
        """End every unfinished image with ``status``, or by the iteration limit."""
        for index in self.active.tolist():
            self.statuses[index] = status or Status.MAX_ITER
        self.active = self.active[:0]

    def result(self) -> Result:
        """The record of the run, with the images as one batch."""
        if self._checkpoint is not None:
            self._checkpoint.write()
        statuses = [status or Status.INTERRUPTED for status in self.statuses]
        history = History(**{name: column[: self.iteration] for name, column in self.columns.items()})
        return Result(self.output, worst(statuses), self.iteration, history, statuses=tuple(statuses))

    # ------------------------------------------------------------------ bookkeeping
    def _record(self, image: Tensor, primal: Tensor, dual: Tensor, level: Tensor) -> Step:
        row, active = self.iteration - 1, self.active
        nan = torch.full_like(level, math.nan)
        misfit = self.f.misfit(image) if isinstance(self.f, DataTerm) else nan
        objective = self.f(image) + self.g(image) if self.f.has_value and self.g.has_value else nan
        quality = nan if self.truth is None else psnr(image, self.truth[active.to(image.device)]).to(level)
        values = torch.stack([level, primal, dual, misfit, objective, quality]).double().cpu()
        for name, value in zip(("s", "primal", "dual", "misfit", "objective", "psnr"), values, strict=True):
            self.columns[name][row, active] = value
        self.columns["data_seconds"][row] = self._data_seconds
        self.columns["prior_seconds"][row] = self._prior_seconds
        return Step(self.iteration, image, level, torch.maximum(primal, dual), misfit, quality)

    def _retire(self, residual: Tensor, level: Tensor, finite: Tensor) -> set[int]:
        """Give a status to the images that are done; return their indices in the batch."""
        done: set[int] = set()
        settled = self.iteration >= self.solver.settled_after
        far = (residual * level / self.range[self.active.to(level.device)]).tolist()
        rows = residual.tolist()
        for i, index in enumerate(self.active.tolist()):
            if not finite[i]:
                self.statuses[index] = Status.NON_FINITE
            elif far[i] > DIVERGENCE:
                self.statuses[index] = Status.DIVERGED
            elif settled and rows[i] <= self.solver.tol:
                self.statuses[index] = Status.CONVERGED
            elif settled and self._stagnated(index):
                self.statuses[index] = Status.STAGNATED
            else:
                continue
            done.add(index)
        return done

    def _stagnated(self, index: int) -> bool:
        window, factor = CONVEX_STAGNATION if self.f.convex and self.g.convex else STAGNATION
        first = max(self.solver.settled_after - 1, 0)
        if self.iteration - first < 2 * window:
            return False
        residuals = torch.maximum(self.columns["primal"][:, index], self.columns["dual"][:, index])
        before = residuals[first : self.iteration - window].min()
        return bool(residuals[self.iteration - window : self.iteration].min() > factor * before)

    def _bar(self) -> Any:
        if not (self.progress and sys.stderr.isatty()):
            import contextlib

            return contextlib.nullcontext(_Silent())
        from tqdm.auto import tqdm

        return tqdm(total=self.solver.iterations, initial=self.iteration, desc=type(self.solver).__name__, leave=False)

    def _summary(self) -> str:
        def mean(name: str) -> float:
            return float(self.columns[name][self.iteration - 1].nanmean())

        parts = [f"s {mean('s'):.3g}", f"misfit {mean('misfit'):.2f}"]
        if self.truth is not None:
            parts.append(f"PSNR {mean('psnr'):.2f} dB")
        return ", ".join(parts)

    def _save(self, state: dict[str, Tensor]) -> None:
        if self._checkpoint is None:
            return
        everything = {
            "iteration": self.iteration,
            "active": self.active,
            "output": self.output,
            "statuses": [None if status is None else status.name for status in self.statuses],
            "columns": self.columns,
            "state": state,
            "f": self.f.state_dict(),
            "g": self.g.state_dict(),
        }
        self._checkpoint.put("run", everything)

    def _resume(self) -> None:
        saved = None if self._checkpoint is None else self._checkpoint.get("run")
        if saved is None:
            return
        self.iteration, self.active, self.output = saved["iteration"], saved["active"], saved["output"]
        self.statuses = [None if name is None else Status[name] for name in saved["statuses"]]
        self.columns, self._state = saved["columns"], saved["state"]
        where = self.active.to(self.output.device)
        self.f, self.g = self.f.take(where), self.g.take(where)
        self.f.load_state_dict(saved["f"])
        self.g.load_state_dict(saved["g"])


class _Silent:
    """A progress bar that shows nothing."""

    def update(self, n: int) -> None: ...

    def set_postfix_str(self, text: str, refresh: bool = True) -> None: ...
