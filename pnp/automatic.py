"""Which solver, schedule and strength: the rules behind ``reconstruct``."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from .admm import ADMM
from .data_terms import LeastSquares
from .functional import Functional
from .hqs import HQS
from .solver import Solver, Splitting

FIRST_LEVEL = 0.25  # of the image range: where annealing starts
LAST_LEVEL = 0.002  # of the image range: where it ends at the earliest, times the plan's margin
HIGHEST_LAST_LEVEL = 0.19
TOLERANCE = 0.1  # of the noise level: priors that are no proximal map settle no closer


@dataclasses.dataclass(frozen=True)
class Plan:
    """One way to reconstruct: a solver, and the factor on the data term's noise level."""

    name: str
    solver: Solver
    strength: float = 1.0

    @property
    def calls(self) -> int:
        """Prior calls at most."""
        return self.solver.iterations * self.solver.calls_per_iteration


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A plan before the image is known: ``s`` falls from a quarter of the range to ``margin`` noise levels.

    ``weight`` is the square of the strength: the papers' lambda for a denoiser.
    """

    solver: type[Splitting]
    weight: float
    margin: float

    def plan(self, noise: Tensor, span: Tensor, iterations: int) -> Plan:
        """The plan for images of given noise level and range, (B, 1, 1, 1) in image units."""
        name = f"{self.solver.__name__} with lambda {self.weight:g}, s down to {self.margin:g} noise levels"
        schedule = annealing(noise, span, self.margin, iterations)
        return Plan(name, self.solver(s=schedule, tol=TOLERANCE), math.sqrt(self.weight))


def annealing(noise: Tensor, span: Tensor, margin: float, iterations: int) -> Tensor:
    """Internal noise levels falling geometrically; shape (K, B, 1, 1, 1)."""
    last = torch.maximum(margin * noise, margin * LAST_LEVEL * span)
    last = torch.minimum(last, HIGHEST_LAST_LEVEL * span).double()
    first = torch.maximum(FIRST_LEVEL * span.double(), last)
    steps = torch.linspace(0, 1, max(iterations, 2), dtype=torch.float64)[:iterations].to(last.device)
    return first * (last / first) ** steps.reshape(-1, *(1,) * last.ndim)


# Chosen on camera and coins (128 x 128, four priors, blurs, decimation and masks, three noise levels), by the gap to
# the best of all candidates: for the three, ranked, 0.08 dB on average and 0.4 dB at worst; for the one where data are
# missing 0.04 and 0.15 dB. A blur is undone in few iterations (more fit the noise); a hole takes more to be filled in.
SAFE, CLOSE = Recipe(ADMM, 1.0, 4.0), Recipe(ADMM, 1.0, 1.0)
KEEN, MILD, SHARP = Recipe(ADMM, 0.3, 1.0), Recipe(ADMM, 0.3, 2.0), Recipe(ADMM, 0.1, 1.0)
QUADRATIC = Recipe(HQS, 0.3, 1.0)


def recipes(f: LeastSquares, g: Functional, effort: str) -> tuple[list[Recipe], int]:
    """The candidates worth a run, and how many iterations to give each."""
    A = f.operator
    missing = A.rows < 0.9 * A.columns and (A.row_gram is not None or A.observed() is not None)
    if missing:
        return ([SAFE, CLOSE, MILD], 24) if effort == "best" else ([SAFE], 20)
    if effort == "fast":
        return [SAFE if g.calibrated else KEEN], 8
    return [KEEN, SAFE, QUADRATIC, *((MILD, CLOSE, SHARP) if effort == "best" else ())], 8


def span_of(image: Tensor) -> Tensor:
    """Robust range of each image, between its 0.5 % and 99.5 % quantiles; its size where it is constant.

    Shapes: (B, ...) to (B, 1, 1, 1).
    """
    values = torch.view_as_real(image) if image.is_complex() else image
    flat = values.flatten(1)
    flat = flat[:, :: max(1, flat.shape[1] // 100_000)]
    low, high = torch.quantile(flat, 0.005, dim=1), torch.quantile(flat, 0.995, dim=1)
    span = high - low
    size = flat.abs().amax(dim=1)
    span = torch.where(span > 1e-6 * size, span, torch.where(size > 0, size, 1))
    return span.reshape(-1, *(1,) * (image.ndim - 1))
