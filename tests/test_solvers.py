"""ADMM and HQS against closed forms; batches, schedules, stopping."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pnp import ADMM, HQS, Functional, LeastSquares, Status
from pnp.operators import Blur, Matrix
from pnp.priors import TV, Tikhonov

f64 = torch.float64


def problem(seed: int, batch: int = 1, rows: int = 12, sigma: float = 0.1):
    """Random rows of a 4x5 picture, and a quadratic prior: the minimiser is ``tikhonov``."""
    g = torch.Generator().manual_seed(seed)
    A = Matrix(torch.randn(rows, 20, generator=g, dtype=f64), (4, 5))
    y = torch.randn(batch, 1, rows, generator=g, dtype=f64)
    return A, LeastSquares(A, y, sigma, tol=1e-13), y


SOLVERS = {
    "fixed": ADMM(s=0.3, max_iter=4000, tol=1e-10),
    "relaxed": ADMM(s=0.3, max_iter=4000, tol=1e-10, relaxation=1.7),
    "balanced": ADMM(s=3.0, max_iter=4000, tol=1e-10, balanced=True),
    "annealed": ADMM(s=[1.0, 0.8, 0.6, 0.5, 0.4, 0.3], max_iter=4000, tol=1e-10),
}


@pytest.mark.parametrize("name", SOLVERS)
@settings(max_examples=5)
@given(seed=st.integers(0, 99), weight=st.sampled_from([0.5, 3.0]))
def test_admm_finds_the_minimiser_of_a_quadratic_problem(name, seed, weight):
    """min 1/(2 sigma^2) ||A x - y||^2 + weight/2 ||x||^2 is tikhonov with rho = weight sigma^2, whatever s does."""
    A, f, y = problem(seed, batch=2)
    result = SOLVERS[name].solve(f, Tikhonov(weight))
    expected = A.tikhonov(y, weight * 0.1**2)
    assert result.status is Status.CONVERGED
    assert (result.x - expected).norm() <= 1e-8 * expected.norm()


@settings(max_examples=5)
@given(seed=st.integers(0, 99), s=st.sampled_from([0.3, 1.0]))
def test_hqs_finds_its_own_compromise(seed, s):
    """With fixed s the limit minimises f(x) + g(z) + 1/(2 s^2) ||x - z||^2; for quadratics z solves a linear system."""
    A, f, y = problem(seed)
    weight = 3.0
    result = HQS(s=s, max_iter=4000, tol=1e-11).solve(f, Tikhonov(weight))
    shrink = 1 + weight * s**2  # z = x / shrink: (A^T A / sigma^2 + (1 - 1/shrink) / s^2) x = A^T y / sigma^2
    x = A.tikhonov(y, 0.1**2 * (1 - 1 / shrink) / s**2)
    assert (result.x - x / shrink).norm() <= 1e-7 * x.norm()


@settings(max_examples=5)
@given(seed=st.integers(0, 99))
def test_a_batch_is_its_images_one_by_one(seed):
    A, f, y = problem(seed, batch=3)
    for solver in (SOLVERS["fixed"], SOLVERS["balanced"], HQS(s=[0.5, 0.4, 0.3])):
        together = solver.solve(f, Tikhonov(2.0))
        for i in range(3):
            alone = solver.solve(LeastSquares(A, y[i], 0.1, tol=1e-13), Tikhonov(2.0))
            assert (together.x[i] - alone.x).norm() <= 1e-9 * alone.x.norm()
            assert together.statuses[i] is alone.status
            assert abs(int((~together.history.s[:, i].isnan()).sum()) - alone.iterations) <= 1


def test_a_level_for_every_image():
    """A schedule (K, B, 1, 1, 1) treats each image as its own schedule would."""
    A, f, y = problem(0, batch=2)
    levels = torch.tensor([[0.9, 0.5], [0.6, 0.4], [0.3, 0.2]], dtype=f64).reshape(3, 2, 1, 1, 1)
    together = ADMM(s=levels, tol=0.0).solve(f, Tikhonov(1.0))
    for i in range(2):
        alone = ADMM(s=levels[:, i].flatten().tolist(), tol=0.0).solve(LeastSquares(A, y[i], 0.1), Tikhonov(1.0))
        assert (together.x[i] - alone.x).norm() <= 1e-9 * alone.x.norm()
    assert together.iterations == 3


def test_tv_deblurring_agrees_with_an_independent_solver():
    """The minimiser of 1/(2 sigma^2) ||A x - y||^2 + weight TV(x) on a tiny picture, by SciPy, smoothed."""
    from scipy.optimize import minimize

    g = torch.Generator().manual_seed(3)
    A = Blur.gaussian(0.8, (6, 5), dtype=f64)
    truth = torch.zeros(1, 6, 5, dtype=f64)
    truth[..., 2:, 1:4] = 1
    y = A(truth) + 0.05 * torch.randn(truth.shape, generator=g, dtype=f64)
    sigma, weight = 0.05, 4.0

    def objective(flat, eps):
        x = torch.tensor(flat, dtype=f64, requires_grad=True)
        image = x.reshape(1, 6, 5)
        down = torch.nn.functional.pad(image.diff(dim=1), (0, 0, 0, 1))
        right = torch.nn.functional.pad(image.diff(dim=2), (0, 1))
        value = (A(image) - y).square().sum() / (2 * sigma**2) + weight * (down**2 + right**2 + eps**2).sqrt().sum()
        (gradient,) = torch.autograd.grad(value, x)
        return value.item(), gradient.numpy()

    reference = y.flatten().numpy()
    options = {"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-10}
    for eps in (1e-1, 1e-2, 1e-3, 1e-4, 1e-5):
        reference = minimize(objective, reference, args=(eps,), jac=True, method="L-BFGS-B", options=options).x
    result = ADMM(s=0.05, max_iter=3000, tol=1e-6).solve(LeastSquares(A, y, sigma), TV(weight, gap=1e-8))
    best, ours = objective(reference, 0.0)[0], objective(result.x.flatten().numpy(), 0.0)[0]
    assert ours <= best * (1 + 1e-5)
    assert (result.x.flatten() - torch.tensor(reference)).abs().max() <= 2e-3


class Planted(Functional):
    """A prior that misbehaves in a chosen way."""

    def __init__(self, f):
        self.f = f

    def prox(self, v, tau):
        return self.f(v)


def test_divergence_returns_the_last_sane_image():
    _, f, _ = problem(0)
    result = ADMM(s=0.1, max_iter=200).solve(f, Planted(lambda v: 3 * v))
    assert result.status is Status.DIVERGED
    assert result.iterations < 50
    assert torch.isfinite(result.x).all()


def test_nan_returns_the_last_finite_image():
    _, f, _ = problem(0)
    calls = []

    def prior(v):
        calls.append(1)
        return v * math.nan if len(calls) > 3 else v / 2

    result = HQS(s=0.1, max_iter=50, tol=0.0).solve(f, Planted(prior))
    assert result.status is Status.NON_FINITE
    assert result.iterations == 4
    assert torch.isfinite(result.x).all()


def test_a_limit_cycle_is_stagnation():
    _, f, _ = problem(0)
    sign = [1]

    def prior(v):
        sign[0] = -sign[0]
        return v / 2 + 0.01 * sign[0]

    result = HQS(s=0.1, max_iter=200, tol=1e-6).solve(f, Planted(prior))
    assert result.status is Status.STAGNATED
    assert result.iterations < 60


def test_callbacks_clocks_and_interrupts_end_a_run():
    _, f, _ = problem(0)
    solver = ADMM(s=0.3, max_iter=500, tol=0.0)
    seen = []
    result = solver.solve(f, Tikhonov(1.0), callback=lambda step: seen.append(step.iteration) or step.iteration == 7)
    assert (result.status, result.iterations, seen) == (Status.INTERRUPTED, 7, list(range(1, 8)))
    assert solver.solve(f, Tikhonov(1.0), time_limit=0.0).iterations == 1

    def interrupt(v):
        raise KeyboardInterrupt

    result = solver.solve(f, Planted(interrupt))
    assert result.status is Status.INTERRUPTED
    assert torch.isfinite(result.x).all()


def test_history_is_what_happened():
    A, f, y = problem(0)
    g = Tikhonov(1.0)
    result = ADMM(s=0.3, max_iter=5, tol=0.0).solve(f, g, truth=torch.zeros(1, 1, 4, 5, dtype=f64))
    last = {name: float(getattr(result.history, name)[-1]) for name in ("s", "misfit", "objective", "psnr")}
    x = result.x
    assert last["s"] == pytest.approx(0.3)
    assert last["misfit"] == pytest.approx(float((A(x) - y).square().mean().sqrt() / 0.1), rel=1e-9)
    assert last["objective"] == pytest.approx(float(f(x) + g(x)), rel=1e-9)
    assert last["psnr"] == pytest.approx(float(-10 * x.square().mean().log10()), rel=1e-9)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf, [], [0.1, 0.0]])
@pytest.mark.parametrize("solver", [ADMM, HQS])
def test_bad_levels(solver, bad):
    with pytest.raises(ValueError, match=rf"{solver.__name__}: expected every s"):
        solver(s=bad)


def test_bad_settings_and_arguments():
    _, f, _ = problem(0)
    with pytest.raises(ValueError, match="max_iter"):
        ADMM(max_iter=0)
    with pytest.raises(ValueError, match="relaxation"):
        ADMM(relaxation=2.0)
    with pytest.raises(ValueError, match="tol"):
        HQS(tol=math.nan)
    with pytest.raises(TypeError, match=r"expected g to be a Functional.*Denoiser"):
        ADMM().solve(f, lambda x, sigma: x)
    with pytest.raises(ValueError, match="NaN or infinite"):
        ADMM().solve(f, Tikhonov(1.0), torch.full((1, 4, 5), math.nan, dtype=f64))
    with pytest.raises(ValueError, match="give x0"):
        ADMM().solve(Tikhonov(1.0), Tikhonov(1.0))
    with pytest.raises(ValueError, match="expected x0 of shape"):
        ADMM().solve(f, Tikhonov(1.0), torch.zeros(2, 1, 4, 5, dtype=f64))
