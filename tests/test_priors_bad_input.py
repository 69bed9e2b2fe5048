"""Whatever a prior is given, the answer is right or the error is clear: every prior of the catalogue, one sweep."""

import math

import numpy as np
import pytest
import torch

import pnp.priors
from pnp import Denoiser
from pnp.priors import BM3D, NLM, TV, Box, Clipped, DeepImagePrior, Equivariant, Tikhonov, Tiled, Wavelet

SIGMA = 0.1
SIDES = (1, 2, 3, 5, 7, 8, 9, 12, 15, 16)
SHAPES = [(a, a) for a in SIDES] + [(8, n) for n in (1, 3, 17, 40)] + [(n, 8) for n in (1, 3, 17, 40)] + [(1, 16)]

KINDS = {
    "TV": TV(),
    "TV of given weight": TV(1 / SIGMA, bounds=(-1, 2)),
    "TV of channels apart": TV(coupled=False, isotropic=False, backend="torch"),
    "TV of volumes": TV(ndim=3),
    "NLM": NLM(),
    "NLM, torch": NLM(backend="torch"),
    "Wavelet": Wavelet(),
    "Wavelet of bands": Wavelet("sym4", window=None, threshold="sure"),
    "BM3D": BM3D(),
    "BM3D, fast": BM3D("fast"),
    "BM3D, high, torch": BM3D("high", backend="torch"),
    "Tikhonov": Tikhonov(),
    "Box": Box(-1, 2),
    "Clipped": Clipped(BM3D(), -1, 2),
    "Equivariant": Equivariant(BM3D()),
    "Tiled": Tiled(BM3D(), 9, 6),
    "Denoiser": Denoiser(lambda image, sigma: image / (1 + sigma)),
    "DeepImagePrior": DeepImagePrior("tiny", steps=(20, 5)),
}
SLOW = {"DeepImagePrior"}
KEPT = KINDS.keys() - {"Tikhonov", "Denoiser", "DeepImagePrior"}  # the others pull constants to zero, or fit them


def each(names):
    return pytest.mark.parametrize(
        "kind", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in names]
    )


def image(kind, shape=(9, 10), channels=1, dtype=torch.float64):
    """A ramp in noise."""
    depth = (3,) if "volumes" in kind else ()
    ramp = torch.linspace(0.2, 0.8, shape[-1], dtype=torch.float64).expand(channels, *depth, *shape)
    noise = torch.randn(ramp.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (ramp + SIGMA * noise).to(dtype)


def answer_is_an_image(x, v):
    assert (x.shape, x.dtype) == (v.shape, v.dtype)
    assert x.isfinite().all()
    assert (x - v).abs().max() <= 10 * SIGMA


def test_the_sweep_names_every_prior():
    assert {type(prior).__name__ for prior in KINDS.values()} == {*pnp.priors.__all__, "Denoiser"}


@each(KINDS)
def test_small_pictures_and_strips(kind):
    shapes = SHAPES[::6] if kind in SLOW else SHAPES
    for shape in shapes:
        v = image(kind, shape)
        answer_is_an_image(KINDS[kind].denoise(v, SIGMA), v)


@each(KINDS)
def test_any_number_of_channels(kind):
    for channels in (1, 3) if kind in SLOW else (1, 2, 3, 4, 7):
        for shape in ((9, 10), (8, 8)):
            v = image(kind, shape, channels)
            answer_is_an_image(KINDS[kind].denoise(v, SIGMA), v)


@each(KINDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_floating_type_comes_back(kind, dtype):
    v = image(kind, dtype=dtype)
    answer_is_an_image(KINDS[kind].denoise(v, SIGMA), v)


@each(KEPT)
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_constants_stay(kind, level):
    for channels in (1, 3):
        v = torch.full_like(image(kind, (8, 9), channels), level)
        assert (KINDS[kind].denoise(v, SIGMA) - v).abs().max() <= 1e-6


@each(KINDS)
def test_no_noise_no_change(kind):
    v = image(kind)
    assert torch.equal(KINDS[kind].denoise(v, 0.0), v)
    batch = torch.stack([v, v])
    x = KINDS[kind].denoise(batch, torch.tensor([0.0, SIGMA], dtype=v.dtype).reshape(2, *(1,) * v.ndim))
    assert torch.equal(x[0], v)
    answer_is_an_image(x[1], v)


@each(KINDS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_images_that_are_not_finite_are_refused(kind, bad):
    v = image(kind)
    v.view(-1)[3] = bad
    with pytest.raises(ValueError, match="NaN or infinite"):
        KINDS[kind].denoise(v, SIGMA)


@each(KINDS.keys() - SLOW)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_prox_ends_whatever_it_is_given(kind, bad):
    """It does not look at values; its compiled loops must still end and stay inside their arrays."""
    v = image(kind, channels=3)
    v.view(-1)[3] = bad
    assert KINDS[kind].prox(v, SIGMA**2).shape == v.shape


@each(KINDS)
@pytest.mark.parametrize("sigma", [-0.1, math.nan, math.inf])
def test_impossible_noise_levels_are_refused(kind, sigma):
    with pytest.raises(ValueError, match=r"sigma to be finite and >= 0"):
        KINDS[kind].denoise(image(kind), sigma)


@each(KINDS)
def test_half_precision_is_computed_in_float32(kind):
    """The square of 1e-4 vanishes in float16, that of 300 overflows."""
    prior = KINDS[kind]
    for scale, level in ((1e-3, 1e-4), (1.0, 1e-4), (255.0, 300.0)):
        v = (scale * image(kind)).half()
        x = prior.denoise(v, level)
        assert torch.allclose(x.float(), prior.denoise(v.float(), level), rtol=2e-3, atol=2e-3 * scale)


@each(KINDS)
@pytest.mark.parametrize("scale", [1e-22, 1e22])
def test_noise_levels_whose_square_is_lost_are_refused(kind, scale):
    v = image(kind, dtype=torch.float32)
    with pytest.raises(ValueError, match=r"square of sigma .* beyond torch.float32; rescale"):
        KINDS[kind].denoise(scale * v, scale * SIGMA)
    answer_is_an_image(KINDS[kind].denoise(v, 0.0), v)


@each(KINDS.keys() - SLOW)
def test_levels_that_fit_no_batch_are_refused(kind):
    prior = KINDS[kind]
    v = torch.stack([image(kind)] * 3)
    ones = (1,) * (v.ndim - 1)
    for call in (prior.prox, prior.denoise):
        for wrong in ((2, *ones), (4, *ones), (2, *v.shape)):
            with pytest.raises(ValueError, match="one per image"):
                call(v, torch.full(wrong, SIGMA**2, dtype=v.dtype))
        for kindless in ("auto", None, 1j):
            with pytest.raises(TypeError, match="real number"):
                call(v, kindless)
        every = torch.full((3, *ones), SIGMA**2, dtype=v.dtype)
        for one in (SIGMA**2, every[0], every[:1], np.float64(SIGMA**2), np.full((3, *ones), SIGMA**2)):
            assert torch.equal(call(v, one), call(v, every))
    for impossible in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="tau to be finite and >= 0"):
            prior.prox(v, impossible)


@each(["NLM", "NLM, torch", "BM3D", "BM3D, high, torch", "TV", "Wavelet"])
@pytest.mark.parametrize("channels", [1, 3])
def test_offsets_cost_no_digits(kind, channels):
    v = image(kind, (24, 25), channels, torch.float32) + 1000
    moved = v.double() - 1000
    error = KINDS[kind].prox(v, SIGMA**2).double() - 1000 - KINDS[kind].prox(moved, SIGMA**2)
    assert error.square().mean().sqrt() <= 6e-5  # the spacing of float32 there


@each(KINDS.keys() - SLOW)
def test_only_a_fresh_copy_takes_a_memory(kind):
    prior, v = KINDS[kind], image(kind)
    solve = prior.fresh()
    solve.prox(v, SIGMA**2)
    state = solve.state_dict()
    if state:
        with pytest.raises(ValueError, match="load_state_dict"):
            prior.load_state_dict(state)
    assert prior.state_dict() == {}


@each(KINDS)
def test_a_noise_level_for_each_pixel_is_refused(kind):
    v = image(kind)
    with pytest.raises(ValueError, match="one per image"):
        KINDS[kind].denoise(v, torch.full_like(v, SIGMA))


@each(KINDS)
def test_what_is_no_picture_is_refused(kind):
    prior, v = KINDS[kind], image(kind)
    for integers in ((255 * v).to(torch.uint8), (255 * v).long(), v > 0.5):
        for call in (prior.denoise, prior.prox):
            with pytest.raises(TypeError, match=r"to_tensor"):
                call(integers, SIGMA)
    for array in ((255 * v).numpy().astype(np.uint8), v.tolist(), None):
        with pytest.raises(TypeError, match="to_tensor"):
            prior.denoise(array, SIGMA)
    with pytest.raises(ValueError, match="expected an image"):
        prior.prox(v[0, 0] if v.ndim == 3 else v[0, 0, 0], SIGMA)
    with pytest.raises(ValueError, match="expected an image"):
        prior.denoise(torch.zeros(5), SIGMA)
    with pytest.raises(ValueError, match="non-empty"):
        prior.denoise(v[..., :0], SIGMA)


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_a_batch_of_small_pictures_goes_in_one_call(backend):
    v = torch.stack([image("", (32, 32), dtype=torch.float32).roll(k, -1) for k in range(64)])
    prior = BM3D(backend=backend)
    x = prior.denoise(v, SIGMA)
    answer_is_an_image(x, v)
    for k in (0, 31, 63):
        assert (x[k] - prior.denoise(v[k], SIGMA)).square().mean().sqrt() <= 1e-3 * SIGMA
