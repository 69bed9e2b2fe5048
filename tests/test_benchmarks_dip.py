"""The benchmark of the deep image prior: what it reads off one long fit is what short ones return."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("joblib")
pytest.importorskip("jinja2")

from PIL import Image

import pnp
from benchmarks import dip_page
from benchmarks.cache import Cells
from benchmarks.catalogue import BENCHMARKS
from benchmarks.dip import Deepinv, Denoising, Published, Speed, Timed, cells, clipped, summary
from benchmarks.grid import Cell, Options, Outcome, Rows
from benchmarks.network_fits import NetworkFit, published_fits
from benchmarks.pictures import Cast, Picture, find
from benchmarks.published import TABLES
from benchmarks.runner import table
from pnp.operators import Identity
from pnp.priors import DeepImagePrior

CAMERA = find("camera")


def page(outcomes: dict[Cell, Outcome], device: str = "cpu") -> dict[str, bool]:
    """The verdicts of a page of these outcomes, by the first words of their claim."""
    finished = summary(Rows(table(list(outcomes), outcomes), outcomes, Options(device=device), Path()))
    return {" ".join(verdict.claim.split()[:4]): verdict.holds for verdict in finished.verdicts}


def protocol(gaps: list[float], gain: float, network: str = "auto") -> dict[Cell, Outcome]:
    """Runs whose automatic stop misses the oracle by these gaps, in pairs that gain so much."""
    image = np.zeros((4, 4, 3))
    curves = {name: [1.0, 2.0] for name in ("iteration", "raw", "averaged", "held-out error")}
    return {
        Denoising(network, 2, None, picture=CAMERA, sigma=25, size=32, seed=seed): Outcome(
            {"noisy": 20.0, "raw": 24.0, "automatic": 26.0, "oracle": 26 + gap, "alone": 26.0, "ensemble": 26 + gain}
            | {"BM3D": 27.0, "iterations": 500, "CPU s": 9.0},
            {"truth": image, "noisy": image, "x": image},
            curves,
        )
        for seed, gap in enumerate(gaps)
    }


@pytest.mark.parametrize(
    ("gaps", "gain", "stop", "pair"),
    [([0.0, 0.3], 0.5, True, True), ([0.0, 0.0, 0.0, 0.7], 0.5, False, True), ([0.25, 0.25], 0.3, False, False)],
)
def test_the_verdicts_follow_the_numbers(gaps: list[float], gain: float, stop: bool, pair: bool) -> None:
    assert page(protocol(gaps, gain)) == {"The automatic stop is": stop, "Two networks averaged gain": pair}


def test_the_stop_is_judged_by_the_automatic_choice_alone() -> None:
    assert page(protocol([0.9], 0.5, "small")) == {"Two networks averaged gain": True}


def test_every_part_has_its_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"PSNR": 25.0, "network alone": 24.0, "Wiener": 24.5, "without prior": 20.0, "CPU s": 1.0, "iterations": 9}
    house, parrots = (Picture(name, "", Path()) for name in ("house_256", "parrots_256"))
    outcomes: dict[Cell, Outcome] = {
        Timed(picture=CAMERA, sigma=25, size=256): Outcome({**row, "BM3D": 26.0, "CPU s": 91.0, "seconds": 50.0}),
        Speed("tapered", 256, 20): Outcome({"iterations per s": 20.0}),
        Published(picture=CAMERA, sigma=25, size=None): Outcome({"raw": 29.0, "averaged": 30.5, "seconds": 9.0}),
        Deepinv(picture=CAMERA, sigma=25, size=None): Outcome(
            {"deepinv": 24.0, "deepinv s": 50.0, "ours": 25.0, "ours s": 9.0}
            | {"as good after s": 4.0, "times faster": 12.5}
        ),
    }
    monkeypatch.setattr(
        dip_page, "illustrations", lambda names, folder: Cast({"house": house, "parrots": parrots}, genuine=True)
    )
    for picture in (house, parrots):
        cell = NetworkFit("strong gaussian blur", picture, 1e-3, None, grey=True, part="table 1")
        outcomes[cell] = Outcome(row)
    for solver, reached in (("direct", 25.0), ("ADMM", 26.0), ("HQS", 19.0)):
        cell = NetworkFit("gaussian blur", CAMERA, 0.01, 32, grey=True, solver=solver)
        outcomes[cell] = Outcome({**row, "PSNR": reached, "status": "CONVERGED"})
    assert page(outcomes) == {
        "The deep decoder fits": False,
        "The paper preset reproduces": True,
        "The direct fit beats": True,
        "At least ten times": True,
        "The network works under": False,
    }


def test_one_long_fit_tells_what_the_automatic_stop_returns() -> None:
    """The image that the rule would have returned is, bit for bit, the one that a fit of its own returns."""
    cell = Denoising("tapered", 1, 600, picture=find("astronaut"), sigma=50, size=32)
    row = cell.run().row
    truth = cell.picture.tensor(32)
    fit = DeepImagePrior("tapered", iterations=600).fit(
        Identity((32, 32)), clipped(truth, 50 / 255, 0), 50 / 255, give_back=False
    )
    assert float(pnp.psnr(fit.x, truth)) == row["automatic"]
    assert fit.iterations == row["iterations"] < 600
    assert math.isfinite(float(row["BM3D"] or 0))
    assert float(row["automatic"] or 0) <= float(row["oracle"] or 0)


def test_a_processor_gets_small_pictures_and_a_gpu_the_published_run() -> None:
    host, device = (list(cells(Options(device=name, seeds=3))) for name in ("cpu", "cuda"))
    assert {cell.size for cell in host if isinstance(cell, Denoising)} == {128}
    assert {cell.size for cell in device if isinstance(cell, Denoising)} == {None}
    assert any(isinstance(cell, Published) for cell in device)
    assert not any(isinstance(cell, Published) for cell in host)
    for grid in (host, device):
        labels = [(type(cell), *cell.settings().items()) for cell in grid]
        assert len(set(labels)) == len(labels)


@pytest.mark.parametrize("table", [1, 2, 3])
def test_the_networks_column_is_one_grid_for_the_papers_and_for_dip(table: int, tmp_path: Path) -> None:
    """The same cells, and the same folder for what they found."""
    for name in TABLES[table]:
        Image.new("RGB", (32, 32)).save(tmp_path / f"{name}_32.png")
    options = Options(images=tmp_path, seeds=2)
    (part,) = (b for b in BENCHMARKS if b.name == ("deconvolution", "denoising", "single-pixel")[table - 1])
    here, there = ({cell for cell in grid(options) if isinstance(cell, NetworkFit)} for grid in (part.cells, cells))
    assert here == set(published_fits(table, options)) == {cell for cell in there if cell.part == f"table {table}"}
    assert len(here) == 2 * {1: 6, 2: 20, 3: 8}[table]
    assert {Cells(tmp_path, name).path(cell).parent for cell in here for name in (part.name, "dip")} == {
        tmp_path / "dip" / "cells"
    }


def test_a_network_is_fitted_through_the_operator_or_is_the_prior_of_a_solver() -> None:
    direct = NetworkFit("gaussian blur", CAMERA, 0.01, 16, grey=True)
    row = direct.run().row
    p = direct.problem()
    assert row["PSNR"] == float(pnp.psnr(DeepImagePrior().fit(p.A, p.y, 0.01, progress=False).x, p.truth))
    assert "network alone" in row
    assert "network alone" not in dataclasses.replace(direct, solver="HQS").run().row


def test_pictures_are_clipped_and_measurements_are_not() -> None:
    clipped_, measured = (
        NetworkFit(name, CAMERA, 0.5, 16, grey=True).problem().y for name in ("identity", "random mask")
    )
    assert clipped_.min() == 0
    assert measured.min() < 0
