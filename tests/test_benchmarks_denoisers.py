"""The verdicts of the two benchmarks of denoisers, from rows made up for them."""

from __future__ import annotations

import importlib.util
import time

import numpy as np
import pandas as pd
import pytest
import torch

pytest.importorskip("jinja2")  # the harness's own packages, with the rest of its extra
pytest.importorskip("joblib")

from benchmarks import denoisers, denoisers_page, denoising
from benchmarks.grid import Options, Rows
from benchmarks.pictures import find


def rows(gains: list[float], grey: bool = True, **seconds: float) -> pd.DataFrame:
    """One cell per gain in dB of our BM3D over the package."""
    cells = [
        {
            "picture": f"p{k}:0",
            "grey": grey,
            "size": 64,
            "sigma": 25,
            "PSNR BM3D": 30.0 + gain,
            "PSNR bm3d package": 30.0,
        }
        for k, gain in enumerate(gains)
    ]
    return pd.DataFrame([cell | {f"CPU s {name}": value for name, value in seconds.items()} for cell in cells])


@pytest.mark.parametrize(
    ("gains", "holds"), [([0.0, -0.05], True), ([-0.04, -0.04], False), ([0.3, -0.16], False), ([0.3, -0.14], True)]
)
def test_quality_is_judged_by_the_mean_and_the_worst_picture(gains, holds):
    (verdict,) = denoisers_page.quality_verdicts(denoisers_page.records(rows(gains)))
    assert verdict.holds is holds


@pytest.mark.parametrize(("seconds", "holds"), [(0.1, True), (0.11, False)])
def test_speed_is_judged_on_the_slowest_picture(seconds, holds):
    frame = rows([0.0, 0.0], **{"BM3D": seconds, "bm3d package": 2.6})
    frame.loc[0, "CPU s BM3D"] = 0.01
    (verdict,) = denoisers_page.time_verdicts(frame)
    assert verdict.holds is holds


def test_low_noise_is_not_judged():
    frame = rows([-1.0]).assign(sigma=5)
    assert denoisers_page.quality_verdicts(denoisers_page.records(frame)) == []


def test_at_least_six_pictures_are_compared_and_two_are_timed():
    pytest.importorskip("skimage")
    cells = [cell for cell in denoisers.cells(Options()) if isinstance(cell, denoisers.Comparison)]
    assert (
        len({cell.picture.name for cell in cells if cell.grey})
        + len({cell.picture.name for cell in cells if not cell.grey})
        >= 6
    )
    assert {(cell.grey, cell.size) for cell in cells if cell.rounds} == {
        (g, s) for g in (True, False) for s in (256, 512)
    }
    assert {cell.sigma for cell in cells} == set(denoisers.SIGMAS)


@pytest.mark.skipif(importlib.util.find_spec("skimage") is None, reason="needs scikit-image")
def test_every_method_of_a_cell_denoises():
    picture = find("camera")
    methods = (*denoisers.OURS, denoisers.TENSORS, denoisers.REUSED)
    row = denoisers.Comparison(picture, 25, 32, True, methods, rounds=1).run().row
    for name in methods:
        assert row[f"PSNR {name}"] > row["noisy PSNR"] and row[f"CPU s {name}"] > 0


@pytest.mark.parametrize(("gain", "holds"), [(0.0, True), (-0.01, False)])
def test_nlm_is_judged_at_every_noise_level(gain, holds):
    frame = pd.DataFrame(
        {"picture": "p", "size": 64, "kind": "grey", "method": method, "sigma": sigma, "PSNR": psnr, "gain, dB": 0.0}
        for sigma in (10, 25)
        for method, psnr in (("NLM", 30.0 + (gain if sigma == 10 else 1)), ("skimage NLM", 30.0))
    )
    (verdict,) = denoisers_page.quality_verdicts(frame)
    assert verdict.holds is holds


JUDGED = [
    ("tv", {"gap": 1e-3, "gap reached": 9e-4, "times faster": 4.0}, {"times faster": 3.9}),
    ("tv", {"gap": 1e-5, "gap reached": 1e-5}, {"gap reached": 1.1e-5}),
    ("warm", {"weight": 0.2, "ratio": 0.33}, {"ratio": 0.34}),
    ("small", {"count": 64, "size": 32, "apart": 1e-4}, {"apart": 1e-2}),
    ("large", {"backend": "numba", "size": 1024, "GB": 1.9}, {"GB": 2.1}),
    ("thread", {"busy": False, "ratio": 1.6, "rounds counted": 3}, {"ratio": 1.5}),
    ("thread", {"busy": True, "ratio": 1.0, "rounds counted": 3}, {"ratio": 0.9}),
]


@pytest.mark.parametrize(("kind", "good", "worse"), JUDGED)
def test_what_one_prior_is_asked_is_judged_by_its_bar(kind, good, worse):
    judge = getattr(denoisers_page, f"{kind}_verdicts")
    assert [[v.holds for v in judge(pd.DataFrame([row]))] for row in (good, good | worse)] == [[True], [False]]


def test_what_was_not_shown_is_not_judged():
    """No round on an idle machine; automatic weights, for which nothing is claimed."""
    idle = pd.DataFrame([{"busy": False, "ratio": float("nan"), "rounds counted": 0}])
    assert denoisers_page.thread_verdicts(idle) == denoisers_page.thread_verdicts(idle.drop(columns="ratio")) == []
    assert denoisers_page.warm_verdicts(pd.DataFrame([{"weight": "auto", "ratio": 0.9}])) == []


@pytest.fixture
def small_cells():
    """One of each kind, as small as they can be."""
    pytest.importorskip("skimage")
    camera, colour = find("camera"), find("astronaut")
    return [
        denoisers.ExactTV(camera, 24, rounds=1, gap=1e-2),
        denoisers.WarmTV(camera, 16, 0.2),
        denoisers.Small(camera, 3, 17, (), rounds=1),
        denoisers.Large(colour, 32, "numba"),
        denoisers.Threads(colour, 64, rounds=2, busy=False),
    ]


def test_every_cell_fills_its_section(small_cells, tmp_path):
    outcomes = {cell: cell.run() for cell in small_cells}
    exact, warm, small, _, threads = (outcome.row for outcome in outcomes.values())
    assert exact["gap reached"] <= 1e-2 and exact["distance"] > 0 and exact["times faster"] > 0
    assert 0 < warm["warm"] < warm["cold"]
    assert small["apart"] <= 1e-3
    assert 0 <= threads["rounds counted"] <= 2
    page = denoisers.summary(Rows(pd.DataFrame(), outcomes, Options(), tmp_path))
    assert [section.title for section in page.sections] == [title for title, _, _ in denoisers_page.SINGLE.values()]
    assert len(page.verdicts) >= 3 and "camera" in page.text


def test_the_working_cores_are_counted():
    """A second of this process is at least most of a second of the machine."""
    before, own = denoisers.busy_seconds(), time.process_time()
    while time.process_time() - own < 0.3:
        pass
    assert denoisers.busy_seconds() - before > 0.2


def test_matches_are_reused_where_it_is_said():
    stripes = (torch.arange(24) % 8 < 4).float().expand(1, 24, 24)
    noise = 0.1 * torch.randn(1, 24, 24, generator=torch.Generator().manual_seed(0))
    v, w = stripes + noise, stripes.mT + noise
    cell = denoisers.Comparison(None, 25, 24, True, (), rounds=0)
    reused = cell._denoise(denoisers.REUSED)
    assert torch.equal(reused(v, 0.1), cell._denoise("BM3D")(v, 0.1))
    assert not torch.equal(reused(w, 0.1), cell._denoise("BM3D")(w, 0.1))


@pytest.mark.parametrize(("difference", "holds"), [((0.1, -0.1), (True, True)), ((0.0, -0.2), (False, False))])
def test_published_cells_are_judged(difference, holds):
    cells = pd.DataFrame({"method": ["NLM", "BM3D / CBM3D"], "difference": list(difference)})
    frame = pd.DataFrame(columns=["noise", "name", "prior", "PSNR"])
    assert tuple(v.holds for v in denoising.verdicts(cells, frame)) == holds


@pytest.mark.parametrize(("gain", "holds"), [(2.1, True), (1.9, False)])
def test_the_correction_is_judged_where_clipping_is_heavy(gain, holds):
    records = [
        {
            "noise": noise,
            "name": "p",
            "prior": name,
            "PSNR": 18.0 + (gain if "corrected" in name and noise == 0.5 else 0),
        }
        for noise in (0.1, 0.5)
        for name in ("BM3D", "BM3D, clipping corrected")
    ]
    cells = pd.DataFrame({"method": [], "difference": []})
    (verdict,) = denoising.verdicts(cells, pd.DataFrame(records))
    assert verdict.holds is holds


@pytest.mark.parametrize("shape", [(24, 25), (24, 25, 3)])
def test_other_denoisers_return_the_picture_cleaner(shape):
    """Each that is installed here, as far as it is quick."""
    from benchmarks.other_denoisers import denoisers as others

    rows, columns = np.mgrid[: shape[0], : shape[1]] / 24
    clean = np.broadcast_to((0.3 + 0.4 * (rows > columns)).reshape(*shape[:2], *(1,) * (len(shape) - 2)), shape)
    noisy = clean + 0.1 * np.random.default_rng(0).standard_normal(shape)
    for name, denoise in others().items():
        if name == "bm3d package":  # seconds for any size
            continue
        cleaner = denoise(noisy, 0.1)
        assert cleaner.shape == shape, name
        assert np.square(cleaner - clean).mean() < 0.8 * np.square(noisy - clean).mean(), name
