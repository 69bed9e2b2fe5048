"""Low resolution: bicubic as picture programs do it, any kernel, the exact data step."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pnp.operators import Blur, Decimate, Downsample, kernels

float64 = torch.float64


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=float64)


@given(shape=st.tuples(st.integers(1, 40), st.integers(1, 40)), factor=st.integers(1, 8))
@settings(max_examples=40, deadline=None)
def test_bicubic_is_the_antialiased_one_of_picture_programs(shape, factor):
    A = Downsample(shape, factor, dtype=float64)
    assume(A.out_shape[1] > 1)  # torch mistakes the height of results one pixel wide
    x = randn(2, 3, *shape)
    expected = torch.nn.functional.interpolate(x, size=A.out_shape, mode="bicubic", antialias=True)
    torch.testing.assert_close(A.forward(x), expected, atol=1e-12, rtol=0)


@given(shape=st.tuples(st.integers(1, 12), st.integers(1, 12)), factor=st.integers(1, 5), seed=st.integers(0, 9))
@settings(max_examples=30, deadline=None)
def test_a_kernel_is_a_periodic_blur_at_every_fth_pixel(shape, factor, seed):
    for kernel in (randn(3, 4, seed=seed), kernels.gaussian(0.8, dtype=float64)):
        A = Downsample(shape, factor, kernel)
        x = randn(*shape, seed=seed)
        torch.testing.assert_close(A.forward(x), Blur(kernel, shape).forward(x)[::factor, ::factor])


@pytest.mark.parametrize("rho", [1e-8, 1e-4, 1.0, 1e4])
@pytest.mark.parametrize("factor", [2, 3, 4, 8])
def test_solve_is_exact(factor, rho):
    shape = (4 * factor, 5 * factor)
    for kernel in ("bicubic", kernels.gaussian(1.6, dtype=float64), kernels.motion(5, 30, dtype=float64)):
        A = Downsample(shape, factor, kernel, dtype=float64)
        assert A.route().startswith("exact")
        y, v = randn(*A.out_shape), randn(*shape, seed=1)
        x = A.tikhonov(y, rho, v)
        gradient = A.adjoint(A.forward(x) - y) + rho * (x - v)
        assert gradient.norm() <= 1e-9 * (A.adjoint(y).norm() + rho * v.norm() + x.norm())


def test_folded_spectrum_is_that_of_the_decimated_gram():
    """A A^T of blur and decimation is a convolution on the coarse grid; the dense matrix says which."""
    A = Decimate((6, 8), 2) @ Blur(randn(3, 3), (6, 8))
    D = A.to_dense()
    gram = (D @ D.T)[:, 0].reshape(3, 4)
    torch.testing.assert_close(A._folded(), torch.fft.rfft2(gram).real)


def test_the_circulant_is_the_nearest_to_the_gram_matrix():
    """Its spectrum is the diagonal of the Gram matrix in the basis of waves."""
    A = Downsample((9, 8), 2, dtype=float64)
    dense = A.to_dense()
    waves = torch.fft.fft2(torch.eye(72, dtype=float64).reshape(72, 9, 8)).reshape(72, 72) / 72**0.5
    power = (waves.conj() @ (dense.mT @ dense).to(waves.dtype) @ waves.mT).diagonal().real.reshape(9, 8)
    torch.testing.assert_close(A.circulant(), power[:, :5])


@pytest.mark.parametrize("kernel", ["bicubic", "gaussian"])
def test_start_follows_smooth_pictures_without_a_shift(kernel):
    y, x = torch.meshgrid(*(torch.linspace(0, 3, 60, dtype=float64),) * 2, indexing="ij")
    image = torch.sin(x) + torch.cos(y)
    A = Downsample((60, 60), 3, kernels.gaussian(0.5, dtype=float64) if kernel == "gaussian" else kernel, dtype=float64)
    error = (A.start(A.forward(image)) - image)[8:-8, 8:-8]
    assert error.abs().max() < 2e-3


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="factor"):
        Downsample((8, 8), 0)
    with pytest.raises(ValueError, match="bicubic"):
        Downsample((8, 8), 2, "linear")
    with pytest.raises(ValueError, match="factors"):
        Decimate((8, 8), (2, 2, 2))
