"""The direct fit ``min_theta loss(A f_theta(z), y)`` of every image of a batch, by one network or several each."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from typing import Any

import torch
from torch import Tensor

from pnp.checkpoint import Checkpoint, fingerprint
from pnp.data_terms import DataTerm
from pnp.result import Choice, History, Result, Status, empty_history, worst

from .choices import Options, likelihood, stopping_rule, whitening_gain
from .loop import Callback, FitLoop, Limits
from .memory import explain_shortage, is_shortage
from .objective import Objective, hold_out
from .residual import give_back
from .settings import Settings, value_range
from .stopping import HoldOut, Oracle, Rule

MARGIN = 0.05  # of the first image's range, added on either side
INCOHERENT_MARGIN = 0.5  # random projections shrink the first image's contrast
UNKNOWN_SIGMA = 0.05  # of the range: sets the scale of the loss where the noise level is not known


@dataclasses.dataclass
class _Image:
    """What one image of the batch came to."""

    network: Tensor  # mean over the networks, in the operator's shape
    deviation: Tensor | None
    statuses: list[Status]
    loops: list[FitLoop]


class DirectFit:
    """One call of ``DeepImagePrior.fit``: the choices, made once, and the images, fitted one by one."""

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
        self.operator = term.operator
        self.device = term.data.device
        self.choices: dict[str, Choice] = {}
        self.images = term.data.shape[0]
        self.deadline = math.inf if options.time_limit is None else time.monotonic() + options.time_limit
        self.checkpoint = None
        if checkpoint is not None:
            network = settings.network  # a module's weights are part of the problem
            same = dataclasses.replace(options, time_limit=None, graph=True, progress=True)  # these may change
            what = [settings, network, same, term.operator, term.data, term.sigma, known]
            self.checkpoint = Checkpoint(checkpoint, fingerprint(what))

    def run(self) -> tuple[Tensor, Result]:
        """The batch of images, and the record with the images still as one batch."""
        done: list[_Image] = []
        for index in range(self.images):
            image = self._fit_image(index)
            done.append(image)
            if image.statuses[-1] is Status.INTERRUPTED:
                break
        network = torch.stack([image.network for image in done])
        while network.shape[0] < self.images:  # interrupted: the images never begun are their first estimates
            start = self.operator.start(self.term.data[network.shape[0]])
            network = torch.cat([network, start[None]])
        self.choices["expected_psnr"] = Choice(None, "measurements left out are predicted worse than fitted ones")
        x, extras = network, {}
        if self._wants_give_back():
            corrected = torch.stack(
                [
                    give_back(self.operator, y, f, self._sigma(i))
                    for i, (y, f) in enumerate(zip(self.term.data, network, strict=True))
                ]
            )
            wanted = self.options.give_back is not False
            extras["network" if wanted else "given_back"] = network if wanted else corrected
            x = corrected if wanted else network
        if self.options.n_nets > 1 and len(done) == self.images:
            extras["deviation"] = torch.stack([image.deviation for image in done if image.deviation is not None])
        statuses = [worst(image.statuses) for image in done]
        statuses += [Status.INTERRUPTED] * (self.images - len(done))
        loops = [loop for image in done for loop in image.loops]
        iterations = max((loop.iteration for loop in loops), default=0)
        if self.checkpoint is not None:
            self.checkpoint.write()
        result = Result(
            x, worst(statuses), iterations, self._history(done, iterations), self.choices, tuple(statuses), extras
        )
        return x, result

    # ------------------------------------------------------------------ one image
    def _fit_image(self, index: int) -> _Image:
        y = self.term.data[index]
        start = self.operator.start(y)
        low, high, bounded = self._range(start)
        span = high - low
        complex_image = start.is_complex()
        leading = math.prod(start.shape[:-2]) * (2 if complex_image else 1)
        shape = (leading, start.shape[-2], start.shape[-1])
        sigma, relative, norm = self._noise(index, span)
        objective, rule = self._objective(index, y, start, sigma, relative, norm, span)
        name = self._choose_network(shape, relative, low, high, bounded)
        truth = None if self.truth is None else _channels(self.truth[index])
        rule = dataclasses.replace(rule, truth=truth) if isinstance(rule, Oracle) else rule
        loops: list[FitLoop] = []
        statuses: list[Status] = []
        for member in range(self.options.n_nets):
            fit_shares = (self.images - index) * self.options.n_nets - member
            now = time.monotonic()
            limits = Limits(self.settings.recipe(name, relative).iterations, now + (self.deadline - now) / fit_shares)
            try:
                fit = self.settings.start_fit(
                    shape,
                    low=low,
                    high=high,
                    device=self.device,
                    relative_sigma=relative,
                    member=member,
                    bounded=bounded,
                    penalty_scale=objective.scale,
                )
                loop = FitLoop(
                    fit,
                    self._holding_out(objective, rule, member),
                    rule,
                    limits,
                    callback=self.callback,
                    save=self._saver(index, member),
                    truth=truth,
                    graph=self.options.graph,
                    progress=self.options.progress,
                )
                status = self._resume_or_run(loop, index, member)
            except RuntimeError as error:  # the device's out-of-memory error is one, the host has no other
                if not is_shortage(error):
                    raise
                raise RuntimeError(explain_shortage(name, shape, self.device)) from error
            loops.append(loop)
            statuses.append(status)
            if status is Status.INTERRUPTED:
                break
        images = torch.stack([objective.to_operator(loop.best) for loop in loops])
        deviation = images.std(dim=0) if len(loops) > 1 else None
        best = [loop.search.best_iteration for loop in loops]
        self.choices["best_iteration"] = Choice(
            best[0] if len(best) == 1 else best, "the average with the lowest score"
        )
        return _Image(images.mean(dim=0), deviation, statuses, loops)

    def _resume_or_run(self, loop: FitLoop, index: int, member: int) -> Status:
        section = _section(index, member)
        saved = None if self.checkpoint is None else self.checkpoint.get(section)
        if saved is not None:
            loop.load_state_dict(saved["loop"])
            if saved["status"] is not None:
                return Status[saved["status"]]
        status = loop.run()
        if self.checkpoint is not None and status in (Status.CONVERGED, Status.MAX_ITER, Status.NON_FINITE):
            self.checkpoint.put(section, {"loop": loop.state_dict(), "status": status.name})
        return status

    def _saver(self, index: int, member: int) -> Any:
        checkpoint = self.checkpoint
        if checkpoint is None:
            return None
        return lambda state: checkpoint.put(_section(index, member), {"loop": state, "status": None})

    # ------------------------------------------------------------------ choices
    def _range(self, start: Tensor) -> tuple[float, float, bool]:
        bounds = self.settings.bounds
        if isinstance(bounds, tuple):
            return bounds[0], bounds[1], True
        if start.is_complex():
            size = float(start.abs().max()) or 1.0
            return -size, size, False
        margin = INCOHERENT_MARGIN if self.operator.incoherent else MARGIN
        low, high = value_range(start, margin)
        return low, high, bounds == "auto"

    def _sigma(self, index: int) -> Tensor:
        sigma = self.term.sigma
        return sigma[index] if sigma.shape[0] == self.images else sigma[0]

    def _noise(self, index: int, span: float) -> tuple[Tensor, float | None, float]:
        """The noise level the loss is scaled by, relative to the image's range where known, and ``||A||``."""
        norm = self.operator.norm()
        sigma = self._sigma(index)
        if self.known and bool((sigma > 0).all()):
            return sigma, float(sigma.square().mean().sqrt()) / (norm * span), norm
        return torch.full_like(sigma, UNKNOWN_SIGMA * norm * span), 0.0 if self.known else None, norm

    def _objective(
        self, index: int, y: Tensor, start: Tensor, sigma: Tensor, relative: float | None, norm: float, span: float
    ) -> tuple[Objective, Rule]:
        observed = self.operator.observed()
        complete = observed is None
        ones = torch.ones((1,) * y.ndim, dtype=y.real.dtype, device=y.device)
        fitted = ones if observed is None else observed.to(ones)
        loss, limits = likelihood(self.options, y, relative, complete)
        gain = whitening_gain(
            self.options,
            self.operator,
            loss=loss.value,
            sigma=sigma,
            relative_sigma=relative,
            span=span,
            complete=complete,
        )
        rule, reason = stopping_rule(self.options, self.operator, relative, loss.value, gain is not None)
        self.choices["loss"] = loss
        self.choices["stop"] = Choice(type(rule).__name__, reason)
        if gain is not None:
            self.choices["whiten"] = Choice(True, "little noise: all frequencies of the data converge together")
        level = math.sqrt(float(sigma.square().mean()))
        objective = Objective(
            self.operator,
            y,
            sigma,
            loss.value,
            fitted,
            None,
            tuple(start.shape),
            start.is_complex(),
            gain=gain,
            tv=self.options.tv,
            span=span,
            scale=0.5 * (norm * span / level) ** 2,
            photons=self.options.photons,
            limits=limits,
        )
        return objective, rule

    def _holding_out(self, objective: Objective, rule: Rule, member: int) -> Objective:
        """The objective of one network, its own measurements kept out if that is the rule."""
        if not isinstance(rule, HoldOut):
            return objective
        held = hold_out(self.operator, objective.y, rule.fraction, self.settings.seed, member) * objective.fitted
        return dataclasses.replace(objective, fitted=objective.fitted - held, held=held)

    def _choose_network(
        self, shape: tuple[int, int, int], relative: float | None, low: float, high: float, bounded: bool
    ) -> str:
        name, reason = self.settings.name(self.device, shape[1] * shape[2], relative)
        training = self.settings.recipe(name, relative)
        precision, why = self.settings.working_precision(self.device)
        self.choices["network"] = Choice(name, reason)
        self.choices["lr"] = Choice(training.lr, "of the preset" if self.settings.lr is None else "given")
        self.choices["jitter"] = Choice(training.jitter, "of the preset" if self.settings.jitter is None else "given")
        self.choices["precision"] = Choice(str(precision).removeprefix("torch."), why)
        kind = "sigmoid between these" if bounded else "linear, scaled to these"
        self.choices["range"] = Choice(
            (low, high), f"{kind}: {'given' if isinstance(self.settings.bounds, tuple) else 'of the first image'}"
        )
        return name

    def _wants_give_back(self) -> bool:
        asked, sigma = self.options.give_back, self.term.sigma
        if asked not in (True, False, "auto"):
            raise ValueError(f"DeepImagePrior.fit: give_back must be True, False or 'auto', got {asked!r}.")
        gaussian = self.choices.get("loss", Choice(self.options.loss, "")).value == "l2"
        return self.known and bool((sigma > 0).all()) and (gaussian or asked is True)

    # ------------------------------------------------------------------ record
    def _history(self, done: list[_Image], iterations: int) -> History:
        columns = empty_history(iterations, self.images)
        for index, image in enumerate(done):
            loop = image.loops[0]
            columns["objective"][: loop.iteration, index] = loop.losses[: loop.iteration].double().cpu()
            before = 0
            for look in loop.looks:  # what is measured every few iterations holds until the next look
                at = int(look.iteration)
                columns["misfit"][before:at, index] = math.sqrt(max(look.misfit, 0.0))
                columns["psnr"][before:at, index] = look.psnr
                before = at
            if loop.iteration:
                columns["prior_seconds"][: loop.iteration] += loop.seconds / loop.iteration
        return History(**columns)


def _section(index: int, member: int) -> str:
    return f"image {index}, network {member}"


def _channels(image: Tensor) -> Tensor:
    """(..., H, W), perhaps complex, as the network's real channels (C, H, W)."""
    flat = image.reshape(-1, *image.shape[-2:])
    return torch.cat([flat.real, flat.imag]) if flat.is_complex() else flat
