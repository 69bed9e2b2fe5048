"""When to stop a fit, and which of its averaged images to return."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class View:
    """What a rule and a callback see of a fit: never more than device tensors and plain numbers.

    ``average`` is the running mean of the images (C, H, W) and what would be returned; ``held_out`` its mean squared
    residual over the measurements kept out of the fit (NaN without), ``misfit`` the same over the fitted ones; both in
    units of the noise variance where that is known. ``distance`` is how far the weights have moved. In a whitened fit,
    ``whitened`` is the energy of the whitened residual over that of whitened noise. ``output`` and ``average`` are the
    fit's own, changed by the next step: clone what is to be kept.
    """

    iteration: int
    seconds: float
    output: Tensor
    average: Tensor
    held_out: Tensor
    misfit: Tensor
    loss: Tensor
    distance: Tensor
    whitened: Tensor | None = None


@dataclasses.dataclass(frozen=True)
class Rule:
    """A stopping rule: the image with the lowest ``score`` is returned, and the fit ends once patience runs out.

    Patience starts anew when the score is lower by the share ``rel``. ``observe`` sees every output and keeps what it
    needs in tensors that ``begin`` made; ``score`` is asked for every few iterations.
    Raises: ValueError for settings out of range, here and in every rule.
    """

    rel: float = 1e-3

    def __post_init__(self) -> None:
        self._expect(0 <= self.rel < 1, "0 <= rel < 1")

    def _expect(self, fact: bool, said: str) -> None:
        if not fact:
            raise ValueError(f"{type(self).__name__}: expected {said}, got {self!r}.")

    def begin(self, image: Tensor) -> tuple[Tensor, ...]:
        """The rule's memory for one fit, changed in place by ``observe``."""
        return ()

    def observe(self, memory: tuple[Tensor, ...], output: Tensor) -> None:
        """Take note of the image of one iteration; must not wait for the device."""

    def score(self, memory: tuple[Tensor, ...], view: View) -> Tensor:
        """A number that is lowest for the image to return; inf while unknown."""
        raise NotImplementedError

    def patience(self, best: int) -> float:
        """Iterations to go on after the best one, ``best``, without improvement."""
        return math.inf

    def reached(self, score: float) -> bool:
        """Whether this score ends the fit at once."""
        return False


@dataclasses.dataclass
class Search:
    """What a rule makes of the scores so far: the iteration to return, and whether the fit is over."""

    rule: Rule
    best: float = math.inf
    best_iteration: int = 0
    reference: float = math.nan  # the score that patience is counted from
    reference_iteration: int = 0
    over: bool = False

    def look(self, iteration: int, score: float) -> bool:
        """Take note of a score; True if this image is the one to return (while nothing is known, the latest)."""
        better = score < self.best or not math.isfinite(self.best)
        if better:
            self.best, self.best_iteration = score, iteration
        if math.isfinite(score):
            if not score >= self.reference - self.rule.rel * abs(self.reference):
                self.reference, self.reference_iteration = score, iteration
            waited = iteration - self.reference_iteration
            self.over = self.rule.reached(score) or waited > self.rule.patience(self.reference_iteration)
        return better


@dataclasses.dataclass(frozen=True)
class HoldOut(Rule):
    """Keep a share of the measurements out of the loss; return the average that predicts them best.

    Needs noise that is independent from entry to entry, and no noise level. Patience is 300 iterations or ``0.3`` of
    those done, whichever is more, and the ``first`` 20 do not count: scores of few held-out values have false minima.
    Source: cross-validation; with pseudo-independent copies: Huang et al., 2026.
    """

    fraction: float = 0.05
    first: int = 20
    least: int = 300
    share: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        self._expect(0 < self.fraction < 1, "0 < fraction < 1")
        self._expect(self.least >= 0 and self.share >= 0, "least and share >= 0")

    def score(self, memory: tuple[Tensor, ...], view: View) -> Tensor:
        return view.held_out if view.iteration >= self.first else torch.full_like(view.held_out, math.inf)

    def patience(self, best: int) -> float:
        return max(self.least, self.share * best)


@dataclasses.dataclass(frozen=True)
class Discrepancy(Rule):
    """Stop when the average fits the data to within their noise: mean squared residual <= ``tau sigma^2``.

    For known noise levels; holds for correlated noise too. Where the level is never met, the plateau rule ends the fit.
    A whitened fit also ends when the whitened residual has at most ``whitened_tau`` times the energy of whitened noise:
    it fits strong frequencies less closely than their noise, so that the plain residual may stay above its level.
    Source: Morozov, 1966.
    """

    rel: float = 1e-2
    tau: float = 1.0
    whitened_tau: float = 0.98  # at the best image it was 0.94 to 1.00 over twelve blurs and noise levels
    window: int = 300

    def __post_init__(self) -> None:
        super().__post_init__()
        self._expect(self.tau > 0 and self.whitened_tau > 0 and self.window >= 1, "tau > 0 and window >= 1")

    def score(self, memory: tuple[Tensor, ...], view: View) -> Tensor:
        if view.whitened is None:
            return view.misfit
        return torch.minimum(view.misfit, view.whitened * (self.tau / self.whitened_tau))

    def patience(self, best: int) -> float:
        return self.window

    def reached(self, score: float) -> bool:
        return score <= self.tau


@dataclasses.dataclass(frozen=True)
class Plateau(Rule):
    """Fit to convergence: stop when the misfit falls by less than ``rel`` in ``window`` iterations.

    For noise-free data, where an over-parameterised generator regularises by itself.
    Source: Heckel & Soltanolkotabi, *Compressive Sensing with Un-trained Neural Networks*, ICML 2020.
    """

    rel: float = 1e-2
    window: int = 200

    def __post_init__(self) -> None:
        super().__post_init__()
        self._expect(self.window >= 1, "window >= 1")

    def score(self, memory: tuple[Tensor, ...], view: View) -> Tensor:
        return view.misfit

    def patience(self, best: int) -> float:
        return self.window


@dataclasses.dataclass(frozen=True)
class MovingVariance(Rule):
    """ES-EMV: the exponentially weighted variance of the outputs, lowest between learning the image and the noise.

    Needs neither noise level nor held-out data. The minimum counts only once the variance has fallen by ``drop`` times
    from its largest value: fast fits have a false minimum at the start.
    Source: Wang et al., *Early Stopping for Deep Image Prior*, 2021, sec. 3.
    """

    rel: float = 0.0
    alpha: float = 0.1
    first: int = 300
    drop: float = 2.0
    least: int = 300
    share: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        self._expect(0 < self.alpha < 1 and self.drop >= 0, "0 < alpha < 1 and drop >= 0")
        self._expect(self.least >= 0 and self.share >= 0, "least and share >= 0")

    def begin(self, image: Tensor) -> tuple[Tensor, ...]:
        zero = torch.zeros((), dtype=image.dtype, device=image.device)
        return torch.zeros_like(image), zero.clone(), zero.clone(), zero.clone()  # mean, variance, its largest, count

    def observe(self, memory: tuple[Tensor, ...], output: Tensor) -> None:
        mean, variance, largest, count = memory
        mean.copy_(torch.where(count > 0, mean, output))
        change = output - mean
        variance.mul_(1 - self.alpha).add_(self.alpha * (1 - self.alpha) * change.square().mean())
        mean.add_(change, alpha=self.alpha)
        count += 1
        largest.copy_(torch.where(count > 1 / self.alpha, torch.maximum(largest, variance), largest))

    def score(self, memory: tuple[Tensor, ...], view: View) -> Tensor:
        _, variance, largest, count = memory
        valid = (count >= self.first) & (variance * self.drop <= largest)
        return torch.where(valid, variance, math.inf)

    def patience(self, best: int) -> float:
        return max(self.least, self.share * best)


@dataclasses.dataclass(frozen=True)
class WindowedVariance(Rule):
    """ES-WMV: the variance of the last ``window`` outputs, smallest between the image and the noise; as published.

    Keeps ``window`` images.
    Source: Wang et al., *Early Stopping for Deep Image Prior*, 2021, algorithm 1 (window 100, patience 1000).
    """

    rel: float = 0.0
    window: int = 100
    after: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        self._expect(self.window >= 1 and self.after >= 0, "window >= 1 and after >= 0")

    def begin(self, image: Tensor) -> tuple[Tensor, ...]:
        ring = torch.zeros((self.window, *image.shape), dtype=image.dtype, device=image.device)
        return ring, torch.zeros((), dtype=torch.long, device=image.device)

    def observe(self, memory: tuple[Tensor, ...], output: Tensor) -> None:
        ring, count = memory
        ring.index_copy_(0, (count % self.window)[None], output[None])
        count += 1

    def score(self, memory: tuple[Tensor, ...], view: View) -> Tensor:
        ring, count = memory
        variance = (ring - ring.mean(dim=0)).square().mean()
        return torch.where(count >= self.window, variance, math.inf)

    def patience(self, best: int) -> float:
        return self.after


@dataclasses.dataclass(frozen=True)
class Oracle(Rule):
    """The average closest to the true image: for experiments only. Goes on for ``after`` iterations past the best."""

    rel: float = 0.0
    truth: Tensor | None = None
    after: float = math.inf

    def score(self, memory: tuple[Tensor, ...], view: View) -> Tensor:
        if self.truth is None:
            raise ValueError("Oracle: needs the true image; give fit(..., truth=...).")
        return (view.average - self.truth.to(view.average).reshape(view.average.shape)).square().mean()

    def patience(self, best: int) -> float:
        return self.after
