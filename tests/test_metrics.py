"""PSNR and SSIM are scikit-image's, on tensors, one number per image."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from pnp import psnr, ssim

sides, seeds, channels = st.integers(7, 20), st.integers(0, 99), st.sampled_from([1, 3])


def pair(seed: int, *shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    truth = torch.rand(shape, generator=g, dtype=torch.float64)
    return truth + 0.1 * torch.randn(shape, generator=g, dtype=torch.float64), truth


@given(height=sides, width=sides, c=channels, seed=seeds)
def test_both_equal_scikit_image(height, width, c, seed):
    x, truth = pair(seed, c, height, width)
    a, b = x.numpy(), truth.numpy()
    assert psnr(x, truth).item() == pytest.approx(peak_signal_noise_ratio(b, a, data_range=1), abs=1e-10)
    assert ssim(x, truth).item() == pytest.approx(structural_similarity(b, a, data_range=1, channel_axis=0), abs=1e-10)


@given(seed=seeds)
def test_a_batch_gives_one_number_an_image(seed):
    x, truth = pair(seed, 4, 3, 9, 11)
    for metric in (psnr, ssim):
        single = torch.stack([metric(a, b) for a, b in zip(x, truth, strict=True)])
        assert (metric(x, truth) - single).abs().max() <= 1e-12
        assert metric(x, truth).shape == (4,)


def test_data_range_and_equal_images():
    x, truth = pair(0, 1, 8, 8)
    assert psnr(255 * x, 255 * truth, data_range=255).item() == pytest.approx(psnr(x, truth).item(), abs=1e-10)
    assert psnr(truth, truth).item() == np.inf
    assert ssim(truth, truth).item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_bad_input_names_itself(metric):
    with pytest.raises(ValueError, match=f"{metric.__name__}: expected two images of one shape"):
        metric(torch.zeros(8, 8), torch.zeros(8, 9))
    with pytest.raises(ValueError, match="data_range > 0"):
        metric(torch.zeros(8, 8), torch.zeros(8, 8), data_range=0)


def test_ssim_needs_a_window():
    with pytest.raises(ValueError, match="at least 7x7"):
        ssim(torch.zeros(6, 9), torch.zeros(6, 9))
