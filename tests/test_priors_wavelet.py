"""Wavelet shrinkage: the filters, the frame, the thresholds."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pnp.priors import Wavelet
from pnp.priors.wavelet_filters import daubechies

seeds = st.integers(0, 999)


def ramp_and_noise(shape, seed=0, sigma=0.1):
    g = torch.Generator().manual_seed(seed)
    clean = torch.linspace(0, 1, shape[-1]).double() + (torch.arange(shape[-2]) > shape[-2] // 2)[:, None]
    return clean.expand(shape) + sigma * torch.randn(shape, generator=g, dtype=torch.float64)


@given(moments=st.integers(1, 10), symmetric=st.booleans())
def test_filters_are_orthonormal_and_kill_polynomials(moments, symmetric):
    taps = daubechies(moments, symmetric=symmetric)
    assert taps.size == 2 * moments
    shifts = np.correlate(taps, taps, "full")[taps.size - 1 :: 2]
    assert np.abs(shifts - np.eye(1, shifts.size)[0]).max() <= 1e-12
    high = taps[::-1] * (-1.0) ** np.arange(taps.size)
    positions = np.arange(taps.size) / taps.size
    assert all(abs((high * positions**k).sum()) <= 1e-7 for k in range(moments))


@pytest.mark.parametrize("name", ["db1", "db2", "db4", "db7", "db10", "sym4", "sym5", "sym8"])
def test_filters_agree_with_pywavelets(name):
    pywt = pytest.importorskip("pywt")
    taps = daubechies(int(name.lstrip("dbsym")), symmetric=name.startswith("sym"))
    published = np.array(pywt.Wavelet(name).dec_lo)
    assert min(np.abs(taps - published).max(), np.abs(taps[::-1] - published).max()) <= 1e-10


@given(
    wavelet=st.sampled_from(["haar", "db2", "db5", "sym4"]),
    levels=st.integers(1, 4),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    seed=seeds,
)
def test_without_thresholds_the_frame_returns_the_picture(wavelet, levels, size, seed):
    v = ramp_and_noise((2, 3, *size), seed)
    assert (Wavelet(wavelet, levels).prox(v, 1e-30) - v).abs().max() <= 1e-11


@pytest.mark.parametrize("wavelet", ["haar", "db2", "sym4"])
def test_the_frame_keeps_energy_and_knows_its_noise(wavelet):
    """||bands||^2 = ||x||^2 (Parseval), and white noise has variance 4^-level in each band."""
    prior = Wavelet(wavelet)
    x = torch.randn(1, 1, 256, 256, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    energy, coarse = 0.0, x
    for level in (1, 2, 3):
        low, high = prior._split(coarse, 2 ** (level - 1), -1)
        coarse, *details = *prior._split(low, 2 ** (level - 1), -2), *prior._split(high, 2 ** (level - 1), -2)
        energy += sum(band.square().sum() for band in details)
        for band in details:
            assert band.var().item() * 4**level == pytest.approx(1, abs=0.15)
    assert energy + coarse.square().sum() == pytest.approx(x.square().sum().item(), rel=1e-12)


@given(shift=st.tuples(st.integers(-3, 3), st.integers(-3, 3)))
def test_shifted_pictures_give_shifted_results(shift):
    """Far from the border (thresholds of a band see it all, hence the window)."""
    v = ramp_and_noise((1, 72, 72))
    prior = Wavelet("haar", 2, window=5)
    inner = (..., slice(24, -24), slice(24, -24))
    moved = prior.prox(torch.roll(v, shift, (-2, -1)), 0.01)
    assert (
        torch.roll(moved, (-shift[0], -shift[1]), (-2, -1))[inner] - prior.prox(v, 0.01)[inner]
    ).abs().max() <= 1e-12


def test_the_band_threshold_is_bayesshrink():
    """noise^2 / signal with signal^2 = mean(w^2) - noise^2, applied softly."""
    band = 2 * torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    noise = torch.tensor(0.25, dtype=torch.float64)
    threshold = noise / (band.square().mean() - noise).sqrt()
    expected = band.sign() * (band.abs() - threshold).clamp_min(0)
    assert (Wavelet(window=None)._threshold(band, noise) - expected).abs().max() <= 1e-12
    weak = 0.1 * band
    assert Wavelet(window=None)._threshold(weak, noise).abs().max() == 0


@given(seed=seeds, signal=st.floats(0, 5))
def test_the_sure_threshold_has_the_least_estimated_error(seed, signal):
    """Every threshold on the grid, written out: n s^2 - 2 s^2 #{|w| <= t} + sum min(|w|, t)^2."""
    g = torch.Generator().manual_seed(seed)
    noise = 0.3
    band = noise * torch.randn(1, 2, 16, 16, generator=g, dtype=torch.float64)
    band[0, 1, :4] += signal * torch.randn(4, 16, generator=g, dtype=torch.float64)
    x = Wavelet(threshold="sure")._threshold(band, torch.tensor(noise**2, dtype=torch.float64))
    for w, kept in zip(band[0], x[0], strict=True):
        risks = {}
        for t in np.linspace(0, 4, 33) * noise:
            few = 2 * noise**2 * float((w.abs() <= t).sum())
            risks[t] = w.numel() * noise**2 - few + float(w.abs().clamp_max(t).square().sum())
        best = min(risks, key=risks.__getitem__)
        assert (kept - w.sign() * (w.abs() - best).clamp_min(0)).abs().max() <= 1e-12


@given(seed=seeds)
def test_two_levels_written_out(seed):
    """Noise tau leaves tau / 4 in the first level's bands and tau / 16 in the second's."""
    v, tau = ramp_and_noise((1, 1, 20, 23), seed), 0.01
    prior = Wavelet("db2", 2)
    margin = 4 * 2
    index = [np.pad(np.arange(side), margin, mode="symmetric") for side in (20, 23)]

    def level(x, step, noise, inner):
        low, high = prior._split(x, step, -1)
        coarse, rows = prior._split(low, step, -2)
        columns, both = prior._split(high, step, -2)
        rows, columns, both = (
            prior._threshold(band, torch.tensor(noise, dtype=v.dtype)) for band in (rows, columns, both)
        )
        left, right = prior._join(inner(coarse), rows, step, -2), prior._join(columns, both, step, -2)
        return prior._join(left, right, step, -1)

    padded = v[..., index[0], :][..., index[1]]
    x = level(padded, 1, tau / 4, lambda coarse: level(coarse, 2, tau / 16, lambda coarsest: coarsest))
    assert (x[..., margin:-margin, margin:-margin] - prior.prox(v, tau)).abs().max() <= 1e-9


@pytest.mark.parametrize("settings", [{"window": 9}, {"window": None}, {"threshold": "sure"}])
def test_it_denoises_for_the_noise_level_it_is_told(settings):
    clean = ramp_and_noise((1, 64, 64), sigma=0)
    v = clean + 0.1 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    x = Wavelet(**settings).denoise(v, 0.1)
    assert (x - clean).square().mean().sqrt() <= 0.05


def test_autograd_passes_through():
    v = ramp_and_noise((3, 6, 5)).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: Wavelet("db2", 2, window=3).prox(v, 0.02), (v,), atol=1e-4)


def test_colour_axes_are_orthonormal_and_grey_first():
    """A grey picture shown in three channels is denoised as sqrt(3) times itself: its colour differences are noise."""
    v = ramp_and_noise((1, 24, 24), sigma=0.05)
    x = Wavelet(window=None).prox(v.expand(3, -1, -1), 3 * 0.0025)
    assert (x - x[:1]).abs().max() <= 1e-12
    alone = Wavelet(window=None).prox(math.sqrt(3) * v, 3 * 0.0025) / math.sqrt(3)
    assert (x[:1] - alone).abs().max() <= 1e-12


@pytest.mark.parametrize(
    "arguments", [{"wavelet": "coif1"}, {"wavelet": "db11"}, {"levels": 0}, {"window": 4}, {"threshold": "best"}]
)
def test_bad_settings_are_refused(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        Wavelet(**arguments)


@pytest.mark.parametrize("arguments", [{"levels": 2.5}, {"levels": True}, {"window": 9.0}])
def test_levels_and_windows_are_whole_numbers(arguments):
    with pytest.raises(TypeError, match=next(iter(arguments))):
        Wavelet(**arguments)


def test_levels_end_with_the_picture():
    """More of them would reach farther than the picture, at a cost of two to the power of their number."""
    v = ramp_and_noise((1, 16, 12))
    enough = Wavelet(levels=5).prox(v, 0.01)
    assert torch.equal(Wavelet(levels=1000).prox(v, 0.01), enough)
    assert not torch.equal(Wavelet(levels=4).prox(v, 0.01), enough)
