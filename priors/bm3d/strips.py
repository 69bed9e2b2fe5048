"""Upright strips of a picture that is too wide for the tables of coefficients."""

from __future__ import annotations

import dataclasses

from .settings import REACH

LEAST = 12  # reference columns of a strip: their groups reach twice as far


@dataclasses.dataclass(frozen=True)
class Strip:
    """Neighbouring reference columns, the columns of pixels that their groups reach, and the first one's among these.

    What the groups of a strip add to the estimate they add to its pixels alone; the sums over all strips are those of
    the picture.
    """

    references: slice
    pixels: slice
    begin: int


def strips(columns: int, widest: int) -> list[Strip]:
    """The ``columns`` reference columns in strips of at most ``widest`` positions, or of 12 reference columns."""
    positions = 3 * (columns - 1) + 1
    count = columns if positions <= widest else max(LEAST, (widest - 1 - 2 * REACH) // 3 + 1)
    found = []
    for left in range(0, columns, count):
        right = min(left + count, columns)
        first, last = max(3 * left - REACH, 0), min(3 * (right - 1) + REACH + 1, positions)
        found.append(Strip(slice(left, right), slice(first, last + 7), 3 * left - first))
    return found
