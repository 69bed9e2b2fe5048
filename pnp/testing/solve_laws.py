"""The laws of what an operator states about itself: its norm, its facts, its regularised solve, its dense matrix."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pnp.linear_operator import LinearOperator

from .operator_laws import TINY
from .probe import Probe
from .report import Finding, relative, worst

STOP = 8  # twice the multiple of rounding at which conjugate gradients stop
SMALL = 1 << 12  # unknowns up to which an iterative solve is cheap at any penalty


def norm_bounds_the_operator(p: Probe) -> Finding:
    """``norm()`` is the largest singular value: no image is amplified more, and one is amplified that much."""
    A = p.operator
    norm, x = p.norm, p.image()
    reached = 0.0
    for _ in range(30):  # power iteration: an estimate from below
        x = x / x.abs().norm()
        Ax = A.forward(x)
        reached = max(reached, float(Ax.abs().norm()))
        x = A.adjoint(Ax)
        if not float(x.abs().norm()) > 0:
            break
    note = f"norm() says {norm:.6g}, a power iteration reaches {reached:.6g}"
    above = reached - norm * (1 + 1e-4) if norm or reached > p.tol else 0.0
    below = 0.8 * norm - reached  # a loose estimate: the iteration may not have converged
    return Finding("norm", worst(max(above, 0.0), max(below, 0.0)), p.tol * norm, note)


def tikhonov_solves_its_normal_equations(p: Probe, exponents: Sequence[int] = (-8, -4, -2, 0, 4)) -> Finding:
    """``A^H (A x - y) + rho (x - v) = 0``, for ``rho`` from 1e-8 to 1e4 of ``||A||^2``, with and without ``v``.

    Conjugate gradients end where ``w = (y - A x) / rho`` is right to ``STOP eps ||A||^2 ||w||``: data that no image
    explains, as where ``A`` is rank-deficient, make ``w`` large, and ``||A||`` times as much is rounding here. Least
    penalties, which cost them a thousand iterations, are tried once: with ``v``, on the smallest input. A solve that
    warns of its limit of iterations has said that it is not accurate.
    """
    A = p.operator
    exact = "CG" not in A.route()
    power = p.norm**2 or 1.0
    y = p.observed(p.data())
    found = Finding("normal equations", 0.0, p.solve_tol)
    for exponent in exponents if exact or (A.columns <= SMALL and p.lead == A.lead) else (-2, 0):
        rho = power * 10.0**exponent
        for v in (None, p.image(1)) if exact or exponent >= -2 else (p.image(1),):
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                x = A.tikhonov(y, rho, 0.0 if v is None else v, tol=None if exact else 1e-10)
            if not exact and any("iterations" in str(warning.message) for warning in said):
                continue
            away = x if v is None else x - v
            misfit = p.observed(A.forward(x) - y)
            gradient = A.adjoint(misfit) + rho * away
            scale = A.adjoint(y).abs().norm() + power * x.abs().norm() + (0 if v is None else rho * v.abs().norm())
            rounding = 0.0 if exact else STOP * torch.finfo(p.real).eps * p.norm**3 * float(misfit.abs().norm()) / rho
            error = relative(gradient, float(scale) + rounding / p.solve_tol)
            if not error <= found.error:
                note = f"rho = 1e{exponent} ||A||^2, {'without' if v is None else 'with'} v, {A.route()}"
                found = Finding("normal equations", error, p.solve_tol, note)
    return found


def facts_are_true(p: Probe) -> Finding:
    """``A A^H = row_gram``, ``A^H A = column_gram``, ``A`` is the convolution of ``spectrum()``; the constant row."""
    A = p.operator
    x, y = p.image(), p.data()
    Ax, AAhy = A.forward(x), A.forward(A.adjoint(y))
    claims: list[tuple[str, float]] = []
    if A.row_gram is not None:
        claims.append((f"row_gram = {A.row_gram:g}", relative(AAhy - A.row_gram * y, p.norm * Ax.abs().norm(), y)))
    if A.column_gram is not None:
        claims.append((f"column_gram = {A.column_gram:g}", relative(A.adjoint(Ax) - A.column_gram * x, x)))
    if (h := A.spectrum()) is not None and not x.is_complex():
        axes = tuple(range(-A.ndim, 0))
        h = h.to(p.real.to_complex())
        expected = torch.fft.irfftn(h * torch.fft.rfftn(x, dim=axes), s=x.shape[-A.ndim :], dim=axes)
        claims.append(("spectrum()", relative(Ax - expected, Ax)))
    if A.multiple is not None:
        claims.append((f"multiple = {A.multiple:g}", relative(Ax - A.multiple * x, Ax)))
    if not y.is_complex() and (folded := _folded(A, y)) is not None:
        claims.append(("fold()", relative(*folded)))
    if (k := A.constant_row) is not None:
        unit = torch.zeros(*A.lead, *A.out_shape, dtype=y.dtype, device=y.device)
        unit.view(*A.lead, -1)[..., k] = 1
        row = A.adjoint(unit)
        claims.append((f"constant_row = {k}", relative(row - row.mean(), row)))
    if not claims:
        return Finding("stated facts", note="none stated", skipped=True)
    fact, error = max(claims, key=lambda claim: math.inf if math.isnan(claim[1]) else claim[1])
    return Finding("stated facts", error, 10 * p.tol, f"{fact} is not true")


def _folded(A: LinearOperator, y: Tensor) -> tuple[Tensor, Tensor] | None:
    """How far ``A C A^H y`` is from what ``fold`` states, and itself, for a smoothing ``C``; None if unstated."""
    if len(A.in_shape) < A.ndim:  # vectors have no grid to convolve on
        return None
    axes, grid = tuple(range(-A.ndim, 0)), A.in_shape[-A.ndim :]
    impulse = torch.zeros(grid, dtype=y.dtype, device=y.device)
    impulse.view(-1)[0] = 1
    power = 1 / (1 + torch.fft.rfftn(impulse - impulse.roll(1, -1), dim=axes).abs().square())
    folded = A.fold(power)
    if folded is None:
        return None
    x = A.adjoint(y)
    ACAhy = A.forward(torch.fft.irfftn(power * torch.fft.rfftn(x, dim=axes), s=grid, dim=axes))
    stated = torch.fft.irfftn(folded * torch.fft.rfftn(y, dim=axes), s=y.shape[-A.ndim :], dim=axes)
    return ACAhy - stated, ACAhy


def stated_solves_invert_their_gram(p: Probe) -> Finding:
    """Where a closed form is claimed, ``_solve_dual`` inverts ``A A^H + rho`` and ``_solve_primal`` ``A^H A + rho``."""
    A, p = p.operator, Probe(p.operator, p.seed, p.lead, p.dtype)  # a private solve sees the operator's own field only
    sides: list[tuple[str, bool, Tensor, Callable[[Tensor, float], Tensor], Callable[[Tensor], Tensor]]] = [
        ("_solve_dual", A.solves_dual, p.observed(p.data()), A._solve_dual, lambda w: A.forward(A.adjoint(w))),
        ("_solve_primal", A.solves_primal, p.image(), A._solve_primal, lambda x: A.adjoint(A.forward(x))),
    ]
    power = p.norm**2 or 1.0
    found = Finding("stated solves", 0.0, p.solve_tol)
    if not (A.solves_dual or A.solves_primal):
        return Finding("stated solves", note="no closed form claimed", skipped=True)
    for method, claimed, r, solve, gram in sides:
        if not claimed:
            continue
        for exponent in (-4, 0):
            rho = power * 10.0**exponent
            w = solve(r, rho)
            error = relative(gram(w) + rho * w - r, r, power * w.abs().norm().item())
            if not error <= found.error:
                found = Finding("stated solves", error, p.solve_tol, f"{method} at rho = 1e{exponent} ||A||^2")
    return found


def dense_matrix_agrees(p: Probe) -> Finding:
    """On tiny shapes ``to_dense()`` is the matrix of forward and adjoint; norm and solve agree with it."""
    A = p.operator
    rows, columns = math.prod(A.out_shape), math.prod(A.in_shape)
    if rows * columns > TINY or (A.complex_in and not A.complex_out):
        why = "more than 2^14 entries" if rows * columns > TINY else "linear over the reals only: no complex matrix"
        return Finding("dense matrix", note=why, skipped=True)
    single = Probe(A, p.seed, A.lead, p.dtype)
    x, y, v = single.image(), single.observed(single.data()), single.image(1)
    D = _wide(A.to_dense())
    coarse = (
        torch.finfo(A.dtype.to_real()).eps > torch.finfo(p.real).eps
    )  # without buffers it is in torch's default dtype
    items = D.shape[:-2]  # vectors are columns, one an item
    x, y, v = (_wide(t).reshape(*items, -1, 1) for t in (x, y, v))
    Ax, Ahy = (t.reshape(*items, -1, 1) for t in (A.forward(single.image()), A.adjoint(single.observed(single.data()))))
    if A.complex_out and not A.complex_in:  # over the reals: real and imaginary parts stacked
        D, y, Ax = (torch.cat([t.real, t.imag], dim=-2) for t in (D, y, Ax))
    tol = 1e-5 if coarse else p.tol
    norm = float(torch.linalg.matrix_norm(D, 2).max())
    rho = 0.1 * norm**2 or 1.0
    gram = D.mH @ D + rho * torch.eye(columns, dtype=D.dtype, device=D.device)
    solution = torch.linalg.solve(gram, D.mH @ y + rho * v)
    solved = A.tikhonov(single.observed(single.data()), rho, single.image(1), tol=1e-10).reshape(*items, -1, 1)
    checks = [
        ("forward", relative(Ax - D @ x, norm * x.norm().item()), tol),
        ("adjoint", relative(Ahy - D.mH @ y, norm * y.norm().item()), tol),
        ("norm()", relative(torch.tensor(p.norm - norm), norm), 1e-3),
        ("tikhonov", relative(solved - solution, solution), max(10 * p.solve_tol, tol)),
    ]
    what, error, bound = max(checks, key=lambda check: math.inf if math.isnan(check[1]) else check[1] / check[2])
    return Finding("dense matrix", error, bound, f"{what} differs from the matrix of to_dense()")


def _wide(t: Tensor) -> Tensor:
    return t.to(torch.complex128 if t.is_complex() else torch.float64)
