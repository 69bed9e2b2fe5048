"""The benchmark of unknown borders: its kernels and its grid."""

import numpy as np
import pytest
import torch

from benchmarks.grid import Options
from benchmarks.valid_blur import MODELS, cells, load_kernels


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
