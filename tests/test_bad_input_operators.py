"""What an operator is given wrongly, it refuses with who, what was expected, what it got, and what to do."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import OPERATORS, operators

from pnp.algebra import Stack
from pnp.operators import Fourier, Identity, Mask

each_entry = pytest.mark.parametrize("name", [entry.name for entry in OPERATORS])


def calls(A):
    """Every public map with the shape of its argument and whether it must be real."""
    return [
        ("forward", A.forward, A.in_shape, A.complex_out and not A.complex_in),
        ("adjoint", A.adjoint, A.out_shape, A.complex_in and not A.complex_out),
        ("tikhonov", lambda y: A.tikhonov(y, 0.1, tol=1e-10), A.out_shape, False),
    ]


@each_entry
@given(data=st.data())
@settings(max_examples=2)
def test_messages_name_who_expected_what_and_got_what(name, data):
    A = data.draw(operators(name=name))
    who = re.escape(type(A).__name__)
    for method, call, shape, _ in calls(A):
        wrong = (*shape[:-1], shape[-1] + 1)
        expected = rf"^{who}\(.*\.{method}: expected .* of shape \(\.\.\., {', '.join(map(str, shape))}\), got "
        with pytest.raises(ValueError, match=expected + re.escape(str(wrong))):
            call(torch.ones(wrong, dtype=torch.float64))
        for empty in (torch.ones(0, *shape, dtype=torch.float64), torch.ones((), dtype=torch.float64)):
            with pytest.raises(ValueError, match=expected):
                call(empty)
        with pytest.raises(TypeError, match=rf"^{who}\(.*\.{method}: expected floating-point values, got torch.int64"):
            call(torch.ones(shape, dtype=torch.int64))
        for other in (np.ones(shape), [1.0], None, 1.0):
            with pytest.raises(TypeError, match=rf"^{who}\(.*\.{method}: expected a torch.Tensor, .* pnp.to_tensor"):
                call(other)
        if A._anchor() is not None:
            kinds = rf"^{who}\(.*\.{method}: expected torch.float64 on cpu, got torch.float32 on cpu; .*\.to\("
            with pytest.raises(TypeError, match=kinds):
                call(torch.ones(shape, dtype=torch.float32))
            with pytest.raises(TypeError, match=r"got torch\.float64 on meta"):
                call(torch.ones(shape, dtype=torch.float64, device="meta"))


@each_entry
@given(data=st.data())
@settings(max_examples=2)
def test_penalties_must_be_positive(name, data):
    A = data.draw(operators(name=name))
    y = torch.ones(A.out_shape, dtype=torch.float64)
    for rho in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="tikhonov: expected rho > 0"):
            A.tikhonov(y, rho)
    with pytest.raises(ValueError, match="tikhonov: expected tol > 0"):
        A.tikhonov(y, 1.0, tol=0.0)
    with pytest.raises(TypeError, match="expected v to be an image tensor or 0"):
        A.tikhonov(y, 1.0, 1.0)
    with pytest.raises(ValueError, match="tikhonov: expected v of shape"):
        A.tikhonov(y, 1.0, torch.ones(*A.in_shape[:-1], A.in_shape[-1] + 1, dtype=torch.float64))


def test_complex_data_are_refused_where_the_answer_must_be_real():
    A = Fourier((4, 4), real=True)
    with pytest.raises(TypeError, match=r"expected real values on this side, got torch.complex64; pass x.real"):
        A.forward(torch.ones(4, 4, dtype=torch.complex64))


def test_operators_that_do_not_fit_together_say_so():
    with pytest.raises(ValueError, match=r"Identity.* @ .*Identity.*: \(4, 4\) does not match \(5, 5\)"):
        Identity((4, 4)) @ Identity((5, 5))
    with pytest.raises(ValueError, match="the shapes differ"):
        Identity((4, 4)) + Identity((5, 5))
    with pytest.raises(ValueError, match="different images"):
        Stack([Identity((4, 4)), Identity((5, 5))])
    with pytest.raises(TypeError, match="one is complex, the other real"):
        Identity((4, 4)) + Fourier((4, 4))
    with pytest.raises(TypeError, match="complex factor"):
        1j * Mask(torch.ones(4, 4))
    with pytest.raises(ValueError, match="finite factor other than 0"):
        0.0 * Identity((4, 4))


def test_shapes_are_checked_once_at_construction():
    for shape in ((), (0, 4), (-1, 4), (2.5, 4)):
        with pytest.raises(ValueError, match="shape of positive integers"):
            Identity(shape)


@each_entry
@given(data=st.data(), seed=st.integers(0, 99))
@settings(max_examples=2)
def test_any_memory_layout_will_do(name, data, seed):
    """Transposed, strided and expanded tensors give what contiguous ones give."""
    A = data.draw(operators(name=name))
    for _, call, shape, _ in calls(A):
        x = torch.randn(*shape, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        batch = x.movedim(-1, 0)
        assert torch.allclose(call(batch), call(batch.contiguous()), rtol=1e-6, atol=1e-7)
        one = x[..., :1].movedim(-1, 0).expand(3, *shape)
        assert torch.allclose(call(one), call(one.contiguous()), rtol=1e-6, atol=1e-7)
