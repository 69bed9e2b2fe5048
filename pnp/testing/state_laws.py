"""The laws of an operator as a ``torch.nn.Module``: state_dict, pickle, and the change of precision."""

from __future__ import annotations

import copy
import inspect
import math
import pickle
import sys

import torch
from torch import Tensor

from pnp.linear_operator import LinearOperator

from .probe import Probe
from .report import Finding, relative, worst


def state_dict_restores(p: Probe) -> Finding:
    """Loading a state gives the operator of that state, also after another was loaded and used: no stale cache."""
    A = p.operator
    if held := held_callables(A):
        return Finding("state_dict", note=f"it holds {held}", skipped=True)
    here = _outputs(p, A)
    state, twin = A.state_dict(), copy.deepcopy(A)
    doubled = {k: 2 * v if v.is_floating_point() else v for k, v in state.items()}
    twin.load_state_dict(doubled)
    there = _outputs(p, twin)
    twin.load_state_dict(state)
    error, note = _difference(here, _outputs(p, twin)), "an earlier state comes through"
    perturbed = any((doubled[k] != state[k]).any() for k in state)
    shows = math.prod(A.in_shape) > 1 and any(bool((t != 0).any()) for t in here[:2])  # no angle turns a single pixel
    if perturbed and shows and all(map(torch.equal, here, there)):
        error, note = math.inf, "loading another state changes nothing: a stale cache, or a buffer without effect"
    return Finding("state_dict", error, p.solve_tol, note)


def pickle_restores(p: Probe) -> Finding:
    """A pickled and restored operator computes the same."""
    A = p.operator
    if held := held_callables(A):
        return Finding("pickle", note=f"it holds {held}", skipped=True)
    if not _importable(type(A)):
        return Finding("pickle", note="its class cannot be imported by name", skipped=True)
    before = _outputs(p, A)
    restored = pickle.loads(pickle.dumps(A))
    return Finding("pickle", _difference(before, _outputs(p, restored)), p.tol)


def converts_to_double(p: Probe) -> Finding:
    """``.double()`` and ``.to(float64)`` give the same operator, in float64, close to the original."""
    A = p.operator
    if held := held_callables(A):
        return Finding("to float64", note=f"it holds {held}, whose precision is their own", skipped=True)
    before = _outputs(p, A)  # also fills the caches that a conversion must not leave behind
    single = A.dtype.to_real() == torch.float32 and bool([*A.buffers(), *A.parameters()])
    wide = Probe(A, p.seed, p.lead, torch.float64, p.complex_values)
    by_name, by_dtype = copy.deepcopy(A).double(), copy.deepcopy(A).to(torch.float64)
    results, others = _outputs(wide, by_name), _outputs(wide, by_dtype)
    if any(r.real.dtype != torch.float64 for r in [*results, *others]):
        return Finding("to float64", math.inf, 0.0, "results are not in float64")
    if (apart := _difference(results, others)) > 1e-12:
        return Finding("to float64", apart, 1e-12, ".double() and .to(torch.float64) differ")
    tol = 1e-4 if single or p.real == torch.float32 else 1e-12
    return Finding("to float64", _difference(results, before), tol, "the converted operator is another one")


def held_callables(A: LinearOperator) -> str:
    """The attribute name of a function that the operator or a part of it holds; empty if there is none."""
    for module in A.modules():
        for name, value in vars(module).items():
            if any(inspect.isroutine(v) for v in (value if isinstance(value, list | tuple) else [value])):
                return f"a function ({name})"
    return ""


def _importable(kind: type) -> bool:
    found: object = sys.modules.get(kind.__module__)
    for name in kind.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is kind


def _outputs(p: Probe, A: LinearOperator) -> list[Tensor]:
    """What the operator computes, with images drawn once in float64 so that precisions can be compared."""
    q = Probe(A, p.seed, p.lead, p.real, p.complex_values)
    x, y = q.image(), q.data()
    maps = [A.forward(x), A.adjoint(y)]
    return [*maps, A.tikhonov(y, p.rho, x, tol=1e-10)] if q.solvable else maps


def _difference(results: list[Tensor], others: list[Tensor]) -> float:
    error = 0.0
    for a, b in zip(results, others, strict=True):
        error = worst(error, relative(a - b, b))
    return error
