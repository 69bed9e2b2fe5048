"""The direct fit ``min_theta loss(A f_theta(z), y)`` of every image of a batch, by one network or several each."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pnp.checkpoint import Checkpoint, fingerprint
from pnp.data_terms import DataTerm
from pnp.linear_operator import LinearOperator
from pnp.result import Choice, Result, Status, worst
from pnp.solver import deadline_of

from .choices import Options
from .loop import Callback, FitLoop, Limits
from .memory import explained_shortage
from .outcome import Outcome, history, merged
from .plan import Plan
from .residual import give_back
from .settings import Settings
from .stopping import Oracle, Rule


@dataclasses.dataclass(frozen=True)
class _Image:
    """What one image of the batch came to, in the operator's shape."""

    x: Tensor
    other: Tensor | None  # without what was given back if ``x`` has it, with it otherwise; None where that is not known
    deviation: Tensor | None
    outcomes: list[Outcome]
    choices: dict[str, Choice]


class DirectFit:
    """One call of ``DeepImagePrior.fit``: the images of the batch, fitted one by one."""

    def __init__(
        self,
        settings: Settings,
        term: DataTerm,
        known: bool,
        options: Options,
        *,
        callback: Callback | None,
        checkpoint: str | os.PathLike[str] | None,
        truth: Tensor | None,
    ) -> None:
        self.settings, self.term, self.known, self.options = settings, term, known, options
        self.callback, self.truth = callback, truth
        self.device = term.data.device
        self.images = term.data.shape[0]
        self.deadline = deadline_of(options.time_limit, "DeepImagePrior.fit")
        self.checkpoint = None
        if checkpoint is not None:
            network = settings.network  # a module's weights are part of the problem
            same = dataclasses.replace(options, time_limit=None, graph=True, progress=True)  # these may change
            judge = [truth, getattr(options.stop, "truth", None)] if _asks_oracle(options.stop) else []
            what = [settings, network, same, term.operator, term.data, term.sigma, known, *judge]
            self.checkpoint = Checkpoint(checkpoint, fingerprint(what))

    def run(self) -> tuple[Tensor, Result]:
        """The batch of images, and the record with the images still as one batch."""
        done: list[_Image] = []
        for index in range(self.images):
            done.append(self._fit_image(index))
            if done[-1].outcomes[-1].status is Status.INTERRUPTED:
                break
        if self.checkpoint is not None:
            self.checkpoint.write()
        starts = [self._start(index) for index in range(len(done), self.images)]  # those never begun
        x = torch.stack([image.x for image in done] + starts)
        extras = {}
        if any(image.other is not None for image in done):
            others = [image.x if image.other is None else image.other for image in done]
            extras["given_back" if self.options.give_back is False else "network"] = torch.stack(others + starts)
        if any(image.deviation is not None for image in done):
            blank = torch.full_like(x[0].abs(), math.nan)  # where fewer than two networks ended
            deviations = [blank if image.deviation is None else image.deviation for image in done]
            extras["deviation"] = torch.stack(deviations + [blank] * len(starts))
        statuses = [worst([outcome.status for outcome in image.outcomes]) for image in done]
        statuses += [Status.INTERRUPTED] * len(starts)
        choices = merged([image.choices for image in done])
        choices["expected_psnr"] = Choice(None, "measurements left out are predicted worse than fitted ones")
        curves = history([image.outcomes for image in done], self.images)
        iterations = max(outcome.iterations for image in done for outcome in image.outcomes)
        return x, Result(x, worst(statuses), iterations, curves, choices, tuple(statuses), extras)

    # ------------------------------------------------------------------ one image
    def _item(self, index: int) -> tuple[LinearOperator, Tensor, Tensor]:
        """Operator, data and noise level of one image; they keep a batch of one where the operator is built for it."""
        operator = self.term.operator.take(torch.tensor([index]))
        sigma = self.term.sigma
        y, level = self.term.data[index], sigma[index] if sigma.shape[0] == self.images else sigma[0]
        return (operator, y[None], level[None]) if operator.lead else (operator, y, level)

    def _start(self, index: int) -> Tensor:
        operator, y, _ = self._item(index)
        return operator.start(y)

    def _fit_image(self, index: int) -> _Image:
        operator, y, sigma = self._item(index)
        plan = Plan.made(self.settings, self.options, operator, y, sigma, self.known)
        truth = None if self.truth is None else _channels(self.truth[index], plan.start)
        rule = dataclasses.replace(plan.rule, truth=truth) if isinstance(plan.rule, Oracle) else plan.rule
        outcomes: list[Outcome] = []
        for member in range(self.options.n_nets):
            fit_shares = (self.images - index) * self.options.n_nets - member
            now = time.monotonic()
            limits = Limits(plan.recipe.iterations, now + (self.deadline - now) / fit_shares)
            outcomes.append(self._fit_network(plan, rule, limits, truth, index, member))
            if outcomes[-1].status is Status.INTERRUPTED:
                break
        whole = [outcome for outcome in outcomes if outcome.status is not Status.INTERRUPTED]
        usable = [outcome.image for outcome in whole or outcomes if outcome.image is not None]
        images = [plan.objective.to_operator(image) for image in usable] or [plan.start]  # nothing fitted: the estimate
        network = torch.stack(images).mean(dim=0)
        deviation = torch.stack(images).std(dim=0) if len(images) > 1 else None
        best = [outcome.best_iteration for outcome in outcomes]
        found = Choice(best[0] if len(best) == 1 else best, "the average with the lowest score")
        x, other = network, None
        if plan.gives_back:
            corrected = give_back(operator, y, network, sigma)
            x, other = (network, corrected) if self.options.give_back is False else (corrected, network)
        return _Image(x, other, deviation, outcomes, plan.choices | {"best_iteration": found})

    def _fit_network(
        self, plan: Plan, rule: Rule, limits: Limits, truth: Tensor | None, index: int, member: int
    ) -> Outcome:
        section = f"image {index}, network {member}"
        saved = None if self.checkpoint is None else self.checkpoint.get(section)
        if saved is not None and "outcome" in saved:
            return Outcome.restored(saved["outcome"])
        with explained_shortage(plan.name, plan.shape, self.device):
            loop = FitLoop(
                plan.network_fit(self.settings, self.device, member),
                plan.held_out(rule, self.settings.seed, member),
                rule,
                limits,
                callback=self.callback,
                save=self._saver(section),
                truth=truth,
                graph=self.options.graph,
                progress=self.options.progress,
            )
            if saved is not None:
                loop.load_state_dict(saved["loop"])
            outcome = loop.outcome(loop.run())
        ended = outcome.status not in (Status.INTERRUPTED, Status.TIME_LIMIT)
        if self.checkpoint is not None and ended:  # of those that go on, the last look is kept
            self.checkpoint.put(section, {"outcome": outcome.state_dict()})
        return outcome

    def _saver(self, section: str) -> Callable[[dict[str, Any]], None] | None:
        checkpoint = self.checkpoint
        if checkpoint is None:
            return None
        return lambda state: checkpoint.put(section, {"loop": state})


def _asks_oracle(stop: str | Rule) -> bool:
    return stop == "oracle" or isinstance(stop, Oracle)


def _channels(image: Tensor, like: Tensor) -> Tensor:
    """(..., H, W) as the network's real channels (C, H, W), twice as many where images ``like`` it are complex."""
    if image.is_complex() and not like.is_complex():
        raise TypeError(f"DeepImagePrior.fit: expected real images, got truth of {image.dtype}; pass truth.real.")
    flat = image.reshape(-1, *image.shape[-2:])
    flat = flat.to(flat.dtype.to_complex()) if like.is_complex() else flat
    return torch.cat([flat.real, flat.imag]) if flat.is_complex() else flat
