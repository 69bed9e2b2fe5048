"""Fits that are followed to their end, or past it: what the benchmarks of untrained networks share."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

import pnp
from pnp.operators import Identity
from pnp.priors import DeepImagePrior
from pnp.priors.dip import HoldOut, Plateau, Search, Trajectory, View
from pnp.priors.dip.layers import initialise

from .grid import Cell, Options, Rows
from .pictures import Picture

SEEDS = 3  # at least: a finding about training must not hang on one draw
PER_DECADE = 24  # looks: 10 % apart
TARGETS = ("picture", "picture + noise", "noise")
Curve = tuple[list[float], list[float]]
Settings = TypeVar("Settings")


def scaled(options: Options, *, gpu: Settings, host: Settings, quick: Settings) -> Settings:
    """The settings for this machine: the published ones on a GPU, what a processor can afford, or a first look."""
    return gpu if options.device.startswith("cuda") else quick if options.quick else host


def seeds(options: Options) -> range:
    """As many as are asked for, and enough to decide something unless it is a first look."""
    return range(options.seeds if options.quick else max(options.seeds, SEEDS))


def targets(truth: Tensor, sigma: float, seed: int) -> dict[str, Tensor]:
    """What a network is asked to fit: the picture, the picture with clipped noise, uniform noise on [0, 1].

    Shapes: all those of ``truth``.
    """
    generator = torch.Generator().manual_seed(seed)
    gaussian = torch.randn(truth.shape, generator=generator, dtype=torch.float64).to(truth)
    uniform = torch.rand(truth.shape, generator=generator, dtype=torch.float64).to(truth)
    return dict(zip(TARGETS, (truth, (truth + sigma * gaussian).clamp(0, 1), uniform), strict=True))


def drawn(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A network whose weights depend on ``seed`` alone."""
    with torch.random.fork_rng(devices=[]):  # constructors draw and are overwritten
        network = make()
    initialise(network, torch.Generator().manual_seed(seed))
    return network


class Film:
    """A callback that keeps the raw image closest to ``truth``, and the last one."""

    def __init__(self, truth: Tensor) -> None:
        self.truth, self.peak, self.peak_iteration, self.psnr = truth, -math.inf, 0, math.nan
        self.best = self.last = torch.zeros_like(truth)

    def __call__(self, view: View) -> None:
        self.last = view.output.to(self.truth).reshape(self.truth.shape).clone()
        self.psnr = float(pnp.psnr(self.last, self.truth))
        if self.psnr > self.peak:
            self.peak, self.peak_iteration, self.best = self.psnr, view.iteration, self.last


class Watch:
    """Follows fits past their automatic end: one run tells what the rule returned and what an oracle would have."""

    def __init__(self, truth: Tensor) -> None:
        self.truth = truth
        self.images: list[Tensor] = []  # what the rule would have returned, per network
        self.first: dict[str, float] = {}  # numbers of the first network
        self.curves: dict[str, list[float]] = {name: [] for name in ("iteration", "raw", "averaged", "held-out error")}
        self._rule = HoldOut()
        self._search, self._last = Search(self._rule), 0
        self._began = time.process_time()

    def __call__(self, view: View) -> None:
        if view.iteration < self._last or not self.images:
            self._search = Search(self._rule)
            self.images.append(view.average.clone())
        self._last = view.iteration
        raw, averaged = (float(pnp.psnr(x.to(self.truth), self.truth)) for x in (view.output, view.average))
        held = float(view.held_out)
        first = len(self.images) == 1
        if not self._search.over:
            if self._search.look(view.iteration, float(self._rule.score((), view))):
                self.images[-1] = view.average.clone()
                if first:
                    self.first |= {"raw": raw, "automatic": averaged, "returned at": view.iteration}
            if first:
                self.first |= {"iterations": view.iteration, "CPU s": time.process_time() - self._began}
        if first:
            self.first["raw, oracle"] = max(raw, self.first.get("raw, oracle", raw))
            self.first["oracle"] = max(averaged, self.first.get("oracle", averaged))
            for name, value in zip(self.curves, (float(view.iteration), raw, averaged, held), strict=True):
                self.curves[name].append(value)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Followed(Cell):
    """A network whose weights depend on the seed alone, fitted by Adam without jitter to what is made of a picture."""

    picture: Picture
    size: int
    iterations: int
    seed: int = 0
    device: str = "cpu"

    def build(self) -> nn.Module:
        """The network; its weights are drawn anew."""
        raise NotImplementedError

    def original(self) -> Tensor:
        """The grey picture."""
        return self.picture.tensor(self.size, grey=True).to(self.device)

    def identity(self) -> Identity:
        """What a target that is an image itself is fitted through."""
        return Identity((self.size, self.size)).to(self.device)

    def prior(
        self,
        *,
        lr: float = 0.01,
        bounds: tuple[float, float] = (0.0, 1.0),
        l1: float = 0.0,
        l2: float = 0.0,
        weight_decay: float = 0.0,
    ) -> DeepImagePrior:
        """The prior that fits this network, in single precision on every device."""
        return DeepImagePrior(
            drawn(self.build, self.seed),
            seed=self.seed,
            lr=lr,
            jitter=0.0,
            iterations=self.iterations,
            bounds=bounds,
            l1=l1,
            l2=l2,
            weight_decay=weight_decay,
            precision="float32",
        )


def follow(
    network: DeepImagePrior, A: pnp.LinearOperator, y: Tensor, callbacks: Sequence[Trajectory | Film]
) -> pnp.Result:
    """Fit all of ``y`` by the plain squared loss for as many iterations as the network is given, without stopping."""

    def look(view: View) -> None:
        for callback in callbacks:
            callback(view)

    never = Plateau(window=10**9)
    return network.fit(A, y, stop=never, loss="l2", give_back=False, callback=look, progress=False)


def first(iterations: Sequence[float], reached: Sequence[bool]) -> float:
    """The first iteration at which it was reached; inf where it never was."""
    return next((float(i) for i, yes in zip(iterations, reached, strict=True) if yes), math.inf)


def mean_curve(rows: Rows, wanted: Callable[[Cell], bool], column: str) -> Curve:
    """A recorded curve against the iteration: the mean over the wanted cells, as far as the shortest of them goes."""
    curves = [outcome.curves for cell, outcome in rows.outcomes.items() if wanted(cell) and column in outcome.curves]
    if not curves:
        return [], []
    end = min(len(curve[column]) for curve in curves)
    mean = np.mean([curve[column][:end] for curve in curves], axis=0)
    return list(curves[0]["iterations"][:end]), mean.tolist()


def present(series: Mapping[str, Curve]) -> dict[str, Curve]:
    """The curves that have points."""
    return {name: curve for name, curve in series.items() if curve[0]}


def times(count: float, iterations: int) -> str:
    """A number of iterations in words: "more than" all there were where it was not reached."""
    return f"{count:,.0f}" if math.isfinite(count) else f"more than {iterations:,}"
