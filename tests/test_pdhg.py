"""PDHG against ADMM, closed forms and an independent minimiser; several operators, steps, stopping."""

import math

import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pnp import ADMM, L1, PDHG, Functional, LeastSquares, Poisson, Status
from pnp.operators import Blur, Identity, Matrix
from pnp.operators.gradient import Gradient
from pnp.priors import TV, Box, Tikhonov
from tests.pictures import noise, picture

f64 = torch.float64


class Norms(Functional):
    """``weight * sum_i |w_i|`` over the pixels of a field (..., components, H, W)."""

    convex = has_value = True

    def __init__(self, weight, power=2):
        self.weight, self.power = weight, power

    def __call__(self, w):
        size = w.norm(dim=-3) if self.power == 2 else w.abs().sum(dim=-3)
        return self.weight * size.sum(dim=(-2, -1))

    def prox(self, v, tau):
        size = v.norm(dim=-3, keepdim=True) if self.power == 2 else v.abs()
        return v * (1 - self.weight * tau / size.clamp_min(1e-300)).clamp_min(0)


def blurred(size=24, sigma=0.03):
    A = Blur.gaussian(1.0, (size, size), dtype=f64)
    return A, A.forward(picture(size)) + sigma * noise((1, size, size)), sigma


@pytest.mark.parametrize("explicit", [False, True])
@settings(max_examples=2)
@given(seed=st.integers(0, 99), weight=st.sampled_from([1.0, 20.0]))
def test_the_minimiser_of_a_quadratic_problem(explicit, seed, weight):
    """min 1/(2 sigma^2) ||A x - y||^2 + weight/2 ||B x||^2 solves its normal equations."""
    g = torch.Generator().manual_seed(seed)
    a, b = (torch.randn(m, 12, generator=g, dtype=f64) for m in (9, 15))
    A, B, y = Matrix(a, (3, 4)), Matrix(b, (3, 4)), torch.randn(2, 1, 9, generator=g, dtype=f64)
    f = LeastSquares(A, y, 0.5, tol=1e-12)

    class Quadratic(Functional):  # flat data: no image
        convex = True

        def prox(self, v, tau):
            return v / (1 + weight * tau)

    result = PDHG(explicit=explicit, max_iter=5000, tol=1e-7).solve(f, [(Quadratic(), B)], progress=False)
    expected = torch.linalg.solve(a.T @ a / 0.25 + weight * b.T @ b, (y.flatten(1) @ a / 0.25).T).T
    assert result.status is Status.CONVERGED
    assert (result.x.flatten(1) - expected).norm() <= 1e-4 * expected.norm()


@pytest.mark.parametrize(
    "solver",
    [PDHG(), PDHG(balanced=False), PDHG(s=0.01), PDHG(s=0.3), PDHG(explicit=True)],
    ids=["auto", "fixed", "short", "long", "explicit"],
)
def test_total_variation_as_norms_of_a_gradient(solver):
    """The same minimiser as ADMM with the prox of total variation, whatever the steps."""
    import dataclasses

    A, y, sigma = blurred()
    f, tv = LeastSquares(A, y, sigma), TV(20.0, gap=1e-8)
    expected = ADMM(s=0.05, balanced=True, max_iter=500, tol=1e-6).solve(f, tv, progress=False).x
    solver = dataclasses.replace(solver, max_iter=1000, tol=1e-4)
    x = solver.solve(f, [(Norms(20.0), Gradient((24, 24)))], progress=False).x
    assert (x - expected).norm() <= 2e-3 * expected.norm()
    best = float(f(expected[None]) + tv(expected[None]))
    assert abs(float(f(x[None]) + tv(x[None])) - best) <= 3e-4 * best


def test_three_terms_against_an_independent_minimiser():
    """min over 0 <= x of KL(y, A x) + 2 ||D x||_1 + 3 ||B x - c||_1, as a smooth problem with split variables."""
    g = torch.Generator().manual_seed(0)
    a, b = (torch.rand(m, 6, generator=g, dtype=f64) for m in (8, 5))
    A, B, D = Matrix(a, (2, 3)), Matrix(b, (2, 3)), Gradient((2, 3))
    y = torch.poisson(20 * torch.rand(1, 8, generator=g, dtype=f64), generator=g)
    c = torch.rand(1, 5, generator=g, dtype=f64) * 10
    counts = Poisson(Identity((1, 8)), y[None], 0.5)
    spikes = L1(Identity((1, 5)), c[None], 3.0)
    lift_a, lift_b = Rows(A), Rows(B)
    pairs = [(counts, lift_a), (Norms(2.0, power=1), D), (spikes, lift_b)]
    x0 = torch.ones(1, 2, 3, dtype=f64)
    result = PDHG(max_iter=4000, tol=1e-7).solve(Box(0), pairs, x0, progress=False)

    d, ya, cb = D.to_dense().numpy(), y.numpy().ravel(), c.numpy().ravel()
    a, b = a.numpy(), b.numpy()

    def objective(u):  # x, and bounds of the absolute values
        n = a @ u[:6] + 0.5
        value = (n - ya * np.log(n)).sum() + 2 * u[6:18].sum() + 3 * u[18:].sum()
        return value, np.concatenate([a.T @ (1 - ya / n), np.full(12, 2.0), np.full(5, 3.0)])

    rows = np.vstack([np.hstack([s * d, np.eye(12), np.zeros((12, 5))]) for s in (1, -1)])
    more = np.vstack([np.hstack([s * b, np.zeros((5, 12)), np.eye(5)]) for s in (1, -1)])
    lower = np.concatenate([np.zeros(24), cb, -cb])
    start = np.concatenate([np.ones(6), np.ones(12), 20 * np.ones(5)])
    found = scipy.optimize.minimize(
        objective, start, jac=True, method="SLSQP", bounds=[(0, None)] * 23, options={"ftol": 1e-14, "maxiter": 1000},
        constraints=scipy.optimize.LinearConstraint(np.vstack([rows, more]), lower, np.inf),
    )  # fmt: skip
    x = result.x.numpy().ravel()
    reached = objective(np.concatenate([x, np.abs(d @ x), np.abs(b @ x - cb)]))[0]
    assert x.min() >= 0
    assert reached <= found.fun + 1e-6 * abs(found.fun)
    assert np.abs(x - found.x[:6]).max() <= 1e-3 * np.abs(found.x[:6]).max()


class Rows(Matrix):
    """A matrix whose data are pictures of one line, for functionals of images."""

    def __init__(self, matrix):
        super().__init__(matrix.to_dense(), matrix.in_shape)
        self.out_shape = (1, *self.out_shape)

    def _forward(self, x):
        return super()._forward(x).unsqueeze(-2)

    def _adjoint(self, y):
        return super()._adjoint(y.squeeze(-2))


def test_scale_and_batch_independence():
    """Scaling data and noise scales the answer; every image has its own steps and stops on its own."""
    A = Blur.gaussian(1.0, (24, 24), dtype=f64)
    truth = torch.stack([picture(24), 0.2 * picture(24).flip(-1)])
    y = A.forward(truth) + 0.03 * noise((2, 1, 24, 24))
    solver = PDHG(tol=1e-3)

    def solve(y, scale=1.0):
        pairs = [(Norms(20.0 / scale), Gradient((24, 24)))]
        return solver.solve(LeastSquares(A, y, 0.03 * scale), pairs, progress=False)

    together = solve(y)
    assert (solve(7 * y, 7.0).x / 7 - together.x).abs().max() <= 1e-8
    for i in range(2):
        alone = solve(y[i])
        assert (alone.x - together.x[i]).abs().max() <= 1e-9
        assert torch.isfinite(together.history.primal[:, i]).sum() == alone.iterations


def test_the_stopping_rule_bounds_the_residuals():
    """After convergence both residuals in the history are below tol, and one iteration earlier one was not."""
    A, y, sigma = blurred()
    result = PDHG(tol=1e-3).solve(LeastSquares(A, y, sigma), [(Norms(20.0), Gradient((24, 24)))], progress=False)
    largest = torch.maximum(result.history.primal, result.history.dual)[:, 0]
    assert result.status is Status.CONVERGED
    assert largest[-1] <= 1e-3 < largest[-2]


def test_one_functional_stands_for_the_identity():
    A, y, sigma = blurred()
    f = LeastSquares(A, y, sigma)
    one = PDHG(tol=1e-6).solve(f, Tikhonov(5.0), progress=False).x
    assert (one - A.tikhonov(y, 5 * sigma**2)).abs().max() <= 1e-4


def test_float32():
    A, y, sigma = blurred()
    pairs = [(Norms(20.0), Gradient((24, 24)))]
    exact = PDHG(max_iter=300, tol=0.0).solve(LeastSquares(A, y, sigma), pairs, progress=False).x
    x = PDHG(max_iter=300, tol=0.0).solve(LeastSquares(A.float(), y.float(), sigma), pairs, progress=False).x
    assert x.dtype == torch.float32
    assert (x - exact).abs().max() <= 2e-3


def test_resumed_is_uninterrupted(tmp_path):
    A, y, sigma = blurred()
    f, pairs = LeastSquares(A, y, sigma), [(Norms(20.0), Gradient((24, 24))), (TV(1.0), Identity((24, 24)))]
    solver, file = PDHG(max_iter=60, tol=0.0), tmp_path / "run.npz"
    whole = solver.solve(f, pairs, progress=False)
    solver.solve(f, pairs, progress=False, checkpoint=file, callback=lambda step: step.iteration == 25)
    resumed = solver.solve(f, pairs, progress=False, checkpoint=file)
    assert resumed.iterations == 60
    assert torch.equal(resumed.x, whole.x)


def test_a_start_of_zeros():
    A, y, sigma = blurred()
    f, zeros = LeastSquares(Identity((24, 24)), y, sigma), torch.zeros(1, 24, 24, dtype=f64)
    result = PDHG(tol=1e-3).solve(Box(0, 1), [(f, A)], zeros, progress=False)
    assert result.status is Status.CONVERGED


def test_refusals():
    A, y, sigma = blurred()
    f = LeastSquares(A, y, sigma)
    with pytest.raises(ValueError, match="at least one pair"):
        PDHG().solve(f, [])
    with pytest.raises(TypeError, match="pairs"):
        PDHG().solve(f, [TV(1.0)])
    with pytest.raises(TypeError, match="LinearOperator"):
        PDHG().solve(f, [(TV(1.0), 3.0)])
    with pytest.raises(ValueError, match="explicit=False"):
        PDHG(explicit=True).solve(LeastSquares(A, y), [(TV(1.0), Identity((24, 24)))], progress=False)
    for s in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="s > 0"):
            PDHG(s=s)
