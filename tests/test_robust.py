"""Data with outliers: the prox against brute force and the laws of separable data terms."""

import math

import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pnp import ADMM, FISTA, L1, Huber, LeastSquares, psnr, reconstruct
from pnp.checkpoint import fingerprint
from pnp.operators import Blur, Identity, Mask
from pnp.priors import BM3D, NLM, TV
from tests import separable_laws as laws
from tests.pictures import noise, picture

f64 = torch.float64
OPERATORS = laws.operators()
DRAWN = {"tau": st.sampled_from([0.01, 0.3]), "strength": st.sampled_from([2.0, 30.0]), "seed": st.integers(0, 99)}
KINDS = {"l1": lambda A, y, k, tol: L1(A, y, k, tol=tol), "huber": lambda A, y, k, tol: Huber(A, y, 1.345 / k, tol=tol)}


def spoiled(A, seed, batch=2, share=0.25):
    """Data of random images, a share of them replaced, and a point to take the prox of."""
    g = torch.Generator().manual_seed(seed)
    x = torch.rand(batch, 1, *laws.SHAPE, generator=g, dtype=f64)
    y = A.forward(x)
    bad = torch.rand(y.shape, generator=g) < share
    return torch.where(bad, torch.rand(y.shape, generator=g, dtype=f64), y), x + 0.3 * noise(tuple(x.shape), seed)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", OPERATORS)
@settings(max_examples=3)
@given(**DRAWN)
def test_laws_of_the_prox(name, kind, tau, strength, seed):
    y, v = spoiled(OPERATORS[name], seed)
    f = KINDS[kind](OPERATORS[name], y, strength, 1e-9)
    laws.assert_optimal(f, v, tau)
    laws.assert_firmly_nonexpansive(f, v, v + noise(tuple(v.shape), seed + 1), tau)
    for tol in (1e-9, 1e-2):  # a loose one ends at another iteration for every image
        laws.assert_batch_is_singles(KINDS[kind](OPERATORS[name], y, strength, tol), v, tau)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["mask", "tall", "wide"])
@settings(max_examples=5)
@given(**DRAWN)
def test_the_prox_is_the_brute_force_minimiser(name, kind, tau, strength, seed):
    """By the dual problem, a bounded quadratic: max over |p| <= w of <A v - y, p> - |p|^2/(2c) - tau/2 |A^T p|^2."""
    A = OPERATORS[name]
    y, v = spoiled(A, seed, batch=1)
    f = KINDS[kind](A, y, strength, 1e-9)
    dense, target = A.to_dense().numpy(), v.numpy().ravel()
    gap = dense @ target - f.data.numpy().ravel()
    seen = np.ones(gap.size, bool) if A.observed() is None else A.observed().flatten().numpy()
    bound, soft = (strength, 0.0) if kind == "l1" else (1.345 * strength, 1 / strength**2)

    def objective(p):
        back = dense.T @ p
        value = -gap @ p + soft / 2 * p @ p + tau / 2 * back @ back
        return value, -gap + soft * p + tau * dense @ back

    box = [(-bound, bound) if s else (0, 0) for s in seen]
    found = scipy.optimize.minimize(
        objective, 0 * gap, jac=True, method="L-BFGS-B", bounds=box, options={"ftol": 0, "gtol": 1e-12, "maxiter": 5000}
    )
    x = target - tau * dense.T @ found.x
    assert np.abs(f.prox(v, tau).numpy().ravel() - x).max() <= 1e-5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["identity", "multiple", "mask"])
@settings(max_examples=3)
@given(**DRAWN)
def test_entry_by_entry_and_inner_splitting_agree(name, kind, tau, strength, seed):
    y, v = spoiled(OPERATORS[name], seed)
    f = KINDS[kind](OPERATORS[name], y, strength, 1e-10)
    exact = f.prox(v, tau)
    f._diagonal = None
    assert (f.prox(v, tau) - exact).abs().max() <= 1e-7
    laws.assert_memory(f, v, tau)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=5)
@given(**DRAWN)
def test_the_stated_accuracy_is_kept(kind, tau, strength, seed):
    A = Blur.gaussian(1.0, laws.SHAPE, dtype=f64)
    y, v = spoiled(A, seed)
    laws.assert_accuracy(lambda tol: KINDS[kind](A, y, strength, tol), v, tau)


@pytest.mark.parametrize("tau", [1e-4, 6e-2])
@pytest.mark.parametrize("kind", KINDS)
def test_accuracy_on_a_picture(kind, tau):
    A = Blur.gaussian(1.5, (64, 64), dtype=f64)
    v = picture(64)[None] + 0.05 * noise((1, 1, 64, 64))
    bad = torch.rand(v.shape, generator=torch.Generator().manual_seed(0)) < 0.2
    y = torch.where(bad, 1.0, A.forward(picture(64)[None]) + 0.01 * noise(tuple(v.shape), 1))
    exact = KINDS[kind](A, y, 50.0, 1e-7).prox(v, tau)
    error = (KINDS[kind](A, y, 50.0, 1e-3).prox(v, tau) - exact).square().mean().sqrt()
    assert error <= 1e-3 * math.sqrt(tau)
    single = KINDS[kind](Blur.gaussian(1.5, (64, 64)), y.float(), 50.0, 1e-3).prox(v.float(), tau)
    assert single.dtype == torch.float32
    assert (single - exact).square().mean().sqrt() <= 1.5e-3 * math.sqrt(tau)


@pytest.mark.parametrize("name", OPERATORS)
def test_values_and_slopes(name):
    A = OPERATORS[name]
    y, v = spoiled(A, 3)
    seen = torch.ones_like(y) if A.observed() is None else A.observed().expand_as(y).to(f64)
    r = (A.forward(v) - y).abs() * seen
    assert torch.allclose(L1(A, y, 3.0)(v), 3 * r.flatten(1).sum(dim=1))
    expected = torch.where(r <= 0.2, r**2 / 2, 0.2 * r - 0.02).flatten(1).sum(dim=1) / 0.1**2
    f = Huber(A, y, 0.2, 0.1)
    assert torch.allclose(f(v), expected)
    laws.assert_gradient(f, v)
    with pytest.raises(NotImplementedError, match="not smooth"):
        L1(A, y).gradient(v)


def test_huber_with_a_wide_threshold_is_least_squares():
    A = OPERATORS["tall"]
    y, v = spoiled(A, 0)
    f, g = Huber(A, y, 100.0, 0.1, tol=1e-10), LeastSquares(A, y, 0.1, tol=1e-12)
    assert torch.allclose(f(v), g(v))
    assert (f.prox(v, 0.3) - g.prox(v, 0.3)).abs().max() <= 1e-8


def test_complex_images():
    """The residual's modulus counts; its phase is kept."""
    y = torch.complex(noise((1, 4, 4)), noise((1, 4, 4), 1))
    v = torch.zeros_like(y)[None]
    x = L1(Identity((4, 4)), y, 1.0).prox(v, 0.3)
    left = (x[0] - y).abs()
    assert torch.allclose(left, (y.abs() - 0.3).clamp_min(0))


def test_a_weight_per_measurement():
    A, y = Identity((2, 2)), torch.ones(1, 2, 2, dtype=f64)
    weight = torch.tensor([[1e-9, 1.0], [2.0, 100.0]], dtype=f64)
    x = L1(A, y, weight).prox(torch.zeros(1, 1, 2, 2, dtype=f64), 0.3)
    assert torch.allclose(x[0, 0], torch.tensor([[0, 0.3], [0.6, 1.0]], dtype=f64), atol=1e-8)


@pytest.mark.parametrize("kind", ["l1", "huber"])
def test_outliers_do_not_matter(kind):
    """Making the outliers ten times larger leaves the answer where it is; least squares follows them."""
    A, truth = Blur.gaussian(0.8, (24, 24), dtype=f64), picture(24)
    bad = torch.rand(truth.shape, generator=torch.Generator().manual_seed(0)) < 0.05
    clean = A.forward(truth) + 0.01 * noise(tuple(truth.shape))

    def answer(make, height):
        return FISTA(max_iter=300).solve(make(torch.where(bad, height, clean)), TV(20.0), progress=False).x

    def splitting(make, height):
        solver = ADMM(s=0.05, balanced=True, max_iter=100)
        return solver.solve(make(torch.where(bad, height, clean)), TV(20.0), progress=False).x

    def robust(y):
        return L1(A, y, 40.0) if kind == "l1" else Huber(A, y, 0.03)

    solve = splitting if kind == "l1" else answer
    moved = (solve(robust, 20.0) - solve(robust, 2.0)).abs().max()
    followed = (
        (answer(lambda y: LeastSquares(A, y, 0.02), 20.0) - answer(lambda y: LeastSquares(A, y, 0.02), 2.0)).abs().max()
    )
    assert moved < 0.1
    assert followed > 1


def test_fingerprint_and_refusals():
    A, y = Identity((4, 4)), torch.ones(1, 4, 4)
    terms = [L1(A, y), L1(A, y, 2.0), L1(A, 2 * y), Huber(A, y, 1.0), Huber(A, y, 1.0, 1.0), Huber(A, y, 2.0)]
    assert len({fingerprint(f.identity()) for f in terms}) == len(terms)
    for wrong in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="L1"):
            L1(A, y, wrong)
        with pytest.raises(ValueError, match="Huber"):
            Huber(A, y, wrong)
        with pytest.raises(ValueError, match="sigma"):
            Huber(A, y, 1.0, wrong)
    with pytest.raises(ValueError, match="broadcast"):
        L1(A, y, torch.ones(3))
    with pytest.raises(ValueError, match="one delta"):
        Huber(A, y, torch.ones(4, 4))


@pytest.mark.parametrize("prior", [TV(), NLM(), pytest.param(BM3D(), marks=pytest.mark.slow)], ids=repr)
@pytest.mark.parametrize("blurred", [False, True], ids=["identity", "blur"])
def test_reconstruct_removes_impulses(prior, blurred):
    """At the weight of the noise, one over its mean size, the start gains two decibels and more."""
    A = Blur.gaussian(1.0, (96, 96)) if blurred else Identity((96, 96))
    truth = picture(96).float()
    clean = A.forward(truth) + 0.01 * noise((1, 96, 96)).float()
    g = torch.Generator().manual_seed(0)
    bad = torch.rand(clean.shape, generator=g) < 0.1
    y = torch.where(bad, (torch.rand(clean.shape, generator=g) < 0.5).float(), clean)
    f = L1(A, y, 1 / float((y - clean).abs().mean()))
    result = reconstruct(y, A, prior, data_term=f, progress=False)
    assert psnr(result.x, truth) > psnr(f.start(), truth) + 2


def test_scale_and_batch_independence_of_reconstruct():
    truth = torch.stack([picture(48), picture(48).flip(-1) * 0.5])
    A = Mask.random((48, 48), 0.7, dtype=f64)
    y = A.forward(truth) + 0.05 * noise((2, 1, 48, 48))

    def run(y, scale=1.0):
        return reconstruct(y, A, TV(), data_term=Huber(A, y, 0.1 * scale), progress=False).x

    together = run(y)
    assert (run(7 * y, 7.0) / 7 - together).abs().max() <= 1e-4
    for i in range(2):
        assert (run(y[i]) - together[i]).abs().max() <= 1e-6
