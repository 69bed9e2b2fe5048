"""Two functions as an operator: the laws, both layouts, and what is refused."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pnp.operators import FromCallables
from pnp.testing import check_operator

SHAPE = (4, 5)


def shift(x):
    return 0.5 * x + x.roll(1, -1)


def shift_back(y):
    return 0.5 * y + y.roll(-1, -1)


def numpy_sum(x):
    return x.sum(axis=-1)


def numpy_spread(y):
    return np.repeat(y[..., None], SHAPE[-1], axis=-1)


@pytest.mark.parametrize("batched", [False, True])
def test_laws_hold_for_functions_of_tensors(batched):
    report = check_operator(FromCallables(shift, shift_back, SHAPE, SHAPE, batched=batched))
    assert "pickle" in {finding.law for finding in report.skipped}  # it holds functions


@pytest.mark.parametrize("batched", [False, True])
def test_laws_hold_for_functions_of_arrays(batched):
    A = FromCallables(numpy_sum, numpy_spread, SHAPE, SHAPE[:1], batched=batched, numpy=True, dtype=torch.float64)
    assert A.dtype == torch.float64
    assert check_operator(A).ok


def test_laws_hold_for_complex_functions():
    def fft(x):
        return torch.fft.fft2(x, norm="ortho")

    def ifft(y):
        return torch.fft.ifft2(y, norm="ortho")

    assert check_operator(FromCallables(fft, ifft, SHAPE, SHAPE, complex_in=True, complex_out=True)).ok
    assert check_operator(FromCallables(fft, lambda y: ifft(y).real, SHAPE, SHAPE, complex_out=True)).ok


def test_functions_may_write_into_their_argument():
    def double(x):
        return x.mul_(2)

    x = torch.ones(SHAPE)
    A = FromCallables(double, double, SHAPE, SHAPE)
    assert torch.equal(A.forward(x), 2 * x)
    assert torch.equal(x, torch.ones(SHAPE))


@given(st.integers(0, 99))
def test_second_derivatives_flow(seed):
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()
    A = FromCallables(numpy_sum, numpy_spread, SHAPE, SHAPE[:1], numpy=True)
    (gradient,) = torch.autograd.grad(A.forward(x).square().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(gradient.sum(), x)
    assert torch.allclose(second, 2 * A.adjoint(A.forward(torch.ones_like(x))))


class Physics(torch.nn.Module):
    """What deepinv calls a linear physics, by its two methods only."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mask", (torch.arange(20.0).reshape(1, 1, 4, 5) % 3 > 0).float())

    def A(self, x):
        return self.mask * x

    def A_adjoint(self, y):
        return self.mask * y


def test_a_deepinv_physics_is_an_operator():
    A = FromCallables.from_deepinv(Physics(), (1, *SHAPE))
    assert (A.in_shape, A.out_shape) == ((1, *SHAPE), (1, *SHAPE))
    assert check_operator(A).ok
    x = torch.ones(1, *SHAPE, dtype=torch.float64)
    assert torch.equal(A.double().forward(x), A.physics.mask[0])


def test_a_physics_that_is_no_module_will_do():
    class Plain:
        A = staticmethod(shift)
        A_adjoint = staticmethod(shift_back)

    assert check_operator(FromCallables.from_deepinv(Plain(), (2, *SHAPE))).ok


def test_a_wrong_adjoint_is_found():
    with pytest.raises(AssertionError, match="adjoint"):
        check_operator(FromCallables(shift, shift, SHAPE, SHAPE))


def test_what_does_not_fit_is_refused():
    with pytest.raises(TypeError, match="adjoint to be callable"):
        FromCallables(shift, None, SHAPE, SHAPE)
    with pytest.raises(ValueError, match=r"forward must return shape \(4,\), got \(4, 5\)"):
        FromCallables(shift, shift_back, SHAPE, (4,)).forward(torch.ones(SHAPE))
    with pytest.raises(TypeError, match="must return a Tensor, got list"):
        FromCallables(torch.Tensor.tolist, shift_back, SHAPE, SHAPE).forward(torch.ones(SHAPE))
    with pytest.raises(TypeError, match="A_adjoint"):
        FromCallables.from_deepinv(type("Half", (), {"A": shift})(), SHAPE)
