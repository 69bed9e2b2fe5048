"""The loop of a direct fit: steps without waiting for the device, and every few of them a look at the score."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pnp.result import Status

from .graph import captured
from .network_fit import NetworkFit
from .objective import Objective
from .outcome import Look, Outcome, looks_as_tensor, looks_of
from .stopping import Rule, Search, View

CHECK_EVERY = 10  # iterations between looks: one wait for the device each
EARLY_LOOKS = (1, 2, 3, 5, 7)  # trajectories are drawn over the logarithm of the iteration
SPIKE = 3.0  # loss over its running mean that counts as a spike: 5 dB, as in Ulyanov et al.'s code
SNAPSHOT_EVERY = 50
MAX_RESTARTS = 8

Callback = Callable[[View], "bool | None"]


@dataclasses.dataclass(frozen=True)
class Limits:
    """Where a fit ends at the latest."""

    iterations: int
    deadline: float = math.inf  # of time.monotonic()


class FitLoop:
    """One fit from its start, or a checkpoint, to its best averaged image."""

    def __init__(
        self,
        fit: NetworkFit,
        objective: Objective,
        rule: Rule,
        limits: Limits,
        *,
        callback: Callback | None = None,
        save: Callable[[dict[str, Any]], None] | None = None,
        truth: Tensor | None = None,
        graph: bool = True,
        progress: bool = False,
    ) -> None:
        self.fit, self.objective, self.rule, self.limits = fit, objective, rule, limits
        self.callback, self.save, self.truth, self.graph, self.progress = callback, save, truth, graph, progress
        self.memory = rule.begin(fit.output)
        self.best = fit.average.clone()
        self.search, self.iteration = Search(rule), 0
        self.losses = torch.full((limits.iterations,), math.nan, dtype=fit.loss.dtype, device=fit.loss.device)
        self.counter = torch.zeros(1, dtype=torch.long, device=fit.loss.device)
        self.looks: list[Look] = []
        self.good: tuple[Tensor, ...] = ()
        self.running_loss, self.restarts, self.seconds = math.nan, 0, 0.0

    def run(self) -> Status:
        """Iterate until the rule, the limits or the user end the fit."""
        try:
            with self._bar() as bar:
                return self._iterate(bar)
        except KeyboardInterrupt:
            return Status.INTERRUPTED

    def _iterate(self, bar: Any) -> Status:
        began = time.monotonic() - self.seconds
        step = captured(self._step, self.fit) if self.graph and self.fit.z.is_cuda else self._step
        while self.iteration < self.limits.iterations:
            ahead = self._until_look()
            for _ in range(ahead):
                step()
                self.iteration += 1
            self.seconds = time.monotonic() - began
            ended = self._look()
            if self.save is not None:
                self.save(self.state_dict())
            if bar is not None:
                bar.update(ahead)
                misfit = max(self.looks[-1].misfit, 0) ** 0.5
                bar.set_postfix_str(f"misfit {misfit:.3g}, best at {self.search.best_iteration}", refresh=False)
            if ended is not None:
                return ended
        return Status.MAX_ITER

    def _bar(self) -> Any:
        if not (self.progress and sys.stderr.isatty()):
            return contextlib.nullcontext()
        from tqdm.auto import tqdm

        return tqdm(total=self.limits.iterations, initial=self.iteration, desc="DeepImagePrior", leave=False)

    def _until_look(self) -> int:
        early = next((n for n in EARLY_LOOKS if n > self.iteration), CHECK_EVERY * (self.iteration // CHECK_EVERY + 1))
        return min(early, self.limits.iterations) - self.iteration

    def _step(self) -> None:
        self.fit.step(self.objective)
        self.rule.observe(self.memory, self.fit.output)
        self.losses.index_copy_(0, self.counter, self.fit.loss[None])
        self.counter += 1

    def _look(self) -> Status | None:
        """Score the average, keep it if it is the best, guard against spikes; a status ends the fit."""
        held_out, misfit, whitened = self.objective.scores(self.fit.average)
        view = View(
            self.iteration,
            self.seconds,
            self.fit.output,
            self.fit.average,
            held_out,
            misfit,
            self.fit.loss,
            self.fit.distance(),
            whitened,
        )
        score = self.rule.score(self.memory, view)
        error = torch.full_like(misfit, math.nan)
        if self.truth is not None:
            error = (self.fit.average.to(self.truth) - self.truth).square().mean().to(error)
        wanted = (score, held_out, misfit, view.loss, view.distance, error)
        value, held, level, loss, distance, mse = torch.stack([n.double() for n in wanted]).tolist()  # waits once
        psnr = math.nan if math.isnan(mse) else -10 * math.log10(max(mse, 1e-30))
        self.looks.append(Look(self.iteration, level, held, distance, psnr, self.seconds))
        if not self._steady(loss):
            hopeless = Status.DIVERGED if math.isfinite(loss) else Status.NON_FINITE
            return hopeless if self.restarts > MAX_RESTARTS else None
        if self.search.look(self.iteration, value):
            self.best.copy_(self.fit.average)
        if self.search.over:
            return Status.CONVERGED
        if self.callback is not None and self.callback(view):
            return Status.INTERRUPTED
        return Status.TIME_LIMIT if time.monotonic() > self.limits.deadline else None

    def _steady(self, loss: float) -> bool:
        """Whether the loss behaves; otherwise weights and moments go back to the last snapshot at half the rate."""
        spike = loss > SPIKE * self.running_loss > 0  # False while the running mean is nan
        if (spike or not math.isfinite(loss)) and self.good:
            self.restarts += 1
            if self.restarts <= MAX_RESTARTS:
                self.fit.restore(self.good)
                self.fit.set_lr(self.fit.lr / 2)
                for own, new in zip(self.memory, self.rule.begin(self.fit.output), strict=True):
                    own.copy_(new)  # the rule has seen the ruined images too
            return False
        if not math.isfinite(loss):
            self.restarts = MAX_RESTARTS + 1
            return False
        self.running_loss = loss if math.isnan(self.running_loss) else 0.8 * self.running_loss + 0.2 * loss
        if self.iteration % SNAPSHOT_EVERY == 0 or not self.good:
            self.good = self.fit.snapshot()
        return True

    def outcome(self, status: Status) -> Outcome:
        """What the fit came to so far."""
        best, done = self.search.best_iteration, self.iteration
        image = self.best if best else None
        return Outcome(status, image, best, done, self.seconds, self.losses[:done].clone(), tuple(self.looks))

    # ------------------------------------------------------------------ state
    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue bit for bit."""
        search = self.search
        return {
            "fit": self.fit.state_dict(),
            "memory": [t.clone() for t in self.memory],
            "good": [t.clone() for t in self.good],
            "best": self.best.clone(),
            "losses": self.losses[: self.iteration].clone(),
            "looks": looks_as_tensor(self.looks),
            "search": torch.tensor(
                [search.best, search.best_iteration, search.reference, search.reference_iteration], dtype=torch.float64
            ),
            "numbers": torch.tensor(
                [self.iteration, self.running_loss, self.restarts, self.seconds], dtype=torch.float64
            ),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self.fit.load_state_dict(state["fit"])
        for own, saved in zip(self.memory, state["memory"], strict=True):
            own.copy_(saved)
        self.good = tuple(state["good"])
        self.best.copy_(state["best"])
        self.looks = looks_of(state["looks"])
        best, best_iteration, reference, reference_iteration = state["search"].tolist()
        self.search = Search(self.rule, best, int(best_iteration), reference, int(reference_iteration))
        iteration, self.running_loss, restarts, self.seconds = state["numbers"].tolist()
        self.iteration, self.restarts = int(iteration), int(restarts)
        self.losses[: self.iteration] = state["losses"]
        self.counter.fill_(self.iteration)
