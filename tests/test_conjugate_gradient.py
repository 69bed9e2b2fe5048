"""Conjugate gradients: as accurate as asked, or said not to be, down to the smallest penalties and for any data."""

import math
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pnp.conjugate_gradient import conjugate_gradient
from pnp.operators import Blur, FromCallables, Mask, Radon
from pnp.tikhonov import DEFAULT_TOLERANCE, dual_cg, primal_cg

float64 = torch.float64


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=float64)


def matrix(m, n, rank, decay, seed):
    """Of norm 1 and this rank, its singular values falling to ``10^-decay``."""
    left, right = (torch.linalg.qr(randn(k, rank, seed=seed + i)).Q for i, k in enumerate((m, n)))
    return left * torch.logspace(0, -decay, rank, dtype=float64) @ right.mT


def iterative(D):
    """The operator of a matrix that nothing is known of."""
    m, n = D.shape
    return FromCallables(lambda x: D @ x.flatten(), lambda y: (D.mT @ y).reshape(1, n), (1, n), (m,), dtype=D.dtype)


def exact(D, y, rho):
    """``argmin_x ||D x - y||^2 + rho ||x||^2`` by singular values, without the square of the condition number."""
    left, s, right = torch.linalg.svd(D, full_matrices=False)
    return (y @ left * (s / (s.square() + rho))) @ right


def solved(A, y, rho):
    """The image and what conjugate gradients said, on the side that ``tikhonov`` chooses."""
    if A._on_the_data_side():
        solution = dual_cg(A, y, rho, None, None, None)
        return A.adjoint(solution.x), solution
    solution = primal_cg(A, A.adjoint(y), rho, None, None, None)
    return solution.x, solution


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@given(
    m=st.integers(2, 60),
    n=st.integers(2, 60),
    rank=st.floats(0, 1),
    decay=st.integers(0, 8),
    exponent=st.integers(-8, 0),
    seed=st.integers(0, 999),
)
@settings(max_examples=80)
def test_inconsistent_data_are_solved_to_the_tolerance_or_said_not_to_be(m, n, rank, decay, exponent, seed):
    D = matrix(m, n, max(1, round(rank * min(m, n))), decay, seed)
    y, rho = randn(m, seed=seed + 2), 10.0**exponent
    x, solution = solved(iterative(D), y, rho)
    expected = exact(D, y, rho)
    within = (x.flatten() - expected).norm() <= 1.01 * DEFAULT_TOLERANCE * expected.norm()
    assert within or solution.limited or solution.rounded
    if exponent >= -6:
        assert not solution.limited
        assert not solution.rounded


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("exponent", [-8, -6])
def test_a_residual_that_grows_before_it_falls_ends_no_solve(seed, exponent):
    """By the root of the condition number, 1e4: the zero image was returned for the answer."""
    kernel = torch.rand(3, 4, generator=torch.Generator().manual_seed(seed), dtype=float64)
    A = Radon((6, 8), 4, dtype=float64) @ Blur(kernel / kernel.sum(), (6, 8))
    y, rho = randn(2, *A.out_shape, seed=seed), 10.0**exponent * A.norm() ** 2
    x, solution = solved(A, y, rho)
    expected = exact(A.to_dense(), y.flatten(1), rho).reshape(x.shape)
    within = (x - expected).norm() <= DEFAULT_TOLERANCE * expected.norm()
    assert within or solution.limited or solution.rounded
    assert (x - expected).norm() <= 1e-5 * expected.norm()


@pytest.mark.parametrize("dtype", [torch.float32, float64])
def test_what_the_digits_do_not_allow_is_said(dtype):
    """At an unreachable tolerance the residual is rounding, however far the recurrence says that it has fallen."""
    D = matrix(40, 40, 40, 3, 0).to(dtype)
    K = D @ D.mT + 1e-6 * torch.eye(40, dtype=dtype)
    b = randn(40).to(dtype)
    solution = conjugate_gradient(lambda w: w @ K, b, dims=1, tolerance=lambda w: torch.zeros(1), max_iter=10_000)
    assert solution.rounded
    assert not solution.limited
    assert solution.iterations < 2000
    true = (b.double() - solution.x.double() @ K.double()).norm()
    assert true <= 40 * torch.finfo(dtype).eps * (solution.x.norm() + b.norm())
    assert solution.residual >= true / 2


def test_the_residual_told_is_the_true_one():
    """After some thousand iterations the recurrence in float32 is far below it."""
    shape = (12, 14)
    mask = Mask.random(shape, 0.5, dtype=torch.float32)
    A = mask @ Blur.gaussian(1.2, shape, dtype=torch.float32)
    y, rho = randn(*shape).float() * mask.mask, 1e-8
    solution = conjugate_gradient(
        lambda w: A.forward(A.adjoint(w)) + rho * w, y, dims=2, tolerance=lambda w: torch.zeros(1, 1), max_iter=5000
    )
    true = y - A.forward(A.adjoint(solution.x)) - rho * solution.x
    assert solution.iterations > 100
    torch.testing.assert_close(solution.residual.squeeze(), true.norm(), rtol=1e-2, atol=0)


def test_iterations_that_run_out_are_said():
    D = matrix(40, 40, 40, 3, 0)
    K = D @ D.mT + 1e-6 * torch.eye(40, dtype=float64)
    b = torch.stack([randn(40), torch.zeros(40, dtype=float64)])
    few, enough = (
        conjugate_gradient(
            lambda w: w @ K, b, dims=1, tolerance=lambda w: 1e-9 * w.norm(dim=-1, keepdim=True), max_iter=k
        )
        for k in (10, 2000)
    )
    assert few.limited
    assert few.iterations == 10
    assert not enough.limited
    assert not enough.rounded
    assert enough.x[1].abs().max() == 0


def test_single_precision_ends_within_its_digits():
    """A relative error of ``eps ||A||^2 / rho`` for data of which no image explains a part, of the worst size."""
    eps = torch.finfo(torch.float32).eps
    for seed in range(20):
        D = matrix(30, 25, 6, 2, seed)
        y = randn(30, seed=seed)
        for rho in (1e-4, 1e-2):
            x, _ = solved(iterative(D.float()), y.float(), rho)
            expected = exact(D.float().double(), y, rho)
            allowed = eps * y.norm() / rho + math.sqrt(eps) * 1e-2 * expected.norm()
            assert (x.flatten() - expected).norm() <= 4 * allowed


def test_a_data_step_that_misses_its_tolerance_warns():
    """Single precision, and a tolerance of one's own, are met as far as the digits go."""
    D, y = matrix(14, 15, 7, 2, 1), randn(14, seed=3)
    with pytest.warns(RuntimeWarning, match="rounding ended the solve above the accuracy asked for"):
        iterative(D).tikhonov(y, 1e-8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        iterative(D).tikhonov(y, 1e-8, tol=1e-10)
        iterative(D.float()).tikhonov(y.float(), 1e-4)


def test_an_operator_equal_to_zero_is_solved_without_a_word():
    A = Radon((6, 8), 4, dtype=float64) @ Blur(torch.rand(3, 4, dtype=float64), (6, 8))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not (A - A).tikhonov(randn(1, *A.out_shape), 1e-4).any()
