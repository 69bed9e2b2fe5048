"""Masked frequencies: what the solve returns, where masks lie, coils, and the noise they tell."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pictures import picture
from strategies import operators

from pnp.operators import Fourier
from pnp.testing import check_operator


def randn(*shape, seed=0, dtype=torch.complex128):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def bird_cage(coils, shape):
    """Smooth maps of an array around the image, root sum of squares 1."""
    rows, columns = (torch.linspace(-1, 1, n, dtype=torch.float64) for n in shape)
    angle = 2 * math.pi * torch.arange(coils, dtype=torch.float64)[:, None, None] / coils
    dy, dx = rows[:, None] - 1.2 * angle.sin(), columns - 1.2 * angle.cos()
    maps = torch.exp(1j * torch.atan2(dy, dx)) / (dx.square() + dy.square() + 0.2)
    return maps / maps.abs().square().sum(dim=0).sqrt()


def test_it_is_the_orthonormal_transform():
    x = randn(3, 5, 6)
    full = Fourier((5, 6)).double()
    assert torch.allclose(full.forward(x), torch.fft.fft2(x, norm="ortho"))
    assert full.row_gram == full.column_gram == 1.0
    assert torch.allclose(full.adjoint(full.forward(x)), x)


@given(A=operators(name="Fourier of real images"), seed=st.integers(0, 99))
def test_real_images_stay_real(A, seed):
    """For any mask, symmetric or not, the exact solve agrees with the complex problem restricted to real images."""
    x = A.tikhonov(randn(*A.out_shape, seed=seed), 0.1)
    assert not x.is_complex()
    D = A.to_dense()
    y = randn(*A.out_shape, seed=seed).flatten()
    gram = (D.mH @ D).real + 0.1 * torch.eye(A.columns, dtype=torch.float64)
    assert torch.allclose(x.flatten(), torch.linalg.solve(gram, (D.mH @ y).real), atol=1e-10)


@pytest.mark.parametrize("real", [False, True])
def test_the_solve_is_stable_in_single_precision(real):
    """A consistent measurement at rho = 1e-8 returns the image's own frequencies."""
    A = Fourier.variable_density((32, 32), 0.4, real=real)
    x = randn(32, 32).real.float() if real else randn(32, 32).to(torch.complex64)
    y = A.forward(x)
    assert (A.forward(A.tikhonov(y, 1e-8)) - y).abs().max() < 1e-5


def test_what_is_not_measured_is_not_looked_at():
    A = Fourier.lines((16, 12), 0.5, dtype=torch.float64, sensitivities=bird_cage(3, (16, 12)))
    y = A.forward(randn(16, 12))
    holes = torch.where(A.observed(), y, math.nan)
    assert torch.equal(A.tikhonov(holes, 0.1), A.tikhonov(y, 0.1))
    assert A.rows == 3 * 8 * 12


def test_coils_resolve_what_one_receiver_folds():
    """Every other line: one receiver sees the picture twice over itself, four coils tell the copies apart."""
    x = picture(32)[0].double().to(torch.complex128)
    mask = torch.zeros(32, 32, dtype=torch.float64)
    mask[::2] = 1
    alone, array = Fourier((32, 32), mask), Fourier((32, 32), mask, sensitivities=bird_cage(4, (32, 32)))
    folded = alone.tikhonov(alone.forward(x), 1e-6)
    resolved = array.tikhonov(array.forward(x), 1e-8, tol=1e-9)
    assert (folded - x).norm() > 0.3 * x.norm()
    assert (resolved - x).norm() < 1e-4 * x.norm()
    assert "CG" in array.route()


@pytest.mark.parametrize("shape", [(16, 16), (15, 22), (6, 16, 16)])
def test_masks_are_where_they_should_be(shape):
    for A in (Fourier.lines(shape, 0.3), Fourier.variable_density(shape, 0.3), Fourier.random(shape, 0.3)):
        assert abs(A.rows / math.prod(shape) - 0.3) < 0.05
    for A in (Fourier.lines(shape, 0.5), Fourier.variable_density(shape, 0.3), Fourier.radial(shape, 5)):
        assert A.mask[(0,) * len(shape)] == Fourier.random(shape, 0.1).mask[(0,) * len(shape)] == 1
        assert A.mask[(*(0,) * (len(shape) - 1), 1)] == 1  # the centre is measured
    lines = Fourier.lines(shape, 0.3).mask
    assert torch.equal(lines, lines[..., :1].expand(shape))
    assert not torch.equal(Fourier.random(shape, 0.3, seed=1).mask, Fourier.random(shape, 0.3, seed=2).mask)


@given(st.integers(0, 99))
def test_the_centre_is_always_measured(seed):
    lines, points = Fourier.lines((32, 20), 0.15, seed, centre=0.13), Fourier.random((32, 20), 0.05, seed)
    assert lines.mask[[-2, -1, 0, 1, 2]].min() == 1
    assert lines.rows == 5 * 20
    assert points.mask[0, 0] == 1


@given(st.integers(1, 30), st.integers(3, 20), st.integers(3, 20))
def test_spokes_are_symmetric(spokes, height, width):
    mask = Fourier.radial((height, width), spokes).mask
    assert torch.equal(mask, mask.flip(0, 1).roll((1, 1), (0, 1)))


def test_samples_are_denser_towards_the_centre():
    mask = Fourier.variable_density((64, 64), 0.25).mask
    centred = torch.fft.fftshift(mask)
    assert centred[24:40, 24:40].mean() > 2 * centred.mean()


@pytest.mark.parametrize("sigma", [0.02, 0.1])
def test_noise_is_read_from_faded_frequencies(sigma):
    rows = torch.linspace(-1, 1, 64, dtype=torch.float64)
    smooth = torch.exp(-8 * (rows[:, None] ** 2 + rows**2)).to(torch.complex128)
    A = Fourier.variable_density((64, 64), 0.6, dtype=torch.float64)
    noise = sigma * (randn(64, 64, dtype=torch.float64) + 1j * randn(64, 64, seed=1, dtype=torch.float64))
    level = A.noise_level(A.forward(smooth) + A.mask * noise)
    assert level is not None
    assert abs(float(level) / sigma - 1) < 0.2
    assert A.noise_level(A.forward(picture(64)[0].to(torch.complex128))) is None  # detail, no noise


def test_sums_of_exact_operators_keep_their_laws():
    A = Fourier.lines((6, 6), 0.5)
    assert check_operator(A).ok
    assert check_operator(2 * A).ok


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Fourier((4,)), ValueError, r"integers \(H, W\) or \(D, H, W\)"),
        (lambda: Fourier((4, 4), torch.ones(4)), ValueError, r"mask of shape \(4, 4\)"),
        (lambda: Fourier((4, 4), torch.zeros(4, 4)), ValueError, "not all of them zero"),
        (lambda: Fourier((4, 4), torch.ones(4, 4) * 1j), TypeError, "real torch.Tensor, got .*torch.complex64"),
        (lambda: Fourier((4, 4), sensitivities=torch.ones(2, 4, 4)), TypeError, "complex torch.Tensor, got .*float32"),
        (lambda: Fourier((4, 4), sensitivities=torch.ones(4, 4) * 1j), ValueError, "sensitivities"),
        (lambda: Fourier.random((4, 4), 0.0), ValueError, "0 < keep <= 1"),
        (lambda: Fourier.radial((4, 4), 0), ValueError, "at least one spoke"),
    ],
)
def test_what_does_not_fit_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
