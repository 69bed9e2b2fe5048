"""Clipped noise: its moments, the inverse of its mean, and what the correction is worth."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pnp.functional import Functional
from pnp.priors import NLM, TV, Clipped

ENDS = [(0.0, 1.0), (-math.inf, 1.0), (0.2, math.inf), (-3.0, 5.0)]
levels = st.floats(1e-6, 10)


class Given(Functional):
    """Returns what it is told, and remembers the variance it was asked with."""

    def __init__(self, answer=None):
        self.answer, self.variance = answer, None

    def prox(self, v, tau):
        self.variance = tau
        return v if self.answer is None else self.answer


@pytest.mark.parametrize("ends", ENDS)
@given(x=st.floats(0.2, 1.0), sigma=levels)
def test_moments_are_those_of_the_clipped_distribution(ends, x, sigma):
    """By the trapezoidal rule on 20001 nodes."""
    n = torch.linspace(-12, 12, 20001, dtype=torch.float64)
    weight = torch.exp(-n.square() / 2)
    weight = weight / weight.sum()
    excess = (x + sigma * n).clamp(*ends) - x
    mean = (weight * excess).sum()
    spread = (weight * (excess - mean).square()).sum().sqrt()
    slope = (weight * ((x + sigma * n > ends[0]) & (x + sigma * n < ends[1]))).sum()
    arguments = (torch.tensor([[[[value]]]], dtype=torch.float64) for value in (x, sigma))
    found = Clipped(NLM(), *ends)._moments(*arguments)
    assert abs(found[0].item() - x - mean) <= 1e-5 * sigma
    assert abs(found[1].item() - slope) <= 1e-3
    assert abs(found[2].item() - spread) <= 1e-5 * sigma


@pytest.mark.parametrize("ends", ENDS)
@given(sigma=levels)
def test_the_inverse_undoes_the_mean(ends, sigma):
    prior = Clipped(NLM(), *ends)
    x = torch.linspace(max(ends[0], -10), min(ends[1], 10), 101, dtype=torch.float64).reshape(1, 1, 1, -1)
    level = torch.full((1, 1, 1, 1), sigma, dtype=torch.float64)
    mean, slope, _ = prior._moments(x, level)
    assert ((prior._unclipped(mean, level) - x).abs() * slope).max() <= 1e-9 * (1 + sigma)
    beyond = torch.tensor([-1e3, 1e3], dtype=torch.float64).reshape(1, 1, 1, 2)
    nearest = prior._unclipped(beyond, level).flatten().tolist()
    assert nearest == pytest.approx([max(ends[0], -1e3), min(ends[1], 1e3)], abs=1e-6)


def test_without_ends_it_is_the_prior_itself():
    v = torch.rand(2, 1, 12, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    inner = NLM()
    assert (Clipped(inner, -math.inf, math.inf).prox(v, 0.01) - inner.prox(v, 0.01)).abs().max() <= 1e-14


@given(value=st.floats(0, 1), sigma=st.floats(0.01, 2))
def test_a_picture_of_one_value_comes_back_from_its_mean(value, sigma):
    """The prior sees the noise that clipping left, and its (here exact) estimate of the mean is undone."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, 1, 64, 64, generator=generator, dtype=torch.float64)
    v = (value + sigma * noise).clamp(0, 1)
    inner = Given(v.mean().expand(v.shape))
    x = Clipped(inner).prox(v, sigma**2)
    assert x.min() >= 0 and x.max() <= 1
    left = v.std().item()
    assert inner.variance.item() ** 0.5 == pytest.approx(left, rel=0.15, abs=0.01)
    slope = Clipped(inner)._moments(x, torch.full((1, 1, 1, 1), sigma, dtype=x.dtype))[1].min().item()
    assert (x - value).abs().max() * slope <= 5 * left / 64


@pytest.mark.parametrize("sigma", [1e-30, 1e30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_noise_levels_stay_within_the_range(sigma, dtype):
    v = torch.rand(1, 9, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
    level = torch.full((1, 1, 1, 1), sigma, dtype=dtype)
    x = Clipped(NLM())._unclipped(v[None], level)
    assert torch.isfinite(x).all() and x.min() >= 0 and x.max() <= 1


def test_it_gains_on_a_clipped_picture():
    clean = torch.zeros(1, 48, 48, dtype=torch.float64)
    clean[:, 12:36, 12:36] = 1
    v = (clean + 0.5 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)).clamp(
        0, 1
    )
    plain, corrected = TV().denoise(v, 0.5), Clipped(TV()).denoise(v, 0.5)
    assert (corrected - clean).square().mean() < 0.5 * (plain - clean).square().mean()


def test_its_copy_is_private_and_remembers():
    v = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    prior = Clipped(TV())
    private = prior.fresh()
    private.prox(v, 0.01)
    assert prior.state_dict() == {} and private.state_dict()
    twin = prior.fresh()
    twin.load_state_dict(private.state_dict())
    w = v + 0.01
    expected = private.prox(w, 0.01)
    assert torch.equal(twin.prox(w, 0.01), expected)
    assert private.take(torch.tensor([1])).prior.state_dict()["dual"].shape[0] == 1


def test_bad_settings_are_refused():
    with pytest.raises(TypeError, match="Denoiser"):
        Clipped(lambda v, sigma: v)
    for ends in ((1, 0), (0, 0), (math.nan, 1)):
        with pytest.raises(ValueError, match="low < high"):
            Clipped(NLM(), *ends)
