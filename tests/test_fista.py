"""FISTA against closed forms and ADMM; rates, batches, steps, refusals."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pnp import ADMM, FISTA, Denoiser, Huber, LeastSquares, Poisson, Status, psnr, reconstruct
from pnp.operators import Blur, Identity, Matrix
from pnp.priors import NLM, TV, Tikhonov
from tests.pictures import noise, picture

f64 = torch.float64


def problem(seed, batch=1, rows=12, sigma=0.1):
    """Random rows of a 4x5 picture, and a quadratic prior: the minimiser is ``tikhonov``."""
    g = torch.Generator().manual_seed(seed)
    A = Matrix(torch.randn(rows, 20, generator=g, dtype=f64), (4, 5))
    y = torch.randn(batch, 1, rows, generator=g, dtype=f64)
    return A, LeastSquares(A, y, sigma), y


SOLVERS = {
    "accelerated": FISTA(max_iter=20000, tol=1e-10),
    "without restart": FISTA(max_iter=20000, tol=1e-10, restart=False),
    "without momentum": FISTA(max_iter=20000, tol=1e-10, momentum=False),
}


@pytest.mark.parametrize("name", SOLVERS)
@settings(max_examples=3)
@given(seed=st.integers(0, 99), weight=st.sampled_from([5.0, 50.0]))
def test_the_minimiser_of_a_quadratic_problem(name, seed, weight):
    A, f, y = problem(seed, batch=2)
    result = SOLVERS[name].solve(f, Tikhonov(weight), progress=False)
    expected = A.tikhonov(y, weight * 0.1**2)
    assert result.status is Status.CONVERGED
    assert (result.x - expected).norm() <= 1e-6 * expected.norm()


@pytest.mark.parametrize("term", ["gauss", "huber", "poisson"])
def test_the_same_minimiser_as_admm(term):
    truth = picture(32)
    A = Blur.gaussian(1.0, (32, 32), dtype=f64)
    y = A.forward(truth) + 0.03 * noise((1, 32, 32))
    counts = torch.poisson(50 * A.forward(truth) + 20, generator=torch.Generator().manual_seed(0))
    f = {
        "gauss": LeastSquares(A, y, 0.03),
        "huber": Huber(A, y, 0.03, tol=1e-6),
        "poisson": Poisson(A, counts, 20.0, 50.0, tol=1e-6),
    }[term]
    g = TV(20.0, gap=1e-6)
    fast = FISTA(max_iter=1500, tol=1e-5).solve(f, g, progress=False).x
    split = ADMM(s=0.05, balanced=True, max_iter=300, tol=1e-5).solve(f, g, progress=False).x
    assert (fast - split).norm() <= 1e-3 * split.norm()
    assert abs(float(f(fast[None]) + g(fast[None]) - f(split[None]) - g(split[None]))) <= 1e-5 * float(g(split[None]))


def test_momentum_and_restart_pay():
    """Beck & Teboulle, thm 4.4: the excess falls like 1/k^2, with momentum well before without."""
    A, f, y = problem(3)
    g = Tikhonov(0.5)
    x = A.tikhonov(y, 0.5 * 0.1**2)
    best = float(f(x[None]) + g(x[None]))

    def excess(solver):
        history = solver.solve(f, g, torch.zeros(1, 4, 5, dtype=f64), progress=False).history
        return history.objective[:, 0] - best

    plain, momentum, restarted = (
        excess(FISTA(max_iter=600, tol=0.0, momentum=m, restart=r))
        for m, r in ((False, False), (True, False), (True, True))
    )
    k = torch.arange(1, len(momentum) + 1)
    bound = 2 * float(f.lipschitz()) * float(x.square().sum()) / (k + 1) ** 2
    assert (momentum <= bound + 1e-9 * best).all()
    assert momentum[99] < 0.1 * plain[99]
    assert restarted[99] < 0.1 * plain[99]
    assert restarted[-1] < 0.1 * momentum[-1] + 1e-9 * best
    assert (plain.diff() <= 1e-9 * best).all()


def test_the_prior_is_asked_at_the_noise_level_of_the_data():
    asked = []

    def denoise(x, sigma):
        asked.append(sigma)
        return x

    y = noise((1, 8, 8))
    FISTA(max_iter=2, tol=0.0).solve(LeastSquares(2.0 * Identity((8, 8)), y, 0.3), Denoiser(denoise), progress=False)
    assert asked
    assert asked == pytest.approx([0.15] * len(asked))


def test_a_batch_is_its_images_one_by_one():
    """Also where every image has its own noise level, and so its own step."""
    A, _, y = problem(1, batch=3)
    sigma = torch.tensor([0.05, 0.1, 0.4], dtype=f64).reshape(3, 1, 1)
    solver = FISTA(max_iter=3000, tol=1e-8)
    together = solver.solve(LeastSquares(A, y, sigma), Tikhonov(5.0), progress=False)
    for i in range(3):
        alone = solver.solve(LeastSquares(A, y[i], float(sigma[i])), Tikhonov(5.0), progress=False)
        assert (together.x[i] - alone.x).abs().max() <= 1e-9
        assert together.statuses[i] is alone.status


def test_plug_and_play():
    """Through the front door, with a denoiser that is no proximal map."""
    truth = picture(64)
    A = Blur.gaussian(1.5, (64, 64), dtype=f64)
    y = A.forward(truth) + 0.02 * noise((1, 64, 64))
    result = reconstruct(y, A, NLM(), sigma=0.02, solver=FISTA(momentum=False, max_iter=60), progress=False)
    assert psnr(result.x, truth) > psnr(y, truth) + 2
    assert result.status is not Status.DIVERGED


def test_resumed_is_uninterrupted(tmp_path):
    _, f, _ = problem(4, batch=2)
    f.sigma = torch.tensor([0.1, 3.0], dtype=f64).reshape(2, 1, 1)  # the second image is done early
    solver, file = FISTA(max_iter=200, tol=1e-4), tmp_path / "run.npz"
    whole = solver.solve(f, Tikhonov(5.0), progress=False)
    solver.solve(f, Tikhonov(5.0), progress=False, checkpoint=file, callback=lambda step: step.iteration == 100)
    resumed = solver.solve(f, Tikhonov(5.0), progress=False, checkpoint=file)
    assert resumed.iterations == whole.iterations
    assert torch.equal(resumed.x, whole.x)


def test_refusals():
    A, _, y = problem(0)
    with pytest.raises(ValueError, match="noise level"):
        FISTA().solve(LeastSquares(A, y), Tikhonov(), progress=False)
    with pytest.raises(ValueError, match="background"):
        FISTA().solve(Poisson(Identity((2, 2)), torch.ones(1, 2, 2)), TV(), progress=False)
    with pytest.raises(NotImplementedError, match="not smooth"):
        FISTA().solve(TV(1.0), Tikhonov(), torch.zeros(1, 4, 4), progress=False)
    with pytest.raises(ValueError, match="max_iter"):
        FISTA(max_iter=0)
    with pytest.raises(ValueError, match="tol"):
        FISTA(tol=math.nan)
