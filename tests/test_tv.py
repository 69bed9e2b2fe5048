"""Total variation against closed forms, an independent solver, and its own certificate."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from pnp.priors import TV
from pnp.priors.tv_dual import Geometry, adjoint_difference, difference

seeds = st.integers(0, 999)
variants = pytest.mark.parametrize(("isotropic", "coupled"), list(itertools.product([True, False], repeat=2)))


def noisy(shape, seed=0, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    x = torch.zeros(shape, dtype=torch.float64)
    x[..., shape[-2] // 3 :, shape[-1] // 2 :] = 1.0
    return (x + 0.2 * torch.randn(shape, generator=g, dtype=torch.float64)).to(dtype)


@given(seed=seeds, ndim=st.sampled_from([2, 3]), sides=st.tuples(*[st.integers(1, 6)] * 4))
def test_adjoint_pairs_with_difference(seed, ndim, sides):
    """<D x, p> = <x, D^T p>, and ||D x||^2 <= 4 ndim ||x||^2."""
    g = torch.Generator().manual_seed(seed)
    shape = (2, *sides[: ndim + 1])
    x = torch.randn(shape, generator=g, dtype=torch.float64)
    p = torch.randn(2, ndim, *shape[1:], generator=g, dtype=torch.float64)
    Dx = difference(x, ndim)
    assert ((Dx * p).sum() - (x * adjoint_difference(p, ndim)).sum()).abs() <= 1e-12 * p.norm() * x.norm()
    assert Dx.square().sum() <= 4 * ndim * x.square().sum()


@given(a=st.floats(-2, 2), b=st.floats(-2, 2), tau=st.floats(0.01, 2), backend=st.sampled_from(["numba", "torch"]))
def test_two_pixels_move_towards_each_other(a, b, tau, backend):
    """min t |x1 - x2| + 1/2 (x1 - a)^2 + 1/2 (x2 - b)^2: each moves by t, or both to the mean."""
    step = max(-tau, min(tau, (b - a) / 2))
    for shape in ((1, 1, 2), (1, 2, 1)):
        v = torch.tensor([a, b], dtype=torch.float64).reshape(shape)
        x = TV(1.0, gap=1e-13, backend=backend).prox(v, tau).flatten()
        assert x.tolist() == pytest.approx([a + step, b - step], abs=1e-6)


@variants
@pytest.mark.parametrize("bounds", [None, (0.2, 0.7)])
def test_prox_agrees_with_an_independent_solver(isotropic, coupled, bounds):
    """Oracle: L-BFGS-B on TV with sqrt(. + eps^2), whose minimum is within ``tau eps`` a norm of the true one."""
    v, tau, eps = noisy((2, 4, 3)), 0.3, 1e-6

    def objective(flat):
        x = torch.tensor(flat, dtype=torch.float64, requires_grad=True)
        steps = difference(x.reshape(v.shape), 2).square()
        axes = [0] * isotropic + [1] * coupled
        value = (
            tau * ((steps.sum(dim=axes) if axes else steps) + eps**2).sqrt().sum()
            + (x - v.flatten()).square().sum() / 2
        )
        value.backward()
        return value.item(), x.grad.numpy()

    best = min(
        (
            minimize(
                objective, start, jac=True, method="L-BFGS-B", bounds=None if bounds is None else [bounds] * v.numel(),
                options={"maxiter": 5000, "maxfun": 20000, "ftol": 1e-16, "gtol": 1e-10},
            )
            for start in (v.flatten().numpy(), np.full(v.numel(), 0.4))
        ),
        key=lambda result: result.fun,
    )  # fmt: skip
    x = TV(1.0, coupled, 1e-12, isotropic=isotropic, bounds=bounds).prox(v, tau)
    assert objective(x.flatten().numpy())[0] <= best.fun + tau * eps * 2 * v.numel()
    assert (x.flatten() - torch.tensor(best.x)).abs().max() <= 2e-3


@variants
@given(seed=seeds, batch=st.integers(1, 3), volume=st.booleans(), bounded=st.booleans())
def test_back_ends_take_the_same_steps(isotropic, coupled, seed, batch, volume, bounded):
    v = noisy((batch, 2, 3, 6, 7) if volume else (batch, 3, 8, 9), seed)
    prior = [
        TV(
            0.8, coupled, 1e-6, isotropic=isotropic, ndim=3 if volume else 2, bounds=(0.1, 0.9) if bounded else None,
            backend=backend,
        )
        for backend in ("numba", "torch")
    ]  # fmt: skip
    compiled, tensors = (one.fresh() for one in prior)
    assert (compiled.prox(v, 0.2) - tensors.prox(v, 0.2)).abs().max() <= 1e-9
    assert torch.equal(compiled.iterations, tensors.iterations)
    assert torch.allclose(compiled.certificate, tensors.certificate, rtol=1e-6, atol=1e-12)


@given(seed=seeds, tau=st.sampled_from([0.01, 0.1, 1.0]), gap=st.sampled_from([1e-2, 1e-3, 1e-5]))
def test_certificate_bounds_the_excess_and_the_distance(seed, tau, gap):
    """P(x) - P* <= certificate P(x), hence ||x - x*||^2 <= 2 certificate P(x)."""
    v = noisy((2, 1, 16, 15), seed)
    prior = TV(1.0, gap=gap).fresh()
    x, exact = prior.prox(v, tau), TV(1.0, gap=1e-11).prox(v, tau)

    def objective(x):
        return tau * prior(x) + (x - v).square().sum(dim=(-3, -2, -1)) / 2

    assert (prior.certificate <= gap).all()
    assert (objective(x) - objective(exact) <= (prior.certificate + 1e-10) * objective(x)).all()
    assert ((x - exact).square().sum(dim=(-3, -2, -1)) <= 2 * (prior.certificate + 1e-10) * objective(x)).all()


def test_float32_reaches_a_gap_of_1e_minus_5():
    v = noisy((1, 1, 64, 64), dtype=torch.float32)
    for backend in ("numba", "torch"):
        prior = TV(1.0, gap=1e-5, backend=backend).fresh()
        prior.prox(v, 0.1)
        assert prior.certificate.item() <= 1e-5


def test_a_finished_image_is_frozen():
    """Beside a mate that needs far more iterations the easy image gets bit for bit what it gets alone."""
    easy, hard = 0.01 * noisy((1, 24, 24)), 50 * noisy((1, 24, 24), 1)
    for backend in ("numba", "torch"):
        prior = TV(1.0, gap=1e-4, backend=backend)
        assert torch.equal(prior.prox(torch.stack([hard, easy]), 0.5)[1], prior.prox(easy, 0.5))


def test_strong_prior_gives_the_mean_and_bounds_hold():
    v = noisy((1, 9, 10))
    assert (TV(1.0, gap=1e-12).prox(v, 100.0) - v.mean()).abs().max() <= 1e-5
    x = TV(1.0, bounds=(0.25, 0.5)).prox(v, 0.1)
    assert (x.min() >= 0.25) & (x.max() <= 0.5)
    assert TV(1.0, bounds=(0.25, 0.5))(x).isfinite()
    assert TV(1.0, bounds=(0.25, 0.5))(v).isinf()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_comes_back_as_it_went_in(dtype):
    v = noisy((1, 12, 12)).to(dtype)
    x = TV(1.0).prox(v, 0.1)
    assert x.dtype == dtype
    assert (x.double() - TV(1.0).prox(v.double(), 0.1)).abs().max() <= 0.02


def test_coupling_ties_the_edges_of_colours():
    """One edge seen in three channels costs sqrt(3), not 3, times one channel's."""
    step = torch.zeros(1, 4, 4, dtype=torch.float64)
    step[..., 2:] = 1
    colour = step.expand(3, 4, 4)
    assert TV(1.0)(colour) == pytest.approx(3**0.5 * TV(1.0)(step))
    assert TV(1.0, coupled=False)(colour) == pytest.approx(3 * TV(1.0)(step))


def test_warm_start_saves_work():
    """The dual of the last call starts the next one: a nearby image is solved at once."""
    v = noisy((1, 1, 48, 48))
    prior = TV(1.0, gap=1e-4).fresh()
    first = prior.prox(v, 0.1)
    cold = prior.certificate.item()
    assert torch.equal(first, TV(1.0, gap=1e-4).prox(v, 0.1))
    dual = prior.state_dict()["dual"]
    assert (v - 0.1 * adjoint_difference(dual, 2) - first).abs().max() <= 1e-12
    taken = prior.iterations.item()
    second = prior.prox(v, 0.1)
    assert prior.certificate.item() <= cold
    assert 4 == prior.iterations.item() < taken  # the first check
    assert (second - first).norm() <= 0.02 * first.norm()


@pytest.mark.parametrize(("sigma", "most_below_best"), [(0.02, 0.35), (0.05, 0.3), (0.1, 0.3), (0.3, 0.5)])
def test_automatic_weight_is_near_the_best_one(sigma, most_below_best):
    """PSNR against the best of a grid of strengths, on a picture with edges, ramps and texture."""
    rows, columns = torch.meshgrid(*[torch.linspace(0, 1, 64, dtype=torch.float64)] * 2, indexing="ij")
    clean = 0.3 + 0.4 * ((rows - 0.5) ** 2 + (columns - 0.5) ** 2 < 0.1) + 0.2 * rows
    clean = (clean + 0.05 * torch.sin(40 * columns) * (rows > 0.6))[None]
    v = clean + sigma * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def psnr(x):
        return -10 * torch.log10((x - clean).square().mean())

    best = max(psnr(TV(1.0).prox(v, c * sigma)) for c in np.arange(0.1, 1.6, 0.1).tolist())
    assert psnr(TV().prox(v, sigma**2)) >= best - most_below_best


def test_automatic_weight_promises_no_function():
    assert (TV().has_value, TV().convex) == (False, False)
    assert (TV(1.0).has_value, TV(1.0).convex) == (True, True)
    with pytest.raises(NotImplementedError, match="no value"):
        TV()(torch.zeros(1, 4, 4))


@pytest.mark.parametrize(
    "arguments",
    [{"weight": -1.0}, {"weight": float("nan")}, {"weight": "best"}, {"gap": 0.0}, {"ndim": 4}, {"bounds": (1, 0)},
     {"bounds": (np.inf, np.inf)}, {"backend": "jax"}],
)  # fmt: skip
def test_bad_settings_are_refused(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        TV(**arguments)


@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_strength_beyond_all_numbers_leaves_the_mean(backend, dtype):
    v = torch.stack([noisy((2, 9, 10), dtype=dtype), torch.full((2, 9, 10), 0.1, dtype=dtype)])
    for prior in (TV(1e30, backend=backend), TV(1e300, backend=backend), TV(1e30, coupled=False, backend=backend)):
        x = prior.prox(v, 1e10)
        assert (x - v.mean(dim=(-2, -1), keepdim=True)).abs().max() <= 1e-6
        assert torch.equal(x[1], v[1])
    bounded = TV(1e30, bounds=(0.5, 0.6), backend=backend).prox(v, 1e10)
    assert torch.equal(bounded[1], torch.full_like(v[1], 0.5))
    least = TV(1.0, gap=1e-9, backend=backend).prox(v[:1].double(), 360.0)  # where no iteration is needed any more
    assert (least - v[:1].double().mean(dim=(-2, -1), keepdim=True)).abs().max() <= 1e-6


def test_one_strength_for_a_batch_survives_its_finished_images():
    v = noisy((3, 1, 9, 10))
    prior = TV().anchored(torch.full((1, 1, 1, 1), 0.1, dtype=v.dtype)).fresh()
    whole = prior.prox(v, 0.01)
    some = prior.take(torch.tensor([0, 2]))
    assert (some.prox(v[[0, 2]], 0.01) - whole[[0, 2]]).abs().max() <= 0.02


def test_geometry_is_immutable():
    with pytest.raises(AttributeError):
        Geometry().coupled = False


def test_scikit_image_is_approached():
    """scikit-image's dual projection, run long, comes to the same minimiser."""
    from skimage.restoration import denoise_tv_chambolle

    v = noisy((1, 32, 32))
    theirs = denoise_tv_chambolle(v[0].numpy(), weight=0.2, eps=1e-12, max_num_iter=3000)
    assert (TV(1.0, gap=1e-8).prox(v, 0.2)[0] - torch.tensor(theirs)).abs().max() <= 2e-3


@pytest.mark.gpu
def test_the_gpu_gives_what_the_cpu_gives():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    v = noisy((3, 3, 40, 41))
    for prior in (TV(), TV(1.0, coupled=False), TV(1.0, isotropic=False, bounds=(0.0, 1.0))):
        assert (prior.prox(v.cuda(), 0.1).cpu() - prior.prox(v, 0.1)).abs().max() <= 1e-6
