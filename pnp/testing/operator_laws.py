"""The laws of a linear operator, one function each; ``check_operator`` and the test-suite apply the same functions."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from pnp.linear_operator import LinearOperator

from .probe import Probe
from .report import Finding, relative, worst

TINY = 1 << 14  # entries of a matrix small enough to be written out


def shapes_and_kinds_are_kept(p: Probe) -> Finding:
    """``A`` maps (..., *in_shape) to (..., *out_shape), keeps precision and device, and is complex where it says so."""
    A = p.operator
    x, y = p.image(), p.data()
    complex_x, complex_y = x.is_complex(), y.is_complex()
    complex_image = A.complex_in or (complex_y and not A.complex_out)
    cases = [
        ("forward", A.forward(x), A.out_shape, A.complex_out or (complex_x and not A.complex_in)),
        ("adjoint", A.adjoint(y), A.in_shape, complex_image),
    ]
    if p.solvable:
        cases.append(("tikhonov", A.tikhonov(y, p.rho, x), A.in_shape, complex_x or complex_image))
        cases.append(("start", A.start(y), A.in_shape, complex_image))
    wrong = []
    for method, result, shape, complex_ in cases:
        expected = ((*p.lead, *shape), p.real.to_complex() if complex_ else p.real, x.device)
        got = (tuple(result.shape), result.dtype, result.device)
        if got != expected:
            wrong.append(f"{method} returned {_kind(*got)} where {_kind(*expected)} was expected")
    return Finding("shapes and kinds are kept", len(wrong), 0, ", ".join(wrong))


def adjoint_pairs_with_forward(p: Probe) -> Finding:
    """``<A x, y> = <x, A^H y>``, for random ``y`` and for ``y`` along ``A x``, where a wrong scale shows in full."""
    A = p.operator
    x = p.image()
    Ax = A.forward(x)
    error = 0.0
    for y in (p.data(), Ax):
        y = y if y.is_complex() == p.data().is_complex() else y.real
        Ahy = A.adjoint(y)
        gap = _inner(p, Ax, y) - _inner(p, x, Ahy)
        scale = float(Ax.abs().norm() * y.abs().norm() + x.abs().norm() * Ahy.abs().norm())
        error = worst(error, relative(gap, scale))
    return Finding("adjoint", error, p.tol, "" if error <= p.tol else describe_adjoint(p))


def describe_adjoint(p: Probe) -> str:
    """How the adjoint differs from the conjugate transpose of forward, entry by entry where the matrix is small."""
    A = p.operator
    rows, columns = math.prod(A.out_shape), math.prod(A.in_shape)
    if A.lead:
        return "try take(i), the operator of one item, to see which entry is wrong"
    if rows * columns > TINY:
        return "try a smaller operator to see which entry is wrong"
    forward, adjoint = written_out(p, A.forward, A.in_shape), written_out(p, A.adjoint, A.out_shape)
    expected = forward.mH
    factor = (expected.conj() * adjoint).sum() / expected.abs().square().sum()
    for kind, guess in (("A^T, the conjugate is missing", forward.mT), (f"{_number(factor)} A^H", factor * expected)):
        if relative(adjoint - guess, adjoint) < 10 * p.tol:
            return f"the adjoint is {kind}"
    column, row = divmod(int((adjoint - expected).abs().argmax()), rows)
    return (
        f"worst at pixel {_index(column, A.in_shape)}, datum {_index(row, A.out_shape)}: "
        f"forward has {_number(forward[row, column])}, adjoint {_number(adjoint[column, row])}"
    )


def forward_is_linear(p: Probe) -> Finding:
    """``A(a x + b z) = a A x + b A z`` and ``A 0 = 0``, for the forward and the adjoint map."""
    A = p.operator
    error = 0.0
    for f, x, z in ((A.forward, p.image(), p.image(1)), (A.adjoint, p.data(), p.data(1))):
        a, b = (0.7 + 0.4j, -1.3 + 0.9j) if x.is_complex() and A.complex_in == A.complex_out else (0.7, -1.3)
        fx, fz = f(x), f(z)
        error = worst(error, relative(f(a * x + b * z) - a * fx - b * fz, a * fx, b * fz))
        error = worst(error, float(f(torch.zeros_like(x)).abs().max()))
    return Finding("linearity", error, p.tol)


def batch_equals_loop(p: Probe) -> Finding:
    """Each item of a batch is treated as if it were alone, by forward, adjoint and the solve (one ``rho`` an item).

    Alone it is met by ``take(i)``, which for an operator built for no batch is the operator itself.
    """
    A, p = p.operator, p if len(p.lead) else _with_lead(p, (2,))
    x, y, v = p.image(), p.data(), p.image(1)
    rho = p.rho * torch.linspace(0.5, 2.0, p.lead[0], dtype=p.real, device=x.device)
    rho = rho.reshape(-1, *(1,) * (x.ndim - 1))
    maps: list[tuple[str, float, Callable[[LinearOperator, int | slice], Tensor]]] = [
        ("forward", p.tol, lambda A, i: A.forward(x[i])),
        ("adjoint", p.tol, lambda A, i: A.adjoint(y[i])),
        ("tikhonov", 10 * p.solve_tol, lambda A, i: A.tikhonov(y[i], rho[i], v[i], tol=1e-10)),
    ]
    parts = [A.take(torch.tensor([i], device=x.device)) for i in range(p.lead[0])]
    if any(part.lead for part in parts) or not A.lead and any(part is not A for part in parts):
        return Finding("batch = loop", math.inf, p.tol, "take(i) is not the operator of one item")
    found = Finding("batch = loop", 0.0, p.tol)
    for method, bound, f in maps if p.solvable else maps[:2]:
        together = f(A, slice(None))
        for i, part in enumerate(parts):
            alone = f(part, i)
            error = relative(together[i] - alone, alone, x[i], y[i])
            if not error * found.bound <= found.error * bound:
                why = "is not that of take(i)" if A.lead else "depends on the rest of the batch"
                found = Finding("batch = loop", error, bound, f"{method} of item {i} {why}")
    return found


def input_is_untouched(p: Probe) -> Finding:
    """``forward``, ``adjoint`` and ``tikhonov`` leave their arguments as they were."""
    A = p.operator
    x, y = p.image(), p.data()
    kept_x, kept_y = x.clone(), y.clone()
    note, error = "", 0.0
    calls: list[tuple[str, Callable[[], Tensor]]] = [
        ("forward", lambda: A.forward(x)),
        ("adjoint", lambda: A.adjoint(y)),
        ("tikhonov", lambda: A.tikhonov(y, p.rho, x)),
    ]
    for method, call in calls if p.solvable else calls[:2]:
        call()
        changed = worst(float((x - kept_x).abs().max()), float((y - kept_y).abs().max()))
        if not changed <= error:
            note, error = f"{method} changed its argument", changed
            x.copy_(kept_x)
            y.copy_(kept_y)
    return Finding("input untouched", error, 0.0, note)


def calls_are_repeatable(p: Probe) -> Finding:
    """The same call returns the same values whatever was computed in between: no hidden state."""
    A = p.operator
    x, y = p.image(), p.data()
    state = {name: tensor.clone() for name, tensor in A.state_dict().items()}
    calls: list[Callable[[Tensor, Tensor], Tensor]] = [
        lambda x, y: A.forward(x),
        lambda x, y: A.adjoint(y),
        lambda x, y: A.tikhonov(y, p.rho, x),
    ]
    calls = calls if p.solvable else calls[:2]
    first = [call(x, y) for call in calls]
    for call in calls:
        call(p.image(1), p.data(1))
    again = [call(x, y) for call in calls]
    error = 0.0
    for a, b in zip(first, again, strict=True):
        error = worst(error, relative(a - b, a))
    changed = [name for name, tensor in A.state_dict().items() if not torch.equal(tensor, state[name])]
    note = f"buffers {changed} changed" if changed else "the second of two equal calls gave another answer"
    return Finding("no hidden state", math.inf if changed else error, p.tol, note)


def layout_does_not_matter(p: Probe) -> Finding:
    """Non-contiguous input gives the same values as contiguous input."""
    A = p.operator
    error = 0.0
    for f, x in ((A.forward, p.image()), (A.adjoint, p.data())):
        strided = torch.stack([x, torch.full_like(x, math.nan)], dim=-1)[..., 0]
        expected = f(x)
        error = worst(error, relative(f(strided) - expected, expected))
    return Finding("any memory layout", error, p.tol)


def gradient_of_forward_is_adjoint(p: Probe) -> Finding:
    """Backpropagation of ``<A x, y>`` gives ``A^H y``, and of ``<A^H y, x>`` gives ``A x``."""
    A = p.operator
    error = 0.0
    for f, adjoint, x, y in (
        (A.forward, A.adjoint, p.image(), p.data()),
        (A.adjoint, A.forward, p.data(), p.image()),
    ):
        x = x.requires_grad_()
        value = f(x)
        if value.grad_fn is None:
            return Finding("gradient", math.inf, p.tol, "no gradient flows through forward or adjoint")
        (gradient,) = torch.autograd.grad((value.conj() * y).real.sum(), x)
        expected = adjoint(y)
        expected = expected if x.is_complex() else expected.real
        error = worst(error, relative(gradient - expected, expected))
    return Finding("gradient", error, 10 * p.tol)


def unobserved_entries_are_ignored(p: Probe) -> Finding:
    """Entries of the data that do not count may hold NaN; forward writes zero there, ``rows`` leaves them out."""
    A = p.operator
    mark = A.observed()
    if mark is None:
        return Finding("unobserved entries", note="all data entries count", skipped=True)
    y = p.observed(p.data())
    holes = torch.where(mark, y, math.nan)
    error = relative(torch.where(mark, 0, A.forward(p.image())), 1.0)
    error = worst(error, abs(A.rows - int(mark.sum())))
    solves: list[Callable[[Tensor], Tensor]] = [lambda data: A.tikhonov(data, p.rho), A.start]
    for f in [A.adjoint, *(solves if p.solvable else [])]:
        expected = f(y)
        error = worst(error, relative(f(holes) - expected, expected))
    return Finding("unobserved entries", error, p.tol)


def refuses_what_does_not_fit(p: Probe) -> Finding:
    """A wrong shape is a ValueError and integers are a TypeError, each with a message that names the operator."""
    A = p.operator
    wrong: list[str] = []
    for method, f, x in (("forward", A.forward, p.image()), ("adjoint", A.adjoint, p.data())):
        longer = torch.cat([x, x[..., :1]], dim=-1)
        for what, bad, expected in (
            ("a wrong shape", longer, ValueError),
            *([("another batch", torch.cat([x, x[:1]]), ValueError)] if A.lead else []),
            ("a 0-d tensor", x.flatten()[0], ValueError),
            ("an empty batch", x[None][:0], ValueError),
            ("integers", x.real.to(torch.int64), TypeError),
            ("a list", x.tolist(), TypeError),
        ):
            try:
                f(bad)  # type: ignore[arg-type]
            except expected as error:
                if type(A).__name__ not in str(error):
                    wrong.append(f"{method}'s error for {what} does not name the operator: {error}")
            except Exception as error:  # noqa: BLE001 - reported: any other kind of error breaks the law
                wrong.append(f"{method} raised {type(error).__name__} for {what}")
            else:
                wrong.append(f"{method} accepted {what}")
    return Finding("bad input refused", len(wrong), 0, "; ".join(wrong))


def written_out(p: Probe, f: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> Tensor:
    """The matrix of ``f``, one column for each entry of its argument of that shape."""
    n = math.prod(shape)
    complex_ = p.operator.complex_in and p.operator.complex_out
    dtype = p.real.to_complex() if complex_ else p.real
    basis = torch.eye(n, dtype=dtype, device=p.operator.device).reshape(n, *shape)
    return f(basis).reshape(n, -1).mT


def _inner(p: Probe, a: Tensor, b: Tensor) -> Tensor:
    """``<a, b>``; its real part where only one side of the operator is complex: it is then linear over the reals."""
    value = (a.conj() * b).sum()
    return value.real if p.operator.complex_in != p.operator.complex_out else value


def _with_lead(p: Probe, lead: tuple[int, ...]) -> Probe:
    return Probe(p.operator, p.seed, lead, p.dtype, p.complex_values)


def _kind(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> str:
    return f"{shape} {str(dtype).removeprefix('torch.')} on {device}"


def _index(flat: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(i) for i in torch.unravel_index(torch.tensor(flat), shape))


def _number(value: Tensor) -> str:
    number = value.item()
    return f"({number:.4g})" if isinstance(number, complex) and abs(number.imag) > 1e-9 else f"{number.real:.4g}"
