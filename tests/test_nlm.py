"""Non-local means against a loop written from the definition, and against scikit-image's filter."""

import importlib.util
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pnp.priors import NLM
from pnp.priors.windows import box_mean, mirrored

seeds = st.integers(0, 999)
backends = pytest.mark.parametrize("backend", ["numba", "torch"])


def textured(shape, seed=0, dtype=torch.float64, sigma=0.1):
    g = torch.Generator().manual_seed(seed)
    rows, columns = torch.arange(shape[-2]).double()[:, None], torch.arange(shape[-1]).double()
    clean = 0.5 + 0.3 * torch.sin(rows) * torch.cos(0.7 * columns)
    return (clean + sigma * torch.randn(shape, generator=g, dtype=torch.float64)).to(dtype)


def plain_loop(v, tau, patch, window, strength):
    """The definition, pixel by pixel, in NumPy."""
    v = v.numpy()
    f, r = patch // 2, window // 2
    padded = np.pad(v, ((0, 0), (f, f), (f, f)), mode="symmetric")
    height, width = v.shape[1:]
    out = np.zeros_like(v)
    for i in range(height):
        for j in range(width):
            total, norm = np.zeros(v.shape[0]), 0.0
            for k in range(max(0, i - r), min(height, i + r + 1)):
                for l in range(max(0, j - r), min(width, j + r + 1)):  # noqa: E741
                    a, b = padded[:, i : i + patch, j : j + patch], padded[:, k : k + patch, l : l + patch]
                    d2 = ((a - b) ** 2).mean()
                    weight = np.exp(-max(d2 - 2 * tau, 0) / (strength**2 * tau)) if (i, j) != (k, l) else 1.0
                    total, norm = total + weight * v[:, k, l], norm + weight
            out[:, i, j] = total / norm
    return torch.from_numpy(out)


@backends
@pytest.mark.parametrize(("patch", "window"), [(1, 3), (3, 5), (5, 7)])
@pytest.mark.parametrize("shape", [(1, 9, 11), (3, 8, 6)])
def test_the_definition(backend, patch, window, shape):
    v = textured(shape)
    x = NLM(patch, window, 0.8, spread=0, backend=backend).prox(v, 0.01)
    assert (x - plain_loop(v, 0.01, patch, window, 0.8)).abs().max() <= 1e-12


@given(
    seed=seeds,
    patch=st.integers(1, 9),
    window=st.sampled_from([1, 3, 7, 13]),
    spread=st.integers(0, 3),
    shape=st.tuples(st.integers(1, 2), st.sampled_from([1, 3]), st.integers(1, 12), st.integers(1, 12)),
)
def test_back_ends_agree(seed, patch, window, spread, shape):
    v = textured(shape, seed)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 2e-5)):
        fast, plain = (NLM(patch, window, spread=spread, backend=b).prox(v.to(dtype), 0.01) for b in ("numba", "torch"))
        assert (fast - plain).abs().max() <= tolerance


@backends
@given(seed=seeds, spread=st.integers(1, 2), channels=st.sampled_from([1, 3]))
def test_a_spread_is_a_mean_over_shared_patches(backend, seed, spread, channels):
    """A window of three columns in a picture of one row: both shifts written out, their weights box-averaged."""
    v, tau = textured((channels, 1, 9), seed), 0.01
    padded = mirrored(v, 2)
    squares = (padded[..., :-1] - padded[..., 1:]).square().mean(dim=0)
    distance = squares.unfold(1, 5, 1).mean(dim=(0, 2))
    weight = torch.exp(-(distance - 2 * tau).clamp_min(0) / (0.49 * tau))

    def averaged(weight):
        """Over 2 spread + 1 pixels in either direction; there is one row only."""
        wide = torch.nn.functional.pad(weight, (spread, spread))
        return wide.unfold(0, 2 * spread + 1, 1).sum(dim=1) / (2 * spread + 1) ** 2

    own, shared = averaged(torch.ones(9, dtype=v.dtype)), averaged(weight)
    total, norm = own * v, own.clone()
    total[..., :-1] += shared * v[..., 1:]
    total[..., 1:] += shared * v[..., :-1]
    norm[:-1] += shared
    norm[1:] += shared
    assert (NLM(5, 3, 0.7, spread=spread, backend=backend).prox(v, tau) - total / norm).abs().max() <= 1e-12


@backends
@given(seed=seeds, channels=st.sampled_from([1, 3]), sigma=st.floats(0.01, 1))
def test_automatic_strength_follows_each_picture(backend, seed, channels, sigma):
    batch = textured((2, channels, 9, 8), seed, sigma=sigma) * torch.tensor([1, 0.3]).reshape(2, 1, 1, 1)
    tau = sigma**2
    for v, x in zip(batch, NLM(backend=backend).prox(batch, tau), strict=True):
        power = np.mean([np.var(channel) for channel in v.numpy()])
        ratio = np.sqrt(max(power / tau - 1, 0))
        c = 1 / np.sqrt(channels)
        strength = np.sqrt(min(0.49 * c + 0.1 * (1 - c) * ratio, 0.8))
        assert (x - NLM(strength=strength, backend=backend).prox(v, tau)).abs().max() <= 1e-12


@given(seed=seeds, side=st.integers(1, 12))
def test_box_sums_by_doubling(seed, side):
    x = torch.randn(2, 1, 13, 17, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    expected = torch.nn.functional.avg_pool2d(x, side, stride=1)
    assert (box_mean(box_mean(x, side, -1), side, -2) - expected).abs().max() <= 1e-12


@given(margin=st.integers(0, 12), length=st.integers(1, 5))
def test_mirrors_of_mirrors(margin, length):
    """The picture goes on as numpy's symmetric padding, however small it is."""
    x = torch.arange(2.0 * length).reshape(1, 1, 2, length)
    expected = np.pad(x[0, 0].numpy(), margin, mode="symmetric")
    assert np.array_equal(mirrored(x, margin)[0, 0].numpy(), expected)


@backends
def test_scikit_image_agrees_where_the_filters_are_the_same(backend):
    """Its fast mode takes windows one pixel short of ``patch_size``, hence off centre, but divides by the full area."""
    from skimage.restoration import denoise_nl_means

    sigma, h, size, reach = 0.1, 0.08, 5, 4
    v = textured((1, 48, 52), sigma=sigma)
    theirs = denoise_nl_means(v[0].numpy(), size, reach, h, fast_mode=True, sigma=sigma)
    strength = h / sigma * size / (size - 1)
    mine = NLM(size - 1, 2 * reach + 1, strength, spread=0, backend=backend).prox(v, sigma**2)
    inner = (slice(8, -8), slice(8, -8))  # beyond the border it averages mirror images
    assert (mine[0][inner] - torch.tensor(theirs)[inner]).abs().max() <= 5e-3


def test_it_denoises_for_the_noise_level_it_is_told():
    clean = textured((1, 48, 48), sigma=0)
    v = clean + 0.1 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    errors = [(NLM().denoise(v, s) - clean).square().mean() for s in (0.01, 0.1, 0.5)]
    assert errors[1] < 0.5 * min(errors[0], errors[2])


def test_autograd_passes_through_the_torch_back_end():
    v = textured((1, 6, 7)).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: NLM(3, 5, backend="torch").prox(v, 0.04), (v,), atol=1e-5)


@pytest.mark.parametrize(
    "arguments",
    [
        {"patch": 0},
        {"window": 0},
        {"strength": 0.0},
        {"strength": float("nan")},
        {"strength": "strong"},
        {"spread": -1},
        {"backend": "c"},
    ],
)
def test_bad_settings_are_refused(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        NLM(**arguments)


@pytest.mark.parametrize("arguments", [{"patch": 5.0}, {"window": 13.0}, {"spread": 0.5}, {"spread": True}])
def test_sides_are_whole_numbers(arguments):
    with pytest.raises(TypeError, match=next(iter(arguments))):
        NLM(**arguments)


@pytest.mark.gpu
def test_the_gpu_gives_what_the_cpu_gives():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    v = textured((2, 3, 40, 41))
    assert (NLM().prox(v.cuda(), 0.01).cpu() - NLM().prox(v, 0.01)).abs().max() <= 1e-10


@pytest.fixture
def cached_in(tmp_path, monkeypatch):
    """Numba reads its settings again, and undoes others, when it compiles after the environment has changed."""
    config = pytest.importorskip("numba.core.config")

    def use(folder):
        monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / folder))
        config.reload_config()

    yield use
    monkeypatch.undo()
    config.reload_config()


def test_compiling_is_announced_unless_it_comes_from_disk(tmp_path, monkeypatch, caplog, cached_in):
    """The kernels of a made-up prior: told of once a precision, and not where they are loaded again."""
    pytest.importorskip("numba")
    from numba.core import event

    from pnp.priors.numba_compiled import Announcer

    name, source = "pnp.priors.madeup_compiled", tmp_path / "madeup_compiled.py"
    source.write_text(
        "from pnp.priors.numba_compiled import compiled\n@compiled\ndef first(row):\n    return row[0]\n"
        "@compiled\ndef total(row):\n    return first(row) + row[1]\n"
    )

    def lines_of_a_process():
        spec = importlib.util.spec_from_file_location(name, source)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        caplog.clear()
        for dtype in (np.float32, np.float64, np.float32):
            assert module.total(np.ones(3, dtype)) == 2
        return [record.getMessage().split(",")[0] for record in caplog.records if record.name == "pnp"]

    cached_in("cache")
    assert lines_of_a_process() == [f"pnp: compiling MADEUP for float{bits}" for bits in (32, 64)]
    with event.install_listener("numba:compile", Announcer()):  # one that has not yet told
        assert lines_of_a_process() == []
        cached_in("empty")
        assert len(lines_of_a_process()) == 2
