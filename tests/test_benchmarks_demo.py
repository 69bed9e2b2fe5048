"""The demo end to end at 32 x 32 with cheap priors, its report, and how it looks in a browser."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

pytest.importorskip("typer")
pytest.importorskip("joblib")
pytest.importorskip("jinja2")

import numpy as np
from browser import ask, needs_chromium
from test_benchmarks import check_self_contained
from typer.testing import CliRunner

from benchmarks.catalogue import BENCHMARKS
from benchmarks.cli import app
from benchmarks.grid import Options


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished tiny demo."""
    out = tmp_path_factory.mktemp("results")
    words = ["demo", "--quick", "--size", "32", "--jobs", "1", "--out", str(out)]
    result = CliRunner().invoke(app, [*words, "--only", "^(gaussian|random|single)", "--only", "TV|trivial|Wiener"])
    assert "Deblurring, camera" in result.output, result.output
    return out / "demo"


def test_list_names_every_benchmark() -> None:
    result = CliRunner().invoke(app, ["list"])
    assert result.exit_code == 0
    for benchmark in BENCHMARKS:
        assert f"\n{benchmark.name} " in f"\n{result.output}"


def test_grids_are_finite_and_without_duplicates() -> None:
    for benchmark in BENCHMARKS:
        cells = list(benchmark.cells(Options(quick=True)))
        assert len({(type(c).__qualname__, *c.settings().items()) for c in cells}) == len(cells) > 0
        assert len(list(benchmark.cells(Options(quick=True, seeds=2)))) >= len(cells)


def test_the_demo_writes_its_report(demo: Path) -> None:
    check_self_contained(demo / "index.html")
    record = json.loads((demo / "results.json").read_text())
    assert record["failures"] == {}
    assert len(record["verdicts"]) == 3
    assert {row["operator"] for row in record["rows"]} == {"gaussian blur", "random mask", "single pixel"}
    assert len(list((demo / "pictures").glob("*.png"))) >= 24
    assert (demo / "rows.csv").read_text().count("\n") == 1 + len(record["rows"])


@needs_chromium
@pytest.mark.parametrize("width", [1280, 400])
def test_the_report_fits_its_window(demo: Path, tmp_path: Path, width: int) -> None:
    """At both widths nothing sticks out sideways, and the screenshot is not blank."""
    from PIL import Image

    shot = tmp_path / "page.png"
    wide, window, images, broken = ask(demo / "index.html", tmp_path, width, shot=shot)
    assert wide <= window == width
    assert images > 20
    assert broken == 0
    pixels = np.asarray(Image.open(shot).convert("L"))[:, :width]
    assert pixels.std() > 10
    if keep := os.environ.get("PNP_SCREENSHOTS"):
        shutil.copy(shot, Path(keep) / f"demo-{width}.png")
