"""The front door: kinds, shapes, scale, batches, choices, limits."""

import json
import math

import numpy as np
import pytest
import torch
from pictures import noise, picture

from pnp import ADMM, HQS, Denoiser, Status, psnr, reconstruct
from pnp.automatic import COMPLETE, FILL, only_recipe
from pnp.operators import (
    Blur,
    Decimate,
    Demosaic,
    Downsample,
    Fourier,
    Gradient,
    Identity,
    Mask,
    Matrix,
    Radon,
    SinglePixel,
)
from pnp.operators.kernels import gaussian
from pnp.priors import BM3D, NLM, TV, Tikhonov

SIDE = (64, 64)
OPERATORS = {
    "identity": Identity(SIDE),
    "blur": Blur.gaussian(1.2, SIDE, dtype=torch.float64),
    "mask": Mask.random(SIDE, 0.4, seed=1, dtype=torch.float64),
    "single pixel": SinglePixel(SIDE, 1500, seed=2),
}
PRIORS = {"TV": TV(), "NLM": NLM(), "BM3D": BM3D()}


def data(name, sigma=0.02, seed=0, image="camera"):
    A = OPERATORS[name].double()
    x = picture(64, name=image)
    return A, x, A(x) + sigma * noise(A(x).shape, seed)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("name", OPERATORS)
def test_it_improves_on_the_trivial_inverse(name, prior):
    A, x, y = data(name)
    trivial = {"identity": y, "blur": A.wiener(y, 1e-2), "mask": A.adjoint(y), "single pixel": A.pinv(y)}[name]
    result = reconstruct(y, A, PRIORS[prior], progress=False)
    gain = {"identity": 1.0, "blur": 0.5, "mask": 8.0, "single pixel": 8.0}[name]
    assert psnr(result.x, x) >= psnr(trivial, x) + gain
    assert result.status in (Status.CONVERGED, Status.MAX_ITER, Status.STAGNATED)


@pytest.mark.parametrize("name", OPERATORS)
def test_answers_come_in_the_kind_of_the_data(name):
    A, x, y = data(name)
    y2, x2 = y[0], x[0]  # (H, W) or (m,): one grey image
    grey = reconstruct(y2, A, TV(), sigma=0.02, effort="fast", progress=False)
    assert grey.x.shape == x2.shape
    assert grey.x.dtype == torch.float64
    array = reconstruct(y2.numpy(), A, TV(), sigma=0.02, effort="fast", progress=False)
    assert isinstance(array.x, np.ndarray)
    assert np.array_equal(array.x, grey.x.numpy())
    for lead in ((1,), (1, 1), (2, 1)):
        batch = reconstruct(y2.expand(*lead, *y2.shape), A, TV(), sigma=0.02, effort="fast", progress=False)
        assert batch.x.shape == (*lead, *x2.shape)
        assert (batch.x - grey.x).abs().max() <= 1e-9


def test_double_data_with_a_single_operator_are_cast_and_cast_back():
    A = Blur.gaussian(1.2, SIDE, dtype=torch.float32)
    y = A(picture(64, dtype=torch.float32)).double()
    result = reconstruct(y, A, TV(), sigma=0.01, effort="fast", progress=False)
    assert result.x.dtype == torch.float64


def test_colour():
    A, x, y = data("blur", image="astronaut")
    for prior in PRIORS.values():
        result = reconstruct(y, A, prior, sigma=0.02, effort="fast", progress=False)
        assert result.x.shape == (3, 64, 64)
        assert psnr(result.x, x) > psnr(A.wiener(y, 1e-2), x) + 0.3


@pytest.mark.parametrize("scale", [1e-3, 255.0, 65535.0])
@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("name", OPERATORS)
def test_scaling_the_data_scales_the_answer(name, prior, scale):
    A, x, y = data(name)
    one = reconstruct(y, A, PRIORS[prior], sigma=0.02, effort="fast", progress=False).x
    many = reconstruct(scale * y, A, PRIORS[prior], sigma=scale * 0.02, effort="fast", progress=False).x / scale
    if prior == "BM3D":  # block matching breaks ties by rounding, which message passing on few pixels amplifies
        assert abs(psnr(many, x) - psnr(one, x)) <= (0.15 if name == "single pixel" else 0.02)
    else:
        assert (many - one).abs().max() <= 1e-6


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("name", OPERATORS)
def test_a_batch_of_three_is_three_single_calls(name, prior):
    A, x, _ = data(name)
    pictures = torch.stack([x, x.flip(-1), 0.5 * x.flip(-2)])
    y = A(pictures)
    y = y + 0.02 * noise(y.shape, 5)
    effort = "fast" if prior == "BM3D" else "auto"
    together = reconstruct(y, A, PRIORS[prior], effort=effort, progress=False)
    for i in range(3):
        alone = reconstruct(y[i], A, PRIORS[prior], effort=effort, progress=False)
        if prior == "BM3D":
            assert abs(psnr(together.x[i], pictures[i]) - psnr(alone.x, pictures[i])) <= 0.02
        else:
            assert (together.x[i] - alone.x).abs().max() <= 1e-9
        assert together.statuses[i] is alone.status


def test_dead_pixels_may_hold_anything():
    A, _, y = data("mask")
    holes = torch.where(A.mask != 0, y, math.nan)
    for sigma in (0.02, "auto"):
        clean = reconstruct(y, A, TV(), sigma=sigma, progress=False).x
        assert torch.equal(reconstruct(holes, A, TV(), sigma=sigma, progress=False).x, clean)


def test_a_noise_level_for_every_image():
    A, x, _ = data("blur")
    levels = torch.tensor([0.01, 0.05], dtype=torch.float64)
    y = A(x) + levels.reshape(2, 1, 1, 1) * noise((2, *x.shape))
    together = reconstruct(y, A, TV(), sigma=levels.reshape(2, 1, 1, 1), progress=False)
    for i in range(2):
        alone = reconstruct(y[i], A, TV(), sigma=float(levels[i]), progress=False)
        assert (together.x[i] - alone.x).abs().max() <= 1e-9


def test_every_choice_is_told_with_its_reason():
    A, _, y = data("blur")
    result = reconstruct(y, A, TV(), progress=False)
    text = str(result)
    assert {"sigma", "solver", "prior_calls", "expected_data_error"} <= result.parameters.keys()
    for name, choice in result.parameters.items():
        assert f"{name} = " in text
        assert choice.reason in text
    record = json.loads(result.to_json())
    assert record["parameters"]["prior_calls"]["value"] == 60
    assert "\n" not in repr(result)


def test_predictions_are_honest():
    """Denoising and random rows know their error; elsewhere nothing is claimed. (1500 rows tell it to a decibel.)"""
    for name, tolerance in (("identity", 0.5), ("single pixel", 1.0)):
        misses = []
        for seed in range(5):
            A, x, y = data(name, sigma=0.05, seed=seed)
            result = reconstruct(y, A, NLM(), sigma=0.05, progress=False)
            misses.append(float(result.expected_psnr) - float(psnr(result.x, x)))
        assert abs(sum(misses) / len(misses)) <= tolerance
    A, x, y = data("blur", sigma=0.05)
    result = reconstruct(y, A, TV(), sigma=0.05, progress=False)
    assert result.expected_psnr is None
    error = (A(result.x) - A(x)).square().mean().sqrt()
    assert float(result.parameters["expected_data_error"].value) == pytest.approx(float(error), rel=0.2)


def test_a_convex_prior_of_given_weight_is_minimised():
    A, _, y = data("blur")
    result = reconstruct(y, A, Tikhonov(10.0), sigma=0.02, progress=False)
    expected = A.tikhonov(y, 10.0 * 0.02**2)
    assert (result.x - expected).norm() <= 1e-2 * expected.norm()
    assert result.status is Status.CONVERGED


def test_an_expensive_prior_denoises_once_at_the_noise_level_itself():
    A, y = Identity((24, 24)), picture(24) + 0.1 * noise((1, 24, 24), 0)
    levels = []
    prior = Denoiser(lambda x, sigma: levels.append(float(sigma)) or x)
    prior.cost = "expensive"
    reconstruct(y, A, prior, sigma=0.1, progress=False)
    assert levels == [pytest.approx(0.1)]


def test_a_solver_of_ones_own_is_used_as_it_is():
    A, _, y = data("blur")
    result = reconstruct(y, A, TV(), sigma=0.02, solver=HQS(s=[0.2, 0.1, 0.05]), progress=False)
    assert result.iterations == 3
    assert result.history.s.flatten().tolist() == pytest.approx([0.2, 0.1, 0.05])
    assert reconstruct(y, A, TV(), solver=ADMM(s=0.1, max_iter=4), progress=False).iterations == 4


def test_limits():
    A, _, y = data("blur")
    calls = []
    counting = Denoiser(lambda x, sigma: calls.append(1) or x)
    for limit in (1, 5, 30, 100):
        calls.clear()
        reconstruct(y, A, counting, sigma=0.02, max_prior_calls=limit, progress=False)
        assert 1 <= len(calls) <= limit
    assert reconstruct(y, A, TV(), time_limit=0.0, progress=False).status is Status.TIME_LIMIT
    stopped = reconstruct(y, A, TV(), callback=lambda step: step.iteration == 2, progress=False)
    assert (stopped.status, stopped.iterations) == (Status.INTERRUPTED, 2)


def test_interrupts_return_an_image():
    A, _, y = data("blur")
    calls = []

    def denoiser(x, sigma):
        calls.append(1)
        if len(calls) == 25:
            raise KeyboardInterrupt
        return x

    result = reconstruct(y, A, Denoiser(denoiser), sigma=0.02, progress=False)
    assert result.status is Status.INTERRUPTED
    assert torch.isfinite(result.x).all()
    assert len(calls) == 25


def test_bounds():
    A, _, y = data("blur")
    result = reconstruct(y, A, TV(), bounds=(0.3, 0.6), progress=False)
    assert float(result.x.min()) >= 0.3
    assert float(result.x.max()) <= 0.6


def test_odd_data():
    """Constant pictures, tiny pictures, no noise, much noise: an image, finite."""
    for shape in ((1, 9), (8, 8), (5, 3)):
        A = Blur.gaussian(0.8, shape, dtype=torch.float64)
        for y in (torch.zeros(shape).double(), torch.full(shape, 0.5).double(), noise(shape)):
            for sigma in (0.0, 10.0, "auto"):
                for prior in PRIORS.values():
                    x = reconstruct(y, A, prior, sigma=sigma, effort="fast", progress=False).x
                    assert torch.isfinite(x).all()


def test_a_picture_too_small_for_a_noise_estimate_is_denoised_all_the_same():
    """Cross-validation is blind to the data themselves, which fit perfectly; and no error can be told."""
    x = picture(64)[:, 20:32, 20:32]
    y = x + 0.005 * (x.max() - x.min()) * noise(x.shape)
    result = reconstruct(y, Identity((12, 12)), TV(), progress=False)
    assert not torch.equal(result.x, y)
    assert result.expected_psnr is None
    assert result.parameters["expected_psnr"].reason == "unknown: so is the noise level"


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2)])
def test_the_tiniest_pictures_are_denoised(shape):
    result = reconstruct(noise(shape), Identity(shape), TV(), sigma=0.1, progress=False)
    assert torch.isfinite(result.x).all()
    assert (result.extras["error_map"] >= 0).all()


@pytest.mark.parametrize("call", [5, 15, 25, 35])
def test_candidates_cut_short_are_told(call):
    """In the first run, its probe, the second run, its probe."""
    A, _, y = data("blur")
    calls = []

    def denoiser(x, sigma):
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        return x

    result = reconstruct(y, A, Denoiser(denoiser), sigma=0.02, progress=False)
    assert result.statuses == (Status.INTERRUPTED,)
    assert result.parameters["expected_psnr"].reason.startswith("unknown: ")
    assert result.prior_calls == min(call, 10) - (call < 10)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"A": torch.eye(3)}, TypeError, "expected A to be a LinearOperator"),
        ({"prior": lambda x, sigma: x}, TypeError, r"wrap it as Denoiser\(D\)"),
        ({"prior": 3}, TypeError, "pnp.priors has a catalogue"),
        ({"y": torch.zeros(64, 63).double()}, ValueError, "expected data of shape"),
        ({"y": torch.zeros(64, 64, dtype=torch.int32)}, TypeError, "floating-point"),
        ({"y": torch.tensor(1.0).double()}, ValueError, "expected data of shape"),
        ({"y": torch.full((64, 64), math.nan).double()}, ValueError, "NaN or infinite"),
        ({"sigma": -1.0}, ValueError, "sigma"),
        ({"sigma": math.nan}, ValueError, "sigma"),
        ({"sigma": "high"}, ValueError, "sigma"),
        ({"effort": "much"}, ValueError, "effort"),
        ({"solver": "FISTER"}, ValueError, "expected a Solver"),
        ({"max_prior_calls": 0}, ValueError, "max_prior_calls"),
        ({"bounds": (1.0, 0.0)}, ValueError, "low < high"),
        ({"x0": torch.full((64, 64), math.inf).double()}, ValueError, "NaN or infinite"),
        ({"data_term": "l2"}, TypeError, "data_term"),
    ],
)
def test_bad_input(change, error, message):
    A, _, y = data("blur")
    arguments = {"y": y[0], "A": A, "prior": TV(), "progress": False} | change
    with pytest.raises(error, match=message):
        reconstruct(**arguments)


def test_a_kernel_for_every_image():
    """Images that finish early leave the others their own kernels."""
    kernels = torch.stack([gaussian(1.0, dtype=torch.float64), gaussian(1.0, dtype=torch.float64).roll(2, -1)])[:, None]
    kernels[1] *= 0.7
    A = Blur(kernels, SIDE)
    x = picture(64).expand(2, 1, 64, 64)
    y = A(x) + 0.02 * noise((2, 1, 64, 64))
    together = reconstruct(y, A, Tikhonov(5.0), sigma=0.02, progress=False)
    for i in range(2):
        alone = reconstruct(y[i], Blur(kernels[i], SIDE), Tikhonov(5.0), sigma=0.02, progress=False)
        assert (together.x[i] - alone.x).abs().max() <= 1e-9


def test_random_rows_of_a_colour_picture_are_solved_channel_by_channel():
    """Errors of the channels are alike, so message passing on all of them at once fails (by 10 dB with BM3D)."""
    A, x, y = data("single pixel", image="astronaut")
    for prior in (NLM(), BM3D()):
        result = reconstruct(y, A, prior, sigma=0.02, progress=False)
        apart = [reconstruct(channel, A, prior, sigma=0.02, progress=False) for channel in y]
        assert (result.x - torch.stack([r.x for r in apart])).abs().max() <= 1e-9
        assert abs(float(result.expected_psnr) - float(psnr(result.x, x))) <= 1.5
        assert len(result.statuses) == 1


def test_a_square_camera_knows_its_noise():
    """As many orthogonal rows as pixels: the picture itself tells the noise."""
    A = SinglePixel(SIDE, 64 * 64, seed=0).double()
    x = picture(64)
    y = A(x) + 0.05 * noise(A(x).shape)
    result = reconstruct(y, A, BM3D(), progress=False)
    assert float(result.parameters["sigma"].value) == pytest.approx(0.05, rel=0.2)
    assert psnr(result.x, x) > psnr(A.adjoint(y), x) + 2


@pytest.mark.parametrize(
    ("A", "only"),
    [
        (Blur.gaussian(1.0, (16, 16)), None),
        (Blur.gaussian(1.0, (16, 16), boundary="valid"), None),
        (Downsample((16, 16), 2), None),
        (Mask.random((16, 16), 0.5) @ Blur.gaussian(1.0, (16, 16)), None),
        (Radon((16, 16), 10), None),
        (Mask.random((16, 16), 0.95), None),
        (Mask.random((16, 16), 0.5), FILL),
        (2 * Decimate((16, 16), 2), FILL),
        (Demosaic((16, 16)), FILL),
        (Fourier.lines((16, 16), 0.3, 0, real=True), COMPLETE),
        (Fourier.lines((16, 16), 0.3, 0), COMPLETE),
        (Matrix(torch.randn(100, 256, generator=torch.Generator().manual_seed(0)), (16, 16)), COMPLETE),
        (Gradient((16, 16)), COMPLETE),
    ],
    ids=str,
)
def test_what_is_near_a_convolution_is_ranked_and_the_rest_has_its_schedule(A, only):
    assert only_recipe(A) is only
