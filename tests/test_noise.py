"""The noise level is found where it can be, and said to be unknown elsewhere."""

import math

import pytest
import torch
from pictures import noise, picture

from pnp import estimate_noise
from pnp.noise import patch_noise, scattered_noise
from pnp.operators import Blur, Identity, Mask, SinglePixel

f64 = torch.float64


@pytest.mark.parametrize("name", ["camera", "moon", "brick", "astronaut"])
@pytest.mark.parametrize("sigma", [0.01, 0.03, 0.1])
def test_pictures(name, sigma):
    x = picture(192, name=name)
    estimate = estimate_noise(x + sigma * noise(x.shape), Identity((192, 192)))
    assert float(estimate) == pytest.approx(sigma, rel=0.15)


@pytest.mark.parametrize("name", ["camera", "moon", "coins"])
@pytest.mark.parametrize("sigma", [0.001, 0.01, 0.1])
def test_a_blur_shows_its_noise_where_it_destroys(name, sigma):
    A = Blur.gaussian(2.0, (128, 128), dtype=f64)
    y = A(picture(128, name=name))
    assert float(estimate_noise(y + sigma * noise(y.shape), A)) == pytest.approx(sigma, rel=0.05)


@pytest.mark.parametrize(("keep", "sigma"), [(0.2, 0.05), (0.2, 0.1), (0.5, 0.02), (0.5, 0.1)])
def test_masks(keep, sigma):
    A = Mask.random((192, 192), keep, seed=1, dtype=f64)
    y = A(picture(192) + sigma * noise((1, 192, 192)))
    assert float(estimate_noise(y, A)) == pytest.approx(sigma, rel=0.12)


def test_random_rows_hide_their_noise():
    A = SinglePixel((32, 32), 300, seed=0)
    assert math.isnan(float(estimate_noise(A(picture(32, dtype=torch.float32)), A)))
    assert math.isnan(float(patch_noise(torch.zeros(6, 6))))
    assert math.isnan(float(scattered_noise(torch.zeros(6, 6), torch.ones(6, 6))))


@pytest.mark.parametrize("estimator", [patch_noise, lambda y: scattered_noise(y, torch.ones(96, 96, dtype=f64))])
def test_one_number_an_item_and_scale(estimator):
    x = picture(96)[0]
    y = torch.stack([x + 0.05 * noise(x.shape, 1), x + 0.1 * noise(x.shape, 2)])
    together = estimator(y)
    assert together.shape == (2,)
    for i in range(2):
        assert float(estimator(y[i])) == pytest.approx(float(together[i]), rel=1e-9)
    assert torch.allclose(estimator(255 * y), 255 * together, rtol=1e-6)


def test_batches_and_channels():
    x = picture(96, name="astronaut")
    y = torch.stack([x + 0.05 * noise(x.shape, 1), x + 0.1 * noise(x.shape, 2)])
    levels = estimate_noise(y, Identity((96, 96)))
    assert levels.shape == (2,)
    assert float(levels[1] / levels[0]) == pytest.approx(2, rel=0.1)
    assert estimate_noise(y.numpy(), Identity((96, 96))).shape == (2,)
