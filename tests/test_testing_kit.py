"""The laws of pnp.testing find every fault planted here, and nothing in what is right."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pnp
from pnp import Denoiser, Functional, LinearOperator
from pnp.operators import Blur, FromCallables, Mask, Radon
from pnp.operators.bordered_blur import BorderedBlur
from pnp.priors import NLM, TV, Tikhonov
from pnp.testing import Finding, Report, check_operator, check_prior, compositions, images

SHAPE = (5, 7)


class Filter(LinearOperator):
    """A correct operator: two neighbours, weighted differently, periodic borders; complex if its weights are."""

    def __init__(self, shape=SHAPE, *, imaginary=0.0):
        is_complex = bool(imaginary)
        super().__init__(shape, shape, complex_in=is_complex, complex_out=is_complex)
        self.register_buffer("weights", torch.tensor([0.6, 0.3]))
        self.imaginary = imaginary

    def left_right(self):
        return self.weights[0] * (1 + 1j * self.imaginary if self.imaginary else 1), self.weights[1]

    def _forward(self, x):
        a, b = self.left_right()
        return a * x + b * x.roll(1, -1)

    def _adjoint(self, y):
        a, b = self.left_right()
        return a.conj() * y + b.conj() * y.roll(-1, -1)


class WrongSign(Filter):
    def _adjoint(self, y):
        return -super()._adjoint(y)


class FlippedKernel(Filter):
    def _adjoint(self, y):  # the kernel's mirror was forgotten
        a, b = self.left_right()
        return a * y + b * y.roll(1, -1)


class OffByOne(Filter):
    def _adjoint(self, y):
        return super()._adjoint(y).roll(1, -2)


class WrongBorder(Filter):
    def _adjoint(self, y):  # zero instead of periodic at one edge
        a, b = self.left_right()
        shifted = y.roll(-1, -1)
        shifted = torch.cat([shifted[..., :-1], torch.zeros_like(y[..., :1])], dim=-1)
        return a * y + b * shifted


class MissingConjugate(Filter):
    def __init__(self):
        super().__init__(imaginary=0.5)

    def _adjoint(self, y):
        a, b = self.left_right()
        return a * y + b * y.roll(-1, -1)


class WrongScale(Filter):
    def _adjoint(self, y):
        return 1.001 * super()._adjoint(y)


class LeakyBatch(Filter):
    def _forward(self, x):
        y = super()._forward(x)
        return y + 1e-3 * y.roll(1, 0) if x.ndim > 2 else y

    def _adjoint(self, y):
        x = super()._adjoint(y)
        return x + 1e-3 * x.roll(-1, 0) if y.ndim > 2 else x


class WritesItsInput(Filter):
    def _forward(self, x):
        with torch.no_grad():
            result = super()._forward(x)
            x.mul_(0.5)
        return result


class Nonlinear(Filter):
    def _forward(self, x):
        return super()._forward(x).relu()


class HiddenState(Filter):
    calls = 0

    def _forward(self, x):
        self.calls += 1
        return super()._forward(x) * (1 + 1e-3 * self.calls)


class StaleCache(Filter):
    cached = None

    def left_right(self):  # derived once, never again
        if self.cached is None:
            self.cached = self.weights[0].clone(), self.weights[1].clone()
        return self.cached


class WrongNorm(Filter):
    def norm(self):
        return 0.5


class FalseFact(Filter):
    @property
    def row_gram(self):
        return 0.45  # 0.6^2 + 0.3^2, but neighbouring rows overlap


class FalseMultiple(Filter):
    @property
    def multiple(self):
        return 0.9


class WrongClosedForm(Filter):
    def _solve_dual(self, r, rho):
        return r / (0.9**2 + rho)


class DetachedGradient(Filter):
    def _forward(self, x):
        return super()._forward(x.detach()) + 0 * x


class LosesPrecision(Filter):
    def _forward(self, x):
        return super()._forward(x.float()).to(x.dtype)


class AcceptsAnything(Filter):
    def forward(self, x):
        return self._forward(torch.as_tensor(x).to(self.weights.dtype))


class OneWeightAnItem(LinearOperator):
    """A correct operator that holds one weight for each of two items."""

    def __init__(self, weights=(0.5, 2.0)):
        lead = (len(weights), 1) if len(weights) > 1 else ()
        super().__init__(SHAPE, SHAPE, lead=lead)
        self.register_buffer("weights", torch.as_tensor(weights).reshape(-1, 1, 1, 1)[slice(None) if lead else 0])

    def _forward(self, x):
        return self.weights * x if self.lead else self.weights[0] * x

    def _adjoint(self, y):
        return self._forward(y)

    def _take(self, keep):
        return type(self)(self.weights.flatten()[keep])


class TakesAnotherItem(OneWeightAnItem):
    def _take(self, keep):
        return OneWeightAnItem(self.weights.flatten()[1 - keep])


class TakesAll(OneWeightAnItem):
    def _take(self, keep):
        return self


class TakesACopy(Filter):
    def take(self, keep):
        return Filter()


class AcceptsAnotherBatch(OneWeightAnItem):
    def forward(self, x):
        self._check(x[:2], SHAPE, "forward")
        return self._forward(x[:2])


PLANTED = [
    (WrongSign, "adjoint", "the adjoint is -1 A^H"),
    (FlippedKernel, "adjoint", "worst at pixel"),
    (OffByOne, "adjoint", "worst at pixel"),
    (WrongBorder, "adjoint", "(0, 0), datum (0, 0)|(0, 6), datum (0, 0)"),
    (MissingConjugate, "adjoint", "the conjugate is missing"),
    (WrongScale, "adjoint", "the adjoint is 1.001 A^H"),
    (LeakyBatch, "batch = loop", "depends on the rest of the batch"),
    (WritesItsInput, "input untouched", "forward changed its argument"),
    (Nonlinear, "linearity", ""),
    (HiddenState, "no hidden state", ""),
    (StaleCache, "state_dict", "stale cache"),
    (WrongNorm, "norm", "norm() says 0.5"),
    (FalseFact, "stated facts", "row_gram"),
    (FalseMultiple, "stated facts", "multiple"),
    (WrongClosedForm, "stated solves", "_solve_dual"),
    (WrongClosedForm, "normal equations", "rho"),
    (DetachedGradient, "gradient", ""),
    (LosesPrecision, "adjoint (float64)", ""),
    (AcceptsAnything, "bad input refused", "forward accepted integers"),
    (TakesAnotherItem, "batch = loop", "is not that of take(i)"),
    (TakesAll, "batch = loop", "take(i)"),
    (TakesACopy, "batch = loop", "take(i)"),
    (AcceptsAnotherBatch, "bad input refused", "forward accepted another batch"),
]


@pytest.mark.parametrize(
    "operator",
    [Filter(), Filter(imaginary=0.5), Filter((1, 1)), 2 * Filter() @ Filter().H, OneWeightAnItem() @ Filter()],
)
def test_a_correct_operator_passes(operator):
    report = check_operator(operator)
    assert report.ok
    assert "all laws hold" in str(report)


@pytest.mark.parametrize(("broken", "law", "note"), PLANTED, ids=lambda value: getattr(value, "__name__", ""))
def test_every_planted_fault_is_named(broken, law, note):
    report = check_operator(broken(), raise_on_failure=False)
    finding = next((finding for finding in report.failures if finding.law == law), None)
    assert finding is not None, f"{law} holds for {broken.__name__}:\n{report}"
    assert any(part in finding.note for part in note.split("|")), finding.note
    with pytest.raises(AssertionError, match=f"{broken.__name__}.* breaks"):
        check_operator(broken())


small = Blur(torch.rand(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64), (6, 7), "zero")


wrapped, padded = Blur(small.engine.kernel, (6, 7)), copy.deepcopy(small).float()


@pytest.mark.parametrize(
    "operator", [wrapped - wrapped, Mask.random((6, 7), 0.5) @ (padded - padded), Radon((1, 1), 5)]
)
def test_an_operator_that_no_state_can_change_passes(operator):
    """Zero, or one pixel that every angle covers alike: no stale cache is to blame."""
    assert check_operator(operator).ok


def test_a_volume_is_checked_within_seconds(monkeypatch):
    """The least penalties cost thousands of iterations, so they are asked for once in each precision."""
    calls, forward = [], BorderedBlur._forward
    monkeypatch.setattr(BorderedBlur, "_forward", lambda A, x: calls.append(1) or forward(A, x))
    kernel = torch.rand(3, 3, 3, generator=torch.Generator().manual_seed(1))
    assert check_operator(Blur(kernel, (5, 6, 7), "replicate", ndim=3)).ok
    assert len(calls) < 6000  # 4600; each penalty in every form and shape takes 14000


def test_a_solve_that_warns_of_its_limit_breaks_no_law(monkeypatch):
    monkeypatch.setattr("pnp.tikhonov.PATIENCE", -40)
    assert check_operator(small).ok
    with pytest.warns(RuntimeWarning, match="44 iterations"):
        small.tikhonov(torch.ones(6, 7, dtype=torch.float64), 1e-8 * small.norm() ** 2, tol=1e-10)


def test_the_smallest_failing_input_is_reported():
    """A fault that shows in a batch only is reported for a batch, one that shows on one image for that image."""
    leak = check_operator(LeakyBatch(), raise_on_failure=False).failures[0]
    sign = check_operator(WrongSign(), raise_on_failure=False).failures[0]
    assert sign.note.startswith("images (5, 7):")
    assert leak.law == "batch = loop"


def test_the_error_names_all_broken_laws_with_their_numbers():
    class TwiceWrong(WrongScale, LeakyBatch):
        pass

    with pytest.raises(AssertionError) as caught:
        check_operator(TwiceWrong())
    for text in ("adjoint: error", "batch = loop: error", "allowed 1.00e-05"):
        assert text in str(caught.value)


def test_an_operator_that_raises_is_reported_not_propagated():
    class Raises(Filter):
        def _forward(self, x):
            raise RuntimeError("no such file")

    report = check_operator(Raises(), raise_on_failure=False)
    assert any("RuntimeError: no such file" in finding.note for finding in report.failures)


def test_functions_held_by_an_operator_excuse_it_from_pickling():
    class Holder(Filter):
        def __init__(self):
            super().__init__()
            self.function = lambda x: x

    report = check_operator(Holder())
    assert "pickle" in {finding.law for finding in report.skipped}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rows", [9, 12, 15])
def test_a_rank_deficient_operator_solved_by_conjugate_gradients_passes(rows, dtype):
    """Data that no image explains are divided by the penalty; their rounding is no fault of the operator."""
    g = torch.Generator().manual_seed(rows)
    matrix = torch.randn(rows, 3, generator=g, dtype=dtype) @ torch.randn(3, 12, generator=g, dtype=dtype)
    A = FromCallables(
        lambda x: matrix @ x.flatten(), lambda y: (matrix.mT @ y).reshape(3, 4), (3, 4), (rows,), dtype=dtype
    )
    assert "CG" in A.route()
    assert check_operator(A).ok


def test_an_operator_on_vectors_passes():
    assert check_operator(FromCallables(lambda x: 2 * x, lambda y: 2 * y, (6,), (6,), dtype=torch.float64)).ok


def test_what_is_no_operator_is_refused():
    with pytest.raises(TypeError, match="LinearOperator"):
        check_operator(lambda x: x)
    with pytest.raises(TypeError, match="Denoiser"):
        check_prior(lambda x, sigma: x)


def test_an_error_of_nan_breaks_a_law():
    assert not Finding("law", float("nan"), 1.0).ok
    assert not Report("A", (Finding("law", float("nan"), 1.0),)).ok


class Sparse(Functional):
    """A correct convex prior: ``g(x) = weight * sum |x - 1/2|``; constants of 1/2 are kept."""

    convex = has_value = True
    weight = 0.5

    def __call__(self, x):
        return self.weight * (x - 0.5).abs().sum(dim=(-3, -2, -1))

    def prox(self, v, tau):
        pnp.images.check_image(v, who="Sparse.prox")
        offset = v - 0.5
        return 0.5 + offset.sign() * (offset.abs() - self.threshold(v, tau)).clamp_min(0)

    def threshold(self, v, tau):
        return self.weight * tau


class IgnoresTau(Sparse):
    def threshold(self, v, tau):
        return self.weight * 0.01


class DoubleScale(Sparse):
    def threshold(self, v, tau):
        return 2 * self.weight * tau


class SlightlyWrongScale(Sparse):
    def threshold(self, v, tau):
        return 1.05 * self.weight * tau


class StandardDeviationForVariance(Sparse):
    def threshold(self, v, tau):
        return self.weight * tau**0.5


class LooksAtItsMates(Sparse):
    def threshold(self, v, tau):
        return self.weight * tau * v.std()


class WritesItsImage(Sparse):
    def prox(self, v, tau):
        x = super().prox(v, tau)
        v.clamp_(0, 1).mul_(0.9)
        return x


class Random(Sparse):
    def prox(self, v, tau):
        return super().prox(v, tau) + 1e-6 * torch.rand_like(v)


class RemembersLastCall(Sparse):
    last = 0.0

    def prox(self, v, tau):
        x = super().prox(v, tau)
        x, self.last = x + 1e-6 * self.last, float(x.mean())
        return x


class Sharpens(Sparse):
    def prox(self, v, tau):
        return v + tau * (v - v.mean(dim=(-2, -1), keepdim=True))


class DimsConstants(Functional):
    def prox(self, v, tau):
        pnp.images.check_image(v, who="DimsConstants.prox")
        return v / (1 + tau)


class SumsTheBatch(Sparse):
    def __call__(self, x):
        return self.weight * (x - 0.5).abs().sum()


class WrongGradient(Sparse):
    def __call__(self, x):
        return (x - 0.5).square().sum(dim=(-3, -2, -1)) / 2

    def prox(self, v, tau):
        pnp.images.check_image(v, who="WrongGradient.prox")
        return v + (0.5 - v) * tau / (1 + tau)

    def gradient(self, x):
        return x - 0.4

    def lipschitz(self):
        return 1.0


class LosesDtype(Sparse):
    def prox(self, v, tau):
        return super().prox(v, tau).double()


class Identity(Functional):
    def prox(self, v, tau):
        pnp.images.check_image(v, who="Identity.prox")
        return v.clone()


class StandardDeviationForVarianceInADenoiser(NLM):
    def prox(self, v, tau):
        return super().prox(v, tau**2)


class SeedsTheWorld(Sparse):
    def prox(self, v, tau):
        torch.manual_seed(0)
        return super().prox(v, tau)


class SeedsNumpy(Sparse):
    def prox(self, v, tau):
        np.random.seed(0)  # noqa: NPY002 - on purpose
        return super().prox(v, tau)


class ReadsMemoryInOrder(Sparse):
    def prox(self, v, tau):
        return super().prox(v, tau).as_strided(v.shape, torch.empty(v.shape).stride())


class ForgetsWhoseMemory(Sparse):
    """Its fresh copy remembers the last images, and keeps all of them when some have finished."""

    memory = None

    def fresh(self):
        private = type(self)()
        private.memory = 0.0
        return private

    def prox(self, v, tau):
        x = super().prox(v, tau)
        if self.memory is not None:
            x, self.memory = x + 1e-2 * self.memory, x
        return x


PLANTED_PRIORS = [
    (Identity, "noise removed"),
    (StandardDeviationForVarianceInADenoiser, "noise removed"),
    (SeedsTheWorld, "random state untouched"),
    (SeedsNumpy, "random state untouched"),
    (ReadsMemoryInOrder, "memory layout"),
    (ForgetsWhoseMemory, "memory goes with its image"),
    (IgnoresTau, "prox optimality"),
    (IgnoresTau, "identity as sigma -> 0"),
    (DoubleScale, "prox optimality"),
    (SlightlyWrongScale, "prox optimality"),
    (StandardDeviationForVariance, "prox optimality"),
    (LooksAtItsMates, "batch mates independent"),
    (WritesItsImage, "arguments untouched"),
    (Random, "deterministic"),
    (RemembersLastCall, "deterministic"),
    (Sharpens, "firmly non-expansive"),
    (DimsConstants, "constants kept"),
    (SumsTheBatch, "value"),
    (WrongGradient, "gradient"),
    (LosesDtype, "shape and dtype kept"),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 9, 12), (1, 1, 8)])
def test_a_correct_prior_passes(shape, dtype):
    assert check_prior(Sparse(), shape=shape, dtype=dtype, gap=1e-6).ok


@pytest.mark.parametrize(("broken", "law"), PLANTED_PRIORS, ids=lambda value: getattr(value, "__name__", value))
def test_every_planted_fault_of_a_prior_is_named(broken, law):
    report = check_prior(broken(), raise_on_failure=False)
    assert law in {finding.law for finding in report.failures}, str(report)
    with pytest.raises(AssertionError, match=law.replace(">", ".")):
        check_prior(broken())


def test_a_denoiser_that_ignores_its_noise_level_is_found():
    blur = Denoiser(lambda x, sigma: torch.nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False))
    report = check_prior(blur, raise_on_failure=False)
    assert {finding.law for finding in report.failures} == {"identity as sigma -> 0"}


def test_a_declared_inexactness_is_granted():
    """A prox that leaves a relative gap of 1e-3 passes where it says so, and only there."""

    class Inexact(Sparse):
        def prox(self, v, tau):
            x = super().prox(v, tau)
            return x + 1e-3 * (x - 0.5)

    assert not check_prior(Inexact(), raise_on_failure=False, gap=1e-12).ok
    assert check_prior(Inexact(), raise_on_failure=False, gap=1e-3).ok


@given(x=images())
@settings(max_examples=50, deadline=None)
def test_images_are_images(x):
    assert x.ndim in (3, 4)
    assert x.shape[-3] in (1, 3)
    assert x.isfinite().all()


@given(A=compositions([Filter(), Filter((5, 7))], depth=3))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_compositions_are_operators(A):
    assert isinstance(A, LinearOperator)
    x = torch.ones(A.in_shape)
    assert A.adjoint(A.forward(x)).shape == A.in_shape


@given(A=st.deferred(lambda: compositions([Filter(), WrongScale()], depth=2)))
@settings(max_examples=5, deadline=None)
def test_atoms_may_be_wrong_operators(A):
    assert isinstance(A, LinearOperator)


def test_importing_pnp_loads_neither_the_kit_nor_hypothesis():
    code = (
        "import sys, pnp; assert 'hypothesis' not in sys.modules; assert 'pnp.testing' not in sys.modules; "
        "pnp.testing.check_operator; pnp.testing.images; assert 'hypothesis' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_reports_are_plain_values():
    report = check_operator(Filter())
    assert pickle.loads(pickle.dumps(report)) == report


@pytest.mark.parametrize("prior", [NLM(), Tikhonov(), TV(0.5, gap=1e-7)], ids=lambda prior: type(prior).__name__)
def test_single_precision_and_a_single_pixel_are_no_faults(prior):
    assert check_prior(prior, dtype=torch.float32, gap=1e-7, batch_tol=1e-5).ok
    assert check_prior(prior, shape=(1, 1, 1), gap=1e-7).ok
