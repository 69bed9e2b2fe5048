"""Photon counts: the prox against brute force and the laws of separable data terms."""

import math

import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pnp import ADMM, LinearOperator, Poisson, psnr, reconstruct
from pnp.checkpoint import fingerprint
from pnp.operators import Blur, Identity, Mask
from pnp.priors import BM3D, NLM, TV, Box
from tests import separable_laws as laws
from tests.pictures import noise, picture

f64 = torch.float64
OPERATORS = laws.operators()
DRAWN = {"tau": st.sampled_from([0.02, 0.5]), "gain": st.sampled_from([3.0, 40.0]), "seed": st.integers(0, 99)}


class Spectrum(LinearOperator):
    def _forward(self, x):
        return torch.fft.fft2(x, norm="ortho")

    def _adjoint(self, y):
        return torch.fft.ifft2(y, norm="ortho").real

    @property
    def row_gram(self):
        return 1.0


def counts(A, gain, seed, batch=2, background=0.0):
    g = torch.Generator().manual_seed(seed)
    x = torch.rand(batch, 1, *laws.SHAPE, generator=g, dtype=f64)
    return torch.poisson(gain * A.forward(x) + background, generator=g), x + 0.3 * noise(tuple(x.shape), seed)


@pytest.mark.parametrize("name", OPERATORS)
@settings(max_examples=5)
@given(background=st.sampled_from([0.0, 2.0]), **DRAWN)
def test_no_step_improves_the_prox(name, tau, gain, seed, background):
    y, v = counts(OPERATORS[name], gain, seed, background=background)
    laws.assert_optimal(Poisson(OPERATORS[name], y, background, gain, tol=1e-9), v, tau)


@pytest.mark.parametrize("name", ["mask", "tall", "wide"])
@settings(max_examples=5)
@given(**DRAWN)
def test_the_prox_is_the_brute_force_minimiser(name, tau, gain, seed):
    """A bounded minimiser on the expected counts themselves: min over x of sum n - y log n, n = gain A x + b > 0."""
    A, background = OPERATORS[name], 2.0
    y, v = counts(A, gain, seed, batch=1, background=background)
    f = Poisson(A, y, background, gain, tol=1e-9)
    dense, seen = A.to_dense().numpy(), np.ones(y.numel(), bool)
    if A.observed() is not None:
        seen = A.observed().flatten().numpy()
    start, target, n_seen = f.prox(v, tau).numpy().ravel(), v.numpy().ravel(), y.numpy().ravel()

    def objective(x):
        n = np.maximum(gain * dense @ x + background, 1e-9)
        value = (n - n_seen * np.log(n))[seen].sum() + ((x - target) ** 2).sum() / (2 * tau)
        slope = gain * dense.T @ np.where(seen, 1 - n_seen / n, 0) + (x - target) / tau
        return value, slope

    found = scipy.optimize.minimize(objective, target * 0 + 0.5, jac=True, method="BFGS", options={"gtol": 1e-9})
    inside = gain * dense @ found.x + background > 1e-6  # elsewhere the floor above is met, and proves nothing
    if inside[seen].all():
        assert np.abs(found.x - start).max() <= 1e-5
    assert objective(start)[0] <= found.fun + 1e-8 * abs(found.fun)


@pytest.mark.parametrize("name", ["identity", "multiple", "mask"])
@settings(max_examples=5)
@given(**DRAWN)
def test_entry_by_entry_and_inner_splitting_agree(name, tau, gain, seed):
    y, v = counts(OPERATORS[name], gain, seed)
    f = Poisson(OPERATORS[name], y, 1.0, gain, tol=1e-10)
    exact = f.prox(v, tau)
    f._diagonal = None
    assert (f.prox(v, tau) - exact).abs().max() <= 1e-7


@pytest.mark.parametrize("name", OPERATORS)
@settings(max_examples=5)
@given(**DRAWN)
def test_the_prox_is_firmly_nonexpansive_and_batches_are_singles(name, tau, gain, seed):
    y, v = counts(OPERATORS[name], gain, seed)
    f = Poisson(OPERATORS[name], y, 0.5, gain, tol=1e-9)
    laws.assert_firmly_nonexpansive(f, v, v + noise(tuple(v.shape), seed + 1), tau)
    laws.assert_batch_is_singles(f, v, tau)
    laws.assert_memory(f, v, tau)


@settings(max_examples=5)
@given(**DRAWN)
def test_the_stated_accuracy_is_kept(tau, gain, seed):
    A = Blur.gaussian(1.0, laws.SHAPE, dtype=f64)
    y, v = counts(A, gain, seed)
    laws.assert_accuracy(lambda tol: Poisson(A, y, 0.0, gain, tol=tol), v, tau)


@pytest.mark.parametrize("name", OPERATORS)
def test_value_and_gradient(name):
    """The value is the negative log likelihood up to a constant of the data."""
    A, gain, background = OPERATORS[name], 20.0, 3.0
    y, v = counts(A, gain, 0, background=background)
    f, x, z = Poisson(A, y, background, gain), v.abs() + 0.1, v.abs() + 0.3
    laws.assert_gradient(f, x)
    seen = torch.ones_like(y) if A.observed() is None else A.observed().expand_as(y)
    expected = [-(torch.distributions.Poisson(gain * A.forward(u) + background).log_prob(y) * seen) for u in (x, z)]
    difference = (expected[0] - expected[1]).flatten(1).sum(dim=1)
    assert torch.allclose(f(x) - f(z), difference, rtol=1e-9, atol=1e-9)
    assert (f(x - 100) == math.inf).all()


def test_no_counts_at_all_and_missing_entries():
    mask = torch.ones(3, 4, dtype=f64)
    mask[0, 0] = 0
    y = torch.zeros(1, 3, 4, dtype=f64)
    v = torch.full((1, 1, 3, 4), 0.3, dtype=f64)
    spoiled = y.clone()
    spoiled[0, 0, 0] = math.nan
    x = Poisson(Mask(mask), spoiled, 0.0, 2.0).prox(v, 0.1)
    assert x[0, 0, 0, 0] == v[0, 0, 0, 0]
    assert torch.allclose(x[0, 0, 1:], torch.full((2, 4), 0.3 - 0.1 * 2.0, dtype=f64))
    assert (Poisson(Mask(mask), spoiled, 0.0, 20.0).prox(v, 0.1)[0, 0, 1:] == 0).all()


@pytest.mark.parametrize("tau", [1e-4, 1e-1])
def test_float32_is_float64_rounded(tau):
    clean = Blur.gaussian(1.5, (64, 64), dtype=f64).forward(picture(64)[None])
    y = torch.poisson(1000 * clean, generator=torch.Generator().manual_seed(0))
    v = picture(64)[None] + 0.05 * noise((1, 1, 64, 64))
    exact = Poisson(Blur.gaussian(1.5, (64, 64), dtype=f64), y, 5.0, 1000.0).prox(v, tau)
    single = Poisson(Blur.gaussian(1.5, (64, 64)), y.float(), 5.0, 1000.0).prox(v.float(), tau)
    assert single.dtype == torch.float32
    assert (single - exact).abs().max() <= 2e-3 * math.sqrt(tau)


def test_misfit_is_one_at_the_truth():
    truth = picture(64)[None]
    y = torch.poisson(30 * truth + 4, generator=torch.Generator().manual_seed(0))
    assert abs(float(Poisson(Identity((64, 64)), y, 4.0, 30.0).misfit(truth)) - 1) < 0.03


def test_fingerprint_knows_counts_background_and_gain():
    A, y = Identity((4, 4)), torch.ones(1, 4, 4)
    terms = [Poisson(A, y), Poisson(A, y, 1.0), Poisson(A, y, 0.0, 2.0), Poisson(A, 2 * y), Poisson(A, y, tol=1e-4)]
    assert len({fingerprint(f.identity()) for f in terms}) == len(terms)
    assert fingerprint(Poisson(A, y).identity()) == fingerprint(Poisson(A, y.clone()).identity())


def test_refusals():
    A, y = Identity((4, 4)), torch.ones(1, 4, 4)
    with pytest.raises(ValueError, match="3 negative"):
        Poisson(A, torch.where(torch.arange(16).reshape(1, 4, 4) < 3, -y, y))
    for wrong in ({"background": -1.0}, {"gain": 0.0}, {"gain": math.nan}, {"tol": 0.0}, {"background": torch.ones(3)}):
        with pytest.raises(ValueError, match="Poisson"):
            Poisson(A, y, **wrong)
    with pytest.raises(ValueError, match="NaN"):
        Poisson(A, y * math.nan)
    with pytest.raises(TypeError, match="floating-point"):
        Poisson(A, y.int())
    with pytest.raises(TypeError, match="complex"):
        Poisson(Spectrum((4, 4), (4, 4), complex_out=True), torch.ones(1, 4, 4, dtype=torch.complex64))


@pytest.mark.parametrize("prior", [TV(), NLM(), pytest.param(BM3D(), marks=pytest.mark.slow)], ids=repr)
def test_reconstruct_gains_two_decibels(prior):
    truth = picture(96).float()
    for A, gain in ((Identity((96, 96)), 20.0), (Blur.gaussian(1.0, (96, 96)), 20.0)):
        y = torch.poisson(gain * A.forward(truth), generator=torch.Generator().manual_seed(0))
        f = Poisson(A, y, 0.0, gain)
        wiener = A.tikhonov(y / gain, 1e-3)
        result = reconstruct(y, A, prior, data_term=f, progress=False)
        assert psnr(result.x, truth) > psnr(wiener, truth) + 2
        assert psnr(result.x, truth) > psnr(f.start(), truth)


def test_scale_and_batch_independence_of_reconstruct():
    """Twice the gain is half the image; an image does not see its mates."""
    truth = torch.stack([picture(48), picture(48).flip(-1) * 0.5])
    A = Blur.gaussian(1.0, (48, 48), dtype=f64)
    y = torch.poisson(100 * A.forward(truth), generator=torch.Generator().manual_seed(0))

    def run(y, gain):
        return reconstruct(y, A, TV(), data_term=Poisson(A, y, 0.0, gain, tol=1e-6), progress=False).x

    together = run(y, 100.0)
    assert (run(y, 200.0) * 2 - together).abs().max() <= 1e-4
    for i in range(2):
        assert (run(y[i], 100.0) - together[i]).abs().max() <= 1e-6


def test_nonnegative_counts_need_no_positive_image():
    """A background carries negative pixels; a box keeps them out."""
    y = torch.poisson(torch.full((1, 8, 8), 5.0, dtype=f64), generator=torch.Generator().manual_seed(0))
    f = Poisson(Identity((8, 8)), y, 5.0, 10.0)
    free, boxed = f.prox(torch.zeros(1, 1, 8, 8, dtype=f64), 1.0), ADMM(s=0.3).solve(f, Box(0), progress=False).x
    assert float(free.min()) < 0 <= float(boxed.min())
