"""The deep image prior as a proximal map: guard, memory, checkpoints, use inside a solver."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from pnp.admm import ADMM
from pnp.data_terms import LeastSquares
from pnp.hqs import HQS
from pnp.operators.mask import Mask
from pnp.priors import DeepImagePrior
from pnp.testing import check_prior

SIDE = 32
TESTS = Path(__file__).parent


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def picture(side=SIDE):
    rows, columns = torch.meshgrid(torch.linspace(0, 1, side), torch.linspace(0, 1, side), indexing="ij")
    return (0.4 + 0.2 * torch.sin(5 * rows) * torch.cos(4 * columns) + 0.3 * (rows > columns))[None]


def noisy(sigma, seed=0):
    return picture() + sigma * torch.randn(1, SIDE, SIDE, generator=generator(seed))


def mse(x, y):
    return (x - y).square().mean().item()


@pytest.mark.parametrize("network", ["tapered", "light"])
def test_every_law_of_a_prior(network):
    """Shapes, identity as sigma goes to 0, constants, batch, determinism, monotone strength, private copies."""
    check_prior(DeepImagePrior(network, steps=(10, 3)))


def test_prox_denoises_and_stops_at_the_noise_level():
    """The map moves towards the truth; it never comes closer to v than its noise level."""
    v = noisy(0.1)
    for residual in (False, True):
        prior = DeepImagePrior("tapered", residual=residual)
        assert mse(prior.prox(v, 0.01), picture()) < mse(v, picture()) / 2
    for tau in (0.015, 0.003):
        x = DeepImagePrior("tapered", residual=False).prox(v, tau)
        assert mse(x, v) > 0.999 * tau


def test_stronger_prox_takes_fewer_steps():
    """The guard ends the fit sooner when more noise is assumed."""
    counts = []
    for tau in (0.05, 0.01):
        copy = DeepImagePrior("light").fresh()
        copy.prox(noisy(0.1), tau)
        counts.append(copy.state_dict()["fits"][0]["fit"]["adam"]["step"].item())
    assert counts[0] < counts[1] < 300


def test_users_object_has_no_memory():
    """prox on the user's own object leaves no trace; only a fresh copy remembers."""
    prior = DeepImagePrior("tapered", steps=(20, 5))
    first = prior.prox(noisy(0.1), 0.01)
    assert prior.state_dict() == {}
    assert torch.equal(prior.prox(noisy(0.1), 0.01), first)
    copy = prior.fresh()
    copy.prox(noisy(0.1), 0.01)
    assert prior.state_dict() == {}
    assert torch.equal(prior.fresh().prox(noisy(0.1), 0.01), first)


def test_warm_calls_are_short_and_better():
    """A later call takes at most its few steps and starts from the image before."""
    v = noisy(0.1)
    prior = DeepImagePrior("light", steps=(60, 10), residual=False)
    copy = prior.fresh()
    first = copy.prox(v, 1e-4)
    second = copy.prox(v, 1e-4)
    steps = copy.state_dict()["fits"][0]["fit"]["adam"]["step"].item()
    assert steps == 70
    assert mse(second, v) < mse(first, v)
    cold = DeepImagePrior("light", steps=(10, 10), residual=False).prox(v, 1e-4)
    assert mse(second, v) < mse(cold, v)


def test_state_is_tensors_and_continues_bit_for_bit():
    """A copy restored from state_dict gives the next image exactly."""
    prior = DeepImagePrior("light", steps=(20, 5), dropout=0.1)
    v = torch.stack([noisy(0.1), noisy(0.2, 1)])
    copy = prior.fresh()
    copy.prox(v, 0.01)
    state = copy.state_dict()

    def leaves(value):
        if isinstance(value, dict):
            return [leaf for item in value.values() for leaf in leaves(item)]
        return [leaf for item in value for leaf in leaves(item)] if isinstance(value, list) else [value]

    assert all(isinstance(leaf, torch.Tensor) for leaf in leaves(state))
    restored = prior.fresh()
    restored.load_state_dict(state)
    assert torch.equal(restored.prox(v, 0.01), copy.prox(v, 0.01))


def test_a_network_not_yet_trained_is_restored_as_such():
    """A constant image trains nothing: after a checkpoint too, the next call is the first."""
    prior = DeepImagePrior("light", steps=(20, 3))
    copy, restored = prior.fresh(), prior.fresh()
    copy.prox(torch.full((1, SIDE, SIDE), 0.5), 1e-4)
    restored.load_state_dict(copy.state_dict())
    assert torch.equal(restored.prox(noisy(0.1), 1e-4), copy.prox(noisy(0.1), 1e-4))
    assert restored.state_dict()["fits"][0]["fit"]["adam"]["step"].item() == 20


def test_take_keeps_the_right_networks():
    """After some images have finished, the others go on as if nothing had happened."""
    prior = DeepImagePrior("light", steps=(15, 5))
    v = torch.stack([noisy(0.1, k) for k in range(3)])
    whole, part = prior.fresh(), prior.fresh()
    whole.prox(v, 0.01)
    part.prox(v, 0.01)
    expected = whole.prox(v, 0.01)[[0, 2]]
    assert torch.equal(part.take(torch.tensor([0, 2])).prox(v[[0, 2]], 0.01), expected)
    with pytest.raises(ValueError, match="remembers 3 images"):
        whole.prox(v[:2], 0.01)


@pytest.mark.parametrize("solver", [ADMM(s=0.06, max_iter=10), HQS(s=(0.2, 0.15, 0.1, 0.07, 0.05), max_iter=12)])
def test_solvers_inpaint_with_it(solver, tmp_path):
    """Inside ADMM and HQS it fills half of the pixels, and a resumed run equals an uninterrupted one."""
    A = Mask.random((SIDE, SIDE), 0.5, 0)
    y = A(noisy(0.02))
    f, prior = LeastSquares(A, y, 0.02), DeepImagePrior("light", steps=(60, 10))
    whole = solver.solve(f, prior, progress=False)
    assert mse(whole.x, picture()) < 3e-3  # the picture's variance is 3e-2
    path = tmp_path / "run.npz"
    solver.solve(f, prior, progress=False, checkpoint=path, callback=lambda step: step.iteration >= 6)
    resumed = solver.solve(f, prior, progress=False, checkpoint=path)
    assert torch.equal(resumed.x, whole.x)


JOB = """
import sys
import torch
torch.set_num_threads(1)
from pnp import ADMM, LeastSquares, checkpoint
from pnp.operators import Identity, Mask
from pnp.priors import DeepImagePrior
from test_dip_prox import SIDE, noisy

checkpoint.SECONDS_BETWEEN_WRITES = 0.0
A = Mask.random((SIDE, SIDE), 0.5, 0)
y, prior = A(noisy(0.02)), DeepImagePrior("light", steps=(60, 10), iterations=80)
if sys.argv[1] == "solve":
    f = LeastSquares(A, y, 0.02)
    x = ADMM(s=0.06, max_iter=12, tol=0.0).solve(f, prior, checkpoint=sys.argv[2], progress=False).x
else:
    x = prior.fit(A, y, 0.02, checkpoint=sys.argv[2], progress=False).x
torch.save(x, sys.argv[3])
"""


@pytest.mark.slow
@pytest.mark.parametrize("what", ["fit", "solve"])
def test_a_killed_run_goes_on_bit_for_bit(what, tmp_path):
    """Killed without warning as soon as a checkpoint is there, then started again: the image is that of a whole run."""
    path, out = tmp_path / "run.npz", tmp_path / "x.pt"
    start = [sys.executable, "-c", JOB, what]
    subprocess.run([*start, str(tmp_path / "whole.npz"), str(out)], check=True, cwd=TESTS, timeout=300)
    whole = torch.load(out)
    out.unlink()
    with subprocess.Popen([*start, str(path), str(out)], cwd=TESTS) as process:
        while not path.exists() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not out.exists()
    subprocess.run([*start, str(path), str(out)], check=True, cwd=TESTS, timeout=300)
    assert torch.equal(torch.load(out), whole)


def test_complex_images_and_levels_per_image():
    """A complex image has twice as many real channels; tau may differ from image to image."""
    z = torch.complex(noisy(0.1), noisy(0.1, 1))
    x = DeepImagePrior("tapered", steps=(40, 5)).prox(z, 0.01)
    assert x.dtype == z.dtype
    truth = torch.complex(picture(), picture())
    assert (x - truth).abs().square().mean() < (z - truth).abs().square().mean()
    v = torch.stack([noisy(0.1), noisy(0.1)])
    both = DeepImagePrior("tapered", steps=(40, 5)).prox(v, torch.tensor([0.01, 0.1]).reshape(2, 1, 1, 1))
    assert mse(both[1], v[1]) > mse(both[0], v[0])


def test_repr_says_what_is_not_default():
    """The name in messages and fingerprints tells settings apart."""
    assert repr(DeepImagePrior()) == "DeepImagePrior()"
    assert repr(DeepImagePrior("tapered", seed=3)) == "DeepImagePrior(network='tapered', seed=3)"
    assert repr(DeepImagePrior(l2=1e-3)) != repr(DeepImagePrior(l2=1e-4))


def test_a_volume_is_fitted_slice_by_slice_as_channels():
    """(B, C, D, H, W) with one variance a volume keeps its shape and equals the same slices given as channels."""
    v = torch.rand(2, 1, 3, 8, 8, generator=generator())
    prior = DeepImagePrior("tiny", seed=0)
    x = prior.prox(v, torch.full((2, 1, 1, 1, 1), 0.01))
    assert x.shape == v.shape
    assert torch.equal(x[:, 0], prior.prox(v[:, 0], torch.full((2, 1, 1, 1), 0.01)))
