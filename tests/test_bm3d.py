"""BM3D: laws of the prior, agreement of its backends, its kernels against brute force, its memory."""

from __future__ import annotations

import importlib.util
import math
import pickle
import threading
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from pnp.priors import BM3D
from pnp.priors.bm3d import transforms
from pnp.priors.bm3d.prior import KEPT

BACKENDS = [
    "torch",
    pytest.param(
        "numba", marks=pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="numba is not installed")
    ),
]
numba_only = pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="numba is not installed")


def picture(height: int = 48, width: int = 45, channels: int = 1) -> Tensor:
    """Edges, a ramp and a texture: something to match."""
    y, x = torch.meshgrid(torch.arange(height) / 8.0, torch.arange(width) / 8.0, indexing="ij")
    grey = 0.3 * torch.sin(5 * x) * (y > 3) + 0.1 * y / (1 + y) + 0.4 * ((x - 3).square() + (y - 2).square() < 3)
    return torch.stack([grey * (1 - 0.2 * c) + 0.1 * c for c in range(channels)])


def noisy(clean: Tensor, sigma: float, seed: int = 0) -> Tensor:
    return clean + sigma * torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed), dtype=clean.dtype)


def rms(x: Tensor) -> float:
    return float(x.square().mean().sqrt())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("profile", ["fast", "normal", "high"])
@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_removes_most_of_the_noise(backend, profile, channels):
    clean = picture(channels=channels)
    v = noisy(clean, 0.1)
    x = BM3D(profile, backend=backend).prox(v, 0.01)
    assert x.shape == v.shape and x.dtype == v.dtype
    assert rms(x - clean) < 0.5 * rms(v - clean)


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=25)
@given(height=st.integers(1, 30), width=st.integers(1, 30), channels=st.integers(1, 4), double=st.booleans())
def test_any_size_is_finite_and_keeps_its_type(backend, height, width, channels, double):
    dtype = torch.float64 if double else torch.float32
    v = torch.rand(channels, height, width, generator=torch.Generator().manual_seed(height), dtype=dtype)
    original = v.clone()
    x = BM3D(backend=backend).prox(v, 0.01)
    assert x.shape == v.shape and x.dtype == dtype and torch.isfinite(x).all()
    assert torch.equal(v, original)


@pytest.mark.parametrize("backend", BACKENDS)
@given(level=st.floats(-1e3, 1e3), channels=st.integers(1, 3), sigma=st.floats(1e-8, 1e8))
@settings(max_examples=20)
def test_constants_are_kept(backend, level, channels, sigma):
    v = torch.full((channels, 17, 20), level, dtype=torch.float64)
    assert torch.equal(BM3D(backend=backend).prox(v, sigma**2), v)


@pytest.mark.parametrize("backend", BACKENDS)
@given(scale=st.floats(1e-6, 1e6), shift=st.floats(-10, 10))
@settings(max_examples=10)
def test_scale_and_shift_equivariance(backend, scale, shift):
    """prox(c v + d, c^2 tau) = c prox(v, tau) + d."""
    v = noisy(picture(32, 33).double(), 0.1)
    prior = BM3D(backend=backend)
    expected = scale * (prior.prox(v, 0.01) + shift)
    x = prior.prox(scale * (v + shift), scale**2 * 0.01)
    assert rms(x - expected) < 1e-3 * scale * 0.1  # rounding may exchange two equally near blocks


@pytest.mark.parametrize("backend", BACKENDS)
@given(sigma=st.floats(1e-9, 1e-2))
@settings(max_examples=10)
def test_identity_as_tau_goes_to_zero(backend, sigma):
    v = picture(32, 33).double()
    x = BM3D(backend=backend).prox(v, sigma**2)
    assert rms(x - v) <= 2 * sigma
    if sigma < 1e-7:
        assert torch.equal(x, v)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("sigma", [1e3, 1e-3])
def test_extreme_noise_levels_stay_within_the_data(backend, sigma):
    v = noisy(picture(), 0.1)
    x = BM3D(backend=backend).prox(v, sigma**2)
    assert torch.isfinite(x).all() and x.min() >= v.min() - 0.1 and x.max() <= v.max() + 0.1


@pytest.mark.parametrize("backend", BACKENDS)
def test_batch_mates_do_not_influence_each_other(backend):
    clean = torch.stack([picture(), 5 * picture().flip(-1), 0.1 * picture().flip(-2)])
    sigma = torch.tensor([0.1, 0.3, 0.01]).reshape(3, 1, 1, 1)
    v = clean + sigma * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    prior = BM3D(backend=backend)
    together = prior.prox(v, sigma**2)
    for i in range(3):
        alone = prior.prox(v[i], float(sigma[i] ** 2))
        assert rms(together[i] - alone) < 1e-3 * float(sigma[i])
    assert torch.equal(prior.prox(v, sigma**2), together)  # deterministic


@numba_only
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sigma", [0.05, 0.2])
def test_backends_agree(channels, sigma):
    clean = picture(71, 80, channels)
    v = noisy(clean, sigma)
    compiled, tensors = (BM3D(backend=name).prox(v, sigma**2) for name in ("numba", "torch"))
    assert rms(compiled - tensors) < 0.02 * sigma
    assert abs(20 * math.log10(rms(compiled - clean) / rms(tensors - clean))) < 0.02


@numba_only
@pytest.mark.parametrize("shape", [(1, 1, 330, 40), (1, 3, 161, 50), (5, 1, 20, 20)])
def test_threads_do_not_change_a_bit(shape):
    from pnp.priors.bm3d.numba_backend import CHUNK, REACH

    assert 3 * 2 * CHUNK - REACH > 3 * (CHUNK - 1) + REACH  # chunks that run together write to disjoint rows
    v = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append(BM3D(backend="numba").prox(v, 0.01))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", [(1, 1, 130, 60), (1, 3, 20, 200), (7, 1, 40, 45)])
def test_memory_budget_changes_nothing(backend, shape):
    v = noisy(torch.stack([picture(*shape[2:], shape[1])] * shape[0]), 0.1)
    whole, bands = (BM3D("high", backend=backend, memory=memory).prox(v, 0.01) for memory in (1e9, 4e6))
    assert rms(whole - bands) < 1e-3 * 0.1  # rounding may exchange two equally near blocks


class Largest(TorchDispatchMode):
    """Notes the bytes of the largest tensor made inside."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result._base is None:
            self.bytes = max(self.bytes, result.untyped_storage().nbytes())
        return result


@pytest.mark.parametrize("shape", [(5, 1, 64, 64), (1, 1, 17, 1500)])
def test_memory_bounds_the_tables_of_torch(shape):
    with Largest() as largest:
        BM3D(backend="torch", memory=1e7).prox(torch.rand(shape, generator=torch.Generator().manual_seed(0)), 0.01)
    assert largest.bytes < 1e7


@numba_only
@pytest.mark.parametrize("shape", [(1, 1, 17, 5000), (1, 3, 200, 200)])
def test_memory_bounds_the_tables_of_numba(shape):
    v = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    prior = BM3D("fast", backend="numba", memory=1e7)
    prior.prox(v[..., :17], 0.01)
    tracemalloc.start()  # NumPy's arrays
    try:
        prior.prox(v, 0.01)
        assert tracemalloc.get_traced_memory()[1] < 1e7 + 200 * v.numel()
    finally:
        tracemalloc.stop()


@numba_only
def test_no_thread_stays_behind_and_one_stock_serves_all_copies():
    threads, before = torch.get_num_threads(), threading.active_count()
    prior = BM3D("fast", backend="numba")
    torch.set_num_threads(2)
    try:
        copies = [prior.fresh() for _ in range(3)]
        for copy in copies:
            copy.prox(noisy(picture(100, 45, 3), 0.1), 0.01)
            assert threading.active_count() == before
    finally:
        torch.set_num_threads(threads)
    assert 0 < sum(array.nbytes for array in prior._stock._arrays) <= KEPT
    assert all(copy._stock is prior._stock for copy in copies)
    assert pickle.loads(pickle.dumps(prior))._stock._arrays == []


def brute_force(image: np.ndarray, i: int, j: int) -> list[tuple[float, int]]:
    """Distance and candidate number of every block in the window of reference (i, j), the nearest first."""
    reference = image[3 * i : 3 * i + 8, 3 * j : 3 * j + 8]
    found = []
    for dy in range(-19, 20):
        for dx in range(-19, 20):
            y, x = 3 * i + dy, 3 * j + dx
            if 0 <= y <= image.shape[0] - 8 and 0 <= x <= image.shape[1] - 8:
                distance = float(((image[y : y + 8, x : x + 8] - reference) ** 2).sum())
                found.append((distance if (dy, dx) != (0, 0) else -1.0, (dy + 19) * 39 + dx + 19))
    return sorted(found)


def engine(backend: str):
    return BM3D(backend=backend)._backend(torch.device("cpu"))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", [(8, 8), (17, 8), (50, 41)])
@pytest.mark.parametrize("size", [16, 32])
@pytest.mark.parametrize("limit", [1e5, 8.5])
def test_matching_finds_the_nearest_blocks(backend, shape, size, limit):
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    numbers, counts = engine(backend).match(image[None], torch.tensor([limit]), size)
    for i, j in np.ndindex(*counts.shape[1:]):
        distances = {number: distance for distance, number in brute_force(image.numpy(), i, j)}
        expected = sorted(d for d in distances.values() if d < limit)[:size]
        count = int(counts[0, i, j])
        got = numbers[0, i, j].tolist()
        assert count == len(expected) and got[0] == 760 and len(set(got[:count])) == count
        assert set(got[count:]) <= {760}
        np.testing.assert_allclose([distances[n] for n in got[:count]], expected, rtol=5e-4)  # keys keep 12 bits


@pytest.mark.parametrize("backend", BACKENDS)
def test_noise_of_a_group_is_the_variance_of_its_sum(backend):
    """Monte Carlo: the sum of overlapping blocks of white noise, coefficient by coefficient."""
    numbers = torch.tensor([760, 761, 799, 760 + 3 * 39 + 2, 10, 11, 700, 1500], dtype=torch.int16).reshape(1, 1, 1, 8)
    counts = torch.full((1, 1, 1), 8, dtype=torch.int16)
    analysis = transforms.biorthogonal()
    noise = engine(backend).noise(numbers, counts, analysis)[0, 0, 0].numpy()
    field = np.random.default_rng(0).standard_normal((4000, 46, 46))
    total = sum(field[:, n // 39 : n // 39 + 8, n % 39 : n % 39 + 8] for n in numbers.flatten().tolist())
    measured = np.einsum("uy,nyx,vx->nuv", analysis, total, analysis).var(axis=0).ravel()
    np.testing.assert_allclose(noise, measured, rtol=0.12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_filters_return_a_clean_image_without_noise(backend):
    """Gather, transform, inverse and aggregation undo each other when nothing is removed."""
    image = picture(50, 41)[None]
    steps = engine(backend)
    for size, analysis in ((16, transforms.biorthogonal()), (32, transforms.cosine())):
        numbers, counts = steps.match(image[:, 0], torch.tensor([0.5]), size)
        assert counts.unique().numel() > 4  # groups of many sizes
        from pnp.priors.bm3d.settings import Groups

        groups = Groups(numbers, counts, steps.noise(numbers, counts, analysis))
        if size == 16:
            x = steps.hard_threshold(image, groups, torch.zeros(1))
        else:
            x = steps.wiener(image, image, groups, torch.full((1,), 1e-20))
        assert (x - image).abs().max() < 2e-5


def test_transforms():
    for matrix in (transforms.biorthogonal(), transforms.cosine()):
        np.testing.assert_allclose(np.linalg.norm(matrix, axis=1), 1, atol=1e-12)
        np.testing.assert_allclose(matrix[1:].sum(axis=1), 0, atol=1e-12)
        np.testing.assert_allclose(transforms.synthesis(matrix, np.ones(8)) @ matrix, np.eye(8), atol=1e-12)
    for length in (1, 2, 4, 32):
        np.testing.assert_allclose(transforms.haar(length) @ transforms.haar(length).T, np.eye(length), atol=1e-12)
    opponent = np.array([[1, 1, 1] / np.sqrt(3), [1, 0, -1] / np.sqrt(2), [1, -2, 1] / np.sqrt(6)])
    np.testing.assert_allclose(transforms.cosine(3), opponent, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_fresh_copy_remembers_matches_and_the_original_does_not(backend):
    v = noisy(picture(), 0.1)
    prior = BM3D(backend=backend, rematch_every=3)
    solve = prior.fresh()
    other = noisy(picture().flip(-1), 0.1)
    first = solve.prox(v, 0.01)
    assert torch.equal(first, prior.prox(v, 0.01))
    assert not torch.equal(solve.prox(other, 0.01), prior.prox(other, 0.01))  # old matches, another picture
    solve.prox(other, 0.01)
    assert torch.equal(solve.prox(other, 0.01), prior.prox(other, 0.01))  # the fourth call matches anew
    assert prior.state_dict() == {}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("profile", ["fast", "high"])
def test_automatic_rematching_is_decided_for_each_image(backend, profile):
    a, b = noisy(picture(), 0.1), noisy(picture().flip(-2), 0.1, seed=1)
    solve = BM3D(profile, backend=backend).fresh()
    solve.prox(torch.stack([a, b]), 0.01)
    moved = torch.stack([a + 0.01 * b, b + a])  # the first moves little, the second much
    x = solve.prox(moved, 0.01)
    alone = BM3D(profile, backend=backend).fresh()
    alone.prox(a, 0.01)
    assert rms(x[0] - alone.prox(moved[0], 0.01)) < 1e-5
    assert rms(x[1] - BM3D(profile, backend=backend).prox(moved[1], 0.01)) < 1e-5
    before = solve.state_dict()["seen"]
    assert torch.equal(before[0], a) and torch.equal(before[1], moved[1])


@pytest.mark.parametrize("profile", ["normal", "high"])
@pytest.mark.parametrize("channels", [1, 2])
def test_state_round_trip(channels, profile):
    v = noisy(picture(channels=channels), 0.1)
    solve = BM3D(profile).fresh()
    solve.prox(v, 0.01)
    state = solve.state_dict()
    assert state and all(isinstance(value, Tensor) for value in state.values())
    again = BM3D(profile).fresh()
    again.load_state_dict(pickle.loads(pickle.dumps(state)))
    w = v + 0.01
    assert torch.equal(again.prox(w, 0.01), solve.prox(w, 0.01))
    again.load_state_dict({})
    assert again.state_dict() == {}
    with pytest.raises(ValueError, match="expected the keys"):
        BM3D("fast").fresh().load_state_dict(state)


def state_of(prior: BM3D, v: Tensor) -> dict[str, Tensor]:
    solve = prior.fresh()
    solve.prox(v, 0.01)
    return solve.state_dict()


def test_a_state_that_does_not_fit_is_refused():
    """The kernels index by it: what they were told of another picture, batch or profile would corrupt memory."""
    v = noisy(picture(), 0.1)
    state = state_of(BM3D(), v)
    bad = {"hard.numbers": 0 * state["hard.numbers"], "level": state["level"].repeat(2), "mixing": state["mixing"][0]}
    bad |= {"seen": state["seen"][0], "wiener.counts": 0 * state["wiener.counts"], "hard.noise": state["hard.counts"]}
    bad |= {"hard.numbers ": state["hard.numbers"].long(), "wiener.numbers": state["hard.numbers"]}
    for key, value in bad.items():
        with pytest.raises(ValueError, match="load_state_dict"):
            BM3D().fresh().load_state_dict({**state, key.strip(): value})
    held = ("seen", "level", "mixing", "calls")
    for other in (picture(60, 60), picture(17, 17), torch.stack([picture(), picture()])):  # theirs, with our groups
        mixed = {**state, **{key: value for key, value in state_of(BM3D(), other).items() if key in held}}
        with pytest.raises(ValueError, match="those of this profile"):
            BM3D().fresh().load_state_dict(mixed)
    for profile, other_profile in (("normal", "high"), ("high", "normal")):
        solve = BM3D(other_profile).fresh()
        before = solve.prox(v, 0.01)
        with pytest.raises(ValueError, match="those of this profile"):
            solve.load_state_dict(state_of(BM3D(profile), v))
        assert torch.equal(solve.prox(v, 0.01), before)  # a refusal leaves the memory alone


@pytest.mark.parametrize("profile", ["fast", "high"])
def test_some_images_of_a_batch_take_their_matches_along(profile):
    v = torch.stack([noisy(picture().flip(-1), 0.1, seed) for seed in range(3)])
    solve = BM3D(profile, rematch_every=100).fresh()
    solve.prox(v, 0.01)
    w = torch.stack([noisy(picture(), 0.1, seed) for seed in range(3)])  # shows whose matches are used
    some = solve.take(torch.tensor([False, True, True]))
    assert torch.equal(some.prox(w[1:], 0.01), solve.prox(w, 0.01)[1:])


def test_a_new_shape_or_type_forgets():
    solve = BM3D().fresh()
    for v in (picture(), picture(40, 30), picture(40, 30).double(), picture(40, 30, 3)):
        w = noisy(v, 0.1)
        assert torch.equal(solve.prox(w, 0.01), BM3D().prox(w, 0.01))


def test_nan_stays_in_its_image():
    v = torch.stack([noisy(picture(), 0.1), noisy(picture(), 0.1)])
    v[0, 0, 5, 5] = math.nan
    x = BM3D().prox(v, 0.01)
    assert not torch.isfinite(x[0]).all()
    assert torch.equal(x[1], BM3D().prox(v[1], 0.01))


def test_denoise_takes_pictures_and_levels():
    clean = picture()[0].double().numpy()
    x = BM3D().denoise(clean, 0.1)
    assert isinstance(x, np.ndarray) and x.shape == clean.shape and x.dtype == np.float64
    assert np.array_equal(BM3D().denoise(clean, 0), clean)
    batch = BM3D().denoise(torch.rand(64, 1, 32, 32), torch.linspace(0, 0.2, 64).reshape(64, 1, 1, 1))
    assert torch.isfinite(batch).all()


def test_every_profile_pays_off():
    clean = picture(96, 96)
    v = noisy(clean, 0.1)
    errors = [rms(BM3D(profile).prox(v, 0.01) - clean) for profile in ("fast", "normal", "high")]
    assert errors == sorted(errors, reverse=True)


def test_errors():
    for arguments in (
        dict(profile="best"),
        dict(backend="cuda"),
        dict(rematch_every=0),
        dict(memory=0),
        dict(memory=math.inf),
    ):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            BM3D(**arguments)
    for number in (True, 2.5):
        with pytest.raises(TypeError, match="rematch_every"):
            BM3D(rematch_every=number)
    with pytest.raises(ValueError, match="one per image"):
        BM3D().prox(torch.rand(1, 16, 16), torch.full((1, 16, 16), 0.1))
    with pytest.raises(TypeError, match="complex"):
        BM3D().prox(torch.rand(1, 16, 16, dtype=torch.complex64), 0.1)
    assert "profile='fast'" in repr(BM3D("fast"))


def test_reference_backend_is_guarded():
    pytest.importorskip("bm3d")
    prior = BM3D(backend="reference")
    for shape in ((1, 8, 8), (1, 3, 30), (3, 8, 8)):
        v = torch.rand(shape, dtype=torch.float64)
        assert torch.isfinite(prior.prox(v, 0.01)).all()
    constant = torch.full((3, 16, 16), 0.3)
    assert torch.equal(prior.prox(constant, 0.01), constant)
    constant[0, 3, 3] = math.nan
    assert prior.prox(constant, 0.01).isnan().all()


def test_quality_is_that_of_the_authors_package():
    pytest.importorskip("bm3d")
    clean = picture(96, 96)
    v = noisy(clean, 0.1)
    ours, theirs = (rms(BM3D(backend=name).prox(v, 0.01) - clean) for name in ("auto", "reference"))
    assert 20 * math.log10(theirs / ours) > -0.25


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("channels", [1, 3])
def test_gpu_agrees_with_cpu(channels):
    clean = torch.stack([picture(71, 80, channels)] * 2)
    v = noisy(clean, 0.1)
    x = BM3D().prox(v.cuda(), 0.01)
    assert x.is_cuda
    assert rms(x.cpu() - BM3D(backend="torch").prox(v, 0.01)) < 0.02 * 0.1
