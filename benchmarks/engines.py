"""Where cells run: in processes of this machine or on the workers of a Dask cluster; outcomes come as they finish."""

from __future__ import annotations

import os
import re
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

import joblib

from .grid import Cell, Outcome
from .versions import version_of

Attempt = tuple[Cell, Outcome | str]  # a failure is a text


def attempt(cell: Cell, threads: int) -> Attempt:
    """Run one cell; a failure is its traceback, and is tried again in the next run."""
    import torch

    torch.set_num_threads(threads)
    cpu, wall = time.process_time(), time.perf_counter()
    try:
        outcome = cell.run()
    except Exception:  # noqa: BLE001  one failing cell must not end a grid of hours; the report names it
        return cell, traceback.format_exc()
    spent = {"cell CPU seconds": time.process_time() - cpu, "cell seconds": time.perf_counter() - wall}
    return cell, Outcome({**outcome.row, **spent}, outcome.images, outcome.curves)


def here(cells: Sequence[Cell], jobs: int, threads: int) -> Iterator[Attempt]:
    """``jobs`` processes of this machine; a single one is this process itself."""
    with joblib.parallel_config(backend="loky", inner_max_num_threads=threads):
        work = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")
        yield from work(joblib.delayed(attempt)(cell, threads) for cell in cells)


def cluster(address: str, cells: Sequence[Cell], threads: int) -> Iterator[Attempt]:
    """The workers behind a Dask scheduler, one task a cell.

    The tasks of a lost worker go to the others, and a result lost with it is computed again. Nothing is written there:
    outcomes travel back. Leaving the loop early, or dying, withdraws the tasks that have not started.
    Raises: ValueError if no scheduler answers at the address.
    """
    from distributed import Client, as_completed

    if not re.fullmatch(r"(\w+://)?.+:\d+/?", address):  # the client would wait for it until the end of days
        raise ValueError(f"--scheduler {address}: expected the address that dask scheduler prints, tcp://host:8786.")
    try:
        client = Client(address, set_as_default=False)
    except OSError as error:
        raise ValueError(f"--scheduler {address}: no Dask scheduler answers there ({error})") from error
    with client:
        # Workers may keep what they know under its key: another run is another task.
        keys = [f"{type(cell).__name__}-{time.time_ns():x}-{index}" for index, cell in enumerate(cells)]
        waiting = dict(zip(keys, cells, strict=True))
        versions = [version_of(type(cell)) for cell in cells]
        # No list of futures is kept, so that workers may forget an outcome once it is here.
        done = as_completed(
            client.map(attempt_there, cells, versions, key=keys, threads=threads),
            loop=client.loop,
            with_results=True,
            raise_errors=False,
        )
        for future, outcome in done:
            cell = waiting.pop(future.key)
            arrived = isinstance(outcome, tuple) and isinstance(outcome[0], Cell)
            yield outcome if arrived else (cell, f"{future.status}: {outcome!r}")


def attempt_there(cell: Cell, version: str, threads: int) -> Attempt:
    """``attempt`` on a worker, refused where its code is not the code that asked."""
    if (own := version_of(type(cell))) != version:
        name = f"{os.uname().nodename}, {Path(__file__).resolve().parent.parent}"
        return cell, f"the worker on {name} runs other code ({own}, not {version})"
    return attempt(cell, threads)
