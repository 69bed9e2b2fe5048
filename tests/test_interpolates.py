"""First images that are interpolations: which operators claim one, and that it keeps what was measured."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import OPERATORS, operators

from pnp.algebra import Stack, Weighted
from pnp.operators import Blur, Decimate, Demosaic, Downsample, Fourier, Identity, Mask, kernels
from pnp.operators.delegate import Delegate

f64 = torch.float64
SHAPE = (9, 8)
CLAIMED = {"Mask", "Mask a channel", "Decimate"}


def ramp(shape=SHAPE):
    """A plane, which linear interpolation gets right."""
    rows, columns = (torch.arange(n, dtype=f64) for n in shape)
    return 2.0 + 0.3 * rows[:, None] - 0.2 * columns


@pytest.mark.parametrize("name", [entry.name for entry in OPERATORS])
@given(data=st.data(), seed=st.integers(0, 99))
@settings(max_examples=3, deadline=None)
def test_an_interpolation_keeps_what_was_measured(name, data, seed):
    """``A start(A x) = A x`` where ``interpolates``."""
    A = data.draw(operators(name=name))
    assert A.interpolates == (name in CLAIMED or name.startswith("Demosaic"))
    if A.interpolates:
        y = A.forward(torch.randn(A.in_shape, generator=torch.Generator().manual_seed(seed), dtype=f64))
        assert torch.allclose(A.forward(A.start(y)), y)


@pytest.mark.parametrize("A", [Decimate(SHAPE, 2), Decimate(SHAPE, (1, 3)), Mask.random(SHAPE, 0.4, dtype=f64)])
def test_between_the_measured_pixels_a_plane_is_nearly_kept(A):
    x = ramp()
    start = A.start(A.forward(x))
    assert (start - x).square().mean().sqrt() < 0.3
    assert (A.adjoint(A.forward(x)) - x).square().mean().sqrt() > 1.0


def test_decimated_complex_data_and_batches_are_interpolated_part_by_part():
    A, x = Decimate(SHAPE, 2), ramp()
    y = A.forward(torch.stack([torch.complex(x, -x), torch.complex(2 * x, x)]))
    start = A.start(y)
    assert torch.allclose(start, torch.complex(A.start(y.real), A.start(y.imag)))
    assert torch.allclose(start[1].real, 2 * A.start(A.forward(x)))


@pytest.mark.parametrize("A", [Decimate(SHAPE, 2), Mask.random(SHAPE, 0.4, dtype=f64), Demosaic(SHAPE)])
def test_multiples_weights_and_delegates_pass_the_interpolation_on(A):
    y = A.forward(torch.rand(A.in_shape, generator=torch.Generator().manual_seed(0), dtype=f64))
    weight = torch.linspace(0.5, 2, y.numel(), dtype=f64).reshape(y.shape)
    for B, data in ((-3.0 * A, -3.0 * y), (Weighted(weight, A), weight * y), (Delegate(A), y)):
        assert B.interpolates
        assert torch.allclose(B.start(data), A.start(y))


def test_products_and_stacks_start_from_a_solve_instead():
    """Measured pixels of a blurred picture are no pixels of the picture."""
    A = Mask.random(SHAPE, 0.4, dtype=f64)
    blur = Blur(kernels.gaussian(1.0, dtype=f64), SHAPE)
    for B in (A @ blur, Decimate(SHAPE, 2) @ blur, A @ Identity(SHAPE), Stack([A, A]), blur, Downsample(SHAPE, 2)):
        assert not B.interpolates
    assert not Fourier(SHAPE).interpolates
