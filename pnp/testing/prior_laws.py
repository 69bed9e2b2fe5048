"""The laws of a prior, one function each; ``check_prior`` and the test-suite apply the same functions."""

from __future__ import annotations

import dataclasses
import math
import pickle
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from pnp.functional import Functional

from .report import Finding, relative, worst

LEAST_SIDE = 16  # of a picture that a denoiser is asked to improve
IMPROVED = 0.95  # of the error, at most, once it has: a strength mistaken for its square leaves more
STATISTICAL_SLACK = 0.02  # how far a denoiser without a functional behind it may miss a monotone law


@dataclasses.dataclass(frozen=True)
class PriorProbe:
    """A prior, reproducible noisy pictures of one shape, and the accuracy that may be asked of the prior.

    ``gap`` is the excess of ``g(x) + ||x - v||^2 / (2 tau)`` over its minimum that ``prox`` may leave, relative to it;
    ``batch_tol`` how far an item of a batch may be from the same item alone, relative to its norm.
    """

    prior: Functional
    shape: tuple[int, ...] = (1, 32, 32)
    sigma: float = 0.1
    seed: int = 0
    dtype: torch.dtype = torch.float64
    gap: float = 1e-9
    batch_tol: float = 1e-9
    device: torch.device | str = "cpu"

    @property
    def tau(self) -> float:
        """The variance that most laws use."""
        return self.sigma**2

    @property
    def rounding(self) -> float:
        """Relative error allowed to an exact prox."""
        return 1e-10 if self.dtype == torch.float64 else 1e-5

    def generator(self, k: int) -> torch.Generator:
        """The ``k``-th independent stream of the probe's seed."""
        return torch.Generator().manual_seed(1000 * self.seed + k)

    def clean(self, k: int = 0) -> Tensor:
        """A picture of smooth waves and a bright square, values in [0.2, 0.8]."""
        *lead, height, width = self.shape
        phase = torch.rand(*lead, 1, 1, generator=self.generator(k), dtype=torch.float64)
        rows, columns = torch.linspace(0, 1, height).double()[:, None], torch.linspace(0, 1, width).double()
        waves = torch.sin(6 * rows + 9 * phase) * torch.cos(5 * columns + 3 * phase)
        square = ((rows - 0.5).abs() < 0.25) & ((columns - 0.4).abs() < 0.2)
        return (0.45 + 0.2 * waves + 0.15 * square).expand(self.shape).to(self.device, self.dtype)

    def noisy(self, k: int = 0, sigma: float | None = None) -> Tensor:
        """The ``k``-th picture with white noise of standard deviation ``sigma``."""
        noise = torch.randn(self.shape, generator=self.generator(k + 500), dtype=torch.float64)
        return self.clean(k) + (self.sigma if sigma is None else sigma) * noise.to(self.device, self.dtype)

    def objective(self, x: Tensor, v: Tensor, tau: float) -> float:
        """``tau g(x) + 1/2 ||x - v||^2``, in units of the image squared."""
        return float(tau * self.prior(x) + (x - v).square().sum() / 2)

    def slack(self, x: Tensor, v: Tensor, tau: float) -> float:
        """How far the prox may be from the exact one in norm: strong convexity turns the gap into a distance."""
        objective = self.objective(x, v, tau) if self.prior.has_value else float((x - v).square().sum() / 2)
        inexact = math.sqrt(2 * self.gap * objective) if 0 < objective < math.inf else 0.0
        return inexact + self.rounding * float(v.norm())


def shapes_and_dtypes_are_kept(p: PriorProbe) -> Finding:
    """``prox`` keeps shape, dtype and device, for one image and for a batch, in float32 and float64."""
    wrong = []
    for dtype in (torch.float32, torch.float64):
        for v in (p.noisy().to(dtype), torch.stack([p.noisy(), p.noisy(1)]).to(dtype)):
            x = p.prior.prox(v, p.tau)
            if (x.shape, x.dtype, x.device) != (v.shape, v.dtype, v.device):
                wrong.append(f"{tuple(v.shape)} {v.dtype} became {tuple(x.shape)} {x.dtype}")
            elif not x.isfinite().all():
                wrong.append(f"{tuple(v.shape)} {v.dtype} gave NaN or inf")
    return Finding("shape and dtype kept", len(wrong), 0, "; ".join(wrong))


def no_noise_means_no_change(p: PriorProbe) -> Finding:
    """As sigma goes to 0, ``denoise(v, sigma)`` goes to ``v``: pixels change by 3 sigma at most; for 0 by nothing."""
    finding = Finding("identity as sigma -> 0", 0.0, 3.0)
    for sigma in (1e-3, 1e-4):
        v = p.noisy(sigma=sigma)
        change = float((p.prior.denoise(v, sigma) - v).square().mean().sqrt())
        if not change / sigma <= finding.error:
            finding = Finding(finding.law, change / sigma, 3.0, f"rms change over sigma, at sigma = {sigma:g}")
    v = p.noisy()
    if not torch.equal(p.prior.denoise(v, 0.0), v):
        return Finding(finding.law, math.inf, 0.0, "denoise(v, 0) is not v")
    return finding


def noise_is_removed(p: PriorProbe) -> Finding:
    """A prior known by its prox alone is a denoiser: ``prox(v, sigma^2)`` is nearer to what noise of sigma hid."""
    if p.prior.has_value:
        return Finding("noise removed", note="a functional promises its own minimum", skipped=True)
    if min(p.shape[-2:]) < LEAST_SIDE:
        return Finding("noise removed", note=f"asked of pictures of {LEAST_SIDE} pixels a side or more", skipped=True)
    clean, v = p.clean(), p.noisy()
    left = relative(p.prior.prox(v, p.tau) - clean, v - clean)
    return Finding("noise removed", left, IMPROVED, f"prox leaves {left:.3g} of the error, at sigma = {p.sigma:g}")


def constants_are_kept(p: PriorProbe) -> Finding:
    """A constant image carries no noise: ``prox`` returns it, unless the functional itself penalises constants."""
    v = torch.full_like(p.clean(), 0.5)
    x = p.prior.prox(v, p.tau)
    if p.prior.has_value and float(p.prior(x)) < float(p.prior(v)):
        return Finding("constants kept", note="the functional penalises this constant", skipped=True)
    return Finding("constants kept", relative(x - v, v), 1e-6, f"0.5 became {float(x.mean()):.6g} on average")


def batch_mates_are_independent(p: PriorProbe) -> Finding:
    """An item's result depends neither on its batch mates nor on their ``tau``."""
    own, taus = p.noisy(), torch.tensor([1.0, 4.0], dtype=p.dtype, device=p.device) * p.tau
    alone = p.prior.prox(own, p.tau)
    found = Finding("batch mates independent", 0.0, p.batch_tol)
    per_image = taus.reshape(2, *(1,) * len(p.shape))
    quiet, loud = p.noisy(1), 10 * p.noisy(2, sigma=3 * p.sigma)
    cases: list[tuple[str, Tensor, float | Tensor]] = [
        ("a batch of one", own[None], p.tau),
        ("a similar mate", torch.stack([own, quiet]), p.tau),
        ("a mate ten times as bright", torch.stack([own, loud]), p.tau),
        ("a mate with another tau", torch.stack([own, quiet]), per_image),
    ]
    for mate, batch, tau in cases:
        error = relative(p.prior.prox(batch, tau)[0] - alone, alone)
        if not error <= found.error:
            found = Finding(found.law, error, found.bound, f"the result alone and with {mate} differ")
    return found


def calls_are_deterministic(p: PriorProbe) -> Finding:
    """Equal calls give equal results, whatever was denoised in between; no random draw, no hidden state."""
    if not p.prior.deterministic:
        return Finding("deterministic", note="declared not to be", skipped=True)
    v = p.noisy()
    first = p.prior.prox(v, p.tau)
    p.prior.prox(p.noisy(1), 4 * p.tau)
    again = p.prior.prox(v, p.tau)
    return Finding("deterministic", relative(again - first, first), 0.0, "the second of two equal calls differs")


def arguments_are_untouched(p: PriorProbe) -> Finding:
    """``prox`` leaves its image and its variance as they were."""
    v = p.noisy()
    kept, tau = v.clone(), torch.full((1,) * len(p.shape), p.tau, dtype=p.dtype, device=p.device)
    p.prior.prox(v, tau)
    changed = worst(float((v - kept).abs().max()), float((tau - p.tau).abs().max()))
    return Finding("arguments untouched", changed, 0.0, "prox wrote into its arguments")


def the_outside_is_untouched(p: PriorProbe) -> Finding:
    """``prox`` leaves the random numbers of torch and NumPy to those who draw from them."""
    user = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002 - the global one is what must not change
    torch.rand(1), np.random.random()  # noqa: NPY002 - a prior that seeds them has done so by now
    before = _random_states()
    p.prior.prox(p.noisy(), p.tau)
    after = _random_states()
    torch.set_rng_state(user[0])
    np.random.set_state(user[1])  # noqa: NPY002
    drawn = [name for name in before if before[name] != after[name]]
    note = f"prox draws from {' and '.join(drawn)} global generator, or seeds it; keep one of your own"
    return Finding("random state untouched", len(drawn), 0, note if drawn else "")


def _random_states() -> dict[str, bytes]:
    numpy_state = np.random.get_state()  # noqa: NPY002
    return {"torch's": torch.get_rng_state().numpy().tobytes(), "NumPy's": pickle.dumps(numpy_state)}


def layout_does_not_matter(p: PriorProbe) -> Finding:
    """A picture whose columns are contiguous in memory, not its rows, gives the same result."""
    v = p.noisy()
    x, y = p.prior.prox(v, p.tau), p.prior.prox(v.mT.contiguous().mT, p.tau)
    return Finding("memory layout", relative(y - x, x), p.batch_tol, "a transposed layout changes the result")


def more_noise_means_more_smoothing(p: PriorProbe) -> Finding:
    """``||prox(v, tau) - v||`` does not fall as ``tau`` grows."""
    v = p.noisy()
    found = Finding("monotone strength")
    before, slack_before = 0.0, 0.0
    for factor in (0.1, 0.3, 1.0, 2.0):
        tau = (factor * p.sigma) ** 2
        x = p.prior.prox(v, tau)
        change = float((x - v).norm())
        slack = p.slack(x, v, tau) + (0.0 if p.prior.convex else STATISTICAL_SLACK * before)
        fall, allowed = max(before - change, 0.0), slack + slack_before
        if fall - allowed > found.error - found.bound or math.isnan(change):
            found = Finding(found.law, fall, allowed, f"smooths less at sigma = {factor * p.sigma:g}: {change:.3e}")
        before, slack_before = change, slack
    return found


def value_is_one_number_per_image(p: PriorProbe) -> Finding:
    """``g(x)`` has the batch shape of ``x``, and an item's value does not depend on its mates."""
    if not p.prior.has_value:
        return Finding("value", note="only the proximal map is known", skipped=True)
    batch = torch.stack([p.clean(), p.noisy(1)])
    together, alone = p.prior(batch), p.prior(batch[0])
    if tuple(together.shape) != (2,) or tuple(alone.shape) != ():
        note = f"g of {tuple(batch.shape)} has shape {tuple(together.shape)} where (2,) was expected"
        return Finding("value", math.inf, 0.0, note)
    if torch.isinf(alone) and together[0] == alone:
        return Finding("value")
    return Finding("value", relative(together[0] - alone, alone), p.rounding)


def prox_minimises(p: PriorProbe) -> Finding:
    """No trial image has a smaller ``g(x) + ||x - v||^2 / (2 tau)`` than ``prox(v, tau)``.

    Trials: the prox at other variances, which exposes a wrong scale, the input, scaled and randomly perturbed results.
    """
    if not p.prior.has_value:
        return Finding("prox optimality", note="only the proximal map is known", skipped=True)
    found = Finding("prox optimality")
    for tau in (p.tau, p.tau / 7):
        v = p.noisy(sigma=tau**0.5)
        x = p.prior.prox(v, tau)
        reached = p.objective(x, v, tau)
        bound = p.gap * abs(reached) + p.rounding * max(abs(reached), float(v.square().sum()) / 2)
        if not math.isfinite(reached):
            return Finding("prox optimality", math.inf, bound, f"the objective is {reached} at the prox")
        for trial, z in _trials(p, x, v, tau):
            excess = reached - p.objective(z, v, tau)
            if excess - bound > found.error - found.bound:
                note = f"{trial} has a smaller objective than the {reached:.6g} of the prox at tau = {tau:.3g}"
                found = Finding(found.law, excess, bound, note)
    return found


def _trials(p: PriorProbe, x: Tensor, v: Tensor, tau: float) -> list[tuple[str, Tensor]]:
    """Images near ``x = prox(v, tau)`` that a wrong prox might lose to, with their names."""
    step = p.sigma * torch.randn(p.shape, generator=p.generator(9), dtype=torch.float64).to(v)
    factors = (0.1, 0.25, 0.5, 0.8, 0.95, 1.05, 1.25, 2.0, 4.0)
    return [
        *((f"the prox at {c:g} tau", p.prior.prox(v, c * tau)) for c in factors),
        *((f"{c:g} times the prox", c * x) for c in (0.9, 0.99, 1.01, 1.1)),
        *((f"a random step of {t:g} sigma", x + t * step) for t in (0.1, 0.01, -0.01, 1e-3, -1e-3)),
        *((f"a step of {t:g} towards the input", x + t * (v - x)) for t in (-0.05, 1e-3, 0.05, 1.0)),
        ("a constant", torch.full_like(v, float(v.mean()))),
    ]


def prox_is_firmly_nonexpansive(p: PriorProbe) -> Finding:
    """``||p - q||^2 <= <p - q, a - b>`` for ``p = prox(a), q = prox(b)`` of a convex functional."""
    if not p.prior.convex:
        return Finding("firmly non-expansive", note="not convex", skipped=True)
    found = Finding("firmly non-expansive")
    a = p.noisy()
    for name, b in (
        ("another picture", p.noisy(1)),
        ("a brighter one", 1.5 * a),
        ("a nearby one", a + 0.01 * p.noisy(2)),
    ):
        x, z = p.prior.prox(a, p.tau), p.prior.prox(b, p.tau)
        excess = float((x - z).square().sum() - ((x - z) * (a - b)).sum())
        inexact = p.slack(x, a, p.tau) + p.slack(z, b, p.tau)
        allowed = inexact * (2 * float((x - z).norm()) + float((a - b).norm()) + inexact)
        if not excess - allowed <= found.error - found.bound:
            found = Finding(found.law, excess, allowed, f"prox of a picture and of {name}")
    return found


def gradient_is_the_slope(p: PriorProbe) -> Finding:
    """Where ``g`` is smooth: ``gradient`` is its slope, ``lipschitz()`` bounds it, and ``prox`` agrees with it."""
    if type(p.prior).gradient is Functional.gradient:
        return Finding("gradient", note="not smooth", skipped=True)
    x, z = p.noisy(), p.noisy(1)
    eps = torch.finfo(p.dtype).eps
    t = eps ** (1 / 3) * float(x.norm())  # where the bend of g and rounding weigh alike
    direction = (z - x) / (z - x).norm()
    slope = float((p.prior(x + t * direction) - p.prior(x - t * direction)) / (2 * t))
    stated = float((p.prior.gradient(x) * direction).sum())
    accuracy = 1e-5 if p.dtype == torch.float64 else 1e-2
    errors = [(abs(slope - stated) / (abs(stated) + abs(slope) + 1e-12), accuracy, "differs from finite differences")]
    bend = float((p.prior.gradient(x) - p.prior.gradient(z)).norm() / (x - z).norm())
    limit = float(torch.as_tensor(p.prior.lipschitz()).max())
    errors.append((max(bend - limit, 0.0), 1e-6 * limit, f"changes by {bend:.4g} a unit, lipschitz() says {limit:.4g}"))
    u = p.prior.prox(x, p.tau)
    errors.append(
        (relative(u + p.tau * p.prior.gradient(u) - x, x), math.sqrt(p.gap) + p.rounding, "does not fit prox")
    )
    error, bound, note = max(errors, key=lambda e: math.inf if math.isnan(e[0]) else e[0] / max(e[1], 1e-300))
    return Finding("gradient", error, bound, f"the gradient {note}")


def fresh_copies_are_private(p: PriorProbe) -> Finding:
    """``fresh()`` starts where the prior is, keeps its memory to itself, and restores it from ``state_dict``."""
    v = p.noisy()
    before = p.prior.prox(v, p.tau)
    private = p.prior.fresh()
    checks = [("its first call differs from the prior's own", private.prox(v, p.tau), before)]
    twin = p.prior.fresh()
    twin.load_state_dict(private.state_dict())
    w = p.noisy(1)
    checks.append(("state_dict does not restore it", twin.prox(w, p.tau), private.prox(w, p.tau)))
    checks.append(("using it changed the prior", p.prior.prox(v, p.tau), before))
    found = Finding("fresh copies", 0.0, p.rounding)
    for note, got, expected in checks:
        error = relative(got - expected, expected)
        if not error <= found.error:
            found = Finding(found.law, error, found.bound, note)
    return found


def memory_goes_with_its_image(p: PriorProbe) -> Finding:
    """``take(keep)`` of a ``fresh`` copy goes on with some images of a batch as if the others were still there."""
    v = torch.stack([p.noisy(k) for k in range(3)])
    keep = torch.tensor([0, 2], device=v.device)
    whole, part = p.prior.fresh(), p.prior.fresh()
    for copy in (whole, part):
        copy.prox(v, p.tau)
    expected = whole.prox(v, p.tau / 2)[keep]
    error = relative(part.take(keep).prox(v[keep], p.tau / 2) - expected, expected)
    note = "two images of three, the other having finished, are not what they are beside it"
    return Finding("memory goes with its image", error, max(1e-4, p.batch_tol), note)


def refuses_what_is_no_image(p: PriorProbe) -> Finding:
    """``denoise`` refuses a negative or NaN sigma and NaN (ValueError); ``prox`` integers and lists (TypeError)."""
    v, wrong = p.noisy(), []
    holed = v.clone()
    holed.view(-1)[0] = math.nan
    cases: list[tuple[str, Callable[[], object], type[Exception]]] = [
        ("a negative sigma", lambda: p.prior.denoise(v, -0.1), ValueError),
        ("a NaN sigma", lambda: p.prior.denoise(v, math.nan), ValueError),
        ("an image with NaN", lambda: p.prior.denoise(holed, 0.1), ValueError),
        ("an integer image", lambda: p.prior.prox((255 * v).to(torch.int64), 0.1), TypeError),
        ("a list", lambda: p.prior.prox(v.tolist(), 0.1), TypeError),  # type: ignore[arg-type]
        ("a picture without channels", lambda: p.prior.prox(v.new_zeros(2, 2), 0.1), ValueError),
    ]
    for what, call, expected in cases:
        try:
            call()
        except expected:
            continue
        except Exception as error:  # noqa: BLE001 - reported: any other kind of error breaks the law
            wrong.append(f"{what} raised {type(error).__name__}")
        else:
            wrong.append(f"{what} was accepted")
    return Finding("bad input refused", len(wrong), 0, "; ".join(wrong))
