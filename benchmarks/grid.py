"""What a benchmark is: cells (settings), their outcomes, and a summary of the rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from .report import Page

Value = float | int | str | bool | None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one cell measured: ``row`` goes into the table, ``images`` and ``curves`` into the report."""

    row: Mapping[str, Value]
    images: Mapping[str, np.ndarray[Any, Any]] = dataclasses.field(default_factory=dict)
    curves: Mapping[str, list[float]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Cell:
    """One experiment. Its fields are its settings and, but for those with ``compare=False``, its identity."""

    home: ClassVar[str] = ""  # of cells that several benchmarks show: the one in whose folder they are kept

    def run(self) -> Outcome:
        raise NotImplementedError

    def settings(self) -> dict[str, Value]:
        """The settings as columns of the table."""
        return {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self) if field.compare}

    @property
    def label(self) -> str:
        """One line for progress bars and ``--only``."""
        return " ".join(f"{name}={value}" for name, value in self.settings().items() if value is not None)


def _plain(value: Any) -> Value:
    return value if value is None or isinstance(value, float | int | str | bool) else str(value)


@dataclasses.dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    quick: bool = False
    size: int | None = None  # side of the pictures, where a benchmark has no reason for its own
    seeds: int = 1
    only: tuple[str, ...] = ()
    device: str = "cpu"
    jobs: int = 0  # 0: one per processor core, except in timing benchmarks, which run alone
    threads: int = 1
    images: Path | None = None
    kernel: Path | None = None
    out: Path = Path("results")
    any_version: bool = False
    scheduler: str | None = None  # address of a Dask scheduler whose workers run the cells


@dataclasses.dataclass(frozen=True)
class Rows:
    """The finished part of a grid, as the summary sees it."""

    frame: pd.DataFrame
    outcomes: dict[Cell, Outcome]
    options: Options
    folder: Path


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """One question: the grid that answers it, and the summary of the answers."""

    name: str
    question: str
    cells: Callable[[Options], Iterator[Cell]]
    summary: Callable[[Rows], Page]
    timing: bool = False  # cells measure time: run one at a time
    pictures: tuple[str, ...] = ()  # of the papers', which --images should have
