"""The same grid on a Dask cluster of real processes: a worker dies, nothing is lost; foreign code is refused."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("distributed")
pytest.importorskip("joblib")
pytest.importorskip("jinja2")

from benchmarks import engines
from benchmarks.grid import Benchmark, Cell, Options, Outcome, Rows
from benchmarks.report import Page
from benchmarks.runner import run

ROOT = Path(__file__).resolve().parent.parent
CELLS = 16


@dataclasses.dataclass(frozen=True)
class Slow(Cell):
    """A cell that takes a third of a second and writes down where it ran."""

    value: int
    log: str = dataclasses.field(compare=False)

    def run(self) -> Outcome:
        with open(self.log, "a", encoding="utf-8") as file:
            file.write(f"{os.getpid()} {self.value}\n")
        time.sleep(0.3)
        if self.value < 0:
            raise RuntimeError("below zero")
        return Outcome({"square": self.value**2}, {"x": np.full((2, 2), self.value)}, {"curve": [1.0, self.value]})


def benchmark(values: list[int], log: Path) -> Benchmark:
    def cells(options: Options) -> Iterator[Cell]:
        return iter([Slow(value, str(log)) for value in values])

    return Benchmark("slow", "What are the squares?", cells, lambda rows: Page("t", "l", []))


def same(a: Rows, b: Rows) -> None:
    """The same table but for the seconds, and the same pictures and curves."""
    seconds = ["cell CPU seconds", "cell seconds"]
    pd.testing.assert_frame_equal(a.frame.drop(columns=seconds), b.frame.drop(columns=seconds))
    for cell, outcome in a.outcomes.items():
        np.testing.assert_array_equal(outcome.images["x"], b.outcomes[cell].images["x"])
        assert outcome.curves == b.outcomes[cell].curves


@contextlib.contextmanager
def processes(*commands: list[str]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Commands of Dask that run for a while."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    running = [subprocess.Popen([sys.executable, "-m", *c], env=environment, **quiet) for c in commands]
    try:
        yield running
    finally:
        for process in running:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A scheduler."""
    import json

    file = tmp_path_factory.mktemp("scheduler") / "address.json"
    options = ["--port", "0", "--no-dashboard", "--host", "127.0.0.1", "--scheduler-file", str(file)]
    with processes(["distributed.cli.dask_scheduler", *options]):
        until(lambda: file.exists() and file.stat().st_size > 0)
        yield json.loads(file.read_text())["address"]


def worker(address: str, folder: Path) -> list[str]:
    options = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(folder)]
    return ["distributed.cli.dask_worker", address, *options]


def until(condition, seconds: float = 60.0) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def lines(log: Path) -> list[tuple[int, int]]:
    return (
        [(int(a), int(b)) for a, b in (line.split() for line in log.read_text().splitlines())] if log.exists() else []
    )


@pytest.mark.slow
def test_a_worker_killed_in_mid_run_changes_nothing(address: str, tmp_path: Path) -> None:
    """Two workers, one is killed for good: the table is the serial run's, and a second run computes nothing."""
    log = tmp_path / "log.txt"
    grid = benchmark(list(range(CELLS)), log)
    serial = run(grid, Options(out=tmp_path / "serial", jobs=1), progress=False)
    log.unlink()
    with processes(worker(address, tmp_path), worker(address, tmp_path)) as (first, second):

        def kill() -> None:
            until(lambda: {pid for pid, _ in lines(log)} == {first.pid, second.pid} and len(lines(log)) >= 5)
            os.kill(first.pid, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        spread = run(grid, Options(out=tmp_path / "spread", scheduler=address), progress=False)
        killer.join()
        assert first.wait(10) == -signal.SIGKILL
        assert second.poll() is None
        computed = len(lines(log))
        again = run(grid, Options(out=tmp_path / "spread", scheduler=address), progress=False)
    assert not spread.failures
    assert CELLS <= computed <= CELLS + 2  # at most what the dead worker had in its hands
    assert len(lines(log)) == computed
    same(serial.rows, spread.rows)
    same(serial.rows, again.rows)


@pytest.mark.slow
def test_failures_and_foreign_code_are_told(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log.txt"
    with processes(worker(address, tmp_path)):
        options = Options(out=tmp_path, scheduler=address)
        finished = run(benchmark([-1, 2], log), options, progress=False)
        (text,) = finished.failures.values()
        assert "below zero" in text
        assert finished.rows.frame["square"].tolist() == [4]
        monkeypatch.setattr(engines, "version_of", lambda module: "other")
        (failure,) = [outcome for _, outcome in engines.cluster(address, [Slow(3, str(log))], 1)]
        assert "runs other code" in failure


def test_a_scheduler_that_does_not_answer_is_named(tmp_path: Path) -> None:
    import dask

    with (
        dask.config.set({"distributed.comm.timeouts.connect": "200ms"}),
        pytest.raises(ValueError, match=r"tcp://127\.0\.0\.1:9: no Dask scheduler"),
    ):
        run(benchmark([1], tmp_path / "log"), Options(out=tmp_path, scheduler="tcp://127.0.0.1:9"), progress=False)


@pytest.mark.parametrize("nonsense", ["nonsense", "tcp://127.0.0.1", ":8786"])
def test_an_address_that_is_none_is_refused_at_once(tmp_path: Path, nonsense: str) -> None:
    with pytest.raises(ValueError, match=f"--scheduler {nonsense}: expected the address"):
        run(benchmark([1], tmp_path / "log"), Options(out=tmp_path, scheduler=nonsense), progress=False)
