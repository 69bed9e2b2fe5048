"""Priors around priors: what is known of the one inside is known of the whole."""

import pytest
import torch
from pictures import picture

from pnp import reconstruct
from pnp.operators import Blur
from pnp.priors import BM3D, TV, Clipped, Equivariant, Tiled
from pnp.problem import Bounded

f64 = torch.float64
AROUND = {
    "Tiled": lambda prior: Tiled(prior, tile=64, halo=0),
    "Equivariant": lambda prior: Equivariant(prior, shift=0),
    "Clipped": lambda prior: Clipped(prior, -10.0, 10.0),
    "Bounded": lambda prior: Bounded(prior, (-10.0, 10.0)),
}
wrappers = pytest.mark.parametrize("name", AROUND)


@wrappers
def test_facts_are_those_of_the_prior_inside(name):
    for prior in (TV(), TV(0.1), BM3D()):
        outside = AROUND[name](prior)
        assert outside.cost == prior.cost
        assert outside.calibrated == prior.calibrated
        assert outside.directional == (prior.directional and name != "Equivariant")  # which turns the picture itself
        assert outside.deterministic == (name != "Equivariant")


@wrappers
def test_one_strength_for_a_solve_reaches_the_prior_inside(name):
    """Images of their own level each, also once some of the batch have finished."""
    v = picture(16)[None].repeat(3, 1, 1, 1)
    level = torch.tensor([0.05, 0.1, 0.2], dtype=f64).reshape(3, 1, 1, 1)
    anchored = AROUND[name](TV(isotropic=False, gap=1e-6)).anchored(level).fresh()
    for tau in (0.01, 0.1):
        expected = torch.cat([TV(0.3 / float(s), isotropic=False, gap=1e-6).prox(v[:1], tau) for s in level])
        assert (anchored.prox(v, tau) - expected).abs().max() <= 2e-3
    kept = torch.tensor([0, 2])
    assert (anchored.take(kept).prox(v[kept], 0.1) - expected[kept]).abs().max() <= 2e-3


@pytest.mark.parametrize("name", ["Tiled", "Clipped"])
def test_a_wrapper_that_changes_nothing_changes_no_reconstruction(name):
    blur = Blur.gaussian(1.2, (32, 32), dtype=f64)
    y = blur(picture(32)) + 0.01 * torch.randn((1, 32, 32), generator=torch.Generator().manual_seed(0), dtype=f64)
    plain, wrapped = (
        reconstruct(y, blur, prior, sigma=0.01, progress=False)
        for prior in (TV(gap=1e-6), AROUND[name](TV(gap=1e-6)))  # warm or not, to this accuracy
    )
    assert (plain.x - wrapped.x).abs().max() <= 1e-3


@pytest.mark.parametrize("kind", [Tiled, Equivariant, Clipped])
def test_only_a_prior_can_be_inside(kind):
    with pytest.raises(TypeError, match=rf"{kind.__name__}: expected a prior, got .*; wrap it in pnp.Denoiser"):
        kind(abs)


def test_counts_and_memories_that_are_none_are_refused():
    for make in (lambda: Tiled(TV(), 9.5), lambda: Tiled(TV(), 9, 1.5), lambda: Equivariant(TV(), shift=True)):
        with pytest.raises(TypeError, match="must be a whole number"):
            make()
    with pytest.raises(ValueError, match="keys 'top,left' of tiles, got"):
        Tiled(TV(), 8).fresh().load_state_dict({"junk": {}})
