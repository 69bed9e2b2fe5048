"""What the direct fit of one image sets out with: range, noise level, loss, rule, network; each with its reason."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from pnp.linear_operator import LinearOperator
from pnp.result import Choice

from .choices import Options, likelihood, stopping_rule, wants_give_back, whitening_gain
from .network_fit import NetworkFit
from .objective import Objective, hold_out
from .presets import Recipe
from .settings import Settings, value_range
from .stopping import HoldOut, Rule

MARGIN = 0.05  # of the first image's range, added on either side
INCOHERENT_MARGIN = 0.5  # random projections shrink the first image's contrast
UNKNOWN_SIGMA = 0.05  # of the range: sets the scale of the loss where the noise level is not known
RESOLVED = 1e-9  # of the range: the squared gradients of a loss in units of less noise overflow in Adam's float32


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything decided about one image before its first iteration.

    ``shape`` (C, H, W) is what the network draws, complex images as twice as many channels; ``start`` the operator's
    first estimate.
    """

    start: Tensor
    shape: tuple[int, int, int]
    range: tuple[float, float]
    bounded: bool
    relative_sigma: float | None
    objective: Objective
    rule: Rule
    name: str
    recipe: Recipe
    gives_back: bool
    choices: dict[str, Choice]

    @classmethod
    def made(
        cls, settings: Settings, options: Options, operator: LinearOperator, y: Tensor, sigma: Tensor, known: bool
    ) -> Plan:
        """The plan for one item: ``y`` and ``sigma`` without their batch."""
        start = operator.start(y)
        low, high, bounded = _range(settings, operator, start)
        leading = math.prod(start.shape[:-2]) * (2 if start.is_complex() else 1)
        shape = (leading, start.shape[-2], start.shape[-1])
        level, relative, norm = _noise(operator, sigma, high - low, known)
        choices: dict[str, Choice] = {}
        objective, rule = _objective(options, operator, y, start, level, relative, norm, high - low, choices)
        name, reason = settings.name(y.device, shape[1] * shape[2], relative)
        recipe = settings.recipe(name, relative)
        precision, why = settings.working_precision(y.device)
        kind = "sigmoid between these" if bounded else "linear, scaled to these"
        said = "given" if isinstance(settings.bounds, tuple) else "of the first image"
        choices |= {
            "network": Choice(name, reason),
            "lr": Choice(recipe.lr, "of the preset" if settings.lr is None else "given"),
            "jitter": Choice(recipe.jitter, "of the preset" if settings.jitter is None else "given"),
            "precision": Choice(str(precision).removeprefix("torch."), why),
            "range": Choice((low, high), f"{kind}: {said}"),
        }
        noisy = known and bool((sigma.square() > 0).all())
        gives_back = wants_give_back(options, noisy, choices["loss"].value)
        return cls(start, shape, (low, high), bounded, relative, objective, rule, name, recipe, gives_back, choices)

    def network_fit(self, settings: Settings, device: torch.device, member: int) -> NetworkFit:
        """A new network of the ensemble."""
        low, high = self.range
        return settings.start_fit(
            self.shape,
            low=low,
            high=high,
            device=device,
            relative_sigma=self.relative_sigma,
            member=member,
            bounded=self.bounded,
            penalty_scale=self.objective.scale,
        )

    def held_out(self, rule: Rule, seed: int, member: int) -> Objective:
        """The objective of one network, its own measurements kept out if that is the rule."""
        whole = self.objective
        if not isinstance(rule, HoldOut):
            return whole
        held = hold_out(whole.operator, whole.y, rule.fraction, seed, member) * whole.fitted
        return dataclasses.replace(whole, fitted=whole.fitted - held, held=held)


def _range(settings: Settings, operator: LinearOperator, start: Tensor) -> tuple[float, float, bool]:
    bounds = settings.bounds
    if isinstance(bounds, tuple):
        return bounds[0], bounds[1], True
    if start.is_complex():
        size = float(start.abs().max()) or 1.0
        return -size, size, False
    low, high = value_range(start, INCOHERENT_MARGIN if operator.incoherent else MARGIN)
    return low, high, bounds == "auto"


def _noise(operator: LinearOperator, sigma: Tensor, span: float, known: bool) -> tuple[Tensor, float | None, float]:
    """The noise level the loss is scaled by, relative to the image's range where known, and ``||A||``."""
    norm = operator.norm()
    if not norm > 0:
        raise ValueError(f"DeepImagePrior.fit: {operator!r} maps every image to zero: the data say nothing of it.")
    if known and bool((sigma > 0).all()):
        relative = float(sigma.square().mean().sqrt()) / (norm * span)
        if relative > RESOLVED:
            return sigma, relative, norm
    return torch.full_like(sigma, UNKNOWN_SIGMA * norm * span), 0.0 if known else None, norm


def _objective(
    options: Options,
    operator: LinearOperator,
    y: Tensor,
    start: Tensor,
    sigma: Tensor,
    relative: float | None,
    norm: float,
    span: float,
    choices: dict[str, Choice],
) -> tuple[Objective, Rule]:
    observed = operator.observed()
    complete = observed is None
    ones = torch.ones((1,) * y.ndim, dtype=y.real.dtype, device=y.device)
    fitted = ones if observed is None else observed.to(ones)
    seen = y if observed is None else y[observed.expand(y.shape)]
    loss, limits = likelihood(options, seen, relative, complete)
    gain = whitening_gain(
        options,
        operator,
        loss=loss.value,
        sigma=sigma,
        relative_sigma=relative,
        span=span,
        complete=complete,
    )
    rule, reason = stopping_rule(options, operator, relative, loss.value, gain is not None)
    choices["loss"] = loss
    choices["stop"] = Choice(type(rule).__name__, reason)
    if gain is not None:
        choices["whiten"] = Choice(True, "little noise: all frequencies of the data converge together")
    level = math.sqrt(float(sigma.square().mean()))
    objective = Objective(
        operator,
        y,
        sigma,
        loss.value,
        fitted,
        None,
        tuple(start.shape),
        start.is_complex(),
        gain=gain,
        tv=options.tv,
        span=span,
        scale=0.5 * (norm * span / level) ** 2,
        photons=options.photons,
        limits=limits,
    )
    return objective, rule
