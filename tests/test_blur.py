"""Blur: kernels, borders, state, noise level, first image."""

import math
import pickle

import numpy as np
import pytest
import scipy.ndimage
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pnp import ADMM, LeastSquares, Poisson
from pnp.conjugate_gradient import conjugate_gradient
from pnp.metrics import psnr
from pnp.operators import Blur, Decimate, Mask, Stack, VaryingBlur, kernels
from pnp.operators.bordered_blur import BOUNDARIES
from pnp.priors import Tikhonov
from pnp.terms import Terms

NUMPY_PAD = {
    "zero": "constant",
    "replicate": "edge",
    "reflect": "reflect",
    "symmetric": "symmetric",
    "circular": "wrap",
}
float64 = torch.float64


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=float64)


def picture(side=128):
    """A smooth surface, a disk and some texture, with values in [0, 1]."""
    y, x = torch.meshgrid(*(torch.linspace(0, 1, side, dtype=float64),) * 2, indexing="ij")
    disk = ((x - 0.6).square() + (y - 0.4).square() < 0.04).double()
    return 0.3 + 0.2 * x * y + 0.3 * disk + 0.05 * torch.sin(40 * x) * (y > 0.7)


@pytest.mark.parametrize("boundary", NUMPY_PAD)
@given(sizes=st.tuples(*[st.integers(1, 7)] * 4), seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_blur_is_the_convolution_of_the_padded_picture(boundary, sizes, seed):
    """y[i] = sum_k kernel[k] padded[i - k], the origin at the kernel's centre pixel."""
    H, W, h, w = sizes
    kernel, x = randn(h, w, seed=seed), randn(H, W, seed=seed + 1)
    pads = [(n - 1 - n // 2, n // 2) for n in (h, w)]
    padded = np.pad(x.numpy(), pads, mode=NUMPY_PAD[boundary])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (h, w))
    expected = np.einsum("ijkl,kl->ij", windows, kernel.flip(0, 1).numpy())
    np.testing.assert_allclose(Blur(kernel, (H, W), boundary).forward(x), expected, atol=1e-12)


def test_valid_border_keeps_only_whole_neighbourhoods():
    kernel, x = randn(3, 4), randn(9, 10, seed=1)
    whole = Blur(kernel, (9, 10), "zero").forward(x)
    A = Blur(kernel, (9, 10), "valid")
    assert A.out_shape == (7, 7)
    torch.testing.assert_close(A.forward(x), whole[1:8, 1:8])
    assert Blur.for_data(kernel, (7, 7)).in_shape == (9, 10)


@pytest.mark.parametrize("sigma", [0.4, 1.6, 3.0])
def test_gaussian_agrees_with_scipy(sigma):
    x = randn(40, 30)
    expected = scipy.ndimage.gaussian_filter(x.numpy(), sigma, mode="wrap", radius=math.ceil(4 * sigma))
    np.testing.assert_allclose(Blur.gaussian(sigma, (40, 30), dtype=float64).forward(x), expected, atol=1e-12)


@given(sigma=st.floats(0, 20), length=st.floats(0.1, 40), angle=st.floats(-360, 360), radius=st.floats(0, 12))
@settings(max_examples=40, deadline=None)
def test_kernels_sum_to_one_and_keep_the_centre_of_mass(sigma, length, angle, radius):
    made = (
        kernels.gaussian(sigma, dtype=float64),
        kernels.motion(length, angle, dtype=float64),
        kernels.disk(radius, dtype=float64),
    )
    for kernel in made:
        assert (kernel >= 0).all()
        assert float(kernel.sum()) == pytest.approx(1, abs=1e-12)
        torch.testing.assert_close(kernel, kernel.flip(0, 1), atol=1e-9, rtol=0)
    assert made[0].shape[0] // 2 >= 4 * sigma  # not truncated below 4 sigma


def test_motion_of_odd_length_is_a_row_of_equal_weights():
    torch.testing.assert_close(kernels.motion(15, 0, dtype=float64), torch.full((1, 15), 1 / 15, dtype=float64))
    torch.testing.assert_close(kernels.motion(15, 90, dtype=float64), torch.full((15, 1), 1 / 15, dtype=float64))
    up_right = kernels.motion(9, 30)
    assert up_right[0, -1] > 0
    assert up_right[0, 0] == 0


def test_cache_follows_conversion_loading_and_pickling():
    """The spectrum is computed from the kernel that the operator has now."""
    x = randn(8, 9)
    A, B = Blur(randn(3, 3), (8, 9)), Blur(randn(3, 3, seed=5), (8, 9))
    before = A.forward(x)  # fills the cache
    A.load_state_dict(B.state_dict())
    torch.testing.assert_close(A.forward(x), B.forward(x))
    assert not torch.allclose(A.forward(x), before)
    torch.testing.assert_close(pickle.loads(pickle.dumps(A)).forward(x), A.forward(x))
    single = Blur(randn(3, 3).float(), (8, 9))
    single.forward(x.float())
    expected = Blur(randn(3, 3).float().double(), (8, 9)).forward(x)
    torch.testing.assert_close(single.double().forward(x), expected, atol=1e-14, rtol=0)


def test_gradient_flows_after_a_call_without_gradients():
    A = Blur.gaussian(1.0, (8, 8))
    with torch.inference_mode():
        A.forward(torch.ones(8, 8))
    x = torch.ones(8, 8, requires_grad=True)
    A.forward(x).square().sum().backward()
    torch.testing.assert_close(x.grad, 2 * A.adjoint(A.forward(x.detach())))


@pytest.mark.parametrize("boundary", ["circular", *BOUNDARIES])
@pytest.mark.parametrize("separable", [False, True])
def test_one_kernel_an_item_and_one_a_channel(boundary, separable):
    stack, x = randn(2, 3, 3, 3), randn(2, 3, 6, 7, seed=1)
    if separable:
        stack = stack[..., :1] * stack[..., :1, :]
    A = Blur(stack, (6, 7), boundary)
    y = A.forward(x)
    z = A.tikhonov(y, 0.1, x.flip(0))
    for b in range(2):
        for c in range(3):
            single = Blur(stack[b, c], (6, 7), boundary)
            torch.testing.assert_close(y[b, c], single.forward(x[b, c]))
            torch.testing.assert_close(z[b, c], single.tikhonov(y[b, c], 0.1, x[1 - b, c]), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"batch of 2, \(\.\.\., 2, 3, 6, 7\), got \(1, 3, 6, 7\); .* take\(i\)"):
        A.forward(x[:1])


SEVERAL = {
    "itself": lambda B: B,
    "multiple": lambda B: -2.0 * B,
    "adjoint": lambda B: B.H,
    "product": lambda B: B.H @ B,
    "sum": lambda B: B + 0.5 * B,
    "stack": lambda B: Stack([B, 2 * B, Mask.random(B.in_shape, 0.5, dtype=float64)]),
    "adjoint of a stack": lambda B: Stack([B, 2 * B]).H,
    "decimated": lambda B: Decimate(B.out_shape, 2) @ B,
    "behind a mask": lambda B: B @ Mask.random(B.in_shape, 0.5, dtype=float64),
}


@pytest.mark.parametrize("boundary", ["circular", *BOUNDARIES])
@pytest.mark.parametrize("form", SEVERAL)
def test_one_kernel_an_item_survives_the_algebra(form, boundary):
    """Norm, start and matrices of three items are those of each; ``take`` reaches every part."""
    stack = randn(3, 1, 3, 4)
    A = SEVERAL[form](Blur(stack, (6, 8), boundary))
    alone = [SEVERAL[form](Blur(kernel[0], (6, 8), boundary)) for kernel in stack]
    y = randn(3, 1, *A.out_shape, seed=1)
    matrices = A.to_dense()
    assert A.lead == (3, 1)
    assert A.start(y).shape == (3, 1, *A.in_shape)
    assert A.norm() == pytest.approx(max(B.norm() for B in alone), rel=1e-5)
    for i, B in enumerate(alone):
        torch.testing.assert_close(matrices[i], B.to_dense(), rtol=1e-12, atol=1e-12)
        some = A.take(torch.tensor([2, i]))
        torch.testing.assert_close(some.forward(A.adjoint(y)[[2, i]])[1], B.forward(B.adjoint(y[i])))


def test_operators_for_different_batches_do_not_combine():
    A, B, C = (Blur(randn(*lead, 3, 3), (3, 6, 7)) for lead in ((2, 1), (4, 1), (1,)))
    for combine in (lambda: A @ B, lambda: A + B, lambda: Stack([A, B])):
        with pytest.raises(ValueError, match=r"same batch, got leading dimensions \(2,\) and \(4,\)"):
            combine()
    assert (A @ C).lead == (C - A).lead == Stack([C, A]).lead == (2,)


def test_one_kernel_an_item_reconstructs_as_its_items_do():
    """Images finish at different times, so that the rest goes on with the operator of the rest."""
    stack = torch.rand(2, 1, 3, 3, generator=torch.Generator().manual_seed(0), dtype=float64)
    stack = stack / stack.sum(dim=(-2, -1), keepdim=True)
    A, x = Blur(stack, (12, 14), "valid"), randn(2, 1, 12, 14, seed=2)
    y = A.forward(x * torch.tensor([1.0, 0.1], dtype=float64).reshape(2, 1, 1, 1))
    together = ADMM(max_iter=30, tol=1e-2).solve(LeastSquares(A, y, 0.05), Tikhonov(1.0))
    for i in range(2):
        single = ADMM(max_iter=30, tol=1e-2).solve(LeastSquares(A.take(i), y[i : i + 1], 0.05), Tikhonov(1.0))
        torch.testing.assert_close(together.x[i], single.x[0], rtol=1e-5, atol=1e-6)


def test_one_kernel_an_item_behind_terms_of_its_own():
    """Each item keeps its own diagonal and its own K when others have finished."""
    scales = Blur(torch.tensor([0.5, 2.0, 3.0], dtype=float64).reshape(3, 1, 1, 1), (4, 5))
    y, v, last = randn(3, 1, 4, 5).abs(), randn(3, 1, 4, 5, seed=1).abs(), torch.tensor([2])
    term = Poisson(scales, y, gain=1.0)
    torch.testing.assert_close(term.take(last).prox(v[last], 0.3), term.prox(v, 0.3)[last])
    pairs = Terms([(Tikhonov(1.0), scales)]).on(v)
    torch.testing.assert_close(pairs.take(last).forward(v[last]), pairs.forward(v)[last])


@pytest.mark.parametrize("shape", [(64, 64), (1, 64, 64)])
@pytest.mark.parametrize("boundary", ["circular", "valid"])
def test_noise_of_an_item_is_read_where_its_own_kernel_destroys(boundary, shape):
    """A sharp mate passes every frequency, so that none would be left to read the other's noise from."""
    sharp = torch.zeros(15, 15, dtype=float64)
    sharp[7, 7] = 1
    A = Blur(torch.stack([kernels.gaussian(1.7, dtype=float64), sharp])[:, None], shape, boundary)
    y = A.forward(randn(2, 1, 64, 64).cumsum(-1).cumsum(-2))
    y = y + 0.03 * randn(*y.shape, seed=3)
    levels = A.noise_level(y)
    torch.testing.assert_close(levels[:1], A.take(0).noise_level(y[:1]))
    assert float(levels[0]) == pytest.approx(0.03, rel=0.1)


@pytest.mark.parametrize("boundary", ["circular", "valid", "zero", "symmetric"])
def test_a_separable_solve_equals_a_general_one(boundary):
    """The route of a Gaussian is exact; CG on the same blur, made not quite separable, agrees."""
    kernel = kernels.gaussian(0.8, dtype=float64)
    A = Blur(kernel, (20, 18), boundary)
    B = Blur(kernel + 1e-11 * randn(*kernel.shape), (20, 18), boundary)
    y, v = randn(*A.out_shape, seed=2), randn(20, 18, seed=3)
    assert A.route().startswith("exact")
    if boundary != "circular":
        assert "CG" in B.explain()
    torch.testing.assert_close(A.tikhonov(y, 1e-2, v), B.tikhonov(y, 1e-2, v, tol=1e-10), atol=1e-7, rtol=0)


@pytest.mark.parametrize("rho", [1e-8, 1e-4, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, float64])
def test_even_kernels_and_separable_channels_are_solved_exactly(rho, dtype):
    disk = kernels.disk(2.5, dtype=dtype)
    colours = torch.stack([kernels.gaussian((s, 1.0), dtype=dtype)[:9, :] for s in (1.0, 1.1, 1.2)])
    operators = [Blur(disk, (20, 17), "symmetric"), Blur(torch.stack([disk, 2 * disk]), (20, 17), "symmetric")]
    operators += [Blur(colours, (20, 17), boundary) for boundary in ("valid", "reflect", "zero")]
    for A in operators:
        assert "exact" in A.route()
        y, v = randn(2, *A.out_shape).to(dtype), randn(2, *A.in_shape, seed=1).to(dtype)
        x = A.tikhonov(y, rho, v)
        gradient = A.adjoint(A.forward(x) - y) + rho * (x - v)
        bound = 1e-9 if dtype == float64 else 1e-5
        assert gradient.norm() <= bound * (A.adjoint(y).norm() + rho * v.norm() + A.norm() ** 2 * x.norm())


def test_an_even_kernel_with_a_mirrored_border_is_preconditioned_by_cosines(monkeypatch):
    A = Blur.disk(2.5, (32, 32), "reflect", dtype=float64)
    y, counts = A.forward(picture(32)) + 0.01 * randn(32, 32), []

    def counting(*args, **kwargs):
        solution = conjugate_gradient(*args, **kwargs)
        counts.append(solution.iterations)
        return solution

    monkeypatch.setattr("pnp.tikhonov.conjugate_gradient", counting)
    x = A.tikhonov(y, 1e-3)
    monkeypatch.setattr(type(A.engine), "_mirrored_power", lambda self: None)
    assert (Blur.disk(2.5, (32, 32), "reflect", dtype=float64).tikhonov(y, 1e-3) - x).norm() <= 1e-5 * x.norm()
    assert 2 * counts[0] < counts[1]


@pytest.mark.parametrize("rho", [1e-8, 1e-4, 1.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, float64])
def test_gaussian_deconvolution_obeys_its_normal_equations(rho, dtype):
    for boundary in ("circular", "valid", "symmetric"):
        A = Blur.gaussian(2.0, (48, 40), boundary, dtype=dtype)
        y, v = randn(*A.out_shape).to(dtype), randn(48, 40, seed=1).to(dtype)
        x = A.tikhonov(y, rho, v)
        gradient = A.adjoint(A.forward(x) - y) + rho * (x - v)
        bound = 1e-9 if dtype == float64 else 1e-5
        assert gradient.norm() <= bound * (A.adjoint(y).norm() + rho * v.norm() + x.norm())


def test_valid_solve_is_within_a_tenth_of_a_decibel_of_the_exact_one():
    """At its default tolerance, from a photograph with noise."""
    kernel = kernels.motion(7, 30, dtype=float64)
    image = picture(48)
    A = Blur(kernel, (48, 48), "valid")
    y = A.forward(image) + 0.01 * randn(*A.out_shape)
    D = A.to_dense()
    for rho in (1e-1, 1e-3):
        exact = torch.linalg.solve(D.T @ D + rho * torch.eye(48**2, dtype=float64), D.T @ y.flatten()).reshape(48, 48)
        x = A.tikhonov(y, rho)
        assert abs(psnr(x, image) - psnr(exact, image)) < 1e-3
        fast = A.float().tikhonov(y.float(), rho)
        A.double()
        assert abs(psnr(fast.double(), image) - psnr(exact, image)) < 1e-2


@pytest.mark.parametrize("sigma", [0.001, 0.01, 0.1])
def test_noise_level_is_read_where_the_blur_left_nothing(sigma):
    image = picture()
    for A in (Blur.gaussian(1.6, (128, 128), dtype=float64), Blur.gaussian(4.0, (128, 128), dtype=float64)):
        y = A.forward(image) + sigma * torch.stack([randn(128, 128, seed=s) for s in range(4)])
        level = A.noise_level(y)
        assert level.shape == (4,)
        assert float(level.mean()) == pytest.approx(sigma, rel=0.1)


def test_noise_level_is_unknown_where_every_frequency_passes():
    image = picture()
    A = Blur.gaussian(0.3, (128, 128), dtype=float64)
    assert A.noise_level(A.forward(image) + 0.01 * randn(128, 128)) is None


@pytest.mark.parametrize("sigma", [0.001, 0.01, 0.1])
def test_start_is_as_good_as_the_best_constant_wiener_filter(sigma):
    image = picture()
    for A in (Blur.gaussian(1.6, (128, 128), dtype=float64), Blur.motion(9, 30, (128, 128), dtype=float64)):
        y = A.forward(image) + sigma * randn(128, 128)
        best = max(float(psnr(A.wiener(y, 10.0**e), image)) for e in range(-8, 1))
        assert float(psnr(A.start(y), image)) > best - 0.3


def test_start_scales_with_the_data_and_ignores_batch_mates():
    A = Blur.gaussian(1.6, (32, 32), dtype=float64)
    y = A.forward(picture(32)) + 0.01 * randn(2, 1, 32, 32)
    torch.testing.assert_close(A.start(y)[1], A.start(y[1]), atol=1e-9, rtol=0)
    torch.testing.assert_close(A.start(1000 * y), 1000 * A.start(y), rtol=1e-6, atol=1e-6)


def test_varying_blur_mixes_neighbouring_kernels():
    """An impulse spreads by the kernel of its place."""
    nodes = torch.stack([kernels.gaussian(s, dtype=float64)[:3, :3] for s in (0.5, 0.5)]).reshape(1, 2, 3, 3)
    nodes[0, 1] = 0
    nodes[0, 1, 1, 1] = 1
    A = VaryingBlur(nodes, (9, 16))
    x = torch.zeros(9, 16, dtype=float64)
    x[4, 8] = 1
    share = (8.5 * 2 / 16) - 0.5
    expected = (1 - share) * nodes[0, 0] + share * nodes[0, 1]
    torch.testing.assert_close(A.forward(x)[3:6, 7:10], expected)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="boundary"):
        Blur(torch.ones(3, 3), (8, 8), "mirror")
    with pytest.raises(ValueError, match="smaller than the kernel"):
        Blur(torch.ones(9, 9), (8, 8), "valid")
    with pytest.raises(ValueError, match="NaN"):
        Blur(torch.full((3, 3), math.nan), (8, 8))
    with pytest.raises(ValueError, match="sigma"):
        Blur.gaussian(-1.0, (8, 8))
