"""Every operator with every prior in every solver: a finite image of the right kind, in one piece or in a batch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import OPERATORS, PRIORS, operators, priors

from pnp import ADMM, HQS, Denoiser, LeastSquares, Status, reconstruct

f64 = torch.float64
SHAPE = (8, 6)
SOLVERS = {"ADMM": ADMM(s=[0.3, 0.1]), "HQS": HQS(s=[0.3, 0.1])}
FINE = (Status.CONVERGED, Status.STAGNATED, Status.MAX_ITER)
FLAT = [entry.name for entry in PRIORS if entry.ndim == 2]
CHEAP = [name for name in FLAT if name not in ("BM3D", "DeepImagePrior")]
QUICK = ["TV auto", "Wavelet", "Tikhonov", "NLM"]  # one of each kind; the others are slow tests


def scene(shape, seed=0, batch=1):
    """Boxes on a ramp, a few grey levels of noise."""
    g = torch.Generator().manual_seed(seed)
    x = torch.linspace(0.2, 0.6, shape[-1], dtype=f64).expand(batch, *shape).clone()
    x[..., shape[-2] // 2 :, : shape[-1] // 2] += 0.3
    return x + 0.02 * torch.rand(x.shape, generator=g, dtype=f64)


def problem(A, batch):
    """A picture, or a batch, and its data; channels where the operator acts on each."""
    shape = A.in_shape if len(A.in_shape) == A.ndim + 1 else (1, *A.in_shape)
    x = torch.stack([scene(shape, seed)[0] * (1 + seed) for seed in range(batch)])
    x = torch.complex(x, x.flip(-1)) if A.complex_in else x
    y = A.forward(x)
    g = torch.Generator().manual_seed(7)
    draw = lambda: torch.randn(y.shape[1:], generator=g, dtype=f64)  # noqa: E731
    noise = torch.complex(draw(), draw()) if y.is_complex() else draw()
    return x, y + 0.01 * noise


def check(result, x, fine=FINE):
    assert result.x.shape == x.shape
    assert result.x.dtype == x.dtype
    assert torch.isfinite(result.x.abs()).all()
    assert result.status in fine
    assert len(result.statuses) == len(x)


def each(A, prior, run):
    """A batch of two is two single runs, unless blocks that are equally near by rounding are matched."""
    x, y = problem(A, 2)
    together = run(A, y)
    check(together, x)
    return together, [run(A.take(torch.tensor([i])), y[i : i + 1]) for i in range(2)]


def agree(together, singles, tol):
    for i, alone in enumerate(singles):
        assert (together.x[i] - alone.x[0]).abs().max() <= tol * max(1.0, float(alone.x.abs().max()))


def tries(names, entry):
    @settings(max_examples=1)
    @given(data=st.data())
    def body(data):
        A = data.draw(operators(name=entry, shape=SHAPE))
        for name in names:
            prior = data.draw(priors(name))
            tol = 1e-8 if name in CHEAP else 1e-2
            for solver in SOLVERS.values():
                together, singles = each(
                    A, prior, lambda A, y, s=solver, p=prior: s.solve(LeastSquares(A, y, 0.01, tol=1e-12), p)
                )
                agree(together, singles, tol)

    body()


def fronts(names, entry):
    @settings(max_examples=1)
    @given(data=st.data())
    def body(data):
        A = data.draw(operators(name=entry, shape=SHAPE))
        for name in names:
            prior = data.draw(priors(name))
            x, y = problem(A, 2)
            for sigma in (0.01, "auto"):
                limit = 12 if name in QUICK else 4
                result = reconstruct(y, A, prior, sigma=sigma, effort="fast", max_prior_calls=limit, progress=False)
                check(result, x, FINE if A.rows > 5 else tuple(Status))  # message passing is a theory of many rows

    body()


@pytest.mark.parametrize("entry", [entry.name for entry in OPERATORS])
def test_solvers(entry):
    tries(QUICK, entry)


@pytest.mark.parametrize("entry", [entry.name for entry in OPERATORS])
def test_the_front_door(entry):
    fronts(QUICK, entry)


@pytest.mark.slow
@pytest.mark.parametrize("entry", [entry.name for entry in OPERATORS])
def test_solvers_with_every_prior(entry):
    tries([name for name in FLAT if name not in QUICK], entry)


@pytest.mark.slow
@pytest.mark.parametrize("entry", [entry.name for entry in OPERATORS])
def test_the_front_door_with_every_prior(entry):
    fronts([name for name in FLAT if name not in QUICK], entry)


@pytest.mark.parametrize("prior", FLAT)
def test_every_prior_behind_a_blur(prior):
    fronts([prior], "Blur circular")


@pytest.mark.parametrize("entry", [entry.name for entry in OPERATORS])
def test_a_denoiser_of_ones_own(entry):
    """The callable gets what it was promised, whatever the operator: a batch of real pictures and a level."""

    @settings(max_examples=1)
    @given(data=st.data())
    def body(data):
        A = data.draw(operators(name=entry, shape=SHAPE))
        x, y = problem(A, A.lead[0] if A.lead else 1)

        def denoiser(v, sigma):
            assert v.ndim == 4
            assert v.dtype == f64
            assert isinstance(sigma, float) or (A.lead and sigma.shape == (len(v), 1, 1, 1))
            return v / (1 + sigma**2)

        check(reconstruct(y, A, Denoiser(denoiser), sigma=0.01, progress=False), x)

    body()
