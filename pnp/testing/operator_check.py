"""``check_operator``: every law of a linear operator, applied and reported."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence

import torch

from pnp.linear_operator import LinearOperator

from . import operator_laws, solve_laws, state_laws
from .probe import Probe
from .report import Finding, Report, broken_by

Law = Callable[[Probe], Finding]

MAP_LAWS: tuple[Law, ...] = (
    operator_laws.shapes_and_kinds_are_kept,
    operator_laws.adjoint_pairs_with_forward,
    operator_laws.forward_is_linear,
    operator_laws.batch_equals_loop,
    operator_laws.input_is_untouched,
    operator_laws.calls_are_repeatable,
    operator_laws.layout_does_not_matter,
    operator_laws.gradient_of_forward_is_adjoint,
    operator_laws.unobserved_entries_are_ignored,
    operator_laws.refuses_what_does_not_fit,
)
SOLVE_LAWS: tuple[Law, ...] = (
    solve_laws.norm_bounds_the_operator,
    solve_laws.tikhonov_solves_its_normal_equations,
    solve_laws.facts_are_true,
    solve_laws.stated_solves_invert_their_gram,
    solve_laws.dense_matrix_agrees,
)
STATE_LAWS: tuple[Law, ...] = (
    state_laws.state_dict_restores,
    state_laws.pickle_restores,
    state_laws.converts_to_double,
)
OPERATOR_LAWS: tuple[Law, ...] = MAP_LAWS + SOLVE_LAWS + STATE_LAWS


def check_operator(A: LinearOperator, raise_on_failure: bool = True, *, seed: int = 0) -> Report:
    """Apply every law of a linear operator to ``A``: adjoint, linearity, batch, state, solve, dtypes, gradient, errors.

    Run it once on a small instance of an operator of your own; it takes about a second for a hundred pixels. Laws are
    tried on one item, then on a batch, and the smallest failing input is reported; an operator in float32 is also
    checked as a float64 copy, where small faults of large operators show.

    Raises: AssertionError that names every broken law with its numbers, unless ``raise_on_failure`` is False;
    TypeError if ``A`` is no LinearOperator.

    >>> import torch
    >>> from pnp import LinearOperator, testing
    >>> class Shift(LinearOperator):  # wrong on purpose: the adjoint shifts the same way
    ...     def _forward(self, x):
    ...         return x.roll(1, -1)
    ...
    ...     def _adjoint(self, y):
    ...         return y.roll(1, -1)
    >>> report = testing.check_operator(Shift((1, 3), (1, 3)), raise_on_failure=False)
    >>> [finding.law for finding in report.failures]
    ['adjoint', 'gradient', 'adjoint (float64)']
    >>> print(report.failures[0].note)
    images (1, 3): worst at pixel (0, 0), datum (0, 1): forward has 1, adjoint 0
    """
    if not isinstance(A, LinearOperator):
        raise TypeError(f"check_operator: expected a pnp.LinearOperator, got {type(A).__name__}; see FromCallables.")
    findings = apply_laws(MAP_LAWS, A, seed=seed)
    paired = findings[MAP_LAWS.index(operator_laws.adjoint_pairs_with_forward)].ok
    solvable = paired or "CG" not in A.route()
    if solvable:
        findings += apply_laws(SOLVE_LAWS, A, seed=seed)
    else:
        why = "the solve is conjugate gradients, which need a true adjoint"
        findings += [Finding(_title(law), note=why, skipped=True) for law in SOLVE_LAWS]
    findings += apply_laws(STATE_LAWS, A, seed=seed)
    if A.dtype.to_real() == torch.float32 and not state_laws.held_callables(A):
        findings += _in_float64(A, seed, solvable)
    report = Report(repr(A), tuple(findings))
    if raise_on_failure:
        report.raise_failures()
    return report


def apply_laws(
    laws: Sequence[Law],
    A: LinearOperator,
    *,
    seed: int = 0,
    dtype: torch.dtype | None = None,
    complex_values: bool = False,
) -> list[Finding]:
    """One finding a law, on the smallest input that breaks it, or on the largest tried; an exception breaks it too.

    ``dtype`` is the real dtype of images and data, the operator's own if None; ``complex_values`` gives complex images
    to a real operator.
    """
    probes = [Probe(A, seed, lead, dtype, complex_values) for lead in leads(A)]
    return [_apply(law, probes) for law in laws]


def leads(A: LinearOperator) -> list[tuple[int, ...]]:
    """The leading dimensions to try, smallest first, because the first failure is the one reported: one item and two,
    or the batch that the operator is built for, of one channel and of two.
    """
    return [A.lead, tuple(2 if n == 1 else n for n in A.lead)] if A.lead else [(), (2,)]


def _apply(law: Law, probes: Sequence[Probe]) -> Finding:
    finding = Finding(_title(law))
    for probe in probes:
        try:
            finding = law(probe)
        except Exception as error:  # noqa: BLE001 - reported: one fault must not hide the others
            finding = broken_by(error, _title(law))
        if not finding.ok:
            return finding.at(f"images {(*probe.lead, *probe.operator.in_shape)}")
    return finding


def _title(law: Law) -> str:
    return law.__name__.replace("_", " ")


def _in_float64(A: LinearOperator, seed: int, solvable: bool) -> list[Finding]:
    try:
        wide = copy.deepcopy(A).double()
    except Exception as error:  # noqa: BLE001 - reported
        return [broken_by(error, "float64 copy")]
    laws = (operator_laws.adjoint_pairs_with_forward, solve_laws.tikhonov_solves_its_normal_equations)[: 1 + solvable]
    found = apply_laws(laws, wide, seed=seed, dtype=torch.float64)
    return [dataclasses.replace(finding, law=f"{finding.law} (float64)") for finding in found]
