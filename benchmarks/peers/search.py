"""A search with the original in hand: a grid, continued wherever its best setting lies at an end."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from itertools import product

from .process import Settings

Value = float | int | bool | str
Point = tuple[Value, ...]
FURTHER = 12  # settings beyond the grid, at most


@dataclasses.dataclass(frozen=True)
class Grid:
    """Every combination of the values of ``axes``; ``settings`` makes of one what the other library is given."""

    axes: Mapping[str, tuple[Value, ...]] = dataclasses.field(default_factory=dict)
    settings: Callable[..., Settings] = dict

    def __iter__(self) -> Iterator[Settings]:
        return map(self.at, self.points())

    def at(self, point: Point) -> Settings:
        """The settings of a point."""
        return self.settings(**dict(zip(self.axes, point, strict=True)))

    def points(self) -> list[Point]:
        """All combinations; none where there is no axis."""
        return list(product(*self.axes.values())) if self.axes else []

    def beyond(self, best: Point, seen: Mapping[Point, float]) -> list[Point]:
        """Where an axis of numbers goes on, at its own ratio, if ``best`` is at its end among the points ``seen``."""
        found = []
        for i, values in enumerate(self.axes.values()):
            value = best[i]
            if len(values) < 2 or not isinstance(value, float):
                continue
            line = [float(p[i]) for p in seen if p[:i] == best[:i] and p[i + 1 :] == best[i + 1 :]]
            ends = [float(v) for v in values]
            for end, ratio in ((min(line), ends[0] / ends[1]), (max(line), ends[-1] / ends[-2])):
                if value == end:
                    found.append((*best[:i], value * ratio, *best[i + 1 :]))
        return found


def search(grid: Grid, score: Callable[[Point], float]) -> tuple[dict[Point, float], bool]:
    """The scores of the grid and of what continues it, and whether the best is inside; nan is a failure."""
    seen = {point: score(point) for point in grid.points()}
    allowed = len(seen) + FURTHER
    while valid := {point: value for point, value in seen.items() if not math.isnan(value)}:
        best = max(valid, key=valid.__getitem__)
        further = grid.beyond(best, seen)
        if not further or len(seen) + len(further) > allowed:
            return seen, not further
        seen.update({point: score(point) for point in further})
    return seen, True
