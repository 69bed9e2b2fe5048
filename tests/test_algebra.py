"""Algebra keeps what its parts know: routes, facts, preconditioners; conjugate gradients keep their word."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pnp.conjugate_gradient import conjugate_gradient
from pnp.operators import Blur, Decimate, Fourier, Identity, Mask, Matrix, SinglePixel, Stack, kernels

float64 = torch.float64


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=float64)


SHAPE = (8, 8)
blur = Blur(randn(3, 4), SHAPE)
other = Blur(randn(5, 2, seed=1), SHAPE)
mask = Mask(torch.where(randn(*SHAPE).abs() < 0.4, 0, randn(*SHAPE)))
camera = SinglePixel(SHAPE, 20, dtype=float64)
full = SinglePixel(SHAPE, 64, dtype=float64)


@pytest.mark.parametrize("two", [np.float64(2), np.float32(2), np.int64(2), 2, 2.0])
def test_numbers_of_numpy_are_numbers(two):
    x = randn(*SHAPE)
    for A in (two * blur, blur * two, blur / (1 / two)):
        assert repr(A) in (f"2 * {blur!r}", f"2.0 * {blur!r}")
        torch.testing.assert_close(A @ x, 2 * blur.forward(x))


@pytest.mark.parametrize(
    ("wrong", "who"),
    [
        (lambda: blur @ np.ones(SHAPE), r"Blur\(8x8 -> 8x8\).*expected a torch.Tensor, got ndarray; pnp.to_tensor"),
        (lambda: blur @ 3, r"Blur\(8x8 -> 8x8\).*expected a torch.Tensor, got int"),
        (lambda: np.ones(SHAPE) @ blur, r"Blur\(8x8 -> 8x8\): expected A @ x, got ndarray @ A; .*Matrix.*adjoint"),
        (lambda: torch.ones(SHAPE) @ blur, r"Blur\(8x8 -> 8x8\): expected A @ x, got Tensor @ A; .*Matrix.*adjoint"),
        (lambda: np.ones(SHAPE) * blur, "unsupported operand.*ndarray.*Blur"),
        (lambda: blur * np.ones(SHAPE), "Blur"),
    ],
)
def test_what_is_no_image_and_no_operator_is_named(wrong, who):
    with pytest.raises(TypeError, match=who):
        wrong()


EXACT = {
    "multiple": -2.5 * blur,
    "negative": -mask,
    "adjoint": blur.H,
    "sum of convolutions": blur + 2 * other,
    "difference with the identity": blur - Identity(SHAPE),
    "product of convolutions": blur @ other,
    "stack of convolutions": Stack([blur, 0.5 * other, Identity(SHAPE)]),
    "decimated blur": Decimate(SHAPE, 2) @ blur,
    "decimated product": 3 * Decimate(SHAPE, (2, 4)) @ (blur @ other),
    "mask of an orthonormal transform": Mask(randn(64)) @ full,
}
ITERATIVE = {
    "masked blur": mask @ blur,
    "mask plus blur": mask + blur,
    "camera behind a blur": camera @ blur,
    "stack of everything": Stack([mask @ blur, camera, other]),
}


def broken(A, rho, tol=None, seed=0):
    """Norm of the normal equations' residual in units of what rounding allows."""
    y, v = randn(*A.out_shape, seed=seed), randn(*A.in_shape, seed=seed + 1)
    x = A.tikhonov(y, rho, v, tol=tol)
    gradient = A.adjoint(A.forward(x) - y) + rho * (x - v)
    return float(gradient.norm() / (A.adjoint(y).norm() + rho * v.norm() + A.norm() ** 2 * x.norm()))


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("rho", [1e-6, 1e-2, 1e4])
def test_closed_forms_survive_the_algebra(name, rho):
    A = EXACT[name]
    assert A.route().startswith("exact")
    assert broken(A, rho) <= 1e-9


@pytest.mark.parametrize("name", ITERATIVE)
@pytest.mark.parametrize("rho", [1e-4, 1e-2, 1e4])
def test_the_rest_is_solved_by_conjugate_gradients(name, rho):
    A = ITERATIVE[name]
    assert "CG" in A.explain()
    assert broken(A, rho, tol=1e-10) <= 1e-9


@pytest.mark.parametrize("rho", [1e-8, 1e-6, 1e-4, 1.0, 1e4])
def test_conjugate_gradients_reach_the_smallest_penalties(rho):
    """1e-9 of the data, the penalty and the image, with ``tol=1e-10``."""
    A = Blur.gaussian(1.2, (16, 16), dtype=float64) @ Mask.random((16, 16), 0.5, 0, dtype=float64)
    assert "CG" in A.explain()
    assert A.norm() <= 1 + 1e-6  # so that ``broken`` measures against the image itself
    assert broken(A, rho, tol=1e-10) <= 1e-9


blurred = Blur.gaussian(1.2, (16, 16), dtype=float64)
ILL_CONDITIONED = {
    "masked blur": Mask.random((16, 16), 0.5, 0, dtype=float64) @ blurred,
    "weighted blur": Mask(torch.where(randn(16, 16).abs() < 0.4, 0, randn(16, 16))) @ blurred,
    "camera behind a blur": SinglePixel((16, 16), 100, dtype=float64) @ blurred,
    "tall matrix behind a blur": Matrix(randn(300, 256, seed=3) / 16, (16, 16)) @ blurred,
}


@pytest.mark.parametrize("name", ILL_CONDITIONED)
@pytest.mark.parametrize("rho", [1e-6, 1e-4])
def test_preconditioning_brings_blurs_behind_others_to_small_penalties(name, rho, monkeypatch):
    """Preconditioned, some hundred iterations do; without, some thousands, or no number of them."""
    monkeypatch.setattr("pnp.tikhonov.PATIENCE", 2000)
    A = ILL_CONDITIONED[name]
    assert broken(A, rho, tol=1e-10) <= 1e-9


def test_a_solve_that_runs_out_of_iterations_says_so(monkeypatch):
    A = ITERATIVE["masked blur"]
    monkeypatch.setattr("pnp.tikhonov.PATIENCE", -120)
    assert "after 8 of them a warning" in A.explain()
    with pytest.warns(RuntimeWarning, match=r"8 iterations .* use a larger rho .* explain"):
        A.tikhonov(randn(*SHAPE), 1e-4)


@pytest.mark.parametrize("rho", [1e-4, 1.0])
def test_dead_data_of_an_iterative_solve_count_nowhere(rho):
    A = ITERATIVE["masked blur"]
    y = randn(*SHAPE)
    holes = torch.where(mask.observed(), y, math.nan)
    torch.testing.assert_close(A.tikhonov(holes, rho), A.tikhonov(y, rho), rtol=1e-9, atol=1e-9)


@given(rho=st.floats(1e-3, 1e2), seed=st.integers(0, 99))
@settings(max_examples=20)
def test_default_tolerance_is_an_error_of_a_millionth(rho, seed):
    A = ITERATIVE["masked blur"]
    y = randn(*SHAPE, seed=seed)
    D = A.to_dense()
    exact = torch.linalg.solve(D.T @ D + rho * torch.eye(64, dtype=float64), D.T @ y.flatten()).reshape(SHAPE)
    assert (A.tikhonov(y, rho) - exact).norm() <= 1e-6 * exact.norm()


def iterations(A, monkeypatch, *args, **kwargs):
    """How many CG iterations one solve takes."""
    import pnp.tikhonov

    counts = []

    def counting(*a, **k):
        solution = conjugate_gradient(*a, **k)
        counts.append(solution.iterations)
        return solution

    monkeypatch.setattr(pnp.tikhonov, "conjugate_gradient", counting)
    result = A._tikhonov(*args, **kwargs)
    return counts[-1], result


def test_preconditioning_by_the_circulant_saves_iterations(monkeypatch):
    kernel = torch.outer(torch.hann_window(9, dtype=float64), torch.hann_window(9, dtype=float64))
    weight = 1 + 0.3 * torch.rand(32, 32, generator=torch.Generator().manual_seed(0), dtype=float64)
    A = Mask(weight) @ Blur(kernel / kernel.sum(), (32, 32))
    y = randn(32, 32)
    helped, _ = iterations(A, monkeypatch, y, 1e-3, None, None, None)
    monkeypatch.setattr(type(A), "_precondition_dual", lambda self, r, rho: r)
    alone, _ = iterations(A, monkeypatch, y, 1e-3, None, None, None)
    assert 2 * helped < alone


def test_a_warm_start_saves_iterations_and_changes_nothing(monkeypatch):
    A = Blur(randn(5, 4), (24, 24), "valid")
    y, v = randn(*A.out_shape), randn(24, 24, seed=1)
    cold, (x, state) = iterations(A, monkeypatch, y, 1e-3, v, None, None)
    near = v + 1e-4 * randn(24, 24, seed=2)
    warm, (again, _) = iterations(A, monkeypatch, y, 1e-3, near, None, state)
    expected = A.tikhonov(y, 1e-3, near, tol=1e-10)
    assert warm < cold
    assert (again - expected).norm() <= 1e-6 * expected.norm()
    assert (x - expected).norm() > 0


def test_batch_mates_do_not_change_a_solve():
    A = ITERATIVE["masked blur"]
    y = randn(3, *SHAPE) * torch.tensor([1e-3, 1.0, 1e3], dtype=float64)[:, None, None]
    together = A.tikhonov(y, 1e-3)
    for one, item in zip(together, y, strict=True):
        alone = A.tikhonov(item, 1e-3)
        assert (one - alone).norm() <= 1e-9 * alone.norm()


def test_penalties_of_a_batch_are_one_an_item():
    for A in (blur, mask, camera, ITERATIVE["masked blur"], Blur(randn(3, 3), SHAPE, "reflect")):
        y = randn(2, 1, *A.out_shape)
        rho = torch.tensor([1e-2, 10.0], dtype=float64).reshape(2, 1, 1, 1)
        together = A.tikhonov(y, rho, tol=1e-10)
        for b in range(2):
            torch.testing.assert_close(together[b], A.tikhonov(y[b], float(rho[b]), tol=1e-10), atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("A", [blur, mask, Fourier(SHAPE, mask.mask)])
def test_one_item_may_be_solved_at_several_penalties(A):
    y = A.forward(randn(*SHAPE).to(A.dtype))
    rho = torch.tensor([1e-2, 10.0], dtype=float64).reshape(2, 1, 1, 1)
    together = A.tikhonov(y, rho)
    for b in range(2):
        torch.testing.assert_close(together[b, 0], A.tikhonov(y, float(rho[b])))


def test_float32_stops_where_rounding_rules():
    """An unreachable tolerance ends in the accuracy of the arithmetic, not at the iteration limit."""
    A = Blur(kernels.motion(9, 30), (32, 32), "zero").engine
    y, rho = A.forward(randn(32, 32).float()), 1e-5
    solution = conjugate_gradient(
        lambda w: A.forward(A.adjoint(w)) + rho * w,
        y,
        dims=2,
        tolerance=lambda w: torch.zeros(1, 1),
        precondition=lambda w: A._precondition_dual(w, rho),
        max_iter=5000,
    )
    assert solution.iterations < 2500
    assert solution.residual < 1e-3 * y.norm()


def test_gradients_flow_through_compositions():
    A = ITERATIVE["stack of everything"]
    x = randn(*SHAPE).requires_grad_()
    y = randn(*A.out_shape, seed=1)
    (gradient,) = torch.autograd.grad(A.forward(x), x, y)
    torch.testing.assert_close(gradient, A.adjoint(y))
