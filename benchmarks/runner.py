"""Run a grid: cached cells first, the rest in parallel, rows and report as they come."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import os
import re
import time
import traceback
from pathlib import Path

import joblib
import pandas as pd
from tqdm import tqdm

from .cache import Cells, code_version, library_sources, write
from .environment import environment
from .grid import Benchmark, Cell, Options, Outcome, Rows
from .report import Page, render

WRITE_EVERY = 2.0  # seconds between two writings of rows.csv


class NothingComputed(RuntimeError):
    """No cell of the grid has an outcome: there is nothing to report."""


@dataclasses.dataclass(frozen=True)
class Finished:
    """What a run leaves behind."""

    rows: Rows
    page: Page
    failures: dict[Cell, str]


def run(benchmark: Benchmark, options: Options, *, progress: bool = True) -> Finished:
    """Compute what is missing of the grid and write ``results/<name>/``.

    Raises: ValueError if nothing of the grid is asked for, NothingComputed if every cell failed.
    """
    folder = options.out / benchmark.name
    version = code_version(library_sources(), Path(inspect.getfile(benchmark.cells)))
    store = Cells(folder / "cells", version, any_version=options.any_version)
    cells = select(list(dict.fromkeys(benchmark.cells(options))), options.only)
    outcomes = {cell: outcome for cell in cells if (outcome := store.load(cell)) is not None}
    todo = [cell for cell in cells if cell not in outcomes]
    jobs = 1 if benchmark.timing else min(options.jobs or cores(), max(len(todo), 1))
    failures: dict[Cell, str] = {}
    written = 0.0
    bar = tqdm(total=len(cells), initial=len(outcomes), desc=benchmark.name, unit="cell", disable=not progress)
    with bar, joblib.parallel_config(backend="loky", inner_max_num_threads=options.threads):
        work = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")
        for cell, outcome in work(joblib.delayed(attempt)(store, cell, options.threads) for cell in todo):
            if isinstance(outcome, str):
                failures[cell] = outcome
                if outcome not in list(failures.values())[:-1]:  # the same error is told once
                    bar.write(f"failed: {cell.label}\n  {outcome.strip().splitlines()[-1]}")
            else:
                outcomes[cell] = outcome
            bar.set_postfix_str(cell.label[:60], refresh=False)
            bar.update()
            if time.monotonic() - written > WRITE_EVERY:
                write(folder / "rows.csv", table(cells, outcomes).to_csv(index=False))
                written = time.monotonic()
    frame = table(cells, outcomes)
    write(folder / "rows.csv", frame.to_csv(index=False))
    rows = Rows(frame, {cell: outcomes[cell] for cell in cells if cell in outcomes}, options, folder)
    if not rows.outcomes:
        raise NothingComputed(f"every cell failed; the last one with\n{list(failures.values())[-1]}")
    page = benchmark.summary(rows)
    record = environment(jobs=jobs, threads=options.threads, device=options.device, version=version)
    write(folder / "index.html", render(page, record))
    write(
        folder / "results.json",
        json.dumps(_results(benchmark, rows, page, record, failures), indent=1, allow_nan=False),
    )
    return Finished(rows, page, failures)


def select(cells: list[Cell], only: tuple[str, ...]) -> list[Cell]:
    """The cells whose label matches every one of the regular expressions, letters of either case."""
    chosen = [cell for cell in cells if all(re.search(pattern, cell.label, re.IGNORECASE) for pattern in only)]
    if not chosen:
        raise ValueError(
            f"--only {' '.join(only)}: none of the {len(cells)} cells match, for instance: {cells[0].label}"
        )
    return chosen


def attempt(store: Cells, cell: Cell, threads: int) -> tuple[Cell, Outcome | str]:
    """Run one cell and keep its outcome; a failure is a text, and is tried again next time."""
    import torch

    torch.set_num_threads(threads)
    cpu, wall = time.process_time(), time.perf_counter()
    try:
        outcome = cell.run()
    except Exception:  # noqa: BLE001  one failing cell must not end a grid of hours; the report names it
        return cell, traceback.format_exc()
    spent = {"cell CPU seconds": time.process_time() - cpu, "cell seconds": time.perf_counter() - wall}
    outcome = Outcome({**outcome.row, **spent, "version": store.version}, outcome.images, outcome.curves)
    store.save(cell, outcome)
    return cell, outcome


def table(cells: list[Cell], outcomes: dict[Cell, Outcome]) -> pd.DataFrame:
    """One row per finished cell, settings first; ``attrs["settings"]`` names the settings."""
    done = [cell for cell in cells if cell in outcomes]
    frame = pd.DataFrame([{**cell.settings(), **outcomes[cell].row} for cell in done])
    frame.attrs["settings"] = list(done[0].settings()) if done else []
    return frame


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
