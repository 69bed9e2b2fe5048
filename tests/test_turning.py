"""A prior that prefers a direction, turned from call to call by the automatic runs."""

import pytest
import torch
from pictures import picture

from pnp import ADMM, Denoiser, LeastSquares, reconstruct
from pnp.automatic import anchored_for_rows
from pnp.operators import Blur, Mask, SinglePixel
from pnp.priors import TV
from pnp.turning import TURNS, TURNS_OF_VOLUMES, Turning

f64 = torch.float64


def lean(v, sigma):
    """A filter that prefers a direction and remembers nothing."""
    return v - 0.3 * (v - v.roll(1, -1)) - 0.1 * (v - v.roll(2, -2))


@pytest.mark.parametrize(("shape", "turns"), [((2, 1, 6, 7), TURNS), ((2, 1, 4, 6, 7), TURNS_OF_VOLUMES)])
def test_every_direction_takes_its_turn(shape, turns):
    v = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=f64)
    prior = Denoiser(lean)
    turning = Turning(prior).fresh()
    for axes in (*turns, *turns):
        assert torch.equal(turning.prox(v, 0.01), prior.prox(v.flip(axes), 0.01).flip(axes))
    assert len({frozenset(axes) for axes in turns}) == 4


def test_what_the_user_holds_never_turns():
    v = torch.rand((1, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=f64)
    turning = Turning(Denoiser(lean))
    assert torch.equal(turning.prox(v, 0.01), turning.prox(v, 0.01))


@pytest.mark.parametrize("coupled", [True, False])
@pytest.mark.parametrize(("ndim", "shape"), [(2, (2, 3, 9, 12)), (3, (1, 2, 5, 6, 7))])
def test_the_memory_turns_with_the_image(coupled, ndim, shape):
    """One corner's dual is the start of the next one's: a few per cent of the edges are grouped otherwise."""
    v = torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=f64)
    prior = TV(1.0, gap=1e-7, ndim=ndim, coupled=coupled, isotropic=False).fresh()  # a symmetric functional
    prior.prox(v, 0.1)
    needed = int(prior.iterations.max())
    for axes in TURNS if ndim == 2 else TURNS_OF_VOLUMES:
        turned = prior.reversed(axes)
        turned.prox(v.flip(axes), 0.1)
        assert int(turned.iterations.max()) == 4 < needed  # the first check finds it solved


def test_a_memory_of_what_is_no_axis_of_the_prior_is_dropped():
    volumes = torch.rand((1, 1, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=f64)
    prior = TV(1.0, gap=1e-5).fresh()
    prior.prox(volumes, 0.1)
    assert not prior.reversed((-1, -3)).state_dict()
    assert prior.reversed((-1, -2)).state_dict()


def test_the_memory_is_kept():
    v = picture(16)[None]
    batch = torch.cat([v, 0.5 * v.flip(-1)])
    turning = Turning(TV(0.2, gap=1e-5)).fresh()
    begun = [turning.prox(batch, 0.1) for _ in range(6)]
    resumed = Turning(TV(0.2, gap=1e-5)).fresh()
    resumed.load_state_dict(turning.state_dict())
    alone = turning.take(torch.tensor([1]))
    expected = turning.prox(batch, 0.1)
    assert torch.equal(resumed.prox(batch, 0.1), expected)
    assert torch.equal(alone.prox(batch[1:], 0.1), expected[1:])
    assert not torch.equal(expected, begun[0])


def test_a_mirrored_problem_has_the_mirrored_answer():
    """Nearly: four times nearer than without turning."""
    x = picture(32)
    blur = Blur.gaussian(1.2, (32, 32), dtype=f64)
    y = blur(x) + 0.02 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=f64)

    def difference(prior):
        images = [
            ADMM(s=0.04, max_iter=60, tol=0).solve(LeastSquares(blur, data, 0.02), prior, progress=False).x
            for data in (y, y.flip(-1))
        ]
        return (images[0] - images[1].flip(-1)).square().mean().sqrt()

    plain = TV(5.0, gap=1e-6)
    assert difference(Turning(plain)) < 0.25 * difference(plain)


def test_an_anchored_prior_has_one_strength_an_image():
    v = picture(16)[None].repeat(2, 1, 1, 1)
    level = torch.tensor([0.05, 0.2], dtype=f64).reshape(2, 1, 1, 1)
    anchored = TV(gap=1e-5).anchored(level)
    for tau in (0.01, 0.1):
        one_by_one = [TV(0.3 / float(s), gap=1e-5).prox(image[None], tau) for s, image in zip(level, v, strict=True)]
        assert torch.allclose(anchored.prox(v, tau), torch.cat(one_by_one))
    assert torch.allclose(anchored.fresh().take(torch.tensor([1])).prox(v[1:], 0.1), one_by_one[1])
    volumes = picture(16)[None].repeat(2, 3, 1, 1).unsqueeze(1)  # whose slices are channels to a prior of pictures
    slices = TV(gap=1e-5, coupled=False).anchored(level.unsqueeze(1))
    assert torch.allclose(slices.prox(volumes, 0.1)[1, 0, :1], TV(0.3 / 0.2, gap=1e-5).prox(v[1:], 0.1)[0])
    given = TV(0.1)
    assert given.anchored(level) is given
    assert not given.directional


@pytest.mark.parametrize(
    ("A", "anchored"),
    [
        (Blur.gaussian(1.2, (16, 16), dtype=f64), True),
        (Mask.random((16, 16), 0.6, dtype=f64), False),
        (SinglePixel((16, 16), 128, seed=0).double(), False),
    ],
    ids=["blur", "mask", "single pixel"],
)
def test_a_solver_that_is_named_anchors_behind_a_blur(A, anchored):
    """The strength of a denoiser is its own, and so is HQS's schedule."""
    for solver, prior in (("ADMM", TV()), ("ADMM", Denoiser(lean)), ("HQS", TV())):
        result = reconstruct(A(picture(16)), A, prior, sigma=0.01, solver=solver, progress=False)
        name = result.parameters["solver"].value
        assert name.startswith(solver)
        assert ("of one strength" in name) == (anchored and solver == "ADMM" and isinstance(prior, TV))


def test_the_strength_for_random_rows_is_the_share_of_the_quarter():
    """The more rows, the less of the picture is mistaken for noise: measured at a quarter, half and all of them."""
    assert [anchored_for_rows(share).weight for share in (0.1, 0.25, 0.5, 1.0)] == [1.0, 1.0, 2.0, 4.0]


def test_only_priors_that_prefer_a_direction_are_turned():
    seen = []

    def remember(v, sigma):
        seen.append(v.clone())
        return v

    mask = Mask.random((8, 8), 0.6, dtype=f64)
    y = mask(picture(8))
    prior = Denoiser(remember)
    for directional in (False, True):
        prior.directional = directional
        seen.clear()
        reconstruct(y, mask, prior, sigma=0.1, bounds=(0.0, 1.0), progress=False)
        corner = [v.flatten()[0] for v in seen[:2]]  # the second call sees the first image, mirrored
        assert torch.allclose(*corner) != directional
