"""The direct fit: quality, stopping, likelihoods, reproducibility, checkpoints, errors."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pnp.linear_operator import LinearOperator
from pnp.operators.identity import Identity
from pnp.operators.mask import Mask
from pnp.priors.dip import (
    DeepImagePrior,
    Discrepancy,
    HoldOut,
    MovingVariance,
    Oracle,
    Plateau,
    Rule,
    Search,
    Trajectory,
    View,
    WindowedVariance,
    band_correspondence,
    band_error,
    fitting_rates,
)
from pnp.priors.dip import graph as graphs
from pnp.priors.dip.choices import HELD_OUT
from pnp.priors.dip.objective import Objective, hold_out, whitening
from pnp.priors.dip.prior import _kernels
from pnp.priors.dip.residual import cosine_wiener, give_back, local_gain
from pnp.result import Status

SIDE = 32


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def picture(side=SIDE, channels=1):
    """Smooth waves, a disc and a bar, in [0, 1]."""
    rows, columns = torch.meshgrid(torch.linspace(0, 1, side), torch.linspace(0, 1, side), indexing="ij")
    disc = ((rows - 0.35) ** 2 + (columns - 0.6) ** 2 < 0.06).float()
    bar = ((rows - columns).abs() < 0.08).float()
    x = 0.35 + 0.15 * torch.sin(5 * rows) * torch.cos(4 * columns) + 0.3 * disc + 0.15 * bar
    return torch.stack([x * (1 - 0.2 * c) for c in range(channels)])


def noisy(x, sigma, seed=0):
    return x + sigma * torch.randn(x.shape, generator=generator(seed))


def psnr(x, truth):
    return -10 * math.log10((x - truth).square().mean().item())


class Smooth(LinearOperator):
    """A circular Gaussian blur, to be independent of the catalogue."""

    def __init__(self, side=SIDE, width=1.2):
        super().__init__((side, side), (side, side))
        n = torch.fft.fftfreq(side), torch.fft.rfftfreq(side)
        gain = torch.exp(-2 * (math.pi * width) ** 2 * (n[0][:, None] ** 2 + n[1] ** 2))
        self.register_buffer("gain", gain)

    def _forward(self, x):
        return torch.fft.irfft2(self.gain * torch.fft.rfft2(x), s=self.in_shape)

    _adjoint = _forward

    def spectrum(self):
        return self.gain


IDENTITY = Identity((SIDE, SIDE))
QUICK = {"network": "tapered", "iterations": 60}


@pytest.mark.parametrize("network", ["tapered", "light", pytest.param("encoder-decoder", marks=pytest.mark.slow)])
def test_denoising_gains(network):
    """The fit removes most of the noise and stops within 1 dB of its best average, without the noise level."""
    x = picture()
    y = noisy(x, 0.15)
    result = DeepImagePrior(network, iterations=200).fit(IDENTITY, y, truth=x)
    assert psnr(result.x, x) > psnr(y, x) + 6
    assert psnr(result.x, x) > result.history.psnr.max().item() - 1
    assert result.parameters["stop"].value == "HoldOut"


def test_two_networks_beat_one():
    """Averaging an ensemble raises PSNR, and its deviation is larger where the error is."""
    x = picture()
    y = noisy(x, 0.15)
    one, two = (DeepImagePrior("tapered", iterations=100).fit(IDENTITY, y, n_nets=n) for n in (1, 2))
    other = 2 * two.x - one.x  # the second network's image
    errors = [(image - x).square().mean().item() for image in (one.x, other, two.x)]
    assert errors[2] < 0.95 * (errors[0] + errors[1]) / 2
    folds = [hold_out(IDENTITY, y, HELD_OUT / SIDE**2, 0, member)[None].bool() for member in (0, 1)]
    for fold, blind, seeing in zip(folds, (one.x, other), (other, one.x), strict=True):  # data that only one was shown
        assert (blind - y)[fold].square().mean() > (seeing - y)[fold].square().mean()
    deviation = two.extras["deviation"]
    assert deviation.shape == x.shape
    error = (two.x - x).abs()
    assert error[deviation > deviation.median()].mean() > error[deviation <= deviation.median()].mean()


def test_whitened_fit_deblurs_faster():
    """With little noise the whitened residual gains more in equal iterations; give_back adds to both."""
    x, A = picture(), Smooth()
    y = noisy(A(x), 0.005)
    prior = DeepImagePrior("tapered", iterations=100)
    white, plain = (prior.fit(A, y, 0.005, whiten=w) for w in ("auto", False))
    assert white.parameters["whiten"].value is True
    assert psnr(white.extras["network"], x) > psnr(plain.extras["network"], x) + 0.5
    assert psnr(plain.x, x) > psnr(plain.extras["network"], x)


def test_inpainting_ignores_what_is_missing():
    """NaN in missing entries changes nothing, and the fit beats the mean of what is there."""
    x = picture()
    A = Mask.random((SIDE, SIDE), 0.5, 0)
    y = noisy(A(x), 0.02)
    prior = DeepImagePrior("light", iterations=70)
    clean = prior.fit(A, y, 0.02)
    holes = torch.where(A.observed(), y, math.nan)
    assert torch.equal(prior.fit(A, holes, 0.02).x, clean.x)
    assert psnr(clean.x, x) > 20


# ---------------------------------------------------------------------- reproducibility
def test_same_seed_same_bits():
    """Equal calls are equal bit for bit, another seed is not, and the global generator stays untouched."""
    y = noisy(picture(), 0.1)
    before = torch.get_rng_state()
    one, two, other = (DeepImagePrior(seed=s, dropout=0.1, jitter=0.02, **QUICK).fit(IDENTITY, y).x for s in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_batch_items_are_independent():
    """An image's fit is the same alone and beside any mate."""
    x = picture(channels=2)[:, None]
    y = noisy(x, 0.1)
    y[1] *= 5
    together = DeepImagePrior(**QUICK).fit(IDENTITY, y, torch.tensor([0.1, 0.5]))
    alone = [DeepImagePrior(**QUICK).fit(IDENTITY, item, s) for item, s in zip(y, (0.1, 0.5), strict=True)]
    for index, single in enumerate(alone):
        assert torch.equal(together.x[index], single.x)
    assert together.x.shape == y.shape
    assert len(together.statuses) == 2


def test_scaling_the_data_scales_the_answer():
    """f(c y, c sigma) = c f(y, sigma), for powers of two exactly up to rounding of the loss."""
    y = noisy(picture(), 0.1)
    prior = DeepImagePrior(precision="float64", network="light", iterations=20)
    one, four = (prior.fit(IDENTITY, c * y.double(), c * 0.1).x / c for c in (1, 4))
    assert torch.allclose(one, four, atol=1e-6)


@pytest.mark.parametrize("stop", ["hold-out", "variance", WindowedVariance(window=7)])
def test_resuming_equals_an_uninterrupted_run(tmp_path, stop):
    """A run that was stopped half way and resumed from its checkpoint returns the same bits."""
    y, path = noisy(picture(), 0.1), tmp_path / "fit.npz"
    prior = DeepImagePrior("light", iterations=60, jitter=0.03, dropout=0.05)
    whole = prior.fit(IDENTITY, y, 0.1, stop=stop)
    half = prior.fit(IDENTITY, y, 0.1, stop=stop, checkpoint=path, callback=lambda view: view.iteration >= 30)
    assert half.status is Status.INTERRUPTED
    assert half.iterations == 30
    resumed = prior.fit(IDENTITY, y, 0.1, stop=stop, checkpoint=path)
    assert resumed.iterations == 60
    assert torch.equal(resumed.x, whole.x)
    assert torch.equal(resumed.history.objective, whole.history.objective)
    again = prior.fit(IDENTITY, y, 0.1, stop=stop, checkpoint=path)
    assert torch.equal(again.x, whole.x)
    with pytest.raises(ValueError, match="another problem"):
        prior.fit(IDENTITY, y + 1, 0.1, stop=stop, checkpoint=path)


def test_numpy_and_dtype_come_back():
    """NumPy in, NumPy out; the data's dtype is kept; (H, W), (C, H, W) and batches keep their shape."""
    y = noisy(picture(channels=3), 0.1).double()
    prior = DeepImagePrior("light", iterations=3)
    array = prior.fit(IDENTITY, y.numpy(), 0.1)
    assert isinstance(array.x, np.ndarray)
    assert isinstance(array.extras["network"], np.ndarray)
    assert array.x.dtype == np.float64
    for data in (y, y[0], y[None], y[:, None]):
        assert prior.fit(IDENTITY, data, 0.1).x.shape == data.shape


# ---------------------------------------------------------------------- ends of a run
def test_interrupt_returns_the_best_so_far():
    """Ctrl-C ends the fit with the best average, not with an exception."""
    seen: list[View] = []

    def callback(view):
        seen.append(dataclasses.replace(view, average=view.average.clone()))
        if view.iteration >= 50:
            raise KeyboardInterrupt

    result = DeepImagePrior(**QUICK).fit(IDENTITY, noisy(picture(), 0.1), callback=callback)
    assert result.status is Status.INTERRUPTED
    assert result.iterations == 50
    best = min(seen[-4:], key=lambda view: view.held_out.item())  # the scores of the first 20 iterations do not count
    assert torch.equal(result.x, best.average)


def test_interrupted_batch_is_whole():
    """Images never begun are returned as their first estimate, with the status INTERRUPTED."""
    y = noisy(picture(channels=2)[:, None], 0.1)
    result = DeepImagePrior(**QUICK).fit(IDENTITY, y, callback=lambda view: view.iteration >= 5)
    assert result.x.shape == y.shape
    assert result.statuses == (Status.INTERRUPTED, Status.INTERRUPTED)


def test_time_limit():
    """The time limit ends a long fit with its best average."""
    result = DeepImagePrior("light", iterations=100_000).fit(
        IDENTITY, noisy(picture(), 0.1), 0.1, stop=Oracle(), truth=picture(), time_limit=0.5
    )
    assert result.status is Status.TIME_LIMIT
    assert result.seconds < 5


def test_oracle_is_an_upper_bound():
    """No rule finds a better average than the oracle on the same run."""
    x = picture()
    y = noisy(x, 0.2)
    prior = DeepImagePrior("light", iterations=70)
    fits = {
        s: prior.fit(IDENTITY, y, 0.2, truth=x, stop=s, give_back=False) for s in ("oracle", "discrepancy", "variance")
    }
    assert psnr(fits["oracle"].x, x) == pytest.approx(fits["oracle"].history.psnr.max().item(), abs=1e-3)
    for result in fits.values():
        assert psnr(result.x, x) <= psnr(fits["oracle"].x, x) + 1e-6


def test_discrepancy_stops_at_the_noise_level():
    """The average returned fits the data to the noise level, and no closer than one look before."""
    y = noisy(picture(), 0.2)
    result = DeepImagePrior("light", iterations=400, average=0.9).fit(
        IDENTITY, y, 0.2, stop="discrepancy", give_back=False
    )
    assert result.status is Status.CONVERGED
    misfit = (result.x - y).square().mean().sqrt().item() / 0.2
    assert 0.93 < misfit <= 1.0 + 1e-3


def test_noise_free_data_are_fitted_to_convergence():
    """sigma = 0 takes the plateau rule and gives no residual back."""
    result = DeepImagePrior(**QUICK).fit(IDENTITY, picture(), 0.0)
    assert result.parameters["stop"].value == "Plateau"
    assert not result.extras


def test_spike_guard_restores_the_weights():
    """A step that ruins the weights is undone at half the learning rate."""
    from pnp.priors.dip.loop import FitLoop, Limits
    from pnp.priors.dip.settings import Settings

    y = picture()
    fit = Settings(network="light").start_fit((1, SIDE, SIDE), low=0.0, high=1.0, device=y.device, relative_sigma=0.1)
    one = torch.ones(1, 1, 1)
    objective = Objective(IDENTITY, y, 0.05 * one, "l2", one, None, (1, SIDE, SIDE), False)
    spoilt = []

    def spoil(view):
        if view.iteration == 60:
            spoilt.append(True)
            with torch.no_grad():
                fit.theta.mul_(math.nan if len(spoilt) % 2 else 30)
        return False

    loop = FitLoop(fit, objective, Plateau(), Limits(120), callback=spoil)
    rate = fit.lr
    assert loop.run() is Status.MAX_ITER
    assert spoilt
    assert fit.lr == rate / 2
    assert psnr(loop.best, y) > 20


# ---------------------------------------------------------------------- likelihoods
def objective_of(y, loss, **options):
    one = torch.ones((1,) * y.ndim, dtype=y.dtype)
    return Objective(Identity(tuple(y.shape[-2:])), y, 0.3 * one, loss, one, None, tuple(y.shape), False, **options)


@given(seed=st.integers(0, 1000), loss=st.sampled_from(["l2", "l1", "huber", "poisson", "censored"]))
def test_losses_are_negative_log_likelihoods(seed, loss):
    """Each loss equals its formula, entry by entry."""
    prediction = torch.rand(1, 5, 6, generator=generator(seed), dtype=torch.float64) + 0.05
    y = torch.rand(1, 5, 6, generator=generator(seed + 1), dtype=torch.float64).sub(0.2).clamp(0, 0.6)
    limits = (0.0, 0.6) if loss == "censored" else (-math.inf, math.inf)
    value = objective_of(y, loss, photons=7.0, limits=limits)(prediction)
    normal = torch.distributions.Normal(0.0, 1.0)
    expected = []
    for p, d in zip(prediction.flatten(), y.flatten(), strict=True):
        t = (p - d).abs() / 0.3
        match loss:
            case "l2":
                expected.append(t**2 / 2)
            case "l1":
                expected.append(t)
            case "huber":
                expected.append(t**2 / 2 if t < 1.345 else 1.345 * t - 1.345**2 / 2)
            case "poisson":
                expected.append(7 * (p - d) - 7 * d * torch.log(p / d) if d > 0 else 7 * p)
            case "censored":
                if d <= 0:
                    expected.append(-torch.log(normal.cdf((0.0 - p) / 0.3)))
                elif d >= 0.6:
                    expected.append(-torch.log(1 - normal.cdf((0.6 - p) / 0.3)))
                else:
                    expected.append(t**2 / 2)
    assert value.item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-9)


def test_clipped_data_are_recognised():
    """Strong noise clipped to [0, 1] takes the censored likelihood, and it corrects the lost contrast."""
    x = picture()
    y = noisy(x, 0.5).clamp(0, 1)
    prior = DeepImagePrior("light", iterations=80)
    auto, least = (prior.fit(IDENTITY, y, 0.5, loss=name, stop="hold-out", give_back=False) for name in ("auto", "l2"))
    assert auto.parameters["loss"].value == "censored"
    centred = x - x.mean()
    contrasts = [(fit.x * centred).sum().item() / centred.square().sum().item() for fit in (auto, least)]
    assert contrasts[1] < 0.75 < contrasts[0]


def test_outliers_want_a_robust_loss():
    """With a tenth of the pixels ruined, l1 beats l2."""
    x = picture()
    ruined = torch.rand(x.shape, generator=generator(5)) < 0.1
    y = torch.where(ruined, torch.rand(x.shape, generator=generator(6)).round() * 2 - 0.5, x)
    prior = DeepImagePrior("tapered", iterations=150)
    robust, least = (prior.fit(IDENTITY, y, 0.05, loss=name, give_back=False) for name in ("l1", "l2"))
    assert psnr(robust.x, x) > psnr(least.x, x) + 1


def test_penalties_enter_the_loss_by_their_value():
    """l1 and l2 add exactly weight * sum |W| and weight * sum W^2 / 2 over convolution weights."""
    from pnp.priors.dip.settings import Settings

    def first_loss(**penalties):
        prior = DeepImagePrior("light", precision="float64", **penalties)
        fit = prior.settings.start_fit(
            (1, 16, 16), low=0.0, high=1.0, device=torch.device("cpu"), relative_sigma=0.1, penalty_scale=3.0
        )
        weights = torch.cat([p.detach().flatten() for p in fit.network.parameters() if p.ndim >= 2])
        fit.step(lambda image: image.square().mean())
        return fit.loss, weights

    assert isinstance(DeepImagePrior().settings, Settings)
    plain, weights = first_loss()
    for penalties, value in (
        ({"l1": 1e-3}, 1e-3 * weights.abs().sum()),
        ({"l2": 1e-2}, 5e-3 * weights.square().sum()),
    ):
        assert torch.allclose(first_loss(**penalties)[0] - plain, 3 * value, rtol=1e-9)


def test_each_switch_changes_the_fit():
    """dropout, l1, l2, weight decay, total variation, jitter and normalisation all have an effect."""
    y = noisy(picture(), 0.1)
    base = {"network": "light", "iterations": 12}
    fits = [
        DeepImagePrior(**base, **extra).fit(IDENTITY, y, 0.1, tv=tv).x
        for extra, tv in [
            ({}, 0.0),
            ({"dropout": 0.2}, 0.0),
            ({"l1": 1e-4}, 0.0),
            ({"l2": 1e-2}, 0.0),
            ({"weight_decay": 0.1}, 0.0),
            ({"jitter": 0.0}, 0.0),
            ({"normalisation": "mean"}, 0.0),
            ({"upsample": "nearest"}, 0.0),
            ({"bounds": None}, 0.0),
            ({}, 0.5),
        ]
    ]
    assert len({float(x.double().norm()) for x in fits}) == len(fits)


def test_total_variation_is_penalised():
    """A large weight on total variation gives an image of less of it; the value is the formula's."""
    from pnp.priors.dip.objective import total_variation

    y = noisy(picture(), 0.1)
    rough, flat = (DeepImagePrior(**QUICK).fit(IDENTITY, y, 0.1, tv=tv, give_back=False).x for tv in (0.0, 0.3))
    assert total_variation(flat) < 0.7 * total_variation(rough)
    ramp = torch.arange(6.0).expand(1, 4, 6) * 3 + torch.arange(4.0)[:, None] * 4
    assert total_variation(ramp)[()] == pytest.approx((3 * 5 * 5 + 5 * 3 + 3 * 4) / 24, rel=1e-4)


# ---------------------------------------------------------------------- parts
@given(share=st.floats(0.02, 0.5), seed=st.integers(0, 50))
def test_held_out_share(share, seed):
    """The share asked for, the same pixels in all channels, reproducible."""
    A = Identity((3, 40, 40))
    y = torch.zeros(3, 40, 40)
    held = hold_out(A, y, share, seed)
    assert held.shape == (1, 40, 40)
    assert held.mean().item() == pytest.approx(share, abs=0.06)
    assert torch.equal(held, hold_out(A, y, share, seed))
    assert not (held * hold_out(A, y, share, seed, 1)).any()  # the next network of an ensemble holds out others


def test_whitening_whitens():
    """The gain is sqrt(c / (h^2 + c)): data A x + n with x white of variance sigma^2 / c become white."""
    A = Smooth()
    gain = whitening(A, 0.01, 1.0, 1.0)
    c = (0.01 / 0.2) ** 2
    variance = gain**2 * (0.2**2 * A.gain**2 + 0.01**2)
    assert torch.allclose(variance, torch.full_like(variance, 0.2**2 * c), rtol=1e-5)
    assert whitening(Mask.random((8, 8), 0.5, 0), 0.01, 1.0, 1.0) is None


def test_whitened_noise_has_the_energy_expected_of_it():
    """At the true image both misfits of a whitened fit are 1 up to chance, and the rule looks at the smaller one."""
    side, sigma = 128, 0.01
    x, A = picture(side), Smooth(side)
    one = torch.ones(1, 1, 1)
    gain = whitening(A, sigma, 1.0, 1.0)
    y = noisy(A(x), sigma)
    objective = Objective(A, y, torch.tensor(sigma), "l2", one, None, tuple(x.shape), False, gain=gain)
    _, plain, white = objective.scores(x)
    independent = side**2 * (gain**2).mean().item() ** 2 / (gain**4).mean().item()  # frequencies that count
    assert plain.item() == pytest.approx(1, abs=4 * math.sqrt(2 / side**2))
    assert white.item() == pytest.approx(1, abs=4 * math.sqrt(2 / independent))
    zero = torch.zeros(())
    view = View(100, 0.0, x, x, zero, torch.tensor(3.0), zero, zero, torch.tensor(0.97))
    assert Discrepancy().reached(Discrepancy().score((), view).item())
    assert not Discrepancy().reached(Discrepancy().score((), dataclasses.replace(view, whitened=None)).item())


@settings(max_examples=10)
@given(seed=st.integers(0, 1000), sigma=st.floats(0.01, 0.3))
def test_pure_noise_is_not_given_back(seed, sigma):
    """A residual of noise alone returns little; one far above the noise returns almost all of it."""
    x = picture()
    y = noisy(x, sigma, seed)
    kept = give_back(IDENTITY, y, x, torch.tensor(sigma)) - x
    assert kept.square().mean().sqrt() < 0.25 * sigma
    assert local_gain(y - x, sigma / 100).min() > 0.99


@settings(max_examples=10)
@given(seed=st.integers(0, 1000), side=st.integers(5, 24))
def test_strong_residuals_come_back_whole(seed, side):
    """Far above the noise, blocks and borders of every size add up to the residual itself, whatever the noise's map."""
    residual = torch.randn((2, side, side + 3), generator=generator(seed), dtype=torch.float64)
    sigma = 1e-6 * (1 + torch.rand((2, side, side + 3), generator=generator(seed + 1), dtype=torch.float64))
    assert torch.allclose(cosine_wiener(residual, sigma), residual, rtol=1e-4, atol=1e-5)
    both = torch.complex(residual, residual.flip(0))
    assert torch.equal(cosine_wiener(both, sigma).imag, cosine_wiener(residual.flip(0), sigma))


def test_what_has_a_frequency_is_told_from_noise_of_the_same_energy():
    """A faint wave in the residual comes back with a third less error than by a gain blind to frequencies."""
    wave = 0.5 * torch.sin(1.9 * torch.arange(64.0)).expand(1, 64, 64)
    residual = noisy(wave, 1.0)
    error, blind = (
        (x - wave).square().mean() for x in (cosine_wiener(residual, 1.0), local_gain(residual, 1.0) * residual)
    )
    assert error < 0.67 * blind


def test_give_back_through_an_operator_is_the_best_linear_estimate():
    """For a white error of known variance behind a blur, the correction lowers the error."""
    A, x = Smooth(), picture()
    wrong = x + 0.1 * torch.randn(x.shape, generator=generator(3))
    y = noisy(A(x), 0.01)
    assert psnr(give_back(A, y, wrong, torch.tensor(0.01)), x) > psnr(wrong, x) + 0.3


@pytest.mark.parametrize(("network", "asked", "limit", "recent"), [
    ("tapered", None, 0.99, 10), ("light", None, 0.998, 4), ("light", 0.9, 0.9, 4),
])  # fmt: skip
def test_running_average_forgets_the_start(network, asked, limit, recent):
    """The average of t images has factor min(beta, (1 + t) / (k + t)): the first image has left it after 50."""
    from pnp.priors.dip.settings import Settings

    fit = Settings(network=network, average=asked).start_fit(
        (1, 8, 8), low=0.0, high=1.0, device=torch.device("cpu"), relative_sigma=0.1
    )
    average = 0.0
    for t in range(50):
        value = 100.0 if t == 0 else float(t % 3)
        beta = min(limit, (1 + t) / (recent + t)) if t else 0.0
        average = beta * average + (1 - beta) * value
        fit.observe(torch.full((1, 8, 8), value))
        assert t or (fit.average == value).all()
    assert fit.average.mean().item() == pytest.approx(average, rel=1e-5)
    assert average < 2


@given(scores=st.lists(st.floats(0.1, 10) | st.just(math.inf), min_size=1, max_size=40), least=st.integers(1, 8))
def test_search_returns_the_lowest_score_and_waits_for_its_patience(scores, least):
    """The image kept has the lowest score so far; the end comes once ``least`` looks brought no improvement."""
    search, kept = Search(HoldOut(rel=0.0, least=least, share=0.0)), 0
    for t, score in enumerate(scores, 1):
        if search.look(t, score):
            kept = t
        lowest = min(scores[:t])
        assert search.best == lowest
        assert kept == (t if lowest == math.inf else scores.index(lowest) + 1)
        if score < math.inf:
            assert search.over == (t - kept > least)
        if search.over:
            break


def test_hold_out_waits_for_the_first_iterations():
    """Scores of the first images, a few held-out values each, are left out."""
    rule = HoldOut(first=20)
    held = torch.tensor(0.5)
    view = View(19, 0.0, *([held] * 6))
    assert rule.score((), view) == math.inf
    assert rule.score((), dataclasses.replace(view, iteration=20)) == held


def test_moving_variance_ignores_the_false_minimum():
    """The rule is silent until the variance has fallen from its peak, and then tracks it."""
    rule = MovingVariance(first=20)
    memory = rule.begin(torch.zeros(1, 4, 4))
    view = View(0, 0.0, *(torch.zeros(()) for _ in range(6)))
    scores = []
    for t in range(200):
        rule.observe(memory, torch.full((1, 4, 4), math.exp(-t / 20)) + 0.01 * (t % 2))
        scores.append(rule.score(memory, view).item())
    assert all(math.isinf(s) for s in scores[:19])
    assert scores[-1] < 1e-3


def test_windowed_variance_is_the_variance_of_the_window():
    """ES-WMV's score is the mean squared distance of the last W images to their mean."""
    rule = WindowedVariance(window=5)
    memory = rule.begin(torch.zeros(1, 3, 3))
    images = torch.randn(9, 1, 3, 3, generator=generator())
    view = View(0, 0.0, *(torch.zeros(()) for _ in range(6)))
    for t, image in enumerate(images, 1):
        rule.observe(memory, image)
        last = images[max(0, t - 5) : t]
        expected = (last - last.mean(dim=0)).square().mean() if t >= 5 else torch.tensor(math.inf)
        assert torch.allclose(rule.score(memory, view), expected)


# ---------------------------------------------------------------------- analysis
def test_bands():
    """Correspondence is 1 and error 0 for equal images; an error in one band shows there alone."""
    x = picture()
    assert torch.allclose(band_correspondence(x, x), torch.ones(5).double())
    assert band_error(x, x).max() == 0
    wave = torch.cos(2 * math.pi * 7 * torch.arange(SIDE) / SIDE).expand(
        1, SIDE, SIDE
    )  # 7/16 of the half-width: ring 2
    error = band_error(x + 0.1 * wave, x)
    assert error[2] > 0
    assert error[[0, 1, 3, 4]].max() < 1e-9 * error[2].clamp_min(1) + 1e-9


def test_low_frequencies_come_first():
    """A trajectory records log-spaced looks; low bands are fitted before high ones, and the weights move away."""
    x = picture()
    y = noisy(x, 0.1)
    recorder = Trajectory(y)
    DeepImagePrior("tapered", iterations=100).fit(IDENTITY, y, 0.1, callback=recorder)
    curves = recorder.curves()
    assert curves.iterations[:3].tolist() == [1, 2, 3]
    assert curves.reached(0.5)[0] <= curves.reached(0.5)[-1]
    assert (curves.band_errors[-1].diff() > -0.1).all()
    assert curves.band_errors[-1][0] < curves.band_errors[-1][-1]
    assert curves.distance[-1] > curves.distance[1] > 0


def test_theory_predicts_the_fitting_rates():
    """Gradient descent on the two-layer generator shrinks every band at the rate of the dual kernel's spectrum."""
    y = 0.05 * torch.randn(16, 16, generator=generator(), dtype=torch.float64)
    rates = fitting_rates(y, channels=512, width=1.0, steps=40, records=6)
    assert (rates.predicted - rates.measured).abs().max() < 0.05
    assert (rates.measured[3].diff() > 0).all()
    assert torch.allclose(rates.measured_distance, rates.predicted_distance, rtol=0.05)


def test_noise_takes_the_weights_far():
    """To fit noise the coefficients travel farther than for a smooth image of equal energy."""
    smooth = (picture(16)[0] - picture(16).mean()).double()
    white = torch.randn(16, 16, generator=generator(), dtype=torch.float64)
    travelled = []
    for target in (smooth, white):
        scaled = 0.8 * target / target.square().sum().sqrt()
        travelled.append(fitting_rates(scaled, channels=128, steps=300, records=3).measured_distance[-1])
    assert travelled[1] > 1.3 * travelled[0]


# ---------------------------------------------------------------------- users' own networks, errors
class Own(nn.Module):
    def __init__(self, channels=1, surplus=3):
        super().__init__()
        self.conv = nn.Conv2d(5, 16, 3, padding=1 + surplus)
        self.last = nn.Conv2d(16, channels, 1)

    def forward(self, z):
        return self.last(self.conv(z).relu())


def test_any_module_can_be_the_network():
    """A user's module is copied, fed a z of its own width, and cropped to the image."""
    own = Own()
    before = [p.detach().clone() for p in own.parameters()]
    y = noisy(picture(), 0.1)
    result = DeepImagePrior(own, iterations=40).fit(IDENTITY, y, 0.1, n_nets=2)
    assert psnr(result.x, picture()) > psnr(y, picture())
    assert all(torch.equal(a, b) for a, b in zip(own.parameters(), before, strict=True))
    assert result.extras["deviation"].max() > 0
    with pytest.raises(ValueError, match="network returned"):
        DeepImagePrior(Own(channels=2), iterations=2).fit(IDENTITY, y, 0.1)


def test_complex_images():
    """A complex operator's image comes from twice as many real channels."""

    class Fourier(LinearOperator):
        def __init__(self):
            super().__init__((16, 16), (16, 16), complex_in=True, complex_out=True)

        row_gram = column_gram = 1.0

        def _forward(self, x):
            return torch.fft.fft2(x, norm="ortho")

        def _adjoint(self, y):
            return torch.fft.ifft2(y, norm="ortho")

    x = torch.complex(picture(16), 0.3 * picture(16).flip(-1))
    A = Fourier()
    y = A(x) + 0.02 * torch.complex(*torch.randn(2, 1, 16, 16, generator=generator()))
    result = DeepImagePrior("light", iterations=150).fit(A, y, 0.02)
    assert result.x.is_complex()
    assert (result.x - x).abs().square().mean() < 0.1 * x.abs().square().mean()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"y": torch.full((1, SIDE, SIDE), math.nan)}, ValueError),
        ({"sigma": -0.1}, ValueError),
        ({"sigma": math.nan}, ValueError),
        ({"y": torch.ones(1, SIDE, SIDE, dtype=torch.long)}, TypeError),
        ({"y": torch.ones(1, SIDE, SIDE + 1)}, ValueError),
        ({"loss": "l3"}, ValueError),
        ({"stop": "soon"}, ValueError),
        ({"stop": "discrepancy", "loss": "l1"}, ValueError),
        ({"n_nets": 0}, ValueError),
        ({"tv": -1.0}, ValueError),
        ({"truth": torch.ones(1, 3, 3)}, ValueError),
        ({"stop": "oracle"}, ValueError),
        ({"whiten": True}, ValueError),
        ({"whiten": "yes"}, ValueError),
        ({"give_back": "yes"}, ValueError),
        ({"A": picture()}, TypeError),
    ],
)
def test_bad_input_is_refused(change, error):
    """Wrong values are ValueErrors, wrong kinds TypeErrors, before any work."""
    arguments = {"A": Mask.random((SIDE, SIDE), 0.9, 0), "y": torch.ones(1, SIDE, SIDE), "sigma": 0.1} | change
    if torch.is_tensor(arguments["y"]) and arguments["y"].isnan().any():
        arguments["A"] = IDENTITY
    A, y, sigma = (arguments.pop(name) for name in ("A", "y", "sigma"))
    with pytest.raises(error):
        DeepImagePrior("light", iterations=2).fit(A, y, sigma, **arguments)


@pytest.mark.parametrize(
    "settings",
    [
        {"network": "unet"},
        {"lr": -1.0},
        {"jitter": math.nan},
        {"dropout": 1.0},
        {"l1": -1e-3},
        {"precision": "half"},
        {"upsample": "cubic"},
        {"normalisation": "layer"},
        {"bounds": (1.0, 0.0)},
        {"bounds": "wide"},
        {"iterations": 0},
        {"steps": (0, 1)},
        {"average": 1.0},
    ],
)
def test_bad_settings_are_refused(settings):
    """The constructor names what is wrong."""
    with pytest.raises(ValueError, match="DeepImagePrior"):
        DeepImagePrior(**settings)


def test_rules_say_what_they_need():
    """Rules check their settings; all are frozen records."""
    with pytest.raises(ValueError, match="fraction"):
        HoldOut(fraction=0.0)
    for rule in (HoldOut(), Discrepancy(), Plateau(), MovingVariance(), WindowedVariance(), Oracle()):
        assert isinstance(rule, Rule)
        with pytest.raises(dataclasses.FrozenInstanceError):
            rule.rel = 1.0


# ---------------------------------------------------------------------- GPU
@pytest.mark.parametrize("deterministic", [False, True])
def test_cudnn_stays_on(deterministic):
    """The fastest or the repeatable convolutions are cuDNN's; whatever the user had set is back afterwards."""
    cudnn = torch.backends.cudnn
    before = (cudnn.enabled, cudnn.benchmark, cudnn.deterministic, torch.are_deterministic_algorithms_enabled())
    with _kernels(deterministic, torch.device("cuda")):
        assert cudnn.enabled
        assert (cudnn.benchmark, cudnn.deterministic) == (not deterministic, deterministic)
        assert torch.are_deterministic_algorithms_enabled() == deterministic
    after = (cudnn.enabled, cudnn.benchmark, cudnn.deterministic, torch.are_deterministic_algorithms_enabled())
    assert before == after


def on_gpu(test):
    return pytest.mark.gpu(pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")(test))


class Host(Identity):
    """An operator that visits the host, as wrapped NumPy code does."""

    def _forward(self, x):
        return x.cpu().to(x.device)


@on_gpu
def test_a_step_that_waits_runs_as_written():
    """Such an operator is never captured: same image, and random numbers can be drawn afterwards."""
    y = noisy(picture(64), 0.1).cuda()
    prior = DeepImagePrior("small", iterations=20, precision="float32", deterministic=True)
    host, device = (prior.fit(A, y, 0.1, give_back=False).x for A in (Host((64, 64)), Identity((64, 64))))
    assert torch.allclose(host, device, atol=1e-4)
    assert torch.rand(3, device="cuda").isfinite().all()


@on_gpu
def test_a_refused_capture_leaves_random_numbers_usable(monkeypatch):
    """Where the wait goes unseen, the capture fails: the fit goes on, and so do all generators."""
    monkeypatch.setattr(graphs, "WAITED", "never said")
    y = noisy(picture(64), 0.1).cuda()
    DeepImagePrior("small", iterations=20).fit(Host((64, 64)), y, 0.1, give_back=False)
    assert torch.rand(3, device="cuda").isfinite().all()


@on_gpu
def test_graph_equals_eager():
    """A captured step gives what the step run kernel by kernel gives."""
    y = noisy(picture(64), 0.1).cuda()
    A = Identity((64, 64))
    prior = DeepImagePrior("small", iterations=50, precision="float32", deterministic=True)
    graph, eager = (prior.fit(A, y, 0.1, graph=g).x for g in (True, False))
    assert torch.allclose(graph, eager, atol=1e-4)


@on_gpu
def test_deterministic_repeats_on_the_gpu():
    """deterministic=True repeats bit for bit."""
    y = noisy(picture(64), 0.1).cuda()
    prior = DeepImagePrior("fast", iterations=50, deterministic=True)
    one, two = (prior.fit(Identity((64, 64)), y, 0.1).x for _ in range(2))
    assert torch.equal(one, two)
