"""The comparison with other libraries, against a library that lives in this file."""

from __future__ import annotations

import dataclasses
import math
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("pandas")
pytest.importorskip("jinja2")

import benchmarks.peers.benchmark as comparison
import pnp
from benchmarks.grid import Options, Rows
from benchmarks.peers.benchmark import Duel
from benchmarks.peers.methods import METHODS, Method
from benchmarks.peers.page import page, verdicts
from benchmarks.peers.process import WORKERS, Failed, Peer, Worker
from benchmarks.peers.search import FURTHER, Grid, Point, search
from benchmarks.peers.tasks import TASKS, measure, written
from benchmarks.peers.workers.protocol import Task, hadamard
from benchmarks.pictures import find

SCRIPT = f"""
    import os, sys, time
    sys.path.insert(0, {str(WORKERS)!r})
    from protocol import serve

    def scaled(task, *, factor):
        if factor < 0:
            raise ValueError("a negative factor")
        return factor * task.start

    def forward(task):
        return task.forward(task.probe)

    def noisy(task):
        print("a line that is no answer", flush=True)
        os.system("echo another")
        return task.y

    def busy(task, *, seconds):
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass
        return task.y

    def threads(task):
        return [float(os.environ["OMP_NUM_THREADS"])]

    def crash(task):
        os._exit(3)

    def hang(task):
        time.sleep(60)

    serve({{f.__name__: f for f in (forward, scaled, noisy, busy, threads, crash, hang)}})
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "with_fake.py"
    path.write_text(textwrap.dedent(SCRIPT))
    return path


def truth(size: int = 32) -> torch.Tensor:
    return find("coffee").tensor(size, grey=True)


def task(name: str = "inpainting", size: int = 32) -> Task:
    return written(name, measure(name, truth(size), 0))[0]


@pytest.mark.parametrize("name", TASKS)
def test_a_written_task_is_our_operator(name: str, tmp_path: Path) -> None:
    """Saved and loaded, its NumPy forward gives our data of the probe, to rounding in float32."""
    made, data = written(name, measure(name, truth(), 0))
    made.save(tmp_path / "task.npz")
    read = Task.load(tmp_path / "task.npz")
    assert (read.shape, read.kind, read.factor, read.sigma) == (made.shape, made.kind, made.factor, made.sigma)
    np.testing.assert_array_equal(read.y, made.y)
    assert np.linalg.norm(read.forward(read.probe) - data) <= 1e-6 * np.linalg.norm(data)


@given(name=st.sampled_from(TASKS), size=st.sampled_from([16, 32]), seed=st.integers(0, 100))
def test_adjoints_pair_with_forwards(name: str, size: int, seed: int) -> None:
    made, generator = task(name, size), np.random.default_rng(seed)
    if made.kernel is not None:  # any kernel: the adjoint turns it around
        made = dataclasses.replace(made, kernel=generator.standard_normal((5, 4)))
    x, y = generator.standard_normal(made.shape), generator.standard_normal(made.y.shape)
    Ax, Aty = made.forward(x), made.adjoint(y)
    scale = np.linalg.norm(Ax) * np.linalg.norm(y) + np.linalg.norm(x) * np.linalg.norm(Aty)
    assert abs(np.vdot(Ax, y) - np.vdot(x, Aty)) <= 1e-12 * scale


@given(power=st.integers(0, 10), seed=st.integers(0, 100))
def test_the_hadamard_transform_is_its_own_inverse_and_keeps_norms(power: int, seed: int) -> None:
    v = np.random.default_rng(seed).standard_normal(1 << power)
    w = hadamard(v)
    np.testing.assert_allclose(hadamard(w), v, atol=1e-12 * np.linalg.norm(v))
    assert np.linalg.norm(w) == pytest.approx(np.linalg.norm(v), rel=1e-12)


def test_colour_and_odd_sides_are_refused() -> None:
    with pytest.raises(ValueError, match="grey picture"):
        written("inpainting", measure("inpainting", find("coffee").tensor(16), 0))
    with pytest.raises(ValueError, match="power of two"):
        written("single pixel", measure("single pixel", truth(24), 0))
    with pytest.raises(ValueError, match="no task called"):
        measure("dreaming", truth(16), 0)


def test_a_worker_answers_and_counts_its_own_seconds(script: Path) -> None:
    with Worker(script, sys.executable, threads=3) as worker:
        worker.give(given_task := task())
        answer = worker.ask("busy", {"seconds": 0.1})
        np.testing.assert_array_equal(answer.x, given_task.y)
        assert answer.cpu >= 0.1
        assert answer.wall > 0
        np.testing.assert_array_equal(worker.ask("noisy", {}).x, given_task.y)
        assert worker.ask("threads", {}).x.tolist() == [3.0]


def test_a_worker_is_asked_about_the_task_that_was_given_last(script: Path) -> None:
    with Worker(script, sys.executable) as worker:
        for name in ("inpainting", "deblurring"):
            made, data = written(name, measure(name, truth(), 0))
            worker.give(made)
            np.testing.assert_allclose(worker.ask("forward", {}).x, data, atol=1e-5)


def test_a_worker_that_raises_ends_or_hangs_says_so_and_serves_on(script: Path) -> None:
    with Worker(script, sys.executable) as worker:
        worker.give(task())
        with pytest.raises(Failed, match="a negative factor"):
            worker.ask("scaled", {"factor": -1.0})
        with pytest.raises(Failed, match="the process ended"):
            worker.ask("crash", {})
        worker.ask("scaled", {"factor": 1.0})
        worker.limit = 0.2
        with pytest.raises(Failed, match=r"no answer within 0\.2 s"):
            worker.ask("hang", {})
        worker.limit = 60.0
        worker.ask("scaled", {"factor": 1.0})


def test_what_a_broken_script_says_is_told(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import no_such_module")
    with Worker(tmp_path / "broken.py", sys.executable) as worker:
        worker.give(task())
        with pytest.raises(Failed, match="No module named 'no_such_module'"):
            worker.ask("forward", {})


def method(script: Path, **changes: object) -> Method:
    """Ours beside a library that scales the first guess: 1 is best, below zero it raises."""
    made = Method(
        Peer("fake", str(script), ("numpy",)),
        "scaled",
        "TV",
        ("inpainting",),
        {"factor": 0.5},
        "nowhere",
        lambda _: Grid({"factor": (1.0, 2.0), "sign": (-1, 1)}, lambda factor, sign: {"factor": sign * factor}),
        checked=True,
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def duel() -> Duel:
    return Duel("inpainting", "TV", "fake", "scaled", find("coffee"), 32, "numpy 0", "code", rounds=1)


def test_the_best_setting_is_raced(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "METHODS", (method(script),))
    outcome = duel().run()
    p = measure("inpainting", truth(), 0)
    start = p.A.start(p.y)
    ours = pnp.reconstruct(p.y, p.A, pnp.priors.TV(), progress=False).x
    row = outcome.row
    assert row["setting"] == '{"factor": 1.0}'
    assert (row["tried"], row["failed"], row["inside"]) == (6, 2, True)  # the grid goes on to 0.5
    for name, x in (("default PSNR", 0.5 * start), ("tuned PSNR", start), ("PSNR", ours)):
        assert row[name] == pytest.approx(float(pnp.psnr(x, p.truth)), abs=1e-4)
    assert 0 < float(row["times faster"]) < 1  # type: ignore[arg-type]
    np.testing.assert_allclose(outcome.images["theirs"], start[0], atol=1e-6)


def test_another_operator_is_a_note_and_only_failures_are_a_failure(
    script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script.write_text(
        script.read_text().replace("return task.forward(task.probe)", "return 1.001 * task.forward(task.probe)")
    )
    monkeypatch.setattr(comparison, "METHODS", (method(script),))
    assert duel().run().row == {"note": "another operator: relative difference 1.0e-03"}
    hopeless = method(script, default={"factor": -2.0}, grid=lambda _: Grid(), checked=False)
    monkeypatch.setattr(comparison, "METHODS", (hopeless,))
    with pytest.raises(Failed, match=r"every setting failed; the first with\n(.|\n)*a negative factor"):
        duel().run()


def test_absent_libraries_are_left_out_and_told(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = method(script)
    absent = method(script, peer=Peer("absent", str(script), ("numpy", "no-such-package")))
    nowhere = method(script, peer=Peer("no-where", str(script), ("numpy",)))
    monkeypatch.setenv("PNP_PEERS_NO_WHERE", "/no/such/python")
    monkeypatch.setattr(comparison, "METHODS", (here, absent, nowhere))
    found = list(comparison.cells(Options(quick=True)))
    assert [cell.settings()["peer"] for cell in found] == ["fake"]
    assert found[0].settings()["versions"] == f"numpy {np.__version__}"
    frame = row_of("scikit-image", "Wiener", "TV", 1.0, 2.0)
    made = page(Rows(frame, {}, Options(), Path()), "Lead.")
    assert "No row of deepinv (an interpreter that has it: PNP_PEERS_DEEPINV)." in made.text
    assert "No row of scikit-image" not in made.text


@given(best=st.tuples(st.floats(-7, 7), st.floats(-3, 3)))
def test_a_search_goes_on_until_its_best_is_inside(best: tuple[float, float]) -> None:
    """The axes' own ratios, 2 and 10, lead to the point of the lattice that is nearest to the peak."""
    grid = Grid({"weight": (1.0, 2.0), "step": (1.0, 10.0), "exact": (True, False)})
    asked: list[Point] = []

    def score(point: Point) -> float:
        asked.append(point)
        weight, step, exact = point
        return -abs(math.log2(weight) - best[0]) - abs(math.log10(step) - best[1]) - (not exact)

    seen, inside = search(grid, score)
    assert len(asked) == len(set(asked)) == len(seen) <= len(grid.points()) + FURTHER
    weight, step, exact = max(seen, key=seen.__getitem__)
    assert exact
    if inside:
        assert abs(math.log2(weight) - best[0]) <= 0.5 + 1e-9
        assert abs(math.log10(step) - best[1]) <= 0.5 + 1e-9


def test_a_search_ends_and_says_that_its_best_is_at_an_end() -> None:
    seen, inside = search(Grid({"weight": (1.0, 2.0)}), lambda point: float(point[0]))
    assert not inside
    assert len(seen) == 2 + FURTHER
    assert search(Grid({"iterations": (1, 2)}), lambda point: float(point[0])) == ({(1,): 1.0, (2,): 2.0}, True)
    assert search(Grid(), lambda point: 0.0) == ({}, True)
    seen, inside = search(Grid({"weight": (1.0, 2.0)}), lambda point: math.nan)
    assert (len(seen), inside) == (2, True)


def row_of(peer: str, method: str, prior: str, gain: float, ratio: float) -> pd.DataFrame:
    settings = {"task": "deblurring", "prior": prior, "peer": peer, "method": method, "picture": "coffee:0", "seed": 0}
    measured = {"default PSNR": 20.0, "tuned PSNR": 30.0, "PSNR": 30.0 + gain, "gain, dB": gain, "times faster": ratio}
    more = {"s": 1.0, "s tuned": ratio, "versions": "", "setting": "{}", "inside": True, "tried": 1, "failed": 0}
    frame = pd.DataFrame([{**settings, **measured, **more}])
    frame.attrs["settings"] = list(settings)
    return frame


@pytest.mark.parametrize(
    ("gain", "ratio", "holds"), [(0.2, 1.5, True), (-0.004, 1.1, True), (-0.02, 9.0, False), (3.0, 0.9, False)]
)
def test_the_verdict_asks_for_quality_and_time(gain: float, ratio: float, holds: bool) -> None:
    better = row_of("scico", "TV", "TV", 5.0, 50.0)
    filters = row_of("scikit-image", "Wiener", "TV", -9.0, 0.01)  # no prior: shown, not judged
    frame = pd.concat([better, row_of("deepinv", "TV", "TV", gain, ratio), filters])
    (verdict,) = verdicts(frame)
    assert verdict.holds == holds
    assert "(deepinv)" in verdict.detail


def test_a_note_is_on_the_page_and_is_no_result() -> None:
    refused = row_of("scico", "TV", "TV", math.nan, math.nan).assign(note="another operator", PSNR=math.nan)
    frame = pd.concat([row_of("deepinv", "TV", "TV", 1.0, 2.0), refused])
    frame.attrs["settings"] = ["task", "prior", "peer", "method", "picture", "seed"]
    made = page(Rows(frame, {}, Options(), Path()), "Lead.")
    assert "deblurring, scico: another operator." in made.lead
    assert "scico" not in made.sections[0].parts[0].frame["against"].to_string()  # type: ignore[union-attr]


def test_every_method_is_one_cell_and_its_grid_is_written_down() -> None:
    keys = [(m.peer.name, m.name, m.prior) for m in METHODS]
    assert len(set(keys)) == len(keys)
    for m in METHODS:
        assert set(m.tasks) <= set(TASKS)
        for name in m.tasks:
            settings = [tuple(sorted(s.items())) for s in m.grid(name)]
            assert len(set(settings)) == len(settings)
