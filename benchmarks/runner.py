"""Run a grid: what is cached first, then the rest; every outcome is kept and every row written as it comes."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import io
import json
import math
import os
import re
import time

import pandas as pd
from tqdm import tqdm

from .cache import Cells, write
from .engines import cluster, here
from .environment import environment
from .grid import Benchmark, Cell, Options, Outcome, Rows
from .interrupt import remembered
from .report import Page, markdown, render
from .versions import version_of

WRITE_EVERY = 2.0  # seconds between two writings of rows.csv


class NothingComputed(RuntimeError):
    """No cell of the grid has an outcome: there is nothing to report."""


@dataclasses.dataclass(frozen=True)
class Finished:
    """What a run leaves behind."""

    rows: Rows
    page: Page
    failures: dict[Cell, str]
    version: str


def run(benchmark: Benchmark, options: Options, *, progress: bool = True) -> Finished:
    """Compute what is missing of the grid and write ``results/<name>/``.

    Raises: ValueError if nothing of the grid is asked for, NothingComputed if every cell failed.
    """
    folder = options.out / benchmark.name
    store = Cells(options.out, benchmark.name, any_version=options.any_version)
    cells = select(list(dict.fromkeys(benchmark.cells(options))), options.only)
    outcomes = {cell: outcome for cell in cells if (outcome := store.load(cell)) is not None}
    todo = [cell for cell in cells if cell not in outcomes]
    jobs = 1 if benchmark.timing else min(options.jobs or cores(), max(len(todo), 1))
    if away := options.scheduler is not None and not benchmark.timing and len(todo) > 0:
        work = cluster(str(options.scheduler), todo, options.threads)
    else:
        work = here(todo, jobs, options.threads)
    failures: dict[Cell, str] = {}
    written = 0.0
    bar = tqdm(total=len(cells), initial=len(outcomes), desc=benchmark.name, unit="cell", disable=not progress)
    with remembered() as pressed, bar, contextlib.closing(work):
        for cell, outcome in work:
            if isinstance(outcome, str):
                failures[cell] = outcome
                if outcome not in list(failures.values())[:-1]:  # the same error is told once
                    bar.write(f"failed: {cell.label}\n  {outcome.strip().splitlines()[-1]}")
            else:
                outcomes[cell] = store.save(cell, outcome)
            bar.set_postfix_str(cell.label[:60], refresh=False)
            bar.update()
            if time.monotonic() - written > WRITE_EVERY:
                write(folder / "rows.csv", table(cells, outcomes).to_csv(index=False))
                written = time.monotonic()
            if pressed.is_set():
                raise KeyboardInterrupt
    frame = table(cells, outcomes)
    write(folder / "rows.csv", frame.to_csv(index=False))
    if importlib.util.find_spec("pyarrow"):
        write(folder / "rows.parquet", parquet(frame))
    rows = Rows(frame, {cell: outcomes[cell] for cell in cells if cell in outcomes}, options, folder)
    if not rows.outcomes:
        raise NothingComputed(f"every cell failed; the last one with\n{list(failures.values())[-1]}")
    page = benchmark.summary(rows)
    version = ", ".join(sorted({version_of(type(cell)) for cell in rows.outcomes}))
    record = environment(jobs=jobs, threads=options.threads, device=options.device, version=version)
    if away:
        record["cluster"] = f"cells computed by the workers behind {options.scheduler}"
    write(folder / "index.html", render(page, record))
    write(folder / "tables.md", markdown(page, record))
    write(
        folder / "results.json",
        json.dumps(_results(benchmark, rows, page, record, failures), indent=1, allow_nan=False),
    )
    return Finished(rows, page, failures, version)


def select(cells: list[Cell], only: tuple[str, ...]) -> list[Cell]:
    """The cells whose label matches every one of the regular expressions, letters of either case."""
    try:
        patterns = [re.compile(pattern, re.IGNORECASE) for pattern in only]
    except re.error as error:
        raise ValueError(f"--only {' '.join(only)}: expected a regular expression, got one with {error}") from error
    chosen = [cell for cell in cells if all(pattern.search(cell.label) for pattern in patterns)]
    if not chosen:
        raise ValueError(
            f"--only {' '.join(only)}: none of the {len(cells)} cells match, for instance: {cells[0].label}"
        )
    return chosen


def table(cells: list[Cell], outcomes: dict[Cell, Outcome]) -> pd.DataFrame:
    """One row per finished cell, settings first; ``attrs["settings"]`` names the settings."""
    done = [cell for cell in cells if cell in outcomes]
    frame = pd.DataFrame([{**cell.settings(), **outcomes[cell].row} for cell in done])
    frame.attrs["settings"] = list(done[0].settings()) if done else []
    return frame


def parquet(frame: pd.DataFrame) -> bytes:
    """The table as a Parquet file, where a column holds one kind of value: several kinds become text."""
    import pyarrow
    from pyarrow import parquet

    columns = {}
    for name, column in frame.items():
        try:
            columns[str(name)] = pyarrow.array(column, from_pandas=True)
        except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError):
            columns[str(name)] = pyarrow.array(column.where(column.isna(), column.astype(str)), from_pandas=True)
    buffer = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), buffer)
    return buffer.getvalue()


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _results(
    benchmark: Benchmark, rows: Rows, page: Page, record: dict[str, str], failures: dict[Cell, str]
) -> dict[str, object]:
    return {
        "benchmark": benchmark.name,
        "question": benchmark.question,
        "environment": record,
        "verdicts": [dataclasses.asdict(verdict) for verdict in page.verdicts],
        "rows": [{key: finite(value) for key, value in row.items()} for row in rows.frame.to_dict("records")],
        "curves": {cell.label: [finite(list(v)) for v in o.curves.values()] for cell, o in rows.outcomes.items()},
        "failures": {cell.label: text for cell, text in failures.items()},
    }


def finite(value: object) -> object:
    """The value with None for nan and inf, which JSON cannot hold."""
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
