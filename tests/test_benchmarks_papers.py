"""The papers' command: all parts on one page; a run that is stopped, by Ctrl-C or for good, goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

pytest.importorskip("typer")
pytest.importorskip("joblib")
pytest.importorskip("jinja2")

from browser import ask, needs_chromium
from test_benchmarks import check_self_contained

from benchmarks import papers
from benchmarks.catalogue import BENCHMARKS
from benchmarks.cli import INTERRUPTED, lacking
from benchmarks.grid import Options, Rows
from benchmarks.papers import NAMES, chosen, together
from benchmarks.pictures import STAND_INS, Cast, absent, find, illustrations, pictures
from benchmarks.pictures import chosen as pictures_of
from benchmarks.published import TABLES, counts, side_by_side
from benchmarks.report import Page, Section, Table, Verdict
from benchmarks.runner import Finished

ROOT = Path(__file__).resolve().parent.parent


def test_every_part_is_a_benchmark() -> None:
    assert tuple(part.name for part in chosen(BENCHMARKS)) == NAMES


def test_parts_come_together_and_missing_ones_are_named(tmp_path: Path) -> None:
    options = Options(out=tmp_path, jobs=1)
    frame = pd.DataFrame({"cell CPU seconds": [60.0, 30.0]})
    page = Page("Part", "its lead", [Section("s", [Table("t", frame)])], [Verdict("claim", True), Verdict("no", False)])
    finished = {"denoising": Finished(Rows(frame, {}, options, tmp_path), page, {}, "abc"), "inpainting": None}
    path = together(finished, options)
    check_self_contained(path)
    text = path.read_text(encoding="utf-8")
    assert "Part: s" in text
    assert "Part: claim" in text
    assert papers.overview(finished).to_dict("records") == [
        {"part": "denoising", "cells": 0, "failed": 0, "claims that hold": "1 of 2", "CPU minutes": 1.5},
        {"part": "inpainting", "cells": 0, "failed": "all", "claims that hold": "", "CPU minutes": 0.0},
    ]


def test_stand_ins_are_never_compared_with_published_numbers() -> None:
    records: list[dict[str, object]] = [{"picture": "hill", "noise": 0.1, "published": 27.0, "ours": 28.0}]
    cast = illustrations(["hill"])
    table, text = side_by_side(records, "t", "c", cast)
    assert list(table.frame) == ["picture", "noise", "ours"]
    assert table.frame["picture"].tolist() == [STAND_INS["hill"]]
    assert "27" not in text
    assert counts(table.frame).startswith("Not compared")
    compared, _ = side_by_side(records, "t", "c", Cast(cast.pictures, genuine=True))
    assert compared.frame["difference"].tolist() == [1.0]
    assert cast.name(str(find("moon"))) == "hill"


def folder(path: Path, *names: str) -> Path:
    """Tiny pictures of these names, each of its own colour."""
    for number, name in enumerate(names):
        Image.new("RGB", (24, 16), (10 * number, 90, 200)).save(path / name)
    return path


def test_the_papers_pictures_are_found_by_name_and_size(tmp_path: Path) -> None:
    images = folder(
        tmp_path, "barbara_512.png", "Barbara_256.png", "stanford_logo_300.png", "households.png", "F16.jpg"
    )
    cast = illustrations(["barbara", "logo", "house", "f16"], images)
    assert cast.genuine
    assert {name: picture.name for name, picture in cast.pictures.items()} == {
        "barbara": "Barbara_256",
        "logo": "stanford_logo_300",
        "f16": "F16",
    }
    assert absent(["house", "logo", "hill"], images) == ["house", "hill"]
    assert [p.name for p in pictures_of(["camera", "moon"], images).values()] == ["camera", "moon"]  # scikit-image's


def test_holiday_pictures_take_the_places_in_order(tmp_path: Path) -> None:
    images = folder(tmp_path, "beach.jpg", "cat.png", "._beach.jpg")
    cast = illustrations(TABLES[2], images)
    assert not cast.genuine
    assert {name: picture.name for name, picture in cast.pictures.items()} == {"cameraman": "beach", "hill": "cat"}
    assert cast.name(str(find("cat", images))) == "hill"
    assert [p.name for p in pictures_of(["camera"], images).values()] == ["beach"]
    assert [p.name for p in pictures(images)] == ["beach", "cat"]


@pytest.mark.parametrize("names", [("house.png",), ("beach.jpg",), ("house.png", "cameraman.png", "logo.png", "x.bmp")])
def test_every_benchmark_has_a_grid_for_any_folder(names: tuple[str, ...], tmp_path: Path) -> None:
    """What a picture is missing for is left out; no grid is empty, and every paper's picture there is used."""
    images = folder(tmp_path, *names)
    for benchmark in BENCHMARKS:
        cells = list(benchmark.cells(Options(quick=True, images=images)))
        assert cells
        used = {str(getattr(cell, "picture", "")).split(":")[0] for cell in cells}
        assert used >= {name.split(".")[0] for name in names if name.split(".")[0] in benchmark.pictures}


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("house.png",), "has no parrots, cameraman, hill, f16, baboon, logo, barbara: their cells are left out"),
        (("beach.jpg",), "has none of the papers' pictures"),
        (tuple(f"{name}.png" for name in STAND_INS), ""),
    ],
)
def test_what_a_folder_lacks_is_told_once(names: tuple[str, ...], told: str, tmp_path: Path) -> None:
    found = lacking(papers.chosen(BENCHMARKS), folder(tmp_path, *names))
    assert told in found
    assert bool(told) == bool(found)
    assert lacking(BENCHMARKS, None) == ""


@pytest.mark.parametrize("names", [("house.png", "hill.png", "logo.png"), ("beach.jpg",)])
@pytest.mark.parametrize(
    ("name", "only"),
    [
        ("deconvolution", ", Wiener, noise"),
        ("denoising", "TV, noise 0.1,"),
        ("single-pixel", "single pixel 8,.*TV auto, noise 0,"),
        ("inpainting", "random mask, .*trivial"),
        ("compressive-sensing", "minimum norm"),
    ],
)
def test_a_folder_with_some_pictures_or_others_gives_a_page(
    name: str, only: str, names: tuple[str, ...], tmp_path: Path
) -> None:
    from benchmarks.runner import run

    images = tmp_path / "images"
    images.mkdir()
    (benchmark,) = (b for b in BENCHMARKS if b.name == name)
    options = Options(quick=True, size=24, only=(only,), jobs=1, out=tmp_path, images=folder(images, *names))
    finished = run(benchmark, options, progress=False)
    assert not finished.failures
    compared = {"deconvolution", "single-pixel"} if len(names) > 1 else set()  # TV is not in table 2
    table = finished.page.sections[0].parts[0]
    assert isinstance(table, Table)
    assert ("difference" in table.frame) == (name in compared)


def start(out: Path) -> subprocess.Popen[bytes]:
    words = [
        "inpainting",
        "--quick",
        "--size",
        "32",
        "--jobs",
        "2",
        "--any-version",
        "--only",
        "TV|Wavelet|trivial",
        "--out",
        str(out),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([sys.executable, "-m", "benchmarks", *words], env=environment, cwd=ROOT, **quiet)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_run_goes_on(tmp_path: Path, how: signal.Signals) -> None:
    """What was finished is not computed again, and the report is complete in the end."""
    folder = tmp_path / "inpainting" / "cells"
    run = start(tmp_path)
    deadline = time.monotonic() + 120
    while len(list(folder.glob("*.json"))) < 4:
        assert time.monotonic() < deadline
        assert run.poll() is None
        time.sleep(0.02)
    run.send_signal(how)
    assert run.wait(60) == (INTERRUPTED if how is signal.SIGINT else -how)
    assert not (tmp_path / "inpainting" / "index.html").exists()
    stamps = {path: path.stat().st_mtime_ns for path in folder.glob("*.json")}
    assert start(tmp_path).wait(300) in (0, 1)  # claims need not hold on 32 pixels
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
    record = json.loads((tmp_path / "inpainting" / "results.json").read_text(encoding="utf-8"))
    assert record["failures"] == {}
    assert len(record["rows"]) == len(list(folder.glob("*.json"))) == 18 > len(stamps)
    check_self_contained(tmp_path / "inpainting" / "index.html")


@needs_chromium
@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 400])
def test_the_report_of_reconstructions_fits_its_window(tmp_path: Path, width: int) -> None:
    assert start(tmp_path).wait(300) in (0, 1)
    wide, window, images, broken = ask(tmp_path / "inpainting" / "index.html", tmp_path, width)
    assert wide <= window == width
    assert images > 20
    assert broken == 0


@pytest.mark.parametrize("name", ["deconvolution", "single-pixel", "denoising"])
def test_several_seeds_have_an_interval_beside_every_number(name: str, tmp_path: Path) -> None:
    from benchmarks.runner import run

    (benchmark,) = (b for b in BENCHMARKS if b.name == name)
    only = ("TV",) if name != "denoising" else ("NLM", "noise 0.1,")
    options = Options(quick=True, size=24, seeds=2, only=only, jobs=1, out=tmp_path)
    table = run(benchmark, options, progress=False).page.sections[0].parts[0]
    assert isinstance(table, Table)
    assert (table.frame["±"] >= 0).all()  # 0 without noise
    assert (table.frame["±"] > 0).any()
