"""The harness: caching, atomic writing, statistics, self-contained reports. No library code is run here."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import importlib.util
import json
import re
import signal
import uuid
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("joblib")
pytest.importorskip("jinja2")

from benchmarks import cache
from benchmarks.cache import Cells, atomic
from benchmarks.grid import Benchmark, Cell, Options, Outcome, Rows
from benchmarks.interrupt import remembered
from benchmarks.pictures import find, pictures
from benchmarks.report import Comparison, Page, Section, Table, Tile, Verdict, number, render
from benchmarks.runner import parquet, run, select
from benchmarks.statistics import half_width, over_seeds
from benchmarks.versions import reached, version_of


@dataclasses.dataclass(frozen=True)
class Square(Cell):
    """A cell that writes down each time it is computed."""

    value: float
    log: str = dataclasses.field(compare=False)
    seed: int = 0

    def run(self) -> Outcome:
        with open(self.log, "a", encoding="utf-8") as file:
            file.write(f"{self.value}\n")
        if self.value == 13:
            raise RuntimeError("thirteen is refused")
        return Outcome({"square": self.value**2}, {"x": np.full((4, 4), self.value)}, {"curve": [self.value, np.nan]})


def page_of(rows: Rows) -> Page:
    truth = np.zeros((8, 8))
    comparison = Comparison("pictures", truth, [Tile("<b>", truth + 0.5, "note", "group")])
    table = Table("rows", rows.frame.drop(columns="version"))
    return Page("Squares & more", "lead", [Section("all", [table, comparison])], [Verdict("claim", True)], "text")


def benchmark(values: list[float], log: Path) -> Benchmark:
    def cells(options: Options):  # type: ignore[no-untyped-def]
        return iter([Square(v, str(log)) for v in values])

    return Benchmark("squares", "What are the squares?", cells, page_of)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log.txt"


def computed(log: Path) -> list[float]:
    return sorted(float(line) for line in log.read_text().split()) if log.exists() else []


def test_a_second_run_computes_nothing_and_a_changed_grid_only_what_changed(tmp_path: Path, log: Path) -> None:
    options = Options(out=tmp_path, jobs=1)
    first = run(benchmark([1, 2], log), options, progress=False)
    assert computed(log) == [1, 2]
    again = run(benchmark([1, 2], log), options, progress=False)
    assert computed(log) == [1, 2]
    pd.testing.assert_frame_equal(first.rows.frame, again.rows.frame)
    np.testing.assert_array_equal(again.rows.outcomes[Square(2, "")].images["x"], np.full((4, 4), 2.0))
    wider = run(benchmark([2, 3, 1], log), options, progress=False)
    assert computed(log) == [1, 2, 3]
    assert wider.rows.frame["square"].tolist() == [4, 9, 1]


def test_an_interrupted_run_continues(tmp_path: Path, log: Path) -> None:
    """Cells finished before the interruption are kept; half-written files are ignored."""
    options = Options(out=tmp_path, jobs=1)
    run(benchmark([1, 2], log), options, progress=False)
    folder = tmp_path / "squares" / "cells"
    (folder / ".half.json.abc").write_text("{")
    next(folder.glob("*.npz")).with_suffix(".json").unlink()  # interrupted between arrays and record
    run(benchmark([1, 2, 5], log), options, progress=False)
    assert len(computed(log)) == 4
    assert 5 in computed(log)


def test_failures_are_reported_not_cached_and_do_not_end_the_run(tmp_path: Path, log: Path) -> None:
    options = Options(out=tmp_path, jobs=1)
    for _ in range(2):
        finished = run(benchmark([13, 2], log), options, progress=False)
        assert list(finished.failures) == [Square(13, "")]
        assert "thirteen is refused" in finished.failures[Square(13, "")]
    assert computed(log) == [2, 13, 13]


def test_other_code_is_another_cell_unless_any_version_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell, outcome = Square(3, ""), Outcome({"square": np.inf})
    monkeypatch.setattr(cache, "version_of", lambda kind: "old")
    Cells(tmp_path, "squares").save(cell, outcome)
    monkeypatch.setattr(cache, "version_of", lambda kind: "new")
    assert Cells(tmp_path, "squares").load(cell) is None
    found = Cells(tmp_path, "squares", any_version=True).load(cell)
    assert found is not None
    assert found.row == {"square": np.inf, "version": "old"}


def test_a_cell_with_a_home_is_computed_once_for_all_who_show_it(tmp_path: Path, log: Path) -> None:
    @dataclasses.dataclass(frozen=True)
    class Shared(Square):
        home = "squares"

    def of(name: str) -> Benchmark:
        return Benchmark(name, "?", lambda options: iter([Shared(2, str(log))]), page_of)

    for name in ("cubes", "squares", "roots"):
        finished = run(of(name), Options(out=tmp_path, jobs=1), progress=False)
        assert finished.rows.frame["square"].tolist() == [4]
    assert computed(log) == [2]
    assert not (tmp_path / "cubes" / "cells").exists()


CODE = {
    "grid": "class Cell: ...\nclass Other: ...\n",
    "helper": "HALF = 0.5\nRATE = HALF / 2\ndef fit():\n    return RATE\ndef draw():\n    return 1\n",
    "rarely": "def late():\n    return 1\n",
    "whole": "def inside():\n    return 1\n",
    "unrelated": "from .helper import fit\nclass D:\n    x = fit\n",
    "b": (
        "NAMES = [name for name in ()]\n"
        "from . import whole\nfrom .grid import Cell\nfrom .helper import draw, fit as fitted\n"
        'class C(Cell):\n    """Doc."""\n    def run(self):\n        from .rarely import late\n'
        "        name = 0\n        return fitted() + late() + whole.inside() + name\n"
        "def cells():\n    return 1\ndef summary():\n    return draw()\n"
    ),
}


@pytest.mark.parametrize(
    ("module", "old", "new", "counts"),
    [
        ("b", "fitted() + late()", "fitted() - late()", True),
        ("b", "Doc.", "Words.", False),
        ("b", "return 1", "return 2", False),  # the grid
        ("b", "return draw()", "return 2 * draw()", False),  # the report
        ("b", "in ()", "in (1,)", False),  # a variable of the same name
        ("helper", "RATE = HALF / 2", "RATE = HALF / 3", True),
        ("helper", "HALF = 0.5", "HALF = 0.6", True),  # named by a constant that is named
        ("helper", "return 1", "return 2", False),  # what only the report calls
        ("rarely", "return 1", "return 2", True),  # imported where it is called
        ("whole", "return 1", "return 2", True),  # imported as a module
        ("grid", "Cell: ...", "Cell: x = 1", True),  # the base class
        ("grid", "Other: ...", "Other: x = 1", False),
        ("unrelated", "x = fit", "x = 2", False),
    ],
)
def test_the_code_behind_a_cell_is_what_its_class_names(
    module: str, old: str, new: str, counts: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)

    def code(texts: dict[str, str]) -> dict[tuple[str, str], str]:
        package = f"package{uuid.uuid4().hex}"
        (tmp_path / package).mkdir()
        for name, text in {"__init__": "", **texts}.items():
            (tmp_path / package / f"{name}.py").write_text(text)
        found = reached(f"{package}.b", "C")
        return {(place.removeprefix(package), name): text for (place, name), text in found.items()}

    assert old in CODE[module]
    assert (code(CODE) != code({**CODE, module: CODE[module].replace(old, new)})) == counts


def test_every_cell_counts_the_library_and_its_helpers() -> None:
    """A constant of one helper is behind the cells that use it and no others."""
    from benchmarks.deconvolution import GivenWeight
    from benchmarks.regularization import Regularised

    assert ("benchmarks.problems", "operator") in reached(GivenWeight.__module__, "GivenWeight")
    found = reached(Regularised.__module__, "Regularised")
    assert ("benchmarks.trajectories", "PER_DECADE") in found
    assert not any(module in ("benchmarks.problems", "benchmarks.report") for module, _ in found)
    assert version_of(Regularised) != version_of(GivenWeight)


def test_atomic_leaves_the_old_file_when_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail() -> None:
        with atomic(path) as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]


def test_only_selects_by_every_expression() -> None:
    cells: list[Cell] = [Square(1, ""), Square(12, ""), Square(2, "")]
    assert select(cells, ("value=1",)) == cells[:2]
    assert select(cells, ("VALUE=1", "2 ")) == [cells[1]]
    with pytest.raises(ValueError, match="none of the 3 cells"):
        select(cells, ("absent",))


class Links(HTMLParser):
    """Collects what a page would load or point at."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.ids |= {values["id"] or ""} if "id" in values else set()
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]


def check_self_contained(path: Path) -> None:
    """No address leaves the file, no picture is empty, no anchor is missing."""
    text = path.read_text(encoding="utf-8")
    links = Links()
    links.feed(text)
    for address in links.loads:
        assert address.startswith("data:") or address[1:] in links.ids, address[:80]
        if address.startswith("data:image/"):
            assert len(address) > 100
    outside = re.sub(r"data:[^\"]*", "", text)
    assert not re.search(r"https?://|url\(|@import", outside)


def test_the_report_is_self_contained_and_escapes_names(tmp_path: Path, log: Path) -> None:
    run(benchmark([1, 2], log), Options(out=tmp_path, jobs=1), progress=False)
    folder = tmp_path / "squares"
    check_self_contained(folder / "index.html")
    text = (folder / "index.html").read_text()
    assert "Squares &amp; more" in text
    assert "&lt;b&gt;" in text
    record = json.loads((folder / "results.json").read_text(), parse_constant=pytest.fail)
    assert record["rows"][1]["square"] == 4
    assert {"processor", "torch", "threads per job"} <= record["environment"].keys()
    assert (folder / "rows.csv").read_text().startswith("value,")
    if importlib.util.find_spec("pyarrow"):
        assert pd.read_parquet(folder / "rows.parquet")["square"].tolist() == [1, 4]


def test_rows_are_written_as_parquet_too(tmp_path: Path) -> None:
    """Numbers stay numbers, gaps stay gaps, and a column of several kinds becomes text."""
    pq = pytest.importorskip("pyarrow.parquet")
    frame = pd.DataFrame({"PSNR": [1.5, np.inf], "n": [1, None], "what": ["a", None], "mixed": ["auto", 2], "ok": True})
    frame.attrs["settings"] = ["what"]
    (tmp_path / "rows.parquet").write_bytes(parquet(frame))
    read = pq.read_table(tmp_path / "rows.parquet")
    assert read.to_pydict() == {
        "PSNR": [1.5, np.inf],
        "n": [1.0, None],
        "what": ["a", None],
        "mixed": ["auto", "2"],
        "ok": [True, True],
    }


def test_tables_show_numbers_that_sort() -> None:
    frame = pd.DataFrame({"name": ["a", "b"], "PSNR": [-1.5, 30.25], "n": [1, 2]})
    text = render(Page("t", "l", [Section("s", [Table("", frame, best=["PSNR"])])]), {})
    assert "\N{MINUS SIGN}1.50" in text
    assert 'data-key="30.25" class="number best"' in text
    assert ">2</td>" in text
    assert (number(np.nan, 1), number(np.inf, 1), number(12345.6, 1)) == (
        "\N{EN DASH}",
        "\N{INFINITY}",
        "12\N{THIN SPACE}345.6",
    )


def test_intervals_over_seeds() -> None:
    """Half width t * s / sqrt(n): for 1, 2, 3 it is 4.303 / sqrt(3)."""
    assert half_width([1.0, 2.0, 3.0]) == pytest.approx(4.3027 / np.sqrt(3), rel=1e-4)
    assert np.isnan(half_width([1.0]))
    frame = pd.DataFrame(
        {"op": ["a"] * 3 + ["b"] * 3, "seed": [0, 1, 2] * 2, "PSNR": [1.0, 2, 3, 4, 4, 4], "what": "x"}
    )
    frame.attrs["settings"] = ["op", "seed"]
    mean = over_seeds(frame, ["PSNR"])
    assert mean["PSNR"].tolist() == [2, 4]
    assert mean["seeds"].tolist() == [3, 3]
    assert mean["± PSNR"].tolist() == pytest.approx([half_width([1, 2, 3]), 0])


def test_pictures_are_named_square_and_in_range(tmp_path: Path) -> None:
    assert {"camera", "astronaut"} <= {picture.name for picture in pictures()}
    assert find("camera").tensor(32).shape == (1, 32, 32)
    colour = find("astronaut").tensor(32)
    assert colour.shape == (3, 32, 32)
    assert colour.min() >= 0
    assert colour.max() <= 1
    assert find("astronaut").tensor(32, grey=True).shape == (1, 32, 32)
    with pytest.raises(ValueError, match=r"there are: .*camera"):
        find("absent")
    with pytest.raises(ValueError, match="No pictures"):
        pictures(tmp_path)


def test_every_benchmark_file_is_in_the_catalogue() -> None:
    """A file with a ``BENCHMARK`` is listed; a file, or a folder with a ``benchmark.py``, is one benchmark."""
    folder = Path(__file__).resolve().parent.parent / "benchmarks"
    names = set()
    for path in (*folder.glob("*.py"), *folder.glob("*/benchmark.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if (
                isinstance(node, ast.Assign)
                and isinstance(node.targets[0], ast.Name)
                and node.targets[0].id == "BENCHMARK"
            ):
                names.add(path.stem if path.parent == folder else path.parent.name)
    listed = (folder / "catalogue.py").read_text(encoding="utf-8")
    assert names == set(re.findall(r"^from \.(\w+) import BENCHMARK", listed, re.MULTILINE))


@pytest.fixture
def interruptible():
    """Ctrl-C as a terminal has it, even in a shell's background job."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_is_not_lost(interruptible):
    """Neither swallowed nor turned into another error."""

    def swallowed() -> None:
        with remembered() as pressed:
            with contextlib.suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
            assert pressed.is_set()
            raise ValueError("a pool that was closed while it worked")

    with pytest.raises(KeyboardInterrupt):
        swallowed()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ignored_ctrl_c_stays_ignored(interruptible):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with remembered() as pressed:
        signal.raise_signal(signal.SIGINT)
    assert not pressed.is_set()


def test_every_seed_is_compared_with_its_own_oracle() -> None:
    """Seeds of 29 and 31 dB, each as good as the best setting: no gap."""
    from benchmarks.pairs import MODES, gap_table

    shared = {"operator": "identity", "prior": "TV", "picture": "coffee:0", "noise": 0.01, "status": "CONVERGED"}
    rows = []
    for seed, psnr in enumerate((29.0, 31.0)):
        rows.append({**shared, "seed": seed, "solver": "ADMM", "PSNR": psnr, "setting": f"of {seed}"})
        for effort, known in MODES.values():
            mode = {"solver": "auto", "effort": effort, "sigma_known": known, "PSNR": psnr, "prior calls": 6}
            rows.append({**shared, "seed": seed, **mode})
    table = gap_table(pd.DataFrame(rows))
    assert len(table) == 1
    assert (table[[f"gap, {mode}" for mode in MODES]] == 0).all(axis=None)
    assert table["oracle"].item() == 30
    assert not table["diverged"].item()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["denoising", "--only", "("], "expected a regular expression"),
        (["denoising", "--device", "nonsense"], "expected cpu, or cuda where torch finds a GPU"),
        (["papers", "--quick", "--only", "no such cell"], "none of the"),
    ],
)
def test_the_command_line_says_what_is_wrong(words: list[str], message: str, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from benchmarks.cli import app

    result = CliRunner().invoke(app, [*words, "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert not list(tmp_path.rglob("index.html"))  # an earlier report is not replaced by an empty one


def test_pairs_show_one_picture_behind_every_operator() -> None:
    from benchmarks.pairs import gallery
    from benchmarks.reconstruction import Reconstruction

    def cell(operator: str, prior: str, name: str, effort: str = "auto", noise: float = 0.01) -> Cell:
        what = (find(name), noise, 8, True, 0, True)
        return Reconstruction(operator, prior, "auto", *what, effort=effort)

    cells = [
        cell(a, g, name) for a in ("identity", "motion blur") for g in ("TV", "BM3D") for name in ("camera", "moon")
    ]
    cells += [cell("identity", "TV", "camera", "fast"), cell("identity", "NLM", "camera", noise=0.05)]
    outcomes = {cell: Outcome({"PSNR": 20.0}, {"x": np.zeros((8, 8))}) for cell in cells}
    shown = gallery(Rows(pd.DataFrame(), outcomes, Options(), Path()))
    assert [part.title.split(", ")[:2] for part in shown] == [["identity", "camera"], ["motion blur", "camera"]]
    assert [[tile.name for tile in part.tiles] for part in shown] == [["original", "TV", "BM3D"]] * 2
    assert shown[0].truth.shape == (8, 8)
