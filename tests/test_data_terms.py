"""Least squares, its edges, and a denoiser as a prior, each against its definition."""

import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import operators

from pnp import Denoiser, Functional, LeastSquares
from pnp.operators import Blur, Fourier, Identity, Mask, Matrix, Stack

f64 = torch.float64
seeds = st.integers(0, 99)


def draw(shape, seed, dtype=f64):
    real, imag = (torch.randn(shape, generator=torch.Generator().manual_seed(2 * seed + k), dtype=f64) for k in (0, 1))
    return torch.complex(real, imag).to(dtype) if dtype.is_complex else real.to(dtype)


def data(A, lead, seed):
    return draw((*lead, *A.out_shape), seed, torch.complex128 if A.complex_out else f64)


def image(A, lead, seed):
    return draw((*lead, *A.in_shape), seed, torch.complex128 if A.complex_in else f64)


def lead(A, batch=1, channels=1):
    return (batch,) if len(A.in_shape) == A.ndim + 1 else (batch, channels)


# ---------------------------------------------------------------------- the proximal map
@given(A=operators(), seed=seeds, sigma=st.sampled_from([0.01, 1.0, 30.0]), tau=st.sampled_from([1e-3, 1.0, 50.0]))
def test_prox_is_the_tikhonov_solve(A, seed, sigma, tau):
    """prox(v, tau) = argmin 1/(2 sigma^2) ||A x - y||^2 + 1/(2 tau) ||x - v||^2 = A.tikhonov(y, sigma^2 / tau, v)."""
    y, v = data(A, lead(A, 2), seed), image(A, lead(A, 2), seed + 1)
    f = LeastSquares(A, y, sigma, tol=1e-12)
    y = y if A.observed() is None else torch.where(A.observed(), y, 0)
    rho = sigma**2 / tau
    assume(rho >= 2e-6 * A.norm() ** 2)  # below, prox takes the floor
    x = f.prox(v, tau)
    gradient = A.adjoint(A.forward(x) - y) + rho * (x - v)
    assert gradient.norm() <= 1e-9 * (A.norm() ** 2 * x.norm() + A.adjoint(y).norm() + rho * v.norm() + rho * x.norm())


@given(A=operators(), seed=seeds)
def test_one_noise_level_for_every_image_is_one_term_for_every_image(A, seed):
    n = A.lead[0] if A.lead else 3
    y, v = data(A, lead(A, n), seed), image(A, lead(A, n), seed + 1)
    levels = torch.tensor([0.1, 0.5, 2.0], dtype=f64)[:n]
    tau = torch.tensor([1.0, 0.2, 0.7], dtype=f64)[:n].reshape(n, *(1,) * (A.ndim + 1))
    ones = (1,) * (y.ndim - 1)
    together = LeastSquares(A, y, levels.reshape(n, *ones), tol=1e-12)
    x, value, misfit = together.prox(v, tau), together(v), together.misfit(v)
    for i in range(n):
        alone = LeastSquares(A.take(torch.tensor([i])), y[i], float(levels[i]), tol=1e-12)
        assert (x[i] - alone.prox(v[i : i + 1], float(tau.flatten()[i]))[0]).norm() <= 1e-8 * x[i].norm() + 1e-12
        assert float(value[i]) == pytest.approx(float(alone(v[i : i + 1])), rel=1e-12)
        assert float(misfit[i]) == pytest.approx(float(alone.misfit(v[i : i + 1])), rel=1e-12)


@settings(max_examples=10)
@given(seed=seeds, lead=st.sampled_from([(), (1,), (3,), (2, 1), (2, 3)]))
def test_one_noise_level_for_every_measurement(seed, lead):
    """The minimiser of sum_i ((A x - y)_i / sigma_i)^2 / 2 + ||x - v||^2 / (2 tau), by a dense solve."""
    A = Matrix(draw((7, 12), seed), (3, 4))
    y, v = draw((*lead, 7), seed + 1), draw((*lead, 3, 4), seed + 2)
    levels = 0.1 + draw((7,), seed + 3).abs()
    f = LeastSquares(A, y, levels, tol=1e-13)
    batch = v.reshape(f.start().shape).reshape(-1, *f.data.shape[1:-1], 3, 4)
    x = f.prox(batch, 0.7)
    W = A.to_dense() / levels[:, None]
    rhs = (y / levels).reshape(-1, 7) @ W + v.reshape(-1, 12) / 0.7
    expected = torch.linalg.solve(W.T @ W + torch.eye(12, dtype=f64) / 0.7, rhs.T).T
    assert (x.reshape(-1, 12) - expected).norm() <= 1e-8 * expected.norm()
    value = ((A(v) - y) / levels).square().reshape(len(batch), -1).sum(dim=1) / 2
    assert torch.allclose(f(batch), value, rtol=1e-12)
    assert torch.allclose(f.misfit(batch), (2 * value / y[..., :].numel() * len(batch)).sqrt(), rtol=1e-12)


def test_kinds_of_noise_levels():
    A = Blur.gaussian(0.8, (5, 6), dtype=f64)
    y = draw((3, 1, 5, 6), 0)
    for sigma in (0.1, np.float32(0.1), torch.tensor(0.1), torch.full((1, 1, 1, 1), 0.1), np.full((1,), 0.1)):
        assert LeastSquares(A, y, sigma).sigma.shape == (1, 1, 1, 1)
    for sigma in (torch.ones(3), np.ones(3), torch.ones(3, 1, 1, 1), [1.0, 1.0, 1.0]):
        assert LeastSquares(A, y, sigma).sigma.shape == (3, 1, 1, 1)
    with pytest.raises(ValueError, match="does not broadcast"):
        LeastSquares(A, y, torch.ones(4))
    with pytest.raises(ValueError, match="may be one number an image or one a measurement"):
        LeastSquares(Matrix(draw((3, 30), 0), (5, 6)), draw((3, 1, 3), 1), torch.ones(3))
    with pytest.raises(ValueError, match="the same for all channels and images"):
        LeastSquares(A, y, 0.1 + draw((3, 1, 5, 6), 1).abs())
    with pytest.raises(ValueError, match="must be > 0"):
        LeastSquares(A, y, torch.zeros(5, 6))
    for bad in (-0.1, math.nan, math.inf, torch.tensor([0.1, -0.1, 0.1])):
        with pytest.raises(ValueError, match="sigma finite and >= 0"):
            LeastSquares(A, y, bad)


# ---------------------------------------------------------------------- without noise
@given(seed=seeds, tau=st.sampled_from([1e-6, 1.0, 1e6]))
def test_without_noise_the_prox_is_the_projection_whatever_tau(seed, tau):
    """sigma = 0 is the constraint A x = y; its prox is v + A^+ (y - A v)."""
    g = torch.Generator().manual_seed(seed)
    Q = torch.linalg.qr(torch.randn(12, 5, generator=g, dtype=f64)).Q.T
    for A in (
        Matrix(Q, (3, 4)),
        Mask(torch.tensor([1.0, 0, 2, 0] * 3, dtype=f64).reshape(3, 4)),
        Mask(torch.full((3, 4), 2.0, dtype=f64)),
    ):
        v = draw((1, 1, 3, 4), seed)
        y = A.forward(draw((1, 1, 3, 4), seed + 1))
        f = LeastSquares(A, y)
        expected = v + (torch.linalg.pinv(A.to_dense()) @ (y - A(v)).flatten()).reshape(v.shape)
        assert (f.prox(v, tau) - expected).norm() <= 1e-6 * expected.norm()
        assert not f.has_value
        with pytest.raises(NotImplementedError, match="has no value"):
            f(v)


def test_without_noise_single_precision_stays_exact():
    A = Mask.random((16, 16), 0.3, seed=0, dtype=torch.float32)
    x = draw((1, 1, 16, 16), 0, torch.float32)
    f = LeastSquares(A, A(x))
    z = f.prox(torch.zeros_like(x), 1e-4)
    assert (A(z) - A(x)).abs().max() <= 1e-5


# ---------------------------------------------------------------------- values, gradients
@given(A=operators(), seed=seeds)
def test_value_and_gradient(A, seed):
    y, x = data(A, lead(A, 2, 2), seed), image(A, lead(A, 2, 2), seed + 1)
    f = LeastSquares(A, y, 0.3)
    observed = torch.ones(A.out_shape, dtype=torch.bool) if A.observed() is None else A.observed()
    residual = torch.where(observed, A.forward(x) - y, 0)
    assert torch.allclose(f(x), residual.abs().square().flatten(1).sum(1) / (2 * 0.3**2), rtol=1e-10)
    direction = image(A, lead(A, 2, 2), seed + 2)
    step = 1e-3
    slope = (f(x + step * direction) - f(x - step * direction)) / (2 * step)  # exact for a quadratic, but for rounding
    inner = (f.gradient(x).conj() * direction).real.flatten(1).sum(1)
    assert (slope - inner).abs().max() <= 1e-6 * (f(x) + slope.abs()).max()
    far = f.gradient(x + direction) - f.gradient(x)
    bound = torch.as_tensor(f.lipschitz()).flatten() * direction.flatten(1).norm(dim=1)
    assert (far.flatten(1).norm(dim=1) <= bound * (1 + 1e-5) + 1e-9).all()


def test_the_misfit_of_the_truth_is_one():
    """Real or complex, observed in full or not: the misfit counts the numbers that carry noise."""
    x = draw((2, 1, 64, 64), 0)
    mask = Mask.random((64, 64), 0.4, seed=1, dtype=f64)
    full, some = Fourier((64, 64), torch.ones(64, 64, dtype=f64)), Fourier.radial((64, 64), 20, dtype=f64)
    for A in (
        Identity((64, 64)),
        mask,
        Stack([Identity((64, 64)), mask]),
        full,
        some,
        mask @ Blur.gaussian(1, (64, 64), dtype=f64),
    ):
        y = A.forward(x.to(torch.complex128) if A.complex_in else x)
        y = y + 0.2 * draw(y.shape, 5, y.dtype)
        misfit = LeastSquares(A, y, 0.2).misfit(x.to(torch.complex128) if A.complex_in else x)
        assert misfit.shape == (2,)
        assert (misfit - 1).abs().max() <= 0.06, A


def test_entries_that_do_not_count_may_hold_anything():
    A = Mask.random((8, 8), 0.4, seed=1, dtype=f64)
    y, v = draw((2, 1, 8, 8), 0), draw((2, 1, 8, 8), 1)
    for junk in (math.nan, math.inf, 1e30):
        f = LeastSquares(A, torch.where(A.mask != 0, y, junk), 0.1)
        clean = LeastSquares(A, torch.where(A.mask != 0, y, 0), 0.1)
        assert torch.equal(f.prox(v, 1.0), clean.prox(v, 1.0))
        assert torch.equal(f(v), clean(v))
        assert torch.equal(f.misfit(v), clean.misfit(v))
        assert torch.equal(f.gradient(v), clean.gradient(v))
        assert torch.equal(f.start(), clean.start())
    assert f.count() == int((A.mask != 0).sum())
    with pytest.raises(ValueError, match="mark missing entries with a Mask"):
        LeastSquares(Blur.gaussian(1, (8, 8), dtype=f64), torch.full((8, 8), math.nan, dtype=f64))


# ---------------------------------------------------------------------- shapes
@pytest.mark.parametrize("lead", [(), (1,), (3,), (2, 1), (2, 3), (2, 2, 3)])
def test_natural_shapes(lead):
    A = Blur.gaussian(1, (6, 5), dtype=f64)
    f = LeastSquares(A, draw((*lead, 6, 5), 0), 0.1)
    assert f.start().shape == (*lead, 6, 5)
    assert f.data.shape == (math.prod(lead[:-1]), lead[-1] if lead else 1, 6, 5)
    colour = LeastSquares(Mask(torch.ones(3, 6, 5, dtype=f64)), draw((*lead, 3, 6, 5), 0))
    assert colour.data.shape == (math.prod(lead), 3, 6, 5)


def test_wrong_shapes_and_kinds():
    A = Blur.gaussian(1, (6, 5), dtype=f64)
    with pytest.raises(ValueError, match="expected data of shape"):
        LeastSquares(A, torch.zeros(5, 6, dtype=f64))
    with pytest.raises(ValueError, match="expected data of shape"):
        LeastSquares(A, torch.zeros(0, 1, 6, 5, dtype=f64))
    with pytest.raises(TypeError, match="floating-point"):
        LeastSquares(A, torch.zeros(6, 5, dtype=torch.uint8))
    with pytest.raises(TypeError, match=r"expected a torch\.Tensor"):
        LeastSquares(A, np.zeros((6, 5), dtype=np.uint8))
    with pytest.raises(TypeError, match=r"float64.*got torch\.float32"):
        LeastSquares(A, torch.zeros(6, 5))
    with pytest.raises(ValueError, match="does not act on images"):
        LeastSquares(Matrix(draw((4, 30), 0), (30,)), draw((4,), 0))


# ---------------------------------------------------------------------- memory
def hard_problem(batch=3):
    A = Matrix(draw((30, 20), 0), (4, 5)) @ Mask(torch.linspace(0.05, 1, 20, dtype=f64).reshape(4, 5))
    return A, LeastSquares(A, draw((batch, 1, 30), 1), torch.tensor([0.1, 0.2, 0.3], dtype=f64)[:batch])


def test_only_the_fresh_copy_remembers():
    A, f = hard_problem()
    assert "CG" in A.explain()
    v = draw((3, 1, 4, 5), 2)
    before = pickle.dumps(f)
    first = f.prox(v, 1.0)
    assert torch.equal(f.prox(v, 1.0), first)
    assert f.state_dict() == {}
    assert pickle.dumps(f) == before
    fresh = f.fresh()
    fresh.prox(v, 1.0)
    assert set(fresh.state_dict()) == {"warm"}
    assert fresh.fresh().state_dict() == {}
    assert (fresh.prox(v, 1.0) - first).norm() <= 1e-5 * first.norm()


def test_a_restored_memory_goes_on_as_before():
    _, f = hard_problem()
    fresh, other = f.fresh(), f.fresh()
    fresh.prox(draw((3, 1, 4, 5), 2), 1.0)
    other.load_state_dict(fresh.state_dict())
    v = draw((3, 1, 4, 5), 3)
    assert torch.equal(fresh.prox(v, 0.5), other.prox(v, 0.5))


def test_the_term_of_some_images():
    _, f = hard_problem()
    fresh = f.fresh()
    v = draw((3, 1, 4, 5), 2)
    fresh.prox(v, 1.0)
    keep = torch.tensor([0, 2])
    part, whole = fresh.take(keep), fresh.prox(v, 0.5)
    assert (part.prox(v[keep], 0.5) - whole[keep]).norm() <= 1e-5 * whole.norm()
    assert torch.equal(part.misfit(v[keep]), f.misfit(v)[keep])
    assert torch.equal(part(v[keep]), f(v)[keep])
    assert f.data.shape[0] == 3


def test_strength_and_shift():
    A, f = hard_problem()
    x = draw((3, 1, 4, 5), 2)
    assert torch.allclose(f.scaled(2.0)(x), f(x) / 4)
    assert torch.allclose(f.moved(A(x) - f.data).misfit(x), torch.zeros(3, dtype=f64))


# ---------------------------------------------------------------------- functionals and denoisers
class Shrink(Functional):
    """g(x) = 1/2 ||x||^2, counting nothing, remembering nothing."""

    def prox(self, v, tau):
        return v / (1 + tau)


def test_denoise_is_prox_at_the_variance():
    x = draw((3, 1, 4, 5), 0)
    assert torch.equal(Shrink().denoise(x, 0.5), x / 1.25)
    assert torch.equal(Shrink().denoise(x[0, 0], 0.5), x[0, 0] / 1.25)
    assert isinstance(Shrink().denoise(x.numpy(), 0.5), np.ndarray)
    for levels in (torch.tensor([0.0, 0.5, 1.0]), torch.tensor([0.0, 0.5, 1.0]).reshape(3, 1, 1, 1)):
        clean = Shrink().denoise(x, levels)
        assert torch.equal(clean[0], x[0])
        assert torch.allclose(clean[1:], torch.stack([x[1] / 1.25, x[2] / 2]))
    same = Shrink().denoise(x, 0.0)
    assert torch.equal(same, x)
    assert same.data_ptr() != x.data_ptr()


def test_what_denoise_refuses():
    x = draw((3, 1, 4, 5), 0)
    for bad in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="sigma"):
            Shrink().denoise(x, bad)
    with pytest.raises(ValueError, match="one per image"):
        Shrink().denoise(x, torch.ones(2))
    with pytest.raises(ValueError, match="one per image"):
        Shrink().denoise(x, torch.ones(1, 3))
    with pytest.raises(ValueError, match="NaN or infinite"):
        Shrink().denoise(x / 0, 1.0)
    with pytest.raises(ValueError, match="at least 2 dimensions"):
        Shrink().denoise(torch.ones(4), 1.0)
    for bad in ([[1.0]], np.ones((4, 5), dtype=np.uint8), torch.ones(4, 5, dtype=torch.int64)):
        with pytest.raises(TypeError, match="to_tensor"):
            Shrink().denoise(bad, 1.0)
    for method in (
        lambda g: g(x),
        lambda g: g.gradient(x),
        lambda g: g.lipschitz(),
        lambda g: Functional().prox(x, 1.0),
    ):
        with pytest.raises(NotImplementedError):
            method(Shrink())
    with pytest.raises(ValueError, match="expected an empty state"):
        Shrink().load_state_dict({"a": 1})


def test_a_denoiser_sees_what_it_asks_for():
    seen = []

    def tensors(v, sigma):
        seen.append((tuple(v.shape), sigma))
        return v.float() / 2

    x = draw((2, 3, 4, 5), 0)
    clean = Denoiser(tensors).denoise(x, 0.1)
    assert clean.dtype == f64
    assert torch.allclose(clean, x / 2, atol=1e-6)
    assert seen == [((2, 3, 4, 5), pytest.approx(0.1))]
    levels = torch.tensor([0.1, 0.2], dtype=f64).reshape(2, 1, 1, 1)
    Denoiser(tensors).denoise(x, levels)
    assert torch.allclose(seen[-1][1], levels)
    pictures = []
    prior = Denoiser(lambda p, s: pictures.append((p.shape, p.dtype.name, type(s), s)) or p * 0.5, layout="HWC")
    assert torch.equal(prior.denoise(x, levels), x / 2)
    assert [p[:3] for p in pictures] == [((4, 5, 3), "float64", float)] * 2
    assert [p[3] for p in pictures] == pytest.approx([0.1, 0.2])
    assert torch.equal(prior.denoise(x[0, 0].float(), 0.1), x[0, 0].float() / 2)
    assert pictures[-1][:2] == ((4, 5), "float32")


def test_what_a_denoiser_may_not_return():
    x = draw((2, 3, 4, 5), 0)
    with pytest.raises(TypeError, match="must return a tensor, got ndarray"):
        Denoiser(lambda v, s: v.numpy()).denoise(x, 0.1)
    with pytest.raises(ValueError, match=r"expected an image \(2, 3, 4, 5\) back, got \(2, 3, 4, 4\)"):
        Denoiser(lambda v, s: v[..., :-1]).denoise(x, 0.1)
    with pytest.raises(ValueError, match=r"expected an image \(3, 4, 5\) back"):
        Denoiser(lambda v, s: v[:, :, 0], layout="HWC").denoise(x, 0.1)
    with pytest.raises(TypeError, match="must return a NumPy array, got NoneType"):
        Denoiser(lambda v, s: None, layout="HWC").denoise(x, 0.1)
    with pytest.raises(TypeError, match="expected a callable"):
        Denoiser(3)
    with pytest.raises(ValueError, match="layout must be"):
        Denoiser(print, layout="CHW")


def test_the_prox_of_one_image_keeps_its_shape():
    """(C, H, W) in, (C, H, W) out, as for every functional."""
    A = Blur.gaussian(0.8, (6, 5), dtype=torch.float64)
    y = torch.rand(1, 6, 5, dtype=torch.float64)
    f = LeastSquares(A, y, 0.1)
    single = f.prox(torch.zeros_like(y), 0.5)
    assert single.shape == y.shape
    assert torch.equal(single, f.prox(torch.zeros_like(y)[None], 0.5)[0])
