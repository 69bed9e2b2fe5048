"""Every law of pnp.testing, applied to every prior of the market, and the laws only this house's own priors promise."""

import inspect

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import PRIORS, cheap_priors, convex_priors, priors

from pnp.priors import BM3D, NLM, TV, Box, Clipped, Equivariant, Tikhonov, Tiled, Wavelet
from pnp.testing import check_prior

seeds = st.integers(0, 999)
SIZES = [(1, 1), (1, 9), (9, 1), (2, 2), (8, 21)]


def entries(fits):
    """The market's lines for which ``fits(entry)``; network fits are marked slow."""
    return pytest.mark.parametrize(
        "entry",
        [
            pytest.param(e, id=e.name, marks=[pytest.mark.slow] if e.name == "DeepImagePrior" else [])
            for e in PRIORS
            if fits(e)
        ],
    )


def picture(seed, shape, dtype=torch.float64):
    """Steps, a ramp and noise."""
    g = torch.Generator().manual_seed(seed)
    rows, columns = torch.linspace(0, 1, shape[-2]).double()[:, None], torch.linspace(0, 1, shape[-1]).double()
    clean = 0.2 + 0.5 * (rows > 0.4) * (columns > 0.3) + 0.2 * rows * columns
    return (clean + 0.1 * torch.randn(shape, generator=g, dtype=torch.float64)).to(dtype)


@entries(lambda e: True)
@given(data=st.data(), seed=seeds, channels=st.sampled_from([1, 3]))
@settings(max_examples=4)
def test_priors_obey_every_law(entry, data, seed, channels):
    prior = data.draw(priors(entry.name))
    shape = (channels, 4, 9, 11) if entry.ndim == 3 else (channels, 21, 18)
    check_prior(prior, shape=shape, gap=entry.gap, batch_tol=entry.batch_tol, seed=seed)


@entries(lambda e: e.scales)
@given(data=st.data(), seed=seeds, factor=st.sampled_from([1e-3, 0.5, 255.0]))
@settings(max_examples=6)
def test_scaling_image_and_noise_scales_the_result(entry, data, seed, factor):
    """prox(c v, c^2 tau) = c prox(v, tau) for a prior with no strength in image units."""
    prior = data.draw(priors(entry.name))
    v = picture(seed, (1, 4, 9, 8) if entry.ndim == 3 else (3, 19, 17))
    expected = factor * prior.prox(v, 0.01)
    error = (prior.prox(factor * v, factor**2 * 0.01) - expected).norm()
    assert error <= max(entry.batch_tol, 1e-7) * expected.norm()


OTHER = {
    TV: {"weight": 0.5, "coupled": False, "gap": 1e-4, "isotropic": False, "ndim": 3, "bounds": (0, 1)},
    NLM: {"patch": 7, "window": 11, "strength": 0.71, "spread": 0},
    Wavelet: {"wavelet": "db3", "levels": 3, "window": 7, "threshold": "sure"},
    BM3D: {"profile": "fast", "rematch_every": 2, "memory": 1e6},
    Tikhonov: {"weight": 1.0000001, "reference": torch.zeros(1, 2, 2)},
    Box: {"lo": 0.1234567, "hi": 1.0},
}


@pytest.mark.parametrize("kind", OTHER)
def test_a_repr_tells_every_setting(kind):
    """Checkpoints tell priors apart by it."""
    backends = {"backend": "torch"} if "backend" in inspect.signature(kind).parameters else {}
    assert OTHER[kind].keys() | backends.keys() == inspect.signature(kind).parameters.keys()
    texts = [repr(kind())] + [repr(kind(**{name: value})) for name, value in (OTHER[kind] | backends).items()]
    assert len(set(texts)) == len(texts)


def test_the_repr_of_a_wrapper_tells_every_setting():
    first, second = torch.zeros(1, 2, 2), torch.ones(1, 2, 2)
    texts = [repr(Tikhonov(1.0, first)), repr(Tikhonov(1.0, second))]
    texts += [repr(Equivariant(NLM(), *seed, shift=shift)) for seed, shift in (((), 4), ((1,), 4), ((), 3))]
    texts += [repr(Equivariant(NLM(), draws=2))]
    texts += [repr(Clipped(NLM(), *ends)) for ends in ((0, 1), (0, 0.9999999), (-1, 1))]
    texts += [repr(Tiled(NLM(patch), 8, halo)) for patch, halo in ((3, 4), (5, 4), (3, 5))]
    assert len(set(texts)) == len(texts)


@entries(lambda e: e.ndim == 2)
@given(data=st.data(), size=st.sampled_from(SIZES), channels=st.sampled_from([1, 2, 3]))
@settings(max_examples=6)
def test_any_size_is_a_picture(entry, data, size, channels):
    prior = data.draw(priors(entry.name))
    for dtype in (torch.float32, torch.float64):
        v = picture(3, (2, channels, *size), dtype)
        x = prior.prox(v, 0.01)
        assert x.shape == v.shape
        assert x.dtype == v.dtype
        assert x.isfinite().all()
        assert (x - v).abs().max() <= 2


@given(prior=cheap_priors(), seed=seeds)
def test_strides_do_not_matter(prior, seed):
    """Transposed, sliced and expanded inputs give what their contiguous copies give."""
    base = picture(seed, (2, 3, 15, 18))
    for v in (base.mT, base[..., ::2], base[:1, :1].expand(2, 3, -1, -1), base.permute(0, 2, 3, 1).permute(0, 3, 1, 2)):
        x, y = prior.prox(v, 0.01), prior.prox(v.contiguous(), 0.01)
        assert (x - y).norm() <= 1e-5 * y.norm()


@given(prior=cheap_priors())
def test_complex_images_are_refused_with_the_remedy(prior):
    v = torch.zeros(1, 8, 8, dtype=torch.complex128)
    with pytest.raises(TypeError, match="two channels"):
        prior.prox(v, 0.1)


@given(prior=cheap_priors(), tau=st.sampled_from([-1.0, float("nan"), float("inf")]))
def test_bad_variances_are_refused(prior, tau):
    with pytest.raises(ValueError, match="tau"):
        prior.prox(torch.zeros(1, 8, 8), tau)
    with pytest.raises(ValueError, match="tau"):
        prior.prox(torch.zeros(4, 1, 8, 8), torch.ones(3, 1, 1))


@given(prior=cheap_priors(), seed=seeds)
def test_numpy_goes_in_and_comes_out(prior, seed):
    v = picture(seed, (12, 14)).float().numpy()
    x = prior.denoise(v, 0.1)
    assert type(x) is type(v)
    assert (x.shape, x.dtype) == (v.shape, v.dtype)


@given(prior=convex_priors(), seed=seeds)
def test_moreau_ties_prox_to_its_conjugate(prior, seed):
    """prox_g(v) minimises: for any z, g(z) >= g(x) + <(v - x)/tau, z - x>, the subgradient inequality."""
    v, tau = picture(seed, (3, 9, 11)), 0.02
    x = prior.prox(v, tau)
    subgradient = (v - x) / tau
    for z in (v, picture(seed + 1, v.shape), prior.prox(v, 2 * tau), torch.full_like(v, 0.5), x.flip(-1)):
        lower = prior(x) + (subgradient * (z - x)).sum()
        size = prior(x).abs() + (subgradient * (z - x)).abs().sum() + v.square().sum() / tau
        assert prior(z) >= lower - 1e-5 * size  # the dual gap of 1e-10 moves x by 1e-5 of ||v - x||


@given(prior=priors(where=lambda prior: prior.cost == "cheap" and prior.deterministic), seed=seeds)
def test_a_solver_copy_agrees_with_the_prior_after_any_history(prior, seed):
    """Warm starts change the time, not the answer (to the accuracy promised)."""
    private = prior.fresh()
    for k in range(3):
        v = picture(seed + k, (2, 1, 14, 13))
        x, y = private.prox(v, 0.01 / (k + 1)), prior.prox(v, 0.01 / (k + 1))
        assert (x - y).norm() <= 2e-5 * y.norm()
