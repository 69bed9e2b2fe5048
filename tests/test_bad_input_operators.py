"""What an operator is given wrongly, it refuses with who, what was expected, what it got, and what to do."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import OPERATORS, operators

from pnp import LinearOperator
from pnp.algebra import Stack
from pnp.operators import (
    Blur,
    Decimate,
    Demosaic,
    Downsample,
    Fourier,
    FromCallables,
    Gradient,
    Identity,
    Mask,
    Matrix,
    PylopsOperator,
    Radon,
    SinglePixel,
    VaryingBlur,
    Wavelet,
)


class Physics:
    """The two methods of a deepinv physics."""

    A = A_adjoint = staticmethod(lambda x: x)


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
                call(torch.ones(*A.lead, *shape, dtype=torch.float32))
            with pytest.raises(TypeError, match=r"got torch\.float64 on meta"):
                call(torch.ones(*A.lead, *shape, dtype=torch.float64, device="meta"))


@each_entry
@given(data=st.data())
@settings(max_examples=2)
def test_penalties_must_be_positive(name, data):
    A = data.draw(operators(name=name))
    y = torch.ones(*A.lead, *A.out_shape, dtype=torch.float64)
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
    with pytest.raises(ValueError, match=r"Identity.* @ .*Identity.*: expected .*, got \(4, 4\) and \(5, 5\); build"):
        Identity((4, 4)) @ Identity((5, 5))
    with pytest.raises(ValueError, match=r"expected operators between the same shapes, got \(4, 4\) -> .*; build"):
        Identity((4, 4)) + Identity((5, 5))
    alike = r"got .*; leading dimensions are batch: build both for \(4, 4\), or both for \(1, 4, 4\)"
    with pytest.raises(ValueError, match=alike):
        Mask(torch.ones(1, 4, 4)) @ Identity((4, 4))
    with pytest.raises(ValueError, match=alike):
        Identity((4, 4)) + Identity((1, 4, 4))
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


@pytest.mark.parametrize("shape", [(6.5, 8), (0, 8), (-3, 8)])
@pytest.mark.parametrize(
    "build",
    [
        lambda shape: Blur(KERNEL, shape),
        lambda shape: Blur(KERNEL, shape, "zero"),
        lambda shape: Blur.gaussian(1.0, shape),
        lambda shape: VaryingBlur(KERNEL[None, None], shape),
        lambda shape: Downsample(shape, 2),
        lambda shape: Downsample(shape, 2, KERNEL),
        lambda shape: Fourier(shape),
        lambda shape: Fourier.lines(shape, 0.5),
        lambda shape: Fourier.radial(shape, 3),
    ],
)
def test_sides_are_whole_and_positive(build, shape):
    with pytest.raises(
        ValueError, match=rf"^(Blur|VaryingBlur|Downsample|Fourier)\b.*integers.*{re.escape(str(shape))}"
    ):
        build(shape)


@pytest.mark.parametrize(("shapes", "name"), [((16, 16), "in_shape"), (((16,), None), "out_shape")])
def test_an_operator_of_ones_own_is_told_that_a_shape_is_a_tuple(shapes, name):
    class Own(LinearOperator):
        def __init__(self):
            super().__init__(*shapes)

    with pytest.raises(TypeError, match=rf"^Own: expected {name}.* as a tuple of integers, got .*; write \(H, W\)"):
        Own()


SHAPE, KERNEL = (8, 8), torch.ones(3, 3) / 9


@pytest.mark.parametrize(
    ("who", "make"),
    [
        ("Identity", lambda: Identity(8)),
        ("Identity", lambda: Identity("ab")),
        ("Identity", lambda: Identity(KERNEL)),
        ("Identity", lambda: Identity((True, 8))),
        ("Blur", lambda: Blur(SHAPE, KERNEL)),
        ("Blur", lambda: Blur(KERNEL, 8)),
        ("Blur", lambda: Blur(KERNEL.to(torch.complex64), SHAPE)),
        ("Blur", lambda: Blur(KERNEL.numpy(), SHAPE)),
        ("Blur.gaussian", lambda: Blur.gaussian(SHAPE, 1.0)),
        ("gaussian", lambda: Blur.gaussian("1", SHAPE)),
        ("Blur.motion", lambda: Blur.motion(SHAPE, 9, 30)),
        ("motion", lambda: Blur.motion("9", 30, SHAPE)),
        ("motion", lambda: Blur.motion(9, "30", SHAPE)),
        ("Blur.disk", lambda: Blur.disk(SHAPE, 3)),
        ("disk", lambda: Blur.disk(None, SHAPE)),
        ("Blur.for_data", lambda: Blur.for_data(SHAPE, KERNEL)),
        ("Blur.for_data", lambda: Blur.for_data(KERNEL, 8)),
        ("Blur.for_data", lambda: Blur.for_data(KERNEL, (8,))),
        ("VaryingBlur", lambda: VaryingBlur(SHAPE, KERNEL)),
        ("VaryingBlur", lambda: VaryingBlur(KERNEL.expand(2, 2, 3, 3), 8)),
        ("VaryingBlur", lambda: VaryingBlur(KERNEL[None], SHAPE, weights=1.0)),
        ("Decimate", lambda: Decimate(2, SHAPE)),
        ("Decimate", lambda: Decimate(8, 2)),
        ("Decimate", lambda: Decimate(SHAPE, None)),
        ("Decimate", lambda: Decimate(SHAPE, (2, "2"))),
        ("Downsample", lambda: Downsample(2, SHAPE)),
        ("Downsample", lambda: Downsample(SHAPE, KERNEL)),
        ("Downsample", lambda: Downsample(SHAPE, 2, KERNEL.numpy())),
        ("Downsample", lambda: Downsample(SHAPE, 2, None)),
        ("Demosaic", lambda: Demosaic("RGGB", SHAPE)),
        ("Demosaic", lambda: Demosaic(8)),
        ("Demosaic", lambda: Demosaic(SHAPE, [1, 2])),
        ("Mask", lambda: Mask(SHAPE)),
        ("Mask", lambda: Mask(KERNEL.to(torch.complex64))),
        ("Mask.random", lambda: Mask.random(0.5, SHAPE)),
        ("Mask.random", lambda: Mask.random(SHAPE, "0.5")),
        ("Mask.random", lambda: Mask.random(SHAPE, 0.5, None)),
        ("Mask.lines", lambda: Mask.lines(0.5, SHAPE)),
        ("Mask.lines", lambda: Mask.lines((8,), 0.5)),
        ("Mask.blocks", lambda: Mask.blocks(8, 0.5)),
        ("Mask.blocks", lambda: Mask.blocks(SHAPE, 0.5, size=SHAPE)),
        ("Fourier", lambda: Fourier(KERNEL, SHAPE)),
        ("Fourier", lambda: Fourier((3, 3), KERNEL.numpy())),
        ("Fourier", lambda: Fourier((3, 3), KERNEL.to(torch.complex64))),
        ("Fourier", lambda: Fourier((3, 3), sensitivities=KERNEL[None])),
        ("Fourier.lines", lambda: Fourier.lines(0.25, SHAPE)),
        ("Fourier.lines", lambda: Fourier.lines((8,), 0.25)),
        ("Fourier.lines", lambda: Fourier.lines(SHAPE, 0.25, centre=None)),
        ("Fourier.variable_density", lambda: Fourier.variable_density(SHAPE, SHAPE)),
        ("Fourier.random", lambda: Fourier.random(SHAPE, 0.5, 0.5)),
        ("Fourier.radial", lambda: Fourier.radial(9, SHAPE)),
        ("Fourier.radial", lambda: Fourier.radial(SHAPE, 9.5)),
        ("Radon", lambda: Radon(9, SHAPE)),
        ("Radon", lambda: Radon(SHAPE, None)),
        ("Radon", lambda: Radon(SHAPE, 2.5)),
        ("Radon", lambda: Radon(SHAPE, ["0"])),
        ("Radon", lambda: Radon(SHAPE, torch.ones(3, dtype=torch.complex64))),
        ("Radon", lambda: Radon(SHAPE, 9, detectors="8")),
        ("Gradient", lambda: Gradient(8)),
        ("Gradient", lambda: Gradient(KERNEL)),
        ("Wavelet", lambda: Wavelet(8)),
        ("Wavelet", lambda: Wavelet(SHAPE, levels="2")),
        ("Matrix", lambda: Matrix(SHAPE, KERNEL)),
        ("Matrix", lambda: Matrix(KERNEL, 3)),
        ("SinglePixel", lambda: SinglePixel(9, SHAPE)),
        ("SinglePixel", lambda: SinglePixel(SHAPE, SHAPE)),
        ("SinglePixel", lambda: SinglePixel(SHAPE, 9, seed=None)),
        ("FromCallables", lambda: FromCallables(SHAPE, SHAPE, abs, abs)),
        ("FromCallables", lambda: FromCallables(abs, SHAPE, SHAPE, SHAPE)),
        ("FromCallables.from_deepinv", lambda: FromCallables.from_deepinv(Physics(), 8)),
        ("PylopsOperator", lambda: PylopsOperator(SHAPE, SHAPE, abs)),
        ("Stack", lambda: Stack(Identity(SHAPE))),
        ("Stack", lambda: Stack([KERNEL])),
        ("gaussian", lambda: Blur.gaussian(1.0, SHAPE, dtype=torch.int64)),
        ("motion", lambda: Blur.motion(5, 0.0, SHAPE, dtype=torch.complex64)),
        ("disk", lambda: Blur.disk(2.0, SHAPE, dtype="float32")),
        ("Mask.random", lambda: Mask.random(SHAPE, 0.5, dtype=torch.int64)),
        ("Mask.lines", lambda: Mask.lines(SHAPE, 0.5, dtype=torch.bool)),
        ("Mask.blocks", lambda: Mask.blocks(SHAPE, 0.5, dtype=torch.uint8)),
        ("Downsample", lambda: Downsample(SHAPE, 2, dtype=torch.int64)),
        ("Fourier.lines", lambda: Fourier.lines(SHAPE, 0.25, dtype=torch.complex64)),
        ("Wavelet", lambda: Wavelet(SHAPE, dtype=torch.int64)),
    ],
)
def test_arguments_that_changed_places_are_told_from_each_other(who, make):
    """Who, expected, got, and the call as it should be."""
    with pytest.raises((TypeError, ValueError), match=rf"^{re.escape(who)}: expected .+, got .+; call [\w.]+\(.+\)\.$"):
        make()


@each_entry
@given(data=st.data(), seed=st.integers(0, 99))
@settings(max_examples=2)
def test_any_memory_layout_will_do(name, data, seed):
    """Transposed, strided and expanded tensors give what contiguous ones give."""
    A = data.draw(operators(name=name))
    for _, call, shape, _ in calls(A):
        shape = (*A.lead, *shape)
        x = torch.randn(*shape, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        batch = x.movedim(-1, 0)
        assert torch.allclose(call(batch), call(batch.contiguous()), rtol=1e-6, atol=1e-7)
        one = x[..., :1].movedim(-1, 0).expand(3, *shape)
        assert torch.allclose(call(one), call(one.contiguous()), rtol=1e-6, atol=1e-7)
