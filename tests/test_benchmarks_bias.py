"""The benchmarks on the bias of untrained networks: tiny cells of every kind, and the logic of their findings."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pandas as pd
import pytest
import torch

pytest.importorskip("joblib")
pytest.importorskip("jinja2")
pytest.importorskip("skimage")

import pnp
from benchmarks import compressive_sensing, regularization, spectral_bias, structural_bias
from benchmarks.grid import Benchmark, Cell, Options, Rows
from benchmarks.pictures import find
from benchmarks.report import render
from benchmarks.runner import select, table
from benchmarks.trajectories import TARGETS, Film, drawn, first, follow, mean_curve, targets, times
from pnp.operators import Identity
from pnp.priors import DeepImagePrior
from pnp.priors.dip import Trajectory
from pnp.priors.dip.filter_decoder import FILTERS, LEARNT, FilterDecoder
from tests.test_benchmarks import check_self_contained

SIDE, STEPS = 16, 12


def tiny(cell: Cell) -> Cell:
    """The cell at 16 x 16 with a dozen steps of a small network."""
    small = {"size": SIDE, "iterations": STEPS, "width": 6, "steps": 5, "channels": 8, "inputs": 4}
    if isinstance(cell, regularization.Regularised):
        small["channels"] = (8, 8)  # type: ignore[assignment]
    if isinstance(cell, structural_bias.TwoLayerRates):
        small["width"] = 1.0  # type: ignore[assignment]
    names = {field.name for field in dataclasses.fields(cell)}
    return dataclasses.replace(cell, **{name: value for name, value in small.items() if name in names})


def small_run(benchmark: Benchmark, keep: str, folder: Path) -> Rows:
    """The quick grid's cells whose label matches, shrunk, in this process."""
    options = Options(quick=True)
    cells = select([tiny(cell) for cell in benchmark.cells(options)], (keep,))
    outcomes = {cell: cell.run() for cell in cells}
    return Rows(table(cells, outcomes), outcomes, options, folder)


@pytest.mark.parametrize(
    ("module", "keep", "sections"),
    [
        (regularization, r"^picture \+ noise", ("Curves", "As a denoiser", "Pictures")),
        (structural_bias, r"deconv|two-layer|bilinear, picture \+", ("Picture and noise", "Predicted and measured")),
        (compressive_sensing, "moon.*noise 0,", ("All methods", "Along the iterations", "Pictures")),
        (spectral_bias, "", ("Order of the bands", "Quality")),
    ],
)
def test_a_tiny_run_of_every_kind_of_cell_gives_a_whole_page(module, keep, sections, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    page = module.BENCHMARK.summary(small_run(module.BENCHMARK, keep, tmp_path))
    assert not page.verdicts
    assert page.sections[0].title != "Findings"  # a quick grid decides nothing
    assert set(sections) <= {section.title for section in page.sections}
    assert page.text
    assert (tmp_path / "figure.png").stat().st_size < 100_000
    path = tmp_path / "index.html"
    path.write_text(render(page, {}), encoding="utf-8")
    check_self_contained(path)


def test_the_full_grids_take_three_seeds() -> None:
    for module in (regularization, structural_bias, compressive_sensing, spectral_bias):
        seeds = {cell.seed for cell in module.BENCHMARK.cells(Options())}  # type: ignore[attr-defined]
        assert seeds == {0, 1, 2}


# ---------------------------------------------------------------------- what they share
def test_targets_repeat_by_seed_and_stay_in_range() -> None:
    truth = torch.full((1, 8, 8), 0.5)
    one, two, other = (targets(truth, 0.1, seed) for seed in (0, 0, 1))
    assert tuple(one) == TARGETS
    for name in TARGETS:
        assert torch.equal(one[name], two[name])
        assert one[name].min() >= 0
        assert one[name].max() <= 1
    assert not torch.equal(one["noise"], other["noise"])
    assert float((one["picture + noise"] - truth).std()) == pytest.approx(0.1, rel=0.3)


def test_drawn_weights_depend_on_the_seed_alone() -> None:
    before = torch.random.get_rng_state()
    one, two, other = (drawn(lambda: FilterDecoder(1, width=6, depth=2), seed) for seed in (0, 0, 1))
    assert torch.equal(before, torch.random.get_rng_state())
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)
    assert any(not torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_a_followed_fit_goes_to_its_last_iteration_and_film_keeps_the_best() -> None:
    y = find("camera").tensor(SIDE, grey=True)
    film, trajectory = Film(y), Trajectory(y)
    network = DeepImagePrior(drawn(lambda: FilterDecoder(1, width=6, depth=2), 0), iterations=40, jitter=0.0)
    result = follow(network, Identity((SIDE, SIDE)), y, [film, trajectory])
    assert result.iterations == 40
    assert film.peak == pytest.approx(float(pnp.psnr(film.best, y)))
    assert film.peak >= film.psnr == pytest.approx(float(pnp.psnr(film.last, y)))
    assert film.peak >= float(trajectory.curves().psnr.max()) - 1e-4


def test_first_and_times() -> None:
    assert first([1, 2, 3], [False, True, True]) == 2
    assert math.isinf(first([1, 2, 3], [False] * 3))
    assert times(1200.0, 5000) == "1,200"
    assert times(math.inf, 5000) == "more than 5,000"


def test_mean_curve_ends_with_the_shortest() -> None:
    class Stub:
        def __init__(self, curves: dict[str, list[float]]) -> None:
            self.curves = curves

    long = Stub({"iterations": [1, 2, 3], "psnr": [1.0, 2.0, 3.0]})
    short = Stub({"iterations": [1, 2], "psnr": [3.0, 4.0]})
    rows = type("R", (), {"outcomes": {"a": long, "b": short}})()
    assert mean_curve(rows, lambda cell: True, "psnr") == ([1, 2], [2.0, 3.0])
    assert mean_curve(rows, lambda cell: cell == "c", "psnr") == ([], [])


# ---------------------------------------------------------------------- findings
def test_a_refuted_claim_is_shown_and_is_no_failure() -> None:
    """A page tells what became of a paper's claim; only bars of our own are verdicts, which end a command with 1."""
    records = {
        (target, seed): {"target": target, "distance": far, "predicted distance": far, "seed": seed}
        | {"largest deviation": 0.2, "steps": 5}
        | {f"{kind} {band}": 0.1 for kind in ("left", "predicted") for band in range(1, 6)}
        for target, far in zip(TARGETS, (3.0, 2.0, 1.0), strict=True)
        for seed in (0, 1)
    }
    rows = Rows(pd.DataFrame(list(records.values())), {}, Options(), Path())
    page = structural_bias.summary(rows)
    assert page.verdicts == ()
    assert page.sections[0].title == "Findings"
    assert "refuted: The weights travel farther for noise" in page.text


def regularised(change: float, of_plain: float, half: float = 0.1) -> pd.DataFrame:
    records = [
        {
            "target": target,
            "variant": variant,
            "change": 0.0 if variant == "none" else change,
            "± change": half,
            "converged at": 100.0 if variant == "none" else 100 * of_plain,
            "of plain": 1.0 if variant == "none" else of_plain,
            "± of plain": half,
        }
        for target in TARGETS
        for variant in ("none", "dropout", "L1", "L2")
    ]
    return pd.DataFrame(records)


@pytest.mark.parametrize(
    ("change", "of_plain", "holds"),
    [
        (-1.0, math.inf, [True, True, True]),
        (-0.05, 0.95, [True, False, True]),  # inside the intervals: no effect either way
        (0.2, 0.5, [False, False, False]),
    ],
)
def test_regularisation_findings(change: float, of_plain: float, holds: list[bool]) -> None:
    found = regularization.findings(regularised(change, of_plain), 500)
    assert [f.confirmed for f in found] == holds
    assert ("Lowered in 9 of 9" in found[1].detail) == holds[1]
    assert ("after 50 iterations instead of 100" in found[2].detail) != holds[2]


def test_a_single_seed_decides_nothing() -> None:
    assert regularization.findings(regularised(0.2, 0.5, math.nan), 500) == []


def pace(fixed: float, learnt: float, picture: float) -> pd.DataFrame:
    left = [learnt if f in LEARNT else fixed for f in FILTERS]
    return pd.DataFrame({"filters": list(FILTERS), "picture": picture, "noise": math.inf, "noise left": left})


@pytest.mark.parametrize(
    ("fixed", "learnt", "picture", "holds"),
    [
        (0.8, 0.1, 100.0, [True, True]),
        (0.4, 0.6, 100.0, [False, False]),
        (0.8, 0.1, math.inf, [False, False]),  # a picture that was never fitted decides nothing
    ],
)
def test_fixed_and_learnt_filters(fixed: float, learnt: float, picture: float, holds: list[bool]) -> None:
    found = structural_bias.fixed_and_learnt(pace(fixed, learnt, picture), 1000)
    assert [f.confirmed for f in found] == holds
    assert "noise after more than 1,000" in found[0].detail


def test_noise_left_is_read_where_the_picture_is_fitted() -> None:
    picture, noise = {"left": [0.9, 0.2, 0.05, 0.01]}, {"left": [1.0, 0.9, 0.8, 0.7]}
    assert structural_bias.noise_left(picture, noise) == 0.8
    assert structural_bias.noise_left({"left": [0.9, 0.5]}, noise) == 0.9


@pytest.mark.parametrize(("best", "holds"), [(25.0, True), (19.0, False)])
def test_denoising_by_fixed_filters(best: float, holds: bool) -> None:
    records = [
        {"filters": f, "target": "picture + noise", "peak": 20.0 if f in LEARNT else best, "last": 18.0}
        for f in FILTERS
    ]
    (finding,) = structural_bias.denoising(pd.DataFrame(records))
    assert finding.confirmed is holds
    assert f"{best:.2f} dB, then 18.00 dB" in finding.detail


@pytest.mark.parametrize(
    ("deviation", "far", "holds"), [(0.02, (1.0, 2.0, 3.0), [True, True]), (0.2, (3.0, 2.0, 1.0), [False, False])]
)
def test_theory_findings(deviation: float, far: tuple[float, ...], holds: list[bool]) -> None:
    frame = pd.DataFrame({"target": TARGETS, "distance": far, "largest deviation": deviation, "steps": 5.0})
    assert [f.confirmed for f in structural_bias.predicted(frame)] == holds


def sensed(lost: float, lost_noisy: float, converged: float, texture: float) -> pd.DataFrame:
    values = {"network, converged": converged, "network, stopped": 25.0, "minimum norm": 15.0}
    records = [
        {
            "picture": f"{name}:0",
            "noise": noise,
            "method": method,
            "seed": seed,
            "PSNR": texture if (name, method) == ("grass", "network, converged") else psnr,
            "averaged": psnr if "converged" in method else math.nan,
            "best": psnr + (lost if noise == 0 else lost_noisy) if "converged" in method else math.nan,
            "best at": 10.0 if "converged" in method else math.nan,
        }
        for name in ("moon", "grass")
        for noise in (0.0, 0.1)
        for method, psnr in values.items()
        for seed in (0, 1)
    ]
    return pd.DataFrame(records)


@pytest.mark.parametrize(
    ("case", "holds"), [((0.1, 2.0, 26.0, 14.0), [True] * 5), ((0.9, 0.2, 18.0, 18.0), [False] * 5)]
)
def test_sensing_findings(case: tuple[float, float, float, float], holds: list[bool]) -> None:
    assert [f.confirmed for f in compressive_sensing.findings(sensed(*case))] == holds


def test_sensing_tables_are_means_over_seeds() -> None:
    table = compressive_sensing.averages(sensed(0.1, 2.0, 26.0, 26.0))
    assert table[["picture", "noise"]].to_numpy().tolist() == [
        ["moon", 0.0], ["moon", 0.1], ["grass", 0.0], ["grass", 0.1]
    ]  # fmt: skip
    assert table["best"].tolist() == pytest.approx([26.1, 28.0, 26.1, 28.0])
    lost = compressive_sensing.losses(sensed(0.1, 2.0, 26.0, 26.0))
    assert lost["mean"].tolist() == pytest.approx([0.1, 2.0, 0.1, 2.0])


def spectra(order: list[float], shares: list[float], learnt: list[float]) -> tuple[pd.DataFrame, pd.DataFrame]:
    bands = [f"band {b}" for b in range(1, 6)]
    pace_ = pd.DataFrame([{"network": n} | dict(zip(bands, order, strict=True)) for n in spectral_bias.NETWORKS])
    passed = [(n, shares) for n in spectral_bias.FIXED] + [(spectral_bias.NETWORKS[-1], learnt)]
    records = [{"network": n, "image": "at the best moment"} | dict(zip(bands, v, strict=True)) for n, v in passed]
    low = {"network": spectral_bias.LOW_PASS, "image": "best width"} | dict(zip(bands, shares, strict=True))
    return pace_, pd.DataFrame([*records, low])


@pytest.mark.parametrize(
    ("order", "shares", "learnt", "holds"),
    [
        ([1, 2, 3, math.inf, math.inf], [0.9, 0.5, 0.3, 0.2, 0.1], [0.9] * 5, [True] * 3),
        ([1, 2, 3, 2, math.inf], [0.9, 0.5, 0.3, 0.4, 0.1], [0.9, 0.1, 0.1, 0.1, 0.05], [False] * 3),
    ],
)
def test_spectral_findings(order: list[float], shares: list[float], learnt: list[float], holds: list[bool]) -> None:
    found = spectral_bias.findings(*spectra(order, shares, learnt))
    assert [f.confirmed for f in found] == holds
    assert all(type(f.confirmed) is bool for f in found)  # JSON knows no NumPy


def test_the_best_low_pass_is_no_worse_than_the_noisy_picture() -> None:
    truth = find("camera").tensor(32, grey=True)
    y = targets(truth, 0.1, 0)["picture + noise"]
    width, filtered = spectral_bias.best_low_pass(y, truth)
    assert 0.3 <= width <= 3.0
    assert float(pnp.psnr(filtered, truth)) > float(pnp.psnr(y, truth)) + 1
