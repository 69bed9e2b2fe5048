"""The deep image prior at its edges: cut short, out of memory, odd operators and networks, copies, checkpoints."""

import copy
import dataclasses
import gc
import math
import pickle
import weakref

import pytest
import torch
from torch import nn

from pnp import checkpoint
from pnp.data_terms import LeastSquares
from pnp.hqs import HQS
from pnp.operators import Blur, Fourier, Identity, Mask, Matrix
from pnp.priors import DeepImagePrior
from pnp.priors.dip import (
    Discrepancy,
    HoldOut,
    MovingVariance,
    Oracle,
    Plateau,
    Trajectory,
    WindowedVariance,
    band_correspondence,
    band_error,
    band_gain,
    fitting_rates,
)
from pnp.priors.dip import memory as shortage
from pnp.priors.dip.loop import FitLoop, Limits
from pnp.priors.dip.network_fit import NetworkFit
from pnp.priors.dip.objective import Objective
from pnp.priors.dip.residual import give_back
from pnp.priors.dip.settings import Settings
from pnp.result import Status

SIDE = 16
IDENTITY = Identity((SIDE, SIDE))
TINY = {"network": "tiny", "precision": "float32"}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def picture(side=SIDE):
    rows, columns = torch.meshgrid(torch.linspace(0, 1, side), torch.linspace(0, 1, side), indexing="ij")
    return (0.4 + 0.2 * torch.sin(5 * rows) * torch.cos(4 * columns) + 0.3 * (rows > columns))[None]


def noisy(x, sigma, seed=0):
    parts = [torch.randn(x.shape, generator=generator(seed + k)) for k in range(1 + x.is_complex())]
    return x + sigma * (torch.complex(*parts) if x.is_complex() else parts[0])


def objective_of(A, y, sigma, loss="l2", **options):
    one = torch.ones((1,) * y.ndim)
    shape, is_complex = (*y.shape[: -len(A.out_shape)], *A.in_shape), y.is_complex()
    return Objective(A, y, sigma * one, loss, one, None, shape, is_complex, **options)


# ---------------------------------------------------------------------- spikes
def loop_of(rule, spoil, iterations):
    """A loop on a noisy picture whose weights ``spoil`` may ruin at every look."""
    y = noisy(picture(), 0.1)
    fit = Settings(**TINY).start_fit((1, SIDE, SIDE), low=0.0, high=1.0, device=y.device, relative_sigma=0.1)
    return FitLoop(
        fit, objective_of(IDENTITY, y, 0.1), rule, Limits(iterations), callback=lambda view: spoil(fit, view)
    )


@pytest.mark.parametrize("rule", [Plateau(), MovingVariance(first=30, drop=0.0)])
def test_after_nan_the_average_is_finite_again(rule):
    """Weights that became NaN are put back, and the running mean and the rule's memory forget what they saw."""
    hit = []

    def spoil(fit, view):
        if view.iteration == 60 and not hit:
            hit.append(fit.theta.data.fill_(math.nan))

    loop = loop_of(rule, spoil, 110)
    assert loop.run() is Status.MAX_ITER
    assert hit
    assert loop.fit.average.isfinite().all()
    assert loop.search.best_iteration > 70
    assert loop.best.isfinite().all()


def test_a_loss_that_keeps_leaping_has_diverged():
    """No NaN was seen: the status must not say so."""

    def spoil(fit, view):
        if view.iteration >= 50:
            fit.theta.data.mul_(30)

    assert loop_of(Plateau(), spoil, 1000).run() is Status.DIVERGED


# ---------------------------------------------------------------------- cut short
@pytest.mark.parametrize("network", [1, 2])
def test_a_network_cut_short_does_not_count_beside_a_whole_one(network):
    """Stopped in the second network, the ensemble is the first; stopped in the first, what it had come to."""
    y, starts = noisy(picture(), 0.1), []

    def stop(view):
        starts.append(view.iteration == 1)
        return sum(starts) == network and view.iteration >= 3

    prior = DeepImagePrior(iterations=25, **TINY)
    cut = prior.fit(IDENTITY, y, 0.1, n_nets=2, callback=stop)
    assert cut.status is Status.INTERRUPTED
    assert "deviation" not in cut.extras
    assert cut.x.isfinite().all()
    if network == 2:
        assert torch.equal(cut.x, prior.fit(IDENTITY, y, 0.1).x)


class Impatient(Identity):
    """Ctrl-C in the very first step."""

    def _forward(self, x):
        if torch.is_grad_enabled():
            raise KeyboardInterrupt
        return super()._forward(x)


def test_nothing_fitted_is_the_first_estimate():
    """Interrupted before the first look, or never finite: not an image of zeros."""
    y = noisy(picture(), 0.1)
    prior = DeepImagePrior(iterations=5, **TINY)
    result = prior.fit(Impatient((SIDE, SIDE)), y, None)
    assert result.status is Status.INTERRUPTED
    assert torch.equal(result.x, y)
    result = DeepImagePrior(iterations=5, lr=1e38, **TINY).fit(IDENTITY, y, None, stop=Plateau(), give_back=False)
    assert result.x.isfinite().all()


# ---------------------------------------------------------------------- batches
def test_choices_are_made_and_reported_image_by_image():
    """Clipped strong noise beside weak noise: the mate decides neither the likelihood nor what is given back."""
    y = torch.stack([noisy(picture(), 0.5).clamp(0, 1), noisy(picture(), 0.02)])
    prior, sigma = DeepImagePrior(iterations=8, **TINY), torch.tensor([0.5, 0.02])
    both = prior.fit(IDENTITY, y, sigma)
    for index in (0, 1):
        alone = prior.fit(IDENTITY, y[index], float(sigma[index]))
        assert torch.equal(both.x[index], alone.x)
        assert both.parameters["loss"].value[index] == alone.parameters["loss"].value
    assert both.parameters["loss"].value == ["censored", "l2"]
    assert both.parameters["network"].value == "tiny"
    assert '"censored"' in both.to_json()


def test_the_seconds_of_every_network_are_counted():
    """Curves are those of the first network; time is that of the ensemble."""
    counted = []
    prior = DeepImagePrior(iterations=20, **TINY)
    result = prior.fit(
        IDENTITY, noisy(picture(), 0.1), n_nets=3, stop=Plateau(), callback=lambda view: counted.append(view.seconds)
    )
    ends = [last for last, following in zip(counted, [*counted[1:], 0.0], strict=True) if following < last]
    assert len(ends) == 3
    assert result.seconds == pytest.approx(sum(ends), rel=1e-6)


def test_a_batch_keeps_one_network_at_a_time(monkeypatch):
    """Neither networks nor moments of the images before are held."""
    made, alive, begin = [], [], Settings.start_fit

    def start_fit(*arguments, **options):
        fit = begin(*arguments, **options)
        made.append(weakref.ref(fit))
        return fit

    def count(view):
        gc.collect()
        alive.append(sum(reference() is not None for reference in made))

    monkeypatch.setattr(Settings, "start_fit", start_fit)
    DeepImagePrior(iterations=1, **TINY).fit(IDENTITY, noisy(picture().expand(3, 1, SIDE, SIDE), 0.1), callback=count)
    assert len(made) == 3
    assert alive == [1, 1, 1]


@pytest.mark.parametrize("boundary", ["circular", "valid"])
def test_operators_with_a_kernel_for_each_image(boundary):
    """Each image is fitted through its own."""
    A = Blur(torch.rand((2, 1, 3, 3), generator=generator()) / 4, (SIDE, SIDE), boundary)
    y = noisy(A(picture().expand(2, 1, SIDE, SIDE)), 0.002)
    prior = DeepImagePrior(iterations=5, **TINY)
    both = prior.fit(A, y, 0.002)
    assert both.x.shape == (2, 1, SIDE, SIDE)
    for index in (0, 1):
        assert torch.equal(both.x[index], prior.fit(A.take(torch.tensor([index])), y[index], 0.002).x)


# ---------------------------------------------------------------------- complex values
WAVE = torch.complex(picture(), 0.3 * picture().flip(-1))
HALF = (torch.rand((SIDE, SIDE), generator=generator(4)) < 0.5).float()


@pytest.mark.parametrize("A", [IDENTITY, Blur.gaussian(1.0, (SIDE, SIDE)), Fourier((SIDE, SIDE), HALF)])
def test_complex_data_are_two_entries_each(A):
    """sigma is the level of each part: the misfit of the true image is 1, and its residual, noise alone, stays out."""
    y = noisy(A(WAVE), 0.01)
    gain = None if A.spectrum() is None else torch.ones(SIDE, SIDE // 2 + 1)
    observed = 1.0 if A.observed() is None else A.observed()
    objective = dataclasses.replace(objective_of(A, y, 0.01, gain=gain), fitted=torch.ones(1, SIDE, SIDE) * observed)
    _, misfit, whitened = objective.scores(torch.cat([WAVE.real, WAVE.imag]))
    assert misfit.item() == pytest.approx(1, abs=0.15)
    assert whitened is None or whitened.item() == pytest.approx(1, abs=0.15)
    kept = give_back(A, y, WAVE, torch.tensor(0.01)) - WAVE
    assert kept.abs().square().mean() < 0.06 * 2 * 0.01**2


def test_what_is_missing_of_a_complex_image_is_given_back():
    """An error far above the noise comes back almost whole where it was measured."""
    A = Fourier((SIDE, SIDE), torch.ones(SIDE, SIDE))
    y, wrong = noisy(A(WAVE), 0.01), noisy(WAVE, 0.1, 7)
    left = give_back(A, y, wrong, torch.tensor(0.01)) - WAVE
    assert left.abs().square().mean() == pytest.approx(2 * 0.01**2, rel=0.2)


def test_a_complex_image_behind_a_real_blur():
    """Whitened or not: real and imaginary part are filtered alike."""
    A = Blur.gaussian(1.0, (SIDE, SIDE))
    y = noisy(A(WAVE), 0.002)
    for whiten in (True, False):
        x = DeepImagePrior(iterations=3, **TINY).fit(A, y, 0.002, whiten=whiten, truth=WAVE).x
        assert x.is_complex()
        assert x.abs().isfinite().all()


def test_the_truth_of_a_complex_image_may_be_real():
    """It is compared with both parts, and a complex truth of a real image is refused."""
    A, x = Fourier((SIDE, SIDE), torch.ones(SIDE, SIDE)), picture()
    prior = DeepImagePrior(iterations=2, **TINY)
    real, imaginary = (prior.fit(A, A(x), 0.01, truth=t).history.psnr for t in (x, x + 0j))
    assert torch.equal(real, imaginary)
    with pytest.raises(TypeError, match="real images"):
        prior.fit(IDENTITY, x, 0.01, truth=x + 0j)


# ---------------------------------------------------------------------- likelihoods
def test_counts_are_judged_by_their_deviance():
    """Of the data themselves it is 0, of their means about 1 an entry: patience, a share of the score, has a scale."""
    means = 100 * picture(64)
    y = torch.poisson(means, generator=generator())
    objective = objective_of(Identity((64, 64)), y, 1.0, "poisson", span=100.0)
    assert objective(y).item() == pytest.approx(0, abs=1e-5)
    assert objective.scores(means)[1].item() == pytest.approx(1, abs=0.1)
    zero = torch.zeros_like(y).requires_grad_()
    objective(zero).backward()
    assert zero.grad.isfinite().all()


def test_limits_of_clipped_data_are_those_of_what_was_observed():
    """The zeros that stand for missing entries are no limit."""
    A = Mask.random((SIDE, SIDE), 0.6, 0)
    y = A(noisy(picture(), 0.3).clamp(0.2, 0.8))
    prior = DeepImagePrior(iterations=3, **TINY)
    found, given = (prior.fit(A, y, 0.3, loss="censored", limits=ends).x for ends in (None, (0.2, 0.8)))
    assert torch.equal(found, given)


def test_noise_too_small_for_the_loss_is_no_noise():
    """Its inverse square would overflow in Adam's moments, and nothing would be learnt."""
    y = picture()
    prior = DeepImagePrior(iterations=20, **TINY)
    none = prior.fit(IDENTITY, y, 0.0, give_back=False)
    for sigma in (1e-12, 1e-30):
        assert torch.equal(prior.fit(IDENTITY, y, sigma, give_back=False).x, none.x)


# ---------------------------------------------------------------------- memory
@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        MemoryError(),
        torch.cuda.OutOfMemoryError("CUDA out of memory."),
    ],
)
@pytest.mark.parametrize("call", ["fit", "prox"])
def test_out_of_memory_names_a_preset_that_fits(monkeypatch, error, call):
    """What was free before counts: the step that failed still holds its share when the message is written."""
    free = iter([2.0**40])
    monkeypatch.setattr(shortage, "free_bytes", lambda device: next(free, 0.0))

    def step(self, loss):
        raise error

    monkeypatch.setattr(NetworkFit, "step", step)
    prior = DeepImagePrior("fast")
    with pytest.raises(RuntimeError, match=r"'fast' to an image 1x16x16; network='small' needs about .* \(1024.0 GiB"):
        prior.fit(IDENTITY, picture()) if call == "fit" else prior.denoise(noisy(picture(), 0.1), 0.1)


def test_other_errors_are_not_called_a_shortage(monkeypatch):
    """They pass as they are."""

    def step(self, loss):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(NetworkFit, "step", step)
    with pytest.raises(RuntimeError, match=r"^mat1"):
        DeepImagePrior(**TINY).fit(IDENTITY, picture())


def test_systems_that_do_not_tell_their_free_memory(monkeypatch):
    """The next smaller preset is named all the same."""
    monkeypatch.setattr(shortage.os, "sysconf_names", {})
    free = shortage.free_bytes(torch.device("cpu"))
    message = shortage.explain_shortage("paper", (1, 64, 64), torch.device("cpu"), free)
    assert message.endswith("GiB.")
    assert "network='fast'" in message


# ---------------------------------------------------------------------- users' own networks
class Own(nn.Module):
    def __init__(self, returned=lambda x: x, width=8):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Dropout(0.3), nn.Dropout2d(0.1))
        self.last, self.returned = nn.Conv2d(width, 1, 1), returned

    def forward(self, z):
        return self.returned(self.last(self.body(z)))


def test_dropout_of_a_users_network_is_private(tmp_path):
    """It draws from the seed: the global generator stays, calls repeat, a resumed run equals an uninterrupted one."""
    y, prior, path = noisy(picture(), 0.1), DeepImagePrior(Own(), iterations=40), tmp_path / "fit.npz"
    before = torch.get_rng_state()
    whole = prior.fit(IDENTITY, y, 0.1)
    assert torch.equal(torch.get_rng_state(), before)
    prior.fit(IDENTITY, y, 0.1, checkpoint=path, callback=lambda view: view.iteration >= 20)
    assert torch.equal(prior.fit(IDENTITY, y, 0.1, checkpoint=path).x, whole.x)
    assert isinstance(prior.settings.network.body[2], nn.Dropout)  # the user's own is as it was


@pytest.mark.parametrize("returned", [lambda x: (x, x), lambda x: None])
def test_a_network_must_return_a_tensor(returned):
    with pytest.raises(TypeError, match="must return a tensor"):
        DeepImagePrior(Own(returned), iterations=1).fit(IDENTITY, picture())


@pytest.mark.parametrize("network", [Own(), "two-layer"])
@pytest.mark.parametrize(
    "option", [{"dropout": 0.1}, {"dropout_maps": True}, {"upsample": "nearest"}, {"normalisation": "none"}]
)
def test_options_without_effect_are_refused(network, option):
    with pytest.raises(ValueError, match="do not apply"):
        DeepImagePrior(network, **option)


def test_networks_of_one_name_are_told_apart():
    """Checkpoints of solvers know a prior by its name."""
    torch.manual_seed(0)
    one, other, wide = DeepImagePrior(Own()), DeepImagePrior(Own()), DeepImagePrior(Own(width=4))
    assert len({repr(prior) for prior in (one, other, wide)}) == 3
    assert repr(copy.deepcopy(one)) == repr(one)
    assert repr(DeepImagePrior("tiny", l2=0.1, upsample="nearest")) == (
        "DeepImagePrior(network='tiny', upsample='nearest', l2=0.1)"
    )


# ---------------------------------------------------------------------- copies
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda prior: pickle.loads(pickle.dumps(prior))])
def test_a_copy_goes_on_like_the_original(copied):
    """Weights are views into one vector: a copy that cut them loose would train nothing, silently."""
    v = noisy(picture(), 0.1)
    prior = DeepImagePrior(steps=(10, 5), dropout=0.1, **TINY).fresh()
    prior.prox(v, 1e-3)
    twin = copied(prior)
    assert torch.equal(twin.prox(v, 1e-4), prior.prox(v, 1e-4))
    assert repr(twin) == repr(prior)


def test_copies_of_one_prior_do_not_meet():
    """What one solve learns the other does not know."""
    v, prior = noisy(picture(), 0.1), DeepImagePrior(steps=(10, 5), **TINY)
    one, other = prior.fresh(), prior.fresh()
    first = one.prox(v, 1e-3)
    one.prox(v, 1e-4)
    assert torch.equal(other.prox(v, 1e-3), first)


def test_only_a_fresh_copy_takes_a_memory():
    """The user's own object must not start to remember; and a copy refuses the memory of another network."""
    user, copy_of_it, other = (DeepImagePrior(n, steps=(2, 1)) for n in ("tiny", "tiny", "light"))
    copy_of_it = copy_of_it.fresh()
    copy_of_it.prox(noisy(picture(), 0.1), 0.01)
    user.load_state_dict({})
    user.prox(noisy(picture(), 0.1), 0.01)
    assert user.state_dict() == {}
    with pytest.raises(ValueError, match="fresh"):
        user.load_state_dict(copy_of_it.state_dict())
    with pytest.raises(ValueError, match="parameters"):
        other.fresh().load_state_dict(copy_of_it.state_dict())


@pytest.mark.parametrize("network", ["tiny", "conv-decoder", "two-layer"])
def test_one_seed_is_one_image_whatever_the_default_type(network):
    """Draws of another type are other numbers."""
    prior = DeepImagePrior(network, iterations=3, dropout=0.1 if network == "tiny" else 0.0, precision="float32")
    once = prior.fit(IDENTITY, noisy(picture(), 0.1), stop="hold-out").x
    y = noisy(picture(), 0.1)
    torch.set_default_dtype(torch.float64)
    try:
        again = prior.fit(IDENTITY, y, stop="hold-out").x
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(again, once)


@pytest.mark.parametrize("shape", [(3, SIDE, SIDE), (1, SIDE, SIDE + 4)])
def test_a_copy_refuses_an_image_of_another_shape(shape):
    """Three channels would broadcast against the one that is remembered."""
    prior = DeepImagePrior(steps=(2, 1), **TINY).fresh()
    prior.prox(noisy(picture(), 0.1), 0.01)
    with pytest.raises(ValueError, match="remembers an image"):
        prior.prox(torch.rand(shape, generator=generator()), 0.01)


def test_inference_mode_and_gradients_of_the_user():
    """A fit needs gradients of its own, and gives none to what it is called with."""
    y, prior = noisy(picture(), 0.1), DeepImagePrior(iterations=3, steps=(3, 1), **TINY)
    fitted, cleaned = prior.fit(IDENTITY, y, 0.1).x, prior.prox(y, 0.01)
    with torch.inference_mode():
        assert torch.equal(prior.fit(IDENTITY, y.clone(), torch.tensor(0.1)).x, fitted)
        assert torch.equal(prior.prox(y.clone(), 0.01), cleaned)
    leaf = y.clone().requires_grad_()
    assert torch.equal(prior.fit(IDENTITY, leaf, 0.1).x, fitted)
    assert torch.equal(prior.prox(leaf, 0.01), cleaned)
    assert leaf.grad is None


# ---------------------------------------------------------------------- checkpoints
class Killed(Exception):
    """What ends a process ends nothing here: only the file is left."""


@pytest.mark.parametrize("stop", ["hold-out", "discrepancy"])
def test_killed_again_and_again(tmp_path, monkeypatch, stop):
    """A batch of ensembles killed at every third look of every run still ends in the same bits."""
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN_WRITES", 0.0)
    y, path = noisy(picture().expand(2, 1, SIDE, SIDE), 0.1), tmp_path / "fit.npz"
    prior = DeepImagePrior(iterations=10, jitter=0.03, dropout=0.05, **TINY)
    whole = prior.fit(IDENTITY, y, 0.1, stop=stop, n_nets=2)
    looks, runs = [], 0

    def kill(view):
        looks.append(view.iteration)
        if len(looks) % 3 == 0:
            raise Killed

    for _ in range(50):
        try:
            result = prior.fit(IDENTITY, y, 0.1, stop=stop, n_nets=2, checkpoint=path, callback=kill)
            break
        except Killed:
            runs += 1
    assert runs > 5
    assert torch.equal(result.x, whole.x)
    assert torch.equal(result.extras["deviation"], whole.extras["deviation"])
    assert torch.equal(result.history.objective, whole.history.objective)
    assert result.parameters == whole.parameters
    assert result.statuses == whole.statuses


def test_what_has_ended_is_kept_without_its_weights(tmp_path):
    """The file of a batch does not grow by a network an image."""
    y, sizes = noisy(picture().expand(3, 1, SIDE, SIDE), 0.1), []
    for count in (1, 3):
        path = tmp_path / f"{count}.npz"
        DeepImagePrior(iterations=2, **TINY).fit(IDENTITY, y[:count], 0.1, checkpoint=path)
        sizes.append(path.stat().st_size)
    assert sizes[1] < 60_000  # the network alone has 145 thousand parameters of four bytes


def test_a_run_ended_by_the_clock_goes_on(tmp_path):
    """A time limit is no part of the problem: the next run may have another."""
    y, path, prior = noisy(picture(), 0.1), tmp_path / "fit.npz", DeepImagePrior(iterations=30, **TINY)
    cut = prior.fit(IDENTITY, y, 0.1, checkpoint=path, time_limit=0.0)
    assert cut.status is Status.TIME_LIMIT
    assert torch.equal(prior.fit(IDENTITY, y, 0.1, checkpoint=path).x, prior.fit(IDENTITY, y, 0.1).x)


@pytest.mark.parametrize(
    "change",
    [{"sigma": 0.2}, {"stop": "plateau"}, {"n_nets": 2}, {"tv": 0.1}, {"whiten": False}, {"truth": picture() + 1}],
)
def test_a_checkpoint_of_other_settings_is_refused(tmp_path, change):
    """The true image counts where the rule looks at it."""
    y, path, prior = noisy(picture(), 0.1), tmp_path / "fit.npz", DeepImagePrior(iterations=2, **TINY)
    asked = {"sigma": 0.1, "stop": "oracle", "truth": picture()}
    prior.fit(IDENTITY, y, checkpoint=path, **asked)
    with pytest.raises(ValueError, match="another problem"):
        prior.fit(IDENTITY, y, checkpoint=path, **{**asked, **change})
    with pytest.raises(ValueError, match="another problem"):
        DeepImagePrior(iterations=2, seed=1, **TINY).fit(IDENTITY, y, checkpoint=path, **asked)


def test_an_oracle_that_holds_its_own_truth(tmp_path):
    """A picture of more entries than are printed is told apart by all of them."""
    y, path, prior = noisy(picture(64), 0.1), tmp_path / "fit.npz", DeepImagePrior(iterations=1, **TINY)
    other = picture(64).clone()
    other[0, 30, 30] += 0.5
    A = Identity((64, 64))
    prior.fit(A, y, 0.1, stop=Oracle(truth=picture(64)), truth=picture(64), checkpoint=path)
    with pytest.raises(ValueError, match="another problem"):
        prior.fit(A, y, 0.1, stop=Oracle(truth=other), truth=picture(64), checkpoint=path)


def test_a_solvers_checkpoint_of_another_network_is_refused(tmp_path):
    f, path = LeastSquares(IDENTITY, noisy(picture(), 0.1), 0.1), tmp_path / "run.npz"
    solver = HQS(s=(0.2, 0.1), max_iter=2)
    torch.manual_seed(0)
    solver.solve(f, DeepImagePrior(Own(), steps=(2, 1)), progress=False, checkpoint=path)
    with pytest.raises(ValueError, match="another problem"):
        solver.solve(f, DeepImagePrior(Own(), steps=(2, 1)), progress=False, checkpoint=path)


# ---------------------------------------------------------------------- analysis
def test_a_trajectory_is_that_of_the_first_network():
    """The second may run for longer: none of it is appended."""
    y = noisy(picture(), 0.1)
    one, two = Trajectory(picture()), Trajectory(picture())
    prior = DeepImagePrior(iterations=30, **TINY)
    prior.fit(IDENTITY, y, 0.1, stop=Plateau(), callback=one)

    def watched(view):
        two(view)
        ended.append(view.iteration)
        return len(ended) == 6  # the first network is cut short, the second is not

    ended = []
    prior.fit(IDENTITY, y, 0.1, stop=Plateau(), callback=watched)
    prior.fit(IDENTITY, y, 0.1, stop=Plateau(), callback=watched)
    recorded = two.curves()
    assert recorded.iterations.tolist() == [1, 2, 3, 5, 7, 10]
    assert torch.equal(recorded.loss, one.curves().loss[:6])


@pytest.mark.parametrize("measure", [band_correspondence, band_error, band_gain])
@pytest.mark.parametrize("shape", [(8, 8), (1, 8, 9)])
def test_bands_are_those_of_two_images_of_one_shape(measure, shape):
    with pytest.raises(ValueError, match=measure.__name__):
        measure(torch.rand(shape, generator=generator()), torch.rand((1, 8, 8), generator=generator()))


@pytest.mark.parametrize("change", [{"steps": 0}, {"records": 1}])
def test_rates_need_steps_and_records(change):
    with pytest.raises(ValueError, match="fitting_rates"):
        fitting_rates(torch.rand((8, 8), generator=generator()), channels=4, **change)


# ---------------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"truth": torch.ones(1, SIDE, SIDE, dtype=torch.uint8)}, TypeError),
        ({"truth": torch.full((1, SIDE, SIDE), math.nan)}, ValueError),
        ({"time_limit": -1.0}, ValueError),
        ({"time_limit": math.nan}, ValueError),
        ({"n_nets": 1.5}, TypeError),
        ({"tv": math.inf}, ValueError),
        ({"photons": math.inf}, ValueError),
        ({"photons": 0.0}, ValueError),
        ({"limits": (1.0, 0.0)}, ValueError),
        ({"limits": (0.0, 1.0), "loss": "l2"}, ValueError),
        ({"give_back": True, "sigma": None}, ValueError),
        ({"give_back": True, "sigma": 0.0}, ValueError),
        ({"y": WAVE, "loss": "poisson"}, ValueError),
        ({"y": WAVE, "loss": "censored"}, ValueError),
        ({"A": Matrix(torch.zeros(5, SIDE**2), (SIDE, SIDE)), "y": torch.ones(1, 5)}, ValueError),
    ],
)
def test_bad_input_is_refused(change, error):
    """By name, before any work."""
    arguments = {"A": IDENTITY, "y": noisy(picture(), 0.1), "sigma": 0.1} | change
    with pytest.raises(error, match=r"DeepImagePrior"):
        DeepImagePrior(iterations=1, **TINY).fit(**arguments)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"seed": 1.5}, TypeError),
        ({"seed": "a"}, TypeError),
        ({"iterations": 2.5}, TypeError),
        ({"lr": "fast"}, TypeError),
        ({"steps": (300,)}, ValueError),
        ({"steps": 300}, ValueError),
        ({"steps": (3.5, 2)}, TypeError),
        ({"bounds": (-math.inf, math.inf)}, ValueError),
        ({"bounds": (0, 1, 2)}, ValueError),
    ],
)
def test_bad_settings_are_refused(settings, error):
    """When the prior is made, not when it is used."""
    with pytest.raises(error, match="DeepImagePrior"):
        DeepImagePrior(**settings)


@pytest.mark.parametrize(
    "make",
    [
        lambda: HoldOut(fraction=1.0),
        lambda: HoldOut(rel=-1.0),
        lambda: Plateau(window=0),
        lambda: Discrepancy(tau=0.0),
        lambda: MovingVariance(alpha=0.0),
        lambda: MovingVariance(share=math.nan),
        lambda: WindowedVariance(window=0),
        lambda: Oracle(rel=math.nan),
        lambda: Trajectory(picture(), per_decade=0),
        lambda: Trajectory(picture(), bands=0),
    ],
)
def test_rules_and_recorders_refuse_what_they_cannot_use(make):
    """When they are made, not in the middle of a fit."""
    with pytest.raises(ValueError, match="expected"):
        make()


def test_a_hold_out_of_everything_ends_with_an_image():
    """Nothing left to fit is no reason for NaN in the result."""
    A = Identity((3, 2))
    y = torch.rand((1, 3, 2), generator=generator())
    x = DeepImagePrior(iterations=3, **TINY).fit(A, y, 0.1, stop=HoldOut(fraction=0.999), give_back=False).x
    assert x.isfinite().all()
