"""Gains of an estimate's bands of frequency: never more risk, the right contrast, every image for itself."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pictures import noise, picture

import pnp.ranking
from pnp import LeastSquares, psnr, reconstruct
from pnp.band_gains import RIDGE, equalized, radial_bands
from pnp.cosine import cosine_parts
from pnp.operators import Blur, Fourier, Identity, Mask
from pnp.priors import TV
from pnp.risk import Probe

f64 = torch.float64
SIDE, LEVEL = 32, 0.05


def some(share, seed):
    return torch.rand(SIDE, SIDE, generator=torch.Generator().manual_seed(seed)) < share


OPERATORS = {
    "identity": lambda: Identity((SIDE, SIDE)),
    "blur": lambda: Blur.gaussian(1.2, (SIDE, SIDE), dtype=f64),
    "mask": lambda: Mask(some(0.6, 0)).double(),
    "fourier": lambda: Fourier((SIDE, SIDE), some(0.5, 1)).double(),
}


def posed(A, x, seed, scale=1.0):
    """A probe of noisy data of the batch x, and an estimate of x from them and from the moved data."""
    y = A.forward(x)
    parts = [noise(y.shape, seed + k) for k in range(2)]
    n = torch.complex(*parts) if y.is_complex() else parts[0]
    f = LeastSquares(A, scale * (y + LEVEL * n), scale * LEVEL)
    one = torch.full((len(x), 1, 1, 1), scale, dtype=f64)
    probe = Probe(f, LEVEL * one, one, 0.1, seed)
    # A linear estimate is too soft where A dims, as a prior may be, and its risk is known in closed form.
    return probe, *(A.tikhonov(term.data, 0.05, 0 * x) for term in (f, probe.shifted()))


@given(height=st.integers(1, 9), width=st.integers(1, 40), depth=st.sampled_from([None, 3]), seed=st.integers(0, 99))
def test_the_bands_add_up_to_the_image(height, width, depth, seed):
    grid = (height, width) if depth is None else (depth, height, width)
    x = torch.randn(2, *grid, generator=torch.Generator().manual_seed(seed), dtype=f64)
    bands = radial_bands(grid, x)
    assert all(float(band.min()) >= 0 for band in bands)
    assert torch.allclose(sum(cosine_parts(x, bands, len(grid))), x, atol=1e-12)


@pytest.mark.parametrize("kind", OPERATORS)
@given(seed=st.integers(0, 999), images=st.integers(1, 2), scale=st.sampled_from([1e-3, 1.0, 65535.0]))
def test_gains_never_raise_the_risk_and_see_each_image_alone(kind, seed, images, scale):
    A = OPERATORS[kind]()
    x = torch.stack([picture(SIDE, name=name) for name in ("camera", "coins")][:images])
    x = x.to(torch.complex128) if A.complex_in else x
    probe, found, shifted = posed(A, x, seed, scale)
    better, better_shifted, gains = equalized(probe, found, shifted, 1.0)
    unit = probe.level.flatten().square()
    assert (probe.sure(better, better_shifted) <= probe.sure(found, shifted) + 1e-9 * unit).all()
    assert (gains - 1).abs().max() > 1e-3
    alone, _, own = equalized(posed(A, x[:1], seed, scale)[0], found[:1], shifted[:1], 1.0)
    if images == 1:
        assert torch.allclose(alone, better, atol=1e-9 * scale)
        unscaled = equalized(*posed(A, x, seed), 1.0)[2]
        assert torch.allclose(unscaled, own, rtol=1e-6)


@pytest.mark.parametrize("kind", OPERATORS)
@pytest.mark.parametrize("fading", [1.0, 0.85])
def test_the_gains_are_the_least_of_what_they_minimise(kind, fading):
    """A Newton step in each gain alone: nought, where the degrees of freedom or the ridge wrong by 1 % make one."""
    A = OPERATORS[kind]()
    x = picture(SIDE)[None]
    probe, found, shifted = posed(A, x.to(torch.complex128) if A.complex_in else x, 0)
    gains = equalized(probe, found, shifted, fading)[2][0]
    bands = radial_bands((SIDE, SIDE), x)
    (low, *parts), (_, *moved) = (cosine_parts(v, bands, 2) for v in (found, shifted))
    low_shifted = shifted - sum(moved)

    def objective(a):
        image, later = (
            base + sum(g * p for g, p in zip(a, ps, strict=True)) for base, ps in ((low, parts), (low_shifted, moved))
        )
        drawn = (a - fading * torch.cat([torch.ones(1, dtype=f64) / fading, a[:-1]])).square().sum()
        return probe.f.count() * probe.sure(image, later)[0] + RIDGE * LEVEL**2 * drawn

    here = objective(gains)
    for step in 0.1 * torch.eye(len(gains), dtype=f64):
        above, below = objective(gains + step), objective(gains - step)
        assert abs(above - below) / (above + below - 2 * here) <= 1e-6


def test_images_of_a_batch_have_their_own_gains():
    A = OPERATORS["blur"]()
    x = torch.stack([picture(SIDE, name=name) for name in ("camera", "coins")])
    y = torch.stack([A.forward(image) + LEVEL * noise(image.shape, 0) for image in x])

    def gains(data):
        f = LeastSquares(A, data, LEVEL)
        one = torch.ones((len(data), 1, 1, 1), dtype=f64)
        probe = Probe(f, LEVEL * one, one, 0.1, 0)
        return equalized(probe, *(A.tikhonov(term.data, 0.05, 0 * data) for term in (f, probe.shifted())), 0.85)[2]

    together = gains(y)
    assert not torch.allclose(together[0], together[1], atol=1e-3)
    for one, data in zip(together, y, strict=True):
        assert torch.allclose(gains(data[None])[0], one, rtol=1e-9)


def test_a_band_too_weak_is_given_back_its_size_and_an_unseen_one_fades():
    """Twice the band where the estimate has half of it; below it, in what no data hold, 0.85 of the neighbour each."""
    x = picture(96)[None]
    bands = radial_bands((96, 96), x)
    parts = cosine_parts(x, bands, 2)
    A = Identity((96, 96))
    one = torch.ones((1, 1, 1, 1), dtype=f64)
    probe = Probe(LeastSquares(A, x, 1e-4), 1e-4 * one, one, 0.1, 0)
    halved = x - parts[3] / 2
    gains = equalized(probe, halved, halved, 1.0)[2][0]
    assert 1.5 <= float(gains[2]) <= 2.1
    assert abs(float(gains[0]) - 1) <= 0.1

    blur = Blur.gaussian(4.0, (96, 96), dtype=f64)  # leaves nothing above a tenth of a cycle a pixel
    probe = Probe(LeastSquares(blur, blur.forward(x), 0.01), 0.01 * one, one, 0.1, 0)
    faded = equalized(probe, x, x, 0.85)[2][0]
    assert torch.allclose(faded[-3:] / faded[-4:-1], torch.full((3,), 0.85, dtype=f64), atol=0.01)


def test_automatic_runs_gain_by_it(monkeypatch):
    """A denoiser that flattens: 0.2 dB and more; and the gains are told."""
    x = picture(64)
    y = x + 0.1 * noise(x.shape, 0)
    A = Identity((64, 64))
    result = reconstruct(y, A, TV(), sigma=0.1, progress=False)
    assert result.parameters["gains"].value.shape == (1, 8)
    monkeypatch.setattr(pnp.ranking, "equalized", lambda probe, x, x_shifted, fading: (x, x_shifted, torch.ones(1, 1)))
    plain = reconstruct(y, A, TV(), sigma=0.1, progress=False)
    assert float(psnr(result.x, x) - psnr(plain.x, x)) >= 0.15


def test_noise_called_too_strong_is_seen_and_nothing_extrapolated():
    """Called twice as strong, it makes the risk come out below zero; the mixture lost 12 dB to denoising at that level.

    A batch mate whose level is right keeps what it gets alone.
    """
    x = picture(64)
    y = x + 0.1 * noise(x.shape, 3)
    A = Identity((64, 64))
    right = reconstruct(y, A, TV(), sigma=0.1, progress=False)
    wrong = reconstruct(y, A, TV(), sigma=0.2, progress=False)
    assert psnr(wrong.x, x) >= psnr(TV().denoise(y, 0.2), x) - 0.3
    assert wrong.expected_psnr is None
    assert "weaker than sigma says" in wrong.parameters["expected_psnr"].reason
    assert wrong.parameters["expected_data_error"].value is None
    assert (wrong.parameters["gains"].value == 1).all()
    levels = torch.tensor([0.1, 0.2], dtype=f64).reshape(2, 1, 1, 1)
    both = reconstruct(torch.stack([y, y]), A, TV(), sigma=levels, progress=False)
    assert torch.allclose(both.x, torch.stack([right.x, wrong.x]), atol=1e-9)
    assert torch.allclose(both.expected_psnr[:1], right.expected_psnr)
    assert both.expected_psnr[1].isnan()


def test_gains_that_overflow_are_left_out():
    x = 1e25 * picture(32, dtype=torch.float32)
    result = reconstruct(x, Identity((32, 32)), TV(), sigma=1e24, progress=False)
    assert torch.isfinite(result.x).all()


def test_bands_hold_no_more_memory_than_the_image():
    x = picture(32)[None]
    bands = radial_bands((32, 32), x)
    for parts in (cosine_parts(x, bands, 2), cosine_parts(torch.complex(x, x), bands, 2)):
        assert all(part.untyped_storage().nbytes() == part.numel() * part.element_size() for part in parts)


def test_the_kernel_does_not_import_the_catalogue():
    code = "import sys, pnp; sys.exit(any(name.startswith(('pnp.operators', 'pnp.priors')) for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
