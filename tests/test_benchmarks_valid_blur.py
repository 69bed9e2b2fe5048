"""The benchmark of unknown borders: its kernels and its grid."""

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.grid import Options, Outcome, Rows
from benchmarks.valid_blur import ALIKE, CHOSEN, MODELS, cells, load_kernels, summary

REST = {"SSIM": 0.9, "data PSNR": 20.0, "CPU s": 1.0}


def test_kernels_come_from_an_array_an_archive_or_nowhere(tmp_path):
    array = np.arange(20.0).reshape(4, 5)
    np.save(tmp_path / "one.npy", array)
    np.savez(tmp_path / "two.npz", a=array, b=np.ones((3, 3)))
    expected = torch.from_numpy(array[:3] / array[:3].sum()).float()
    torch.testing.assert_close(load_kernels(tmp_path / "one.npy"), {"one": expected})
    torch.testing.assert_close(load_kernels(tmp_path / "two.npz"), {"a": expected, "b": torch.full((3, 3), 1 / 9)})
    assert list(load_kernels(None)) == ["motion"]


def test_what_is_no_kernel_is_refused(tmp_path):
    np.savez(tmp_path / "bad.npz", flat=np.ones(3))
    with pytest.raises(ValueError, match="flat: expected a two-dimensional kernel"):
        load_kernels(tmp_path / "bad.npz")


def test_several_kernels_are_tried_at_one_noise_level_under_every_model(tmp_path):
    np.savez(tmp_path / "two.npz", a=np.ones((3, 3)), b=np.eye(5))
    grid = list(cells(Options(kernel=tmp_path / "two.npz")))
    assert {cell.noise for cell in grid} == {0.01}
    assert {(cell.kernel, cell.model) for cell in grid} == {(k, m) for k in "ab" for m in MODELS}
    assert len({cell.noise for cell in cells(Options())}) == 3
    assert {cell.model for cell in grid if cell.tuning == ALIKE} == {"valid", "circular data"}


def test_a_summary_tells_what_the_border_costs_inside_and_with_settings_alike(tmp_path):
    kinds = [(cell, cell.model, cell.tuning) for cell in cells(Options(quick=True))]
    level = {("valid", CHOSEN): 30.0, ("circular data", CHOSEN): 30.2, ("naive circular", CHOSEN): 10.0}
    level |= {("valid", ALIKE): 29.0, ("circular data", ALIKE): 29.5}
    picture = np.zeros((4, 4))
    outcomes = {
        cell: Outcome(
            {"PSNR": level[model, tuning], "PSNR inside": level[model, tuning] + 0.25 * (model == "valid"), **REST},
            {"x": picture, "truth": picture, "y": picture},
        )
        for cell, model, tuning in kinds
    }
    frame = pd.DataFrame([cell.settings() | dict(outcome.row) for cell, outcome in outcomes.items()])
    page = summary(Rows(frame, outcomes, Options(quick=True), tmp_path))
    details = [verdict.detail for verdict in page.verdicts]
    assert details[0].startswith("Largest mean: 0.20 dB")
    assert details[1].startswith("Largest mean: −0.05 dB")
    assert details[3] == "Smallest loss: 20.20 dB."
    assert all(verdict.holds for verdict in page.verdicts)
    assert page.text.count("Settings alike") == 2
