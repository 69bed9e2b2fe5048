"""Fits that are followed to their end: what the benchmarks on the bias of networks share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

import pnp
from pnp.priors import DeepImagePrior
from pnp.priors.dip import Plateau, Trajectory, View
from pnp.priors.dip.layers import initialise

from .grid import Cell, Rows

PER_DECADE = 24  # looks: 10 % apart
TARGETS = ("picture", "picture + noise", "noise")
Curve = tuple[list[float], list[float]]


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
