"""Tikhonov, Box, and the wrappers Equivariant and Tiled."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pnp.functional import Denoiser
from pnp.priors import NLM, TV, Box, Equivariant, Tikhonov, Tiled
from pnp.priors.equivariant import _turn, _turn_back

seeds = st.integers(0, 999)


def noise(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("referred", [False, True])
@given(weight=st.floats(0.1, 100), tau=st.floats(1e-3, 10), seed=seeds)
def test_tikhonov_prox_has_no_slope_left(weight, tau, seed, referred):
    """weight (x - reference) + (x - v)/tau = 0."""
    v, reference = noise((2, 1, 4, 5), seed), noise((1, 4, 5), seed + 1) if referred else None
    prior = Tikhonov(weight, reference)
    x = prior.prox(v, tau)
    slope = prior.gradient(x) + (x - v) / tau
    assert slope.abs().max() <= 1e-12 * (1 + weight) * (1 + 1 / tau) * (1 + v.abs().max())
    per_image = torch.full((2, 1, 1, 1), tau, dtype=v.dtype)
    assert torch.equal(prior.prox(v, per_image), x)


def test_tikhonov_keeps_what_it_refers_to():
    v = noise((1, 4, 4))
    assert torch.equal(Tikhonov(3.0, v).prox(v, 0.5), v)
    assert Tikhonov(3.0, v)(v) == 0


@pytest.mark.parametrize("layout", ["BCHW", "HWC"])
def test_a_denoiser_may_work_in_place(layout):
    def halve(image, sigma):
        image *= 0.5
        return image

    v = noise((2, 3, 4, 5))
    before = v.clone()
    assert torch.equal(Denoiser(halve, layout=layout).prox(v, 1.0), before / 2)
    assert torch.equal(v, before)
    x = Denoiser(lambda image, sigma: image, layout=layout).prox(v, 1.0)
    x += 1  # no view of the image
    assert torch.equal(v, before)


@given(lo=st.floats(-1, 0), hi=st.floats(0, 1), seed=seeds, tau=st.floats(1e-3, 10))
def test_box_prox_is_the_nearest_point_inside(lo, hi, seed, tau):
    v = noise((1, 5, 4), seed)
    x = Box(lo, hi).prox(v, tau)
    assert Box(lo, hi)(x) == 0
    assert torch.equal(Box(lo, hi).prox(x, tau), x)
    for z in (v, noise(v.shape, seed + 1)):
        inside = z.clamp(lo, hi)
        assert ((v - x) * (inside - x)).sum() <= 1e-12  # the obtuse angle of a projection


def test_box_may_be_open():
    v = noise((2, 1, 3, 3))
    assert torch.equal(Box(0).prox(v, 1.0), v.clamp_min(0))
    assert Box(0)(v).tolist() == [float("inf")] * 2
    assert Box()(v.abs()).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("symmetry", range(8))
def test_each_symmetry_is_undone(symmetry):
    x = noise((2, 3, 4, 5))
    turned = _turn(x, symmetry)
    assert turned.shape[-2:] == ((5, 4) if symmetry % 2 else (4, 5))
    assert torch.equal(_turn_back(turned, symmetry), x)


def test_the_eight_symmetries_differ():
    x = noise((1, 4, 4))
    assert len({tuple(_turn(x, k).flatten().tolist()) for k in range(8)}) == 8


@given(seed=seeds, shift=st.integers(0, 5))
def test_an_equivariant_prior_is_left_alone(seed, shift):
    """A pixelwise denoiser does not notice flips, rotations and shifts."""
    prior = Equivariant(Denoiser(lambda v, sigma: v / (1 + sigma**2)), seed, shift=shift).fresh()
    v = noise((2, 3, 6, 7), seed)
    for _ in range(4):
        assert torch.allclose(prior.prox(v, 0.5), v / 1.5)


def test_draws_run_on_in_a_fresh_copy_only():
    """The held object repeats its first draw; two fresh copies make the same sequence; a state restores it."""
    prior = Equivariant(Denoiser(lambda v, sigma: v + torch.linspace(0, 1, v.shape[-1]).to(v)), seed=3)
    v = noise((1, 8, 8))
    held = [prior.prox(v, 1.0) for _ in range(6)]
    assert all(torch.equal(x, held[0]) for x in held)
    one, two = prior.fresh(), prior.fresh()
    draws = [one.prox(v, 1.0) for _ in range(6)]
    assert torch.equal(draws[0], held[0])
    assert not all(torch.equal(x, draws[0]) for x in draws)
    assert all(torch.equal(two.prox(v, 1.0), x) for x in draws)
    state = one.state_dict()
    ahead = [one.prox(v, 1.0) for _ in range(3)]
    resumed = prior.fresh()
    resumed.load_state_dict(state)
    assert all(torch.equal(resumed.prox(v, 1.0), x) for x in ahead)


def test_several_draws_are_averaged():
    v, tau = noise((2, 1, 12, 11)), 0.1
    one, three = (Equivariant(NLM(3, 5), 5, draws=draws).fresh() for draws in (1, 3))
    for _ in range(2):
        expected = sum(one.prox(v, tau) for _ in range(3)) / 3
        assert (three.prox(v, tau) - expected).abs().max() <= 1e-12


@given(
    seed=seeds,
    size=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    tile=st.integers(1, 12),
    spread=st.integers(0, 1),
)
def test_tiles_fit_together_where_the_footprint_permits(seed, size, tile, spread):
    prior = NLM(3, 5, 0.7, spread=spread)
    v = noise((2, 1, *size), seed)
    tau = torch.tensor([0.1, 1.0], dtype=v.dtype).reshape(2, 1, 1, 1)
    halo = 2 + 1 + spread
    assert (Tiled(prior, tile, halo).prox(v, tau) - prior.prox(v, tau)).abs().max() <= 1e-12


def test_every_tile_has_its_own_memory():
    prior = Tiled(TV(1.0, gap=1e-6), tile=8, halo=4).fresh()
    v = noise((3, 1, 20, 12))
    x = prior.prox(v, 0.1)
    assert len(prior.state_dict()) == 6
    again = Tiled(TV(1.0, gap=1e-6), tile=8, halo=4).fresh()
    again.load_state_dict(prior.state_dict())
    assert torch.equal(again.prox(v + 0.01, 0.1), prior.prox(v + 0.01, 0.1))
    assert (prior.take(torch.tensor([1])).prox(v[1:2], 0.1) - x[1:2]).norm() <= 1e-2 * x[1:2].norm()


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: Tikhonov(-1.0), ValueError),
        (lambda: Tikhonov(float("nan")), ValueError),
        (lambda: Box(1, 0), ValueError),
        (lambda: Box(float("nan"), 0), ValueError),
        (lambda: Box(float("inf"), float("inf")), ValueError),
        (lambda: Box(-float("inf"), -float("inf")), ValueError),
        (lambda: Tikhonov(1.0, torch.tensor([0.0, float("nan")])), ValueError),
        (lambda: Equivariant(abs), TypeError),
        (lambda: Equivariant(Box(), shift=-1), ValueError),
        (lambda: Tiled(abs), TypeError),
        (lambda: Tiled(Box(), 0), ValueError),
        (lambda: Equivariant(Box()).load_state_dict({"x": 1}), ValueError),
        (lambda: TV().load_state_dict({"x": 1}), ValueError),
    ],
)
def test_bad_settings_are_refused(make, error):
    with pytest.raises(error):
        make()
