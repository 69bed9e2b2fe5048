"""Laws of data terms that are sums over measurements; ``test_poisson`` and ``test_robust`` hold each to its terms."""

import math

import torch

from pnp import Functional
from pnp.operators import Identity, Mask, Matrix
from tests.pictures import noise

f64 = torch.float64
SHAPE = (3, 4)


def operators() -> dict:
    """Every kind of solve: entry by entry, by a closed form, with fewer and with more data than unknowns."""
    mixing = torch.rand(20, 12, generator=torch.Generator().manual_seed(5), dtype=f64) / 6
    seen = torch.tensor([[1, 1, 0, 1], [0, 2, 1, 1], [1, 0.5, 1, 0]], dtype=f64)
    return {
        "identity": Identity(SHAPE),
        "multiple": 1.7 * Identity(SHAPE),
        "mask": Mask(seen),
        "tall": Matrix(mixing, SHAPE),
        "wide": Matrix(mixing[:7], SHAPE),
    }


def excess(f: Functional, x, v, tau):
    """The objective that the prox minimises, at ``x``."""
    return f(x) + (x - v).square().flatten(1).sum(dim=1) / (2 * tau)


def assert_optimal(f, v, tau):
    """No step in any direction, long or short, lowers the objective of the prox."""
    x = f.prox(v, tau)
    best = excess(f, x, v, tau)
    assert torch.isfinite(best).all()
    slack = 1e-10 * (1 + best.abs())
    for seed in range(8):
        direction = noise(tuple(v.shape), seed)
        for length in (1e-1, 1e-3, 1e-5):
            for sign in (1, -1):
                assert (excess(f, x + sign * length * direction, v, tau) >= best - slack).all()
    assert (excess(f, x + 1e-3 * (v - x), v, tau) >= best - slack).all()


def assert_firmly_nonexpansive(f, u, v, tau, slack=1e-9):
    """||P u - P v||^2 <= <P u - P v, u - v>."""
    step = f.prox(u, tau) - f.prox(v, tau)
    inner, size = (step * (u - v)).flatten(1).sum(dim=1), step.square().flatten(1).sum(dim=1)
    assert (size <= inner + slack * (u - v).square().flatten(1).sum(dim=1)).all()


def assert_accuracy(make, v, tau):
    """rms(x - exact) is about tol sqrt(tau) at most, for loose and tight ``tol``."""
    exact = make(1e-9).prox(v, tau)
    for tol in (1e-1, 1e-2, 1e-3, 1e-5):
        error = (make(tol).prox(v, tau) - exact).square().flatten(1).mean(dim=1).sqrt()
        assert (error <= 1.5 * tol * math.sqrt(tau)).all(), (tol, error / math.sqrt(tau))


def assert_gradient(f, x):
    """``gradient`` is the slope, and ``lipschitz`` bounds how fast it turns."""
    direction, t = noise(tuple(x.shape), 9), 1e-6
    slope = (f(x + t * direction) - f(x - t * direction)) / (2 * t)
    stated = (f.gradient(x) * direction).flatten(1).sum(dim=1)
    assert torch.allclose(slope, stated, rtol=1e-5, atol=1e-6)
    turned = (f.gradient(x + t * direction) - f.gradient(x)).flatten(1).norm(dim=1)
    assert (turned <= 1.001 * torch.as_tensor(f.lipschitz()).flatten() * t * direction.flatten(1).norm(dim=1)).all()


def assert_batch_is_singles(f, v, tau):
    """Images of one call and of single calls agree, with one ``tau`` and with one an image."""
    for step in (tau, tau * torch.arange(1, len(v) + 1, dtype=v.dtype).reshape(-1, 1, 1, 1)):
        together = f.prox(v, step)
        for i in range(len(v)):
            alone = f.take(torch.tensor([i]))
            one = step[i : i + 1] if isinstance(step, torch.Tensor) else step
            assert (alone.prox(v[i : i + 1], one) - together[i]).abs().max() <= 1e-9


def assert_memory(f, v, tau):
    """Only a fresh copy remembers; its second call ends where the first did; its memory can be saved and cut."""
    private = f.fresh()
    first = private.prox(v, tau)
    assert not f.state_dict()
    again = private.prox(v + 1e-3, tau)
    assert (again - f.prox(v + 1e-3, tau)).abs().max() <= 1e-6
    restored = f.fresh()
    restored.load_state_dict(private.state_dict())
    assert torch.equal(restored.prox(v, tau), private.prox(v, tau))
    assert (first - private.prox(v, tau)).abs().max() <= 1e-6
    last = torch.tensor([len(v) - 1])
    cut = private.take(last)
    assert {name: value[last].tolist() for name, value in private.state_dict().items()} == {
        name: value.tolist() for name, value in cut.state_dict().items()
    }
    assert (cut.prox(v[last], tau) - f.prox(v, tau)[last]).abs().max() <= 1e-6
