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
from .linear_operator import LinearOperator
from .solver import Solver, Splitting
from .turning import Turning

FIRST_LEVEL = 0.25  # of the image range: where annealing starts, unless a recipe says otherwise
LAST_LEVEL = 0.002  # of the image range: where it ends at the earliest, times the plan's margin
HIGHEST_LAST_LEVEL = 0.19
ANCHOR = 0.136  # where ADMM ends with a prior of one strength: 0.043 of the range at noise of 0.01 of it
TOLERANCE = 0.1  # of the noise level: priors that are no proximal map settle no closer
# Gain of a band beside that of the band below where the data say nothing: total variation invents edges there. On
# camera, coins and astronaut (128 pixels, five operators, three noise levels) it gains 0.04 dB over 1, and costs the
# priors that are calibrated 0.01 dB.
FADING = 0.85


@dataclasses.dataclass(frozen=True)
class Plan:
    """One way to reconstruct: a solver, and the factor on the data term's noise level.

    ``turns`` frees a prior that prefers a direction of it; ``anchor`` is the internal noise level, (B, 1, 1, 1), that
    an open strength of the prior is fixed at.
    """

    name: str
    solver: Solver
    strength: float = 1.0
    turns: bool = False
    anchor: Tensor | None = None

    def prior(self, g: Functional) -> Functional:
        """The prior as this plan uses it."""
        if self.anchor is not None:
            g = g.anchored(self.anchor)
        return Turning(g) if self.turns and g.directional else g

    @property
    def calls(self) -> int:
        """Prior calls at most."""
        return self.solver.iterations * self.solver.calls_per_iteration


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A plan before the image is known: ``s`` falls from a share ``first`` of the range to ``margin`` noise levels.

    ``highest`` is the largest last level, as a share of the range. ``weight`` is the square of the strength: the
    papers' lambda for a denoiser.
    """

    solver: type[Splitting]
    weight: float
    margin: float
    first: float = FIRST_LEVEL
    highest: float = HIGHEST_LAST_LEVEL

    def plan(self, noise: Tensor, span: Tensor, iterations: int) -> Plan:
        """The plan for images of given noise level and range, (B, 1, 1, 1) in image units."""
        name = (
            f"{self.solver.__name__} with lambda {self.weight:g}, s down to {self.margin:g} noise levels "
            f"in {iterations} iterations"
        )
        schedule = annealing(noise, span, self.margin, iterations, self.first, self.highest)
        return Plan(name, self.solver(s=schedule, tol=TOLERANCE), math.sqrt(self.weight), turns=True)


@dataclasses.dataclass(frozen=True)
class Anchored:
    """A plan for priors of open strength: one for the whole run, chosen by the noise level, times ``weight``."""

    weight: float

    def plan(self, noise: Tensor, span: Tensor, iterations: int) -> Plan:
        """The plan for images of given noise level and range, (B, 1, 1, 1) in image units."""
        level = span * ANCHOR * (noise / span).clamp_min(1e-4) ** 0.25
        schedule = geometric(FIRST_LEVEL * span, level, iterations)
        name = f"ADMM with lambda {self.weight:g}, prior of one strength in {iterations} iterations"
        solver = ADMM(s=schedule, tol=TOLERANCE)
        return Plan(name, solver, math.sqrt(self.weight), turns=True, anchor=level)


def annealing(
    noise: Tensor,
    span: Tensor,
    margin: float,
    iterations: int,
    first_level: float = FIRST_LEVEL,
    highest: float = HIGHEST_LAST_LEVEL,
) -> Tensor:
    """Internal noise levels falling geometrically; shape (K, B, 1, 1, 1)."""
    last = torch.maximum(margin * noise, margin * LAST_LEVEL * span)
    return geometric(first_level * span, torch.minimum(last, highest * span), iterations)


def geometric(first: Tensor, last: Tensor, iterations: int) -> Tensor:
    """Levels that fall from ``first``, or from ``last`` if that is higher, to ``last``; shape (K, B, 1, 1, 1)."""
    last = last.double()
    first = torch.maximum(first.double(), last)
    steps = torch.linspace(0, 1, max(iterations, 2), dtype=torch.float64)[:iterations].to(last.device)
    return first * (last / first) ** steps.reshape(-1, *(1,) * last.ndim)


# Chosen on camera, coins and astronaut (64 to 128 pixels, four priors, two or three noise levels), by the gap to the
# best of all candidates. A blur is undone in few iterations, and more fit the noise; only a strong blur gains by
# them, up to 0.5 dB with block matching. A hole takes more to be filled in, and neither Stein's estimate nor the
# misfit sees how well: one schedule. It starts low where the first image is an interpolation, which high levels would
# destroy (5 dB on a Bayer mosaic with non-local means), and then ends low (four noise levels lose 2 dB where most
# pixels were measured). Other first images hold artefacts that only a high level removes: a low start loses 3 dB on
# lines of k-space and up to 20 dB on few random projections.
SAFE, KEEN, QUADRATIC = Recipe(ADMM, 1.0, 4.0), Recipe(ADMM, 0.3, 1.0), Recipe(HQS, 0.3, 1.0)
FILL, COMPLETE = Recipe(ADMM, 1.0, 2.0, first=0.08, highest=0.11), Recipe(ADMM, 1.0, 4.0, first=0.5, highest=0.11)
# Total variation, which reads its strength off the image, is better with one: the minimiser of one objective, turned,
# gains 0.2 dB on average over the annealed denoiser behind blurs, decimation and many random rows, up to 0.7 dB.
LESS, ANCHORED, MORE = Anchored(0.5), Anchored(1.0), Anchored(2.0)
SHORT, LONG = 10, 24  # iterations


def only_recipe(A: LinearOperator) -> Recipe | None:
    """The recipe for operators that must be inverted by filling in, None for what is near a convolution.

    An operator about which nothing is known may leave out anything.
    """
    if A.interpolates:
        return FILL if A.rows < 0.9 * A.columns else None
    samples_spectrum = A.observed() is not None and (A.solves_dual or A.solves_primal)
    return COMPLETE if samples_spectrum or not isinstance(A.circulant(), Tensor) else None


def recipes(f: LeastSquares, g: Functional, effort: str) -> list[tuple[Recipe | Anchored, int]]:
    """The candidates worth a run, and how many iterations to give each."""
    recipe = only_recipe(f.operator)
    if recipe is not None:
        return [(recipe, 30 if effort == "best" else 20)]
    candidates: list[tuple[Recipe | Anchored, int]]
    if g.calibrated:
        candidates = [(SAFE, SHORT), (KEEN, SHORT), (QUADRATIC, SHORT), (QUADRATIC, LONG)]
    else:
        candidates = [(ANCHORED, SHORT), (LESS, SHORT), (MORE, SHORT), (ANCHORED, LONG)]
    return candidates[: {"fast": 1, "auto": 3, "best": 4}[effort]]


def recipe_for(solver: str, A: LinearOperator, g: Functional) -> Recipe | Anchored:
    """The schedule of a solver that the user names, "ADMM" or "HQS"."""
    if solver == "HQS":
        return QUADRATIC
    return SAFE if g.calibrated or only_recipe(A) is not None else ANCHORED


def fading(g: Functional) -> float:
    """How far a prior is believed in frequencies that the data do not confirm, per half octave."""
    return 1.0 if g.calibrated else FADING


def anchored_for_rows(share: float) -> Anchored:
    """The strength for random rows that are this share of the columns: the fewer are missing, the more noise is.

    Near the best power of two on camera, coins, astronaut and phantom at shares of 1/4, 1/2 and 1.
    """
    return Anchored(max(4 * share, 1.0))


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
