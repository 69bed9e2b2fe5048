"""What is measured along a fit, and the decoders that differ only in their filters."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pnp.priors.dip import FilterDecoder, Trajectory, View, band_gain
from pnp.priors.dip.filter_decoder import FILTERS, LEARNT, Binomial
from pnp.priors.dip.layers import initialise

seeds = st.integers(0, 2**31)


def noise(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def view(iteration, image):
    number = torch.tensor(float(iteration))
    return View(iteration, 0.0, image, image, number, number, number, number)


# ---------------------------------------------------------------------- gains of bands
@given(height=st.integers(8, 20), width=st.integers(8, 20), gain=st.floats(-2, 2), seed=seeds)
def test_the_gain_of_a_multiple_is_its_factor(height, width, gain, seed):
    """<F (a n + b m), F n> / ||F n||^2 = a + b <F m, F n> / ||F n||^2 in every band."""
    n, m = noise((2, height, width), seed), noise((2, height, width), seed + 1)
    assert torch.allclose(band_gain(gain * n, n), torch.full((5,), gain, dtype=torch.float64), rtol=1e-12, atol=1e-12)
    assert torch.allclose(band_gain(gain * n + m, n), gain + band_gain(m, n), rtol=1e-9, atol=1e-9)


def test_the_gain_of_a_filter_is_its_response():
    """A filter that halves the frequencies of the third band and keeps the others."""
    from pnp.priors.dip.trajectory import rings

    n = noise((1, 32, 32))
    response = torch.where(rings((32, 32)) == 2, 0.5, 1.0)
    filtered = torch.fft.irfft2(torch.fft.rfft2(n) * response, s=(32, 32))
    assert torch.allclose(band_gain(filtered, n), torch.tensor([1, 1, 0.5, 1, 1], dtype=torch.float64))


# ---------------------------------------------------------------------- trajectories
def test_a_trajectory_knows_how_much_noise_was_taken_over():
    truth, n = noise((1, 16, 16)), noise((1, 16, 16), 1)
    recorder = Trajectory(truth, noise=n)
    for iteration, share in ((1, 0.0), (2, 0.25), (3, 1.0)):
        recorder(view(iteration, truth + share * n))
    gains = recorder.curves().noise_gains
    assert torch.allclose(gains, torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64)[:, None].expand(3, 5))


def test_without_the_noise_its_share_is_unknown():
    recorder = Trajectory(noise((1, 8, 8)))
    recorder(view(1, noise((1, 8, 8), 1)))
    assert recorder.curves().noise_gains.isnan().all()


@pytest.mark.parametrize("per_decade", [3, 12, 24])
def test_powers_of_ten_are_recorded(per_decade):
    """Rounding must not push a mark beyond the iteration that it means."""
    image = torch.zeros(1, 4, 4)
    recorder = Trajectory(image, per_decade=per_decade)
    for iteration in range(1, 1001):
        recorder(view(iteration, image + 1))
    recorded = recorder.curves().iterations.tolist()
    assert {1, 10, 100, 1000} <= set(recorded)
    assert len(recorded) <= 3 * per_decade + 1


def test_columns_name_every_curve():
    recorder = Trajectory(noise((1, 8, 8)), bands=2)
    recorder(view(1, noise((1, 8, 8), 1)))
    columns = recorder.curves().columns()
    single = {"iterations", "loss", "psnr", "average psnr", "distance"}
    assert set(columns) == single | {f"{n} {i}" for n in ("band", "band error", "noise gain") for i in (1, 2)}
    assert all(len(column) == 1 for column in columns.values())
    assert columns["band error 2"][0] == float(recorder.curves().band_errors[0, 1])


# ---------------------------------------------------------------------- decoders
@pytest.mark.parametrize("filters", FILTERS)
@given(height=st.integers(5, 40), width=st.integers(5, 40), depth=st.integers(1, 3))
def test_a_filter_decoder_draws_at_least_the_size_asked_for(filters, height, width, depth):
    network = FilterDecoder(2, filters=filters, width=6, depth=depth)
    shape = network.input_shape(height, width)
    image = network(torch.zeros(1, *shape))
    assert image.shape[:2] == (1, 2)
    assert image.shape[2] >= height
    assert image.shape[3] >= width
    assert (image.shape[2] < height + 2**depth) or height < 2 ** (depth + 1)


@pytest.mark.parametrize("filters", FILTERS)
def test_only_learnt_filters_have_spatial_weights(filters):
    network = FilterDecoder(1, filters=filters, width=12, depth=3)
    sizes = {p.shape[2:].numel() for p in network.parameters() if p.ndim == 4}
    assert (max(sizes) > 1) == (filters in LEARNT)
    weights = sum(p.numel() for p in network.body.parameters() if p.ndim == 4)
    assert 0.9 * 3 * 12**2 <= weights <= 2 * 3 * 12**2


def test_the_binomial_filter_is_a_low_pass_that_keeps_constants():
    x = torch.zeros(1, 1, 9, 9, dtype=torch.float64)
    x[0, 0, 4, 4] = 1
    taps = torch.tensor([1, 3, 3, 1], dtype=torch.float64) / 8
    response = Binomial()(x)[0, 0]
    assert torch.allclose(response.sum(), torch.ones((), dtype=torch.float64))
    assert torch.allclose(response[2:6, 2:6], taps[:, None] * taps)
    flat = Binomial()(torch.ones(1, 3, 9, 9, dtype=torch.float64))
    assert torch.allclose(flat[..., 1:-2, 1:-2], torch.ones((), dtype=torch.float64))


def test_every_weight_of_a_filter_decoder_is_drawn():
    """Nothing of the constructor's own draw is left, transposed convolutions included."""
    for filters in FILTERS:
        network = FilterDecoder(1, filters=filters, width=6, depth=2)
        with torch.no_grad():
            for p in network.parameters():
                p.fill_(math.nan)
        initialise(network, torch.Generator().manual_seed(0))
        assert all(p.isfinite().all() for p in network.parameters())
        assert isinstance(network.head, nn.Conv2d)


@pytest.mark.parametrize(("filters", "width", "depth"), [("cubic", 6, 2), ("bilinear", 2, 2), ("bilinear", 6, 0)])
def test_bad_filter_decoders_are_refused(filters, width, depth):
    with pytest.raises(ValueError, match="FilterDecoder"):
        FilterDecoder(1, filters=filters, width=width, depth=depth)
