"""The cell that most benchmarks share: one picture, one operator, one prior, one solver."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

import pnp
import pnp.priors as catalogue

from .grid import Cell, Outcome, Value
from .pictures import Picture
from .problems import Problem, best_wiener, problem, trivial

BASELINES = ("trivial", "Wiener")
FITTED = "direct"  # in a solver's place: a network fitted through the operator


def prior(name: str, seed: int = 0) -> pnp.Functional:
    """The prior of this name with its defaults.

    Raises: ValueError for an unknown name.
    """
    match name:
        case "TV":
            return catalogue.TV()
        case "NLM":
            return catalogue.NLM()
        case "BM3D":
            return catalogue.BM3D()
        case "Wavelet":
            return catalogue.Wavelet()
        case "DIP":
            return catalogue.DeepImagePrior(seed=seed)
    raise ValueError(f"There is no prior called {name!r}.")


@dataclasses.dataclass(frozen=True)
class Reconstruction(Cell):
    """``pnp.reconstruct(y, A, prior)`` on one picture, with no parameter chosen but those that the fields name.

    ``prior`` "none" is a baseline: ``solver`` "trivial" (what the data look like) or "Wiener" (the best constant).
    """

    operator: str
    prior: str
    solver: str
    picture: Picture
    noise: float
    size: int | None = 128
    grey: bool = False
    seed: int = 0
    sigma_known: bool = False
    device: str = "cpu"
    max_prior_calls: int | None = None
    effort: str = "auto"

    @property
    def label(self) -> str:
        known = (f" {self.effort}" if self.effort != "auto" else "") + (" sigma given" if self.sigma_known else "")
        who = f"{self.prior} {self.solver}" if self.prior != "none" else self.solver
        return f"{self.operator}, {self.picture.name}, {who}, noise {self.noise:g}{known}, seed {self.seed}"

    def problem(self) -> Problem:
        truth = self.picture.tensor(self.size, grey=self.grey)
        return problem(self.operator, truth, self.noise, self.seed, self.device)

    def run(self) -> Outcome:
        p = self.problem()
        g = None if self.prior == "none" else prepared(self.prior, p, self.seed)
        cpu, wall = time.process_time(), time.perf_counter()
        if g is None:
            name, x = self._baseline(p)
            return Outcome(self._row(p, x, cpu, wall) | {"what": name}, self._images(p, x))
        result = pnp.reconstruct(
            p.y,
            p.A,
            g,
            sigma=self.noise if self.sigma_known else "auto",
            solver=self.solver,
            effort=self.effort,
            truth=p.truth,
            seed=self.seed,
            progress=False,
            max_prior_calls=self.max_prior_calls,
        )
        row = self._row(p, result.x, cpu, wall) | {
            "what": self.prior,
            "status": result.status.name,
            "iterations": result.iterations,
            "prior calls": int(calls.value) if (calls := result.parameters.get("prior_calls")) else None,
        }
        return Outcome(row, self._images(p, result.x), curves(result))

    def _baseline(self, p: Problem) -> tuple[str, Tensor]:
        if self.solver == "trivial":
            return trivial(self.operator, p)
        ratio, x = best_wiener(p)
        return f"Wiener, best constant ({ratio:.1e})", x

    def _row(self, p: Problem, x: Tensor, cpu: float, wall: float) -> dict[str, Value]:
        spent: dict[str, Value] = {"CPU s": time.process_time() - cpu, "seconds": time.perf_counter() - wall}
        if x.shape != p.truth.shape:
            return spent
        return {"PSNR": float(pnp.psnr(x, p.truth)), "SSIM": float(pnp.ssim(x, p.truth)), **spent}

    def _images(self, p: Problem, x: Tensor) -> dict[str, np.ndarray[Any, Any]]:
        images = {"x": pnp.to_image(x)}
        return images | {"truth": pnp.to_image(p.truth)} if self.prior == "none" else images


def prepared(name: str, p: Problem, seed: int) -> pnp.Functional:
    """The prior after one call on a small image, so that compiling code is not counted as solving."""
    g = prior(name, seed)
    if g.cost != "expensive":
        g.denoise(torch.rand(p.truth[..., :32, :32].shape, generator=torch.Generator().manual_seed(0)).to(p.truth), 0.1)
    return g


def curves(result: pnp.Result) -> dict[str, list[float]]:
    """The history of the first image: PSNR, residuals, noise level, seconds so far."""
    history = result.history
    if history is None:
        return {}
    seconds = (history.data_seconds + history.prior_seconds).cumsum(0)
    columns = {name: getattr(history, name)[:, 0] for name in ("psnr", "primal", "dual", "s", "misfit")}
    return {name: column.tolist() for name, column in columns.items()} | {"seconds": seconds.tolist()}
