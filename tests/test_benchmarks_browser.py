"""A report in a real browser: tables sort, pictures flip, zoom and show their errors, nothing sticks out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

import pandas as pd
from browser import ask, needs_chromium
from PIL import Image
from test_benchmarks import check_self_contained

from benchmarks.figures import lines
from benchmarks.report import Charts, Comparison, Page, Section, Table, Tile, Verdict, markdown, render

SIDE = 96


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with one of everything, its table wider than a telephone."""
    rng = np.random.default_rng(0)
    truth = rng.random((SIDE, SIDE, 3))
    worse = truth.copy()
    worse[70:80, 40:60] = 0  # where the detail must lie
    frame = pd.DataFrame({"method": ["a", "b", "c"], "PSNR": [30.0, np.nan, -2.5], "a|b": [1, 2, 3]})
    wide = frame.assign(**{f"a rather long heading {i}": 1.0 for i in range(12)})
    tiles = [Tile("original", truth), Tile("worse", worse, "20 dB"), Tile("measured", truth[:48, :48], "smaller")]
    charts = Charts("Convergence", [(lines({"TV": ([1, 2], [3.0, 4.0])}, x="s", y="dB"), "PSNR")], "words")
    parts = [Table("numbers", frame, best=["PSNR"]), Table("wide", wide), Comparison("pictures", truth, tiles), charts]
    page = Page("Everything", "lead", [Section("one", parts), Section("two", [])], [Verdict("claim", False, "detail")])
    path = tmp_path_factory.mktemp("report") / "index.html"
    path.write_text(render(page, {"processor": "x" * 200}), encoding="utf-8")
    path.with_suffix(".md").write_text(markdown(page, {"processor": "x"}), encoding="utf-8")
    return path


def test_the_page_is_self_contained(report: Path) -> None:
    check_self_contained(report)


@needs_chromium
@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_sticks_out_and_no_picture_is_broken(report: Path, tmp_path: Path, width: int) -> None:
    shot = tmp_path / "page.png"
    wide, window, images, broken = ask(report, tmp_path, width, shot=shot)
    assert wide <= window == width
    assert images == 3 + 2 + 2 + 1  # pictures, differences, details, the chart
    assert broken == 0
    assert np.asarray(Image.open(shot).convert("L"))[:, :width].std() > 10


@needs_chromium
def test_tables_sort_and_pictures_react(report: Path, tmp_path: Path) -> None:
    """A click sorts, the next one the other way round, what is no number last; a press shows the original."""
    script = """(() => {
        const table = document.querySelector('table'), heads = table.querySelectorAll('th button');
        const order = () => [...table.tBodies[0].rows].map(row => row.cells[0].textContent).join('');
        const orders = [order()];
        heads[1].click(); orders.push(order());
        heads[1].click(); orders.push(order());
        const figure = document.querySelector('.comparison'), tile = figure.querySelectorAll('.tile')[1];
        const frame = tile.querySelector('.frame'), picture = tile.querySelector('.picture');
        const error = tile.querySelector('.difference'), seen = () => getComputedStyle(error).visibility;
        const own = picture.src, original = figure.querySelector('.picture').src, errors = [seen()];
        figure.querySelector('.differences').click(); errors.push(seen());
        frame.dispatchEvent(new PointerEvent('pointerdown', {clientX: 5, clientY: 5}));
        const pressed = picture.src; errors.push(seen());
        frame.dispatchEvent(new PointerEvent('pointerup'));
        figure.querySelector('.zoomed').click();
        const zoom = getComputedStyle(picture).transform;
        return [orders, errors, pressed === original && own !== original, picture.src === own, zoom];
    })()"""
    orders, errors, flipped, back, zoom = ask(report, tmp_path, 1280, script)
    assert orders == ["abc", "bca", "acb"]
    assert errors == ["hidden", "visible", "hidden"]
    assert flipped
    assert back
    assert zoom == "matrix(3, 0, 0, 3, 0, 0)"


def test_the_detail_lies_where_the_pictures_differ() -> None:
    truth = np.zeros((SIDE, SIDE))
    other = truth.copy()
    other[70:80, 40:60] = 1
    rows, columns = Comparison("", truth, [Tile("a", truth), Tile("b", other)]).detail() or (slice(0), slice(0))
    assert rows.start <= 70 < 80 <= rows.stop
    assert columns.start <= 40 < 60 <= columns.stop
    assert (rows.stop - rows.start, columns.stop - columns.start) == (SIDE // 6, SIDE // 3)
    assert Comparison("", truth[:32, :32], [Tile("a", truth[:32, :32])]).detail() is None


def test_tables_are_markdown_too(report: Path) -> None:
    text = report.with_suffix(".md").read_text(encoding="utf-8")
    assert "* Fails: claim detail" in text
    assert "| method | PSNR | a\\|b |\n| --- | --: | --: |\n| a | **30.00** | 1 |" in text
    assert "| b | \N{EN DASH} | 2 |" in text
