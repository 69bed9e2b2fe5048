"""The verdicts of the two benchmarks of denoisers, from rows made up for them."""

from __future__ import annotations

import importlib.util

import pandas as pd
import pytest
import torch

pytest.importorskip("jinja2")  # the harness's own packages, with the rest of its extra
pytest.importorskip("joblib")

from benchmarks import denoisers, denoising
from benchmarks.grid import Options


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
    (verdict,) = denoisers.verdicts(denoisers.records(rows(gains)))
    assert verdict.holds is holds


@pytest.mark.parametrize(("seconds", "holds"), [(0.1, True), (0.11, False)])
def test_speed_is_judged_on_the_slowest_picture(seconds, holds):
    frame = rows([0.0, 0.0], **{"BM3D": seconds, "bm3d package": 2.6})
    verdict = denoisers.verdicts(denoisers.records(frame))[1]
    assert verdict.holds is holds


def test_low_noise_is_not_judged():
    frame = rows([-1.0]).assign(sigma=5)
    assert denoisers.verdicts(denoisers.records(frame)) == []


def test_at_least_six_pictures_are_compared_and_two_are_timed():
    pytest.importorskip("skimage")
    cells = list(denoisers.cells(Options()))
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
    picture = denoisers.find("camera")
    methods = (*denoisers.OURS, denoisers.TENSORS, denoisers.REUSED)
    row = denoisers.Comparison(picture, 25, 32, True, methods, rounds=1).run().row
    for name in methods:
        assert row[f"PSNR {name}"] > row["noisy PSNR"] and row[f"CPU s {name}"] > 0


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
