"""Edges of the front door: complex images, volumes, NumPy's odd arrays, first images and truths, limits."""

import math

import numpy as np
import pytest
import torch
from pictures import noise, picture

from pnp import ADMM, DAMP, PDHG, Denoiser, LeastSquares, Poisson, Status, psnr, reconstruct, to_image, to_tensor
from pnp.operators import Blur, Fourier, Gradient, Identity, Mask, SinglePixel
from pnp.priors import BM3D, NLM, TV, Tikhonov, Wavelet

f64 = torch.float64
SIDE = (32, 32)
BLUR = Blur.gaussian(1.0, SIDE, dtype=f64)
PIXELS = SinglePixel(SIDE, 300, seed=1, dtype=f64)
MASK = Mask.random(SIDE, 0.5, seed=1, dtype=f64)


def complex_picture():
    return torch.complex(picture(32), 0.5 * picture(32).flip(-1))


# ---------------------------------------------------------------------- complex images
@pytest.mark.parametrize("prior", [TV(), NLM(), BM3D(), Wavelet()], ids=repr)
def test_a_real_prior_takes_a_complex_image_as_two_channels(prior):
    x = complex_picture()
    noisy = x + 0.05 * torch.complex(noise(x.shape), noise(x.shape, 1))
    clean = prior.denoise(noisy, 0.05)
    both = prior.denoise(torch.cat([noisy.real, noisy.imag]), 0.05)
    assert torch.equal(clean, torch.complex(both[:1], both[1:]))
    assert psnr(clean, x) > psnr(noisy, x) + 1


@pytest.mark.parametrize("prior", [TV(), TV(2.0), NLM(), Tikhonov(2.0)], ids=repr)
def test_complex_images_from_fourier_data(prior):
    A, x = Fourier.radial(SIDE, 14, dtype=f64), complex_picture()
    y = A(x)
    y = y + 0.01 * torch.complex(noise(y.shape), noise(y.shape, 1)) * (A.mask != 0)
    result = reconstruct(y, A, prior, sigma=0.01, truth=x, progress=False)
    assert result.x.dtype == torch.complex128
    assert psnr(result.x, x) >= psnr(A.adjoint(y), x) - 0.5
    assert float(result.history.psnr[-1]) <= float(psnr(result.x, x)) + 1e-9


def test_a_real_operator_treats_the_parts_of_complex_data_alike():
    """Data of which one part is zero: the other is reconstructed as if it were alone, where the prior is separable."""
    x = picture(32)
    y = BLUR(x) + 0.02 * noise(x.shape)
    solver = ADMM(s=0.1, max_iter=30, tol=0.0)
    real = solver.solve(LeastSquares(BLUR, y, 0.02), Tikhonov(2.0)).x
    both = solver.solve(LeastSquares(BLUR, torch.complex(torch.zeros_like(y), y), 0.02), Tikhonov(2.0)).x
    assert (both.imag - real).abs().max() <= 1e-9
    assert both.real.abs().max() <= 1e-9


@pytest.mark.parametrize("A", [Identity(SIDE), BLUR, MASK, PIXELS], ids=repr)
def test_complex_data_of_real_operators_need_no_noise_level(A, recwarn):
    x = complex_picture()
    y = A(x)
    y = y + 0.05 * torch.complex(noise(y.shape), noise(y.shape, 1))
    result = reconstruct(y, A, TV(), progress=False)
    assert torch.isfinite(result.x.abs()).all()
    assert result.x.is_complex()
    assert not [w for w in recwarn if "imaginary" in str(w.message)]


def test_complex_denoising_predicts_its_error():
    x = complex_picture()
    misses = []
    for seed in range(2, 10, 2):  # one draw of 2048 numbers tells it to a decibel
        y = x + 0.05 * torch.complex(noise(x.shape, seed), noise(x.shape, seed + 1))
        result = reconstruct(y, Identity(SIDE), TV(), sigma=0.05, progress=False)
        misses.append(float(result.expected_psnr) - float(psnr(result.x, x)))
    assert abs(sum(misses) / len(misses)) <= 0.6


def test_a_denoiser_gets_the_parts_of_a_complex_image_as_pictures():
    seen = []
    prior = Denoiser(lambda v, sigma: seen.append((v.shape, v.dtype, sigma)) or v / 2, layout="HWC")
    x = complex_picture()
    assert torch.equal(prior.denoise(x, 0.1), x / 2)
    assert seen == [((32, 32), np.dtype(np.float64), pytest.approx(0.1))] * 2


def test_complex_starts_and_what_only_real_images_have():
    A, x = Fourier.radial(SIDE, 14, dtype=f64), complex_picture()
    f = LeastSquares(A, A(x), 0.01)
    zero = torch.zeros(1, *SIDE, dtype=f64)
    a = ADMM(s=0.1, max_iter=3).solve(f, Tikhonov(1.0), zero)  # a real start is a complex one
    b = ADMM(s=0.1, max_iter=3).solve(f, Tikhonov(1.0), torch.complex(zero, zero))
    assert torch.equal(a.x, b.x)
    with pytest.raises(TypeError, match="expected real images, got x0"):
        ADMM().solve(LeastSquares(BLUR, picture(32)), TV(), x)
    with pytest.raises(ValueError, match="no bounds for complex"):
        reconstruct(A(x), A, TV(), bounds=(0, 1))
    full = Fourier(SIDE, torch.ones(SIDE, dtype=f64))
    with pytest.raises(TypeError, match=r"DAMP\.solve: expected real data"):
        DAMP().solve(LeastSquares(full, full(x), 0.1), TV())


def test_pdhg_with_a_complex_gradient():
    x = complex_picture()
    f = LeastSquares(Identity(SIDE), x, 0.1)
    result = PDHG(max_iter=20).solve(f, [(Tikhonov(1.0), Gradient(SIDE))], progress=False)
    parts = PDHG(max_iter=20).solve(
        LeastSquares(Identity(SIDE), torch.stack([x.real, x.imag]), 0.1),
        [(Tikhonov(1.0), Gradient(SIDE))],
        progress=False,
    )
    assert result.x.is_complex()
    assert (result.x - torch.complex(parts.x[0], parts.x[1])).abs().max() <= 1e-2


# ---------------------------------------------------------------------- volumes
@pytest.mark.parametrize(
    "prior", [Tikhonov(2.0), TV(ndim=3), TV(2.0, ndim=3), Denoiser(lambda v, s: v / (1 + s))], ids=repr
)
def test_volumes(prior):
    A = Blur(torch.full((3, 3, 3), 1 / 27, dtype=f64), (4, 12, 10), ndim=3)
    x = picture(32)[0, :12, :10] * torch.linspace(0.5, 1, 4, dtype=f64).reshape(1, 1, 4, 1, 1)
    y = A(x)
    together = reconstruct(
        y.expand(2, *y.shape[1:]), A, prior, sigma=0.01, truth=x.expand(2, *x.shape[1:]), progress=False
    )
    alone = reconstruct(y[0, 0], A, prior, sigma=0.01, progress=False)
    assert alone.x.shape == (4, 12, 10)
    assert (together.x - alone.x).abs().max() <= 1e-9
    error = (together.x[1] - x[0]).square().mean()
    best = float(together.history.psnr.nan_to_num(-math.inf).amax(dim=0)[1])  # of a candidate, before the gains
    assert best >= float(-10 * error.log10()) - 1.5


# ---------------------------------------------------------------------- arrays
@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.astype(">f8"),
        lambda a: a[:, ::-1][:, ::-1],
        lambda a: np.asfortranarray(a),
        lambda a: np.broadcast_to(a, a.shape),
        lambda a: a.astype(np.longdouble),
        lambda a: a.astype(np.float16),
    ],
    ids=["foreign byte order", "reversed", "Fortran", "read-only", "long double", "half"],
)
def test_odd_arrays(change, recwarn):
    array = (picture(32)[0] * 256).round().numpy() / 256  # exact in half precision
    expected = reconstruct(array, BLUR, TV(), sigma=0.02, progress=False).x
    odd = change(array)
    result = reconstruct(odd, BLUR, TV(), sigma=0.02, progress=False).x
    assert np.allclose(result.astype(np.float64), expected, atol=1e-3)
    assert isinstance(TV().denoise(odd, 0.1), np.ndarray)
    assert np.allclose(to_image(to_tensor(odd)), array)
    assert math.isinf(psnr(odd, odd))
    assert not list(recwarn)


def test_half_precision_data_of_an_operator_without_a_type_of_its_own():
    for dtype in (torch.float16, torch.bfloat16):
        assert reconstruct(picture(32).to(dtype), Identity(SIDE), TV(), progress=False).x.dtype == dtype
    assert to_image(torch.ones(1, 2, 3, dtype=torch.bfloat16)).dtype == np.float32


# ---------------------------------------------------------------------- first images, truths, data terms
def test_first_images_and_truths_must_fit():
    y = BLUR(picture(32))
    for bad in (torch.zeros(3, 32, 32), torch.zeros(1, 31, 32), torch.zeros(2, 1, 32, 32)):
        with pytest.raises(ValueError, match=r"expected x0 of shape \(1, 32, 32\)"):
            reconstruct(y, BLUR, TV(), x0=bad)
        with pytest.raises(ValueError, match="expected x0 of shape"):
            ADMM().solve(LeastSquares(BLUR, y), TV(), bad)
        with pytest.raises(ValueError, match="expected truth of the images' shape"):
            reconstruct(y, BLUR, TV(), truth=bad)
        with pytest.raises(ValueError, match="expected truth of the images' shape"):
            ADMM().solve(LeastSquares(BLUR, y), TV(), truth=bad)
    assert ADMM(max_iter=2).solve(LeastSquares(BLUR, y), TV(), torch.zeros(1, 32, 32)).x.dtype == f64


def test_a_data_term_must_be_of_the_same_problem():
    other = Blur.gaussian(1.0, (16, 16), dtype=f64)
    with pytest.raises(ValueError, match="is no data term of Blur"):
        reconstruct(BLUR(picture(32)), BLUR, TV(), data_term=Poisson(other, torch.ones(1, 16, 16, dtype=f64)))


def test_a_noise_level_for_every_measurement_counts():
    """The half of the picture with less noise is trusted more."""
    levels = torch.where(torch.arange(32) < 16, 0.005, 0.1).double().expand(1, 32, 32)
    x = picture(32)
    y = BLUR(x) + levels * noise(x.shape)
    weighted = reconstruct(y, BLUR, TV(), sigma=levels, progress=False)
    plain = reconstruct(y, BLUR, TV(), sigma=float(levels.square().mean().sqrt()), progress=False)
    assert psnr(weighted.x, x) > psnr(plain.x, x) + 0.5


def test_schedules_must_fit_the_batch():
    f = LeastSquares(BLUR, BLUR(picture(32)).expand(3, 1, 32, 32))
    for shape in ((4, 2, 1, 1, 1), (4, 3)):
        with pytest.raises(ValueError, match=r"of shape \(K, 3, 1, 1, 1\)"):
            ADMM(s=torch.ones(shape)).solve(f, TV())


# ---------------------------------------------------------------------- limits on every way
class Counting:
    def __init__(self, interrupt=0):
        self.calls, self.interrupt = 0, interrupt

    def __call__(self, v, sigma):
        self.calls += 1
        if self.calls == self.interrupt:
            raise KeyboardInterrupt
        return v / (1 + sigma)


WAYS = {"identity": Identity(SIDE), "blur": BLUR, "mask": MASK, "random rows": PIXELS}


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("limit", [1, 2, 5, 13, 40, 200])
def test_prior_calls_are_counted_and_limited(name, limit):
    A = WAYS[name]
    for calibrated in (True, False):
        count = Counting()
        prior = Denoiser(count)
        prior.calibrated = calibrated
        result = reconstruct(A(picture(32)), A, prior, sigma=0.05, max_prior_calls=limit, progress=False)
        assert count.calls == result.parameters["prior_calls"].value <= limit


@pytest.mark.parametrize("name", WAYS)
def test_every_way_ends_when_told(name, tmp_path):
    A = WAYS[name]
    y = A(picture(32))
    for k in (1, 2):
        result = reconstruct(y, A, Denoiser(Counting(k)), sigma=0.05, progress=False)
        assert result.status is Status.INTERRUPTED
        assert torch.isfinite(result.x).all()
    assert reconstruct(y, A, TV(), sigma=0.05, time_limit=0.0, progress=False).status is Status.TIME_LIMIT
    whole = reconstruct(y, A, TV(), sigma=0.05, progress=False)
    seen = []
    for _ in range(40):
        cut = reconstruct(
            y, A, TV(), sigma=0.05, checkpoint=tmp_path / "c.npz", progress=False,
            callback=lambda step: seen.append(step.iteration) or len(seen) % 6 == 0,
        )  # fmt: skip
        if cut.status is not Status.INTERRUPTED:
            break
    assert seen
    assert cut.status is whole.status
    assert torch.equal(cut.x, whole.x)
    assert cut.parameters["prior_calls"].value == whole.parameters["prior_calls"].value


def test_a_schedule_cut_short_still_ends_at_its_last_level():
    schedule = ADMM(s=[8.0, 4.0, 2.0, 1.0])
    assert schedule.shortened(2).s.tolist() == [8.0, 1.0]
    assert schedule.shortened(1).s.tolist() == [1.0]
    assert schedule.shortened(3).iterations == 3
    assert ADMM(s=0.5).shortened(3) == ADMM(s=0.5, max_iter=3)


@pytest.mark.parametrize("bad", [math.nan, -1.0])
def test_bad_time_limits(bad):
    with pytest.raises(ValueError, match="time_limit >= 0"):
        reconstruct(picture(32), BLUR, TV(), time_limit=bad)
    with pytest.raises(ValueError, match="time_limit >= 0"):
        ADMM().solve(LeastSquares(BLUR, picture(32)), TV(), time_limit=bad)


def test_batch_mates_of_other_sizes_do_not_matter():
    """Noise-free denoising and convex minimisation once took one range for the whole batch."""
    y = BLUR(picture(32)) + 0.02 * noise((1, 32, 32))
    for A, prior, sigma in ((Identity(SIDE), TV(), 0.0), (BLUR, Tikhonov(2.0), 0.02), (BLUR, TV(0.5), 0.02)):
        together = reconstruct(torch.stack([y, 1e5 * y]), A, prior, sigma=sigma, progress=False).x[0]
        alone = reconstruct(y, A, prior, sigma=sigma, progress=False).x
        assert (together - alone).abs().max() <= 1e-9


@pytest.mark.parametrize("patterns", ["gaussian", "rademacher", "binary", "hadamard"])
def test_a_batch_behind_random_rows(patterns):
    """The Onsager term once mixed batch and channels."""
    A = SinglePixel((16, 16), 120, patterns, seed=1, dtype=f64)
    x = picture(16)
    x = torch.stack([x, x.flip(-1), 0.5 * x])
    y = A(x) + 0.01 * noise((3, 1, 120))
    for g in (TV(), NLM()):
        together = reconstruct(y, A, g, sigma=0.01, progress=False)
        for i in range(3):
            alone = reconstruct(y[i], A, g, sigma=0.01, progress=False)
            assert (together.x[i] - alone.x).abs().max() <= 1e-9
            assert together.statuses[i] is alone.status


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off"])
def test_broken_checkpoints(tmp_path, content):
    (tmp_path / "c.npz").write_bytes(content)
    with pytest.raises(ValueError, match="not a checkpoint of this library"):
        reconstruct(BLUR(picture(32)), BLUR, TV(), checkpoint=tmp_path / "c.npz")
