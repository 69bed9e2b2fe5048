"""The market of priors: one line per catalogue entry says how to draw one, and every law applies to it.

Only tests import this module; it needs hypothesis.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from hypothesis import strategies as st

from pnp.functional import Functional

from .bm3d import BM3D
from .box import Box
from .clipped import Clipped
from .dip import DeepImagePrior
from .equivariant import Equivariant
from .nlm import NLM
from .tikhonov import Tikhonov
from .tiled import Tiled
from .tv import TV
from .wavelet import Wavelet


class Entry(NamedTuple):
    """One line of the market: how to draw the prior, and what it promises beyond its own attributes."""

    name: str
    drawn: st.SearchStrategy[Functional]
    scales: bool = True  # prox(c v, c^2 tau) = c prox(v, tau): it has no strength in image units
    gap: float = 1e-12  # relative excess over the minimum that prox may leave
    batch_tol: float = 1e-9  # relative difference between an item alone and in a batch
    ndim: int = 2


TIGHT = 1e-7  # a duality gap at which the laws test optimality rather than accuracy, in reasonable time
weights = st.sampled_from([0.0, 0.3, 1.0, 2.0])
seeds = st.integers(0, 99)
odd = st.sampled_from([1, 3, 5, 7])
windows = st.sampled_from([3, 5, 7])
ends = st.sampled_from([(0.0, 1.0), (0.15, 0.85), (-float("inf"), 0.9)])  # around the pictures of the laws
flags = st.booleans()


def _tv(
    weight: st.SearchStrategy[float] | st.SearchStrategy[str],
    ndim: int = 2,
    bounds: st.SearchStrategy[object] | None = None,
) -> st.SearchStrategy[Functional]:
    return st.builds(
        TV, weight, flags, st.just(TIGHT), isotropic=flags, ndim=st.just(ndim),
        bounds=st.none() if bounds is None else bounds,
    )  # fmt: skip


ENTRIES: tuple[Entry, ...] = (
    Entry("TV auto", _tv(st.just("auto"))),
    Entry("TV", _tv(weights), scales=False, gap=TIGHT),
    Entry("TV in bounds", _tv(weights, bounds=ends), scales=False, gap=TIGHT),
    Entry("TV of volumes", _tv(weights, ndim=3), scales=False, gap=TIGHT, ndim=3),
    Entry("NLM", st.builds(NLM, odd, windows, st.sampled_from(["auto", 0.4, 1.0]), spread=st.integers(0, 2))),
    Entry("Wavelet", st.builds(Wavelet, st.sampled_from(["haar", "db2", "sym4"]), st.integers(1, 3))),
    Entry("Wavelet of bands", st.builds(Wavelet, window=st.none(), threshold=st.sampled_from(["bayes", "sure"]))),
    Entry("Tikhonov", st.builds(Tikhonov, weights), scales=False),
    Entry("Box", ends.map(lambda pair: Box(*pair)), scales=False),
    Entry("Clipped", st.builds(Clipped, st.builds(NLM, odd, windows)), scales=False),
    Entry(
        "Equivariant",
        st.builds(Equivariant, st.builds(NLM, odd, windows), seeds, shift=st.integers(0, 4), draws=st.integers(1, 3)),
    ),
    Entry("Tiled", st.builds(Tiled, st.builds(NLM, odd, windows), st.integers(3, 9), st.integers(0, 9))),
    Entry("BM3D", st.builds(BM3D, st.sampled_from(["fast", "normal"])), batch_tol=1e-4),
    Entry(
        "DeepImagePrior", st.builds(DeepImagePrior, st.just("tiny"), seed=seeds, steps=st.just((20, 5))), scales=False
    ),
)


def priors(
    name: str | None = None, *, where: Callable[[Functional], bool] = lambda prior: True
) -> st.SearchStrategy[Functional]:
    """The entry ``name``, or any prior for pictures, with small legal settings for which ``where`` is true."""
    return st.one_of(*(e.drawn for e in ENTRIES if name == e.name or (name is None and e.ndim == 2))).filter(where)


def cheap_priors() -> st.SearchStrategy[Functional]:
    """Priors without a network fit."""
    return priors(where=lambda prior: prior.cost == "cheap")


def convex_priors() -> st.SearchStrategy[Functional]:
    """Priors that are convex functions with a value."""
    return priors(where=lambda prior: prior.convex and prior.has_value)
