"""What every solver shares: settings as a frozen record, and the checks at its public edge."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from .checkpoint import Checkpoint, fingerprint
from .data_terms import DataTerm
from .functional import Functional
from .images import ArrayLike, batched, check_finite, true_images
from .result import Result, Status
from .run import Callback, Run, Watch


def deadline_of(time_limit: float | None, who: str) -> float:
    """The monotonic clock's reading when ``time_limit`` seconds are over. Raises: ValueError if negative or NaN."""
    if time_limit is not None and not time_limit >= 0:
        raise ValueError(f"{who}: expected time_limit >= 0 seconds, got {time_limit!r}.")
    return math.inf if time_limit is None else time.monotonic() + time_limit


@dataclasses.dataclass(frozen=True, kw_only=True)
class Solver:
    """Settings of an iterative solver; holds no state.

    ``tol`` is the residual, in units of the internal noise level ``s``, below which a run has converged; ``max_iter``
    the iteration limit.
    """

    max_iter: int | None = None
    tol: float = 1e-3

    def __post_init__(self) -> None:
        who = type(self).__name__
        if self.max_iter is not None and self.max_iter < 1:
            raise ValueError(f"{who}: expected max_iter >= 1, got {self.max_iter!r}.")
        if not self.tol >= 0:
            raise ValueError(f"{who}: expected tol >= 0, got {self.tol!r}.")

    @property
    def iterations(self) -> int:
        """The iteration limit, 100 unless given."""
        return 100 if self.max_iter is None else self.max_iter

    @property
    def settled_after(self) -> int:
        """The iteration from which the problem no longer changes."""
        return 1

    @property
    def patience(self) -> int:
        """How many times longer than usual the residuals may rest before a run counts as stagnated."""
        return 1

    @property
    def calls_per_iteration(self) -> int:
        """Prior calls that one iteration costs."""
        return 1

    def shortened(self, iterations: int) -> Solver:
        """The same solver with fewer iterations."""
        return dataclasses.replace(self, max_iter=iterations)

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
        if isinstance(f, DataTerm):
            images, restore = f.images(f.start() if x0 is None else x0, who)
        else:
            images, restore = batched(x0, ndim=2, who=who)
            check_finite(images, who=who, what="x0")
        target = None if truth is None else true_images(truth, images, images.ndim - 2, who)
        file = None
        if checkpoint is not None:
            what = [self, repr(f), repr(g), images]
            file = Checkpoint(checkpoint, fingerprint([*what, *f.identity()] if isinstance(f, DataTerm) else what))
        deadline = deadline_of(time_limit, who)
        watch = Watch(callback=callback, checkpoint=file, progress=progress, truth=target, deadline=deadline)
        result = self.run(f, g, images, watch)
        return dataclasses.replace(result, x=restore(result.x))

    @torch.no_grad()
    def run(self, f: Functional, g: Functional, start: Tensor, watch: Watch) -> Result:
        """``solve`` on a checked batch (B, C, H, W), watched as a front door wishes."""
        run = Run(self, f, g, start, watch)
        try:
            if len(run.active):  # a resumed run may have ended already
                self._loop(run)
        except KeyboardInterrupt:
            run.stop(Status.INTERRUPTED)
        return run.result()

    def _loop(self, run: Run) -> None:
        raise NotImplementedError(f"{type(self).__name__} does not implement _loop.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Splitting(Solver):
    """A solver for ``min f(x) + g(x)`` that calls both proximal maps at an internal noise level ``s``.

    ``s`` (> 0, image units) is one number, one an iteration (the last is kept when they run out), or a tensor
    (K, B, 1, 1, 1) of one an iteration and image. ``max_iter`` is the length of a schedule unless given.
    """

    s: float | Sequence[float] | Tensor = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        levels = self._levels
        if levels.numel() == 0 or not ((levels > 0) & torch.isfinite(levels)).all():
            raise ValueError(f"{type(self).__name__}: expected every s to be > 0 and finite, got {self.s!r}.")

    @property
    def _levels(self) -> Tensor:
        return torch.as_tensor(self.s, dtype=torch.float64)

    @property
    def iterations(self) -> int:
        if self.max_iter is not None or self._levels.ndim == 0:
            return super().iterations
        return self._levels.shape[0]

    @property
    def settled_after(self) -> int:
        return 1 if self._levels.ndim == 0 else self._levels.shape[0]

    def shortened(self, iterations: int) -> Solver:
        """The same solver with fewer iterations; a schedule still ends at its last level."""
        levels = self._levels
        if levels.ndim == 0 or len(levels) <= iterations:
            return super().shortened(iterations)
        steps = torch.linspace(len(levels) - 1, 0, iterations).round().long().flip(0)
        return dataclasses.replace(self, s=levels[steps], max_iter=iterations)

    def level(self, iteration: int, images: Tensor) -> Tensor:
        """``s`` of an iteration, counted from 1, for every image of a batch: (B, 1, 1, 1)."""
        levels = self._levels if self._levels.ndim == 0 else self._levels[min(iteration, len(self._levels)) - 1]
        if levels.numel() not in (1, images.shape[0]) or levels.ndim not in (0, images.ndim):
            raise ValueError(
                f"{type(self).__name__}: expected s to be one number, one an iteration, or of shape "
                f"(K, {images.shape[0]}, {', '.join('1' * (images.ndim - 1))}), got shape {tuple(self._levels.shape)}."
            )
        return levels.to(images.device, images.real.dtype).expand(images.shape[0], *(1,) * (images.ndim - 1))
