"""The market of operators: one line per catalogue entry says how to draw one, and every law applies to it.

Only tests import this module; it needs hypothesis.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from hypothesis import strategies as st
from torch import Tensor

from pnp.linear_operator import LinearOperator

from .gradient import Gradient

Draw = Callable[[st.SearchStrategy[int]], int]
Shape = tuple[int, int]


class Entry(NamedTuple):
    """One line of the market: ``build(draw, shape, dtype)`` makes an operator on images of that shape."""

    name: str
    build: Callable[[Draw, Shape, torch.dtype], LinearOperator]
    smallest: int = 1  # shortest side the operator accepts


def random(draw: Draw, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """A Gaussian tensor; hypothesis draws (and shrinks) its seed only."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


ENTRIES: tuple[Entry, ...] = (
    Entry("Gradient Neumann", lambda draw, shape, dtype: Gradient(shape)),
    Entry("Gradient periodic", lambda draw, shape, dtype: Gradient(shape, boundary="periodic")),
    Entry("Gradient of a volume", lambda draw, shape, dtype: Gradient((draw(st.integers(1, 4)), *shape))),
)


@st.composite
def operators(
    draw: Draw,
    *,
    name: str | None = None,
    shape: Shape | None = None,
    dtype: torch.dtype = torch.float64,
    side: int = 7,
) -> LinearOperator:
    """An operator of the market (of one entry if ``name`` is given) on images of ``shape``, else of at most ``side``."""
    entries = [entry for entry in ENTRIES if name in (None, entry.name)]
    entry = entries[draw(st.integers(0, len(entries) - 1))]
    low = entry.smallest
    height, width = shape or (draw(st.integers(low, max(low, side))), draw(st.integers(low, max(low, side))))
    return entry.build(draw, (height, width), dtype)
