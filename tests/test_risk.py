"""Predicted risk: what it says of single reconstructions, of their mixtures, and place by place."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from pictures import noise, picture

from pnp import LeastSquares, psnr, reconstruct
from pnp.operators import Blur, Identity, Mask
from pnp.priors import NLM, Wavelet
from pnp.risk import Moments, Probe

f64 = torch.float64
seeds = st.integers(0, 10_000)


def moments(seed, batch=2, parts=3):
    generator = torch.Generator().manual_seed(seed)
    residuals = torch.randn(batch, parts, 50, generator=generator, dtype=f64)
    penalty = torch.rand(batch, parts, generator=generator, dtype=f64)
    return Moments(residuals @ residuals.transpose(1, 2) / 50, penalty, torch.ones(batch, dtype=f64))


def risk(m, weights):
    return (weights[:, None] @ m.products @ weights[:, :, None])[:, 0, 0] + 2 * (weights * m.penalty).sum(dim=1)


@given(seed=seeds)
def test_a_mixture_has_no_more_risk_than_its_best_part(seed):
    m = moments(seed)
    weights = m.mixture(0.01)
    assert torch.allclose(weights.sum(dim=1), torch.ones(2, dtype=f64), atol=1e-9)
    assert (risk(m, weights) <= m.risks.amin(dim=1) + 1e-12).all()


@given(seed=seeds)
def test_a_convex_mixture_is_the_least_risk_without_negative_weights(seed):
    """Against all weights of a fine grid on the simplex."""
    m = moments(seed, batch=1)
    weights = m.mixture(0.0, convex=True)
    assert weights.min() >= 0
    assert abs(float(weights.sum()) - 1) <= 1e-9
    steps = torch.arange(51, dtype=f64) / 50
    grid = torch.cartesian_prod(steps, steps)
    grid = grid[grid.sum(dim=1) <= 1]
    grid = torch.cat([grid, 1 - grid.sum(dim=1, keepdim=True)], dim=1)
    risks = ((grid @ m.products[0]) * grid).sum(dim=1) + 2 * grid @ m.penalty[0]
    assert float(risk(m, weights)) <= float(risks.min()) + 1e-9


@given(seed=seeds)
def test_without_a_ridge_no_other_mixture_has_less_risk(seed):
    m = moments(seed)
    weights = m.mixture(0.0)
    step = 1e-3 * torch.randn(2, 3, generator=torch.Generator().manual_seed(seed + 1), dtype=f64)
    other = weights + step - step.mean(dim=1, keepdim=True)
    assert (risk(m, other) >= risk(m, weights) - 1e-12).all()


@given(seed=seeds)
def test_a_strong_ridge_leaves_the_best_alone_and_images_do_not_mix(seed):
    m = moments(seed)
    best = torch.eye(3, dtype=f64)[m.risks.argmin(dim=1)]
    assert torch.allclose(m.mixture(1e9), best, atol=1e-6)
    single = Moments(m.products[1:], m.penalty[1:], m.unit[1:])
    assert torch.allclose(single.mixture(0.01)[0], m.mixture(0.01)[1], atol=1e-9)


def test_equal_parts_share_the_weight_without_harm():
    m = moments(3, parts=1)
    twice = Moments(m.products.expand(2, 2, 2), m.penalty.expand(2, 2), m.unit)
    assert torch.allclose(risk(twice, twice.mixture(0.01)), m.risks[:, 0])


def denoised(strength, level=0.1, side=96, seed=0):
    x = picture(side)[None]
    y = x + level * noise(x.shape, seed)
    f = LeastSquares(Identity((side, side)), y, level)
    sigma = torch.full((1, 1, 1, 1), level, dtype=f64)
    probe = Probe(f, sigma, torch.ones_like(sigma), 0.1, seed)
    prior = Wavelet()
    return x, probe, *(prior.denoise(v, strength * level) for v in (f.data, probe.shifted().data))


def test_the_risk_of_denoising_is_its_error():
    for strength in (0.5, 1.0, 2.0):
        ratios = []
        for seed in range(6):
            x, probe, image, shifted = denoised(strength, seed=seed)
            ratios.append(float(probe.sure(image, shifted) / (image - x).square().mean()))
        assert abs(sum(ratios) / len(ratios) - 1) <= 0.08  # two standard errors


def test_the_error_map_averages_to_the_risk_and_knows_where_the_error_is():
    x, probe, image, shifted = denoised(1.0)
    found = probe.error_map(image, shifted)
    assert found.shape == x.shape
    assert torch.allclose(found.square().mean(), probe.sure(image, shifted).mean(), rtol=0.1)
    truth = torch.nn.functional.avg_pool2d((image - x).square(), 15, 1, 7, count_include_pad=False).sqrt()
    assert torch.corrcoef(torch.stack([found.flatten(), truth.flatten()]))[0, 1] >= 0.5


def test_a_mixture_beats_the_run_that_is_safest_alone():
    """Wavelets under a motion blur: the safe run smooths too much."""
    A = Blur.motion(9, 30.0, (96, 96), dtype=f64)
    gains = []
    for name in ("camera", "coins"):
        x = picture(96, name=name)
        y = A(x) + 0.01 * noise(x.shape, 0)
        result, alone = (
            reconstruct(y, A, Wavelet(), sigma=0.01, effort=effort, progress=False) for effort in ("auto", "fast")
        )
        weights = result.parameters["weights"].value
        assert weights.shape == (1, 3)
        assert abs(float(weights.sum()) - 1) <= 1e-6
        gains.append(float(psnr(result.x, x) - psnr(alone.x, x)))
    assert sum(gains) / 2 >= 0.3


def test_extras_hold_the_residual_of_pictures_and_the_error_map_of_an_identity():
    x = picture(48)
    A = Identity((48, 48))
    y = x + 0.05 * noise(x.shape, 0)
    result = reconstruct(y.numpy(), A, NLM(), sigma=0.05, progress=False)
    assert abs(result.extras["residual"] - (result.x - y.numpy())).max() <= 1e-12
    assert result.extras["error_map"].shape == result.x.shape
    assert result.extras["error_map"].min() >= 0
    mask = Mask.random((48, 48), 0.5, seed=0, dtype=f64)
    masked = reconstruct(mask(x), mask, NLM(), sigma=0.05, effort="fast", progress=False)
    assert set(masked.extras) == {"residual"}
    assert (masked.extras["residual"][mask(torch.ones_like(x)) == 0] == 0).all()
