"""The regularised least-squares solve: which side, by which means; and the norm that scales it."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .conjugate_gradient import Solution, conjugate_gradient, inner

if TYPE_CHECKING:
    from .linear_operator import LinearOperator

DEFAULT_TOLERANCE = 1e-6  # of ||x||: at penalties of 1e-4 a looser data step costs whole decibels
PATIENCE = 20_000  # iterations beyond the 2 N that rounding may ask for: a tiny system may be ill-conditioned


def solve(
    A: LinearOperator,
    y: Tensor,
    rho: float | Tensor,
    v: Tensor | None,
    tol: float | None,
    start: Tensor | None,
) -> tuple[Tensor, Tensor | None]:
    """``A.tikhonov`` by the closed form of one side or conjugate gradients on it; second their solution, to warm up."""
    if y.is_complex() and not A.complex_out or v is not None and v.is_complex() and not A.complex_in:
        return by_parts(A, y, rho, v, tol), None  # a real operator and complex images
    residual = A._residual(y, v)
    rho_data, rho_image = align(A, rho, A.out_shape), align(A, rho, A.in_shape)
    w: Tensor | None = None
    if A._on_the_data_side():
        if A.solves_dual:
            step = A._adjoint(A._solve_dual(residual, rho_data))
        else:
            seen = A.observed()
            if seen is not None:  # CG must not try to explain what counts nowhere, NaN least of all
                residual = torch.where(seen, residual, 0)
            w = dual_cg(A, residual, rho_data, v, tol, start).x
            step = A._adjoint(w)
    else:
        gradient = A._adjoint(residual)
        if A.solves_primal:
            step = A._solve_primal(gradient, rho_image)
        else:
            w = primal_cg(A, gradient, rho_image, v, tol, start).x
            step = w
    return (step if v is None else v + step), w


def dual_cg(
    A: LinearOperator, r: Tensor, rho: float | Tensor, v: Tensor | None, tol: float | None, start: Tensor | None
) -> Solution:
    """``(A A^H + rho I) w = r`` until the image ``v + A^H w`` is within ``tol`` of its size from the exact one."""
    limit = 2 * torch.as_tensor(rho, dtype=r.real.dtype, device=r.device).sqrt() * (tol or DEFAULT_TOLERANCE)

    def tolerance(w: Tensor) -> Tensor:
        x = A._adjoint(w) if v is None else v + A._adjoint(w)
        size = inner(x, x, len(A.in_shape)).sqrt()
        return limit * size.reshape(*size.shape[: size.ndim - len(A.in_shape)], *(1,) * len(A.out_shape))

    solution = conjugate_gradient(
        lambda w: A._forward(A._adjoint(w)) + rho * w,
        r,
        dims=len(A.out_shape),
        tolerance=tolerance,
        start=start,
        precondition=lambda w: A._precondition_dual(w, rho),
        max_iter=iteration_limit(A),
    )
    return _announced(A, solution, tol)


def primal_cg(
    A: LinearOperator, b: Tensor, rho: float | Tensor, v: Tensor | None, tol: float | None, start: Tensor | None
) -> Solution:
    """``(A^H A + rho I) x = b`` until ``v + x`` is within ``tol`` of its size from the exact image."""
    limit = rho * (tol or DEFAULT_TOLERANCE)

    def tolerance(step: Tensor) -> Tensor:
        x = step if v is None else v + step
        return limit * inner(x, x, len(A.in_shape)).sqrt()

    solution = conjugate_gradient(
        lambda x: A._adjoint(A._forward(x)) + rho * x,
        b,
        dims=len(A.in_shape),
        tolerance=tolerance,
        start=start,
        precondition=lambda x: A._precondition_primal(x, rho),
        max_iter=iteration_limit(A),
    )
    return _announced(A, solution, tol)


def iteration_limit(A: LinearOperator) -> int:
    """Iterations of conjugate gradients after which a solve ends in any case."""
    return 2 * min(math.prod(A.out_shape), math.prod(A.in_shape)) + PATIENCE


def _announced(A: LinearOperator, solution: Solution, tol: float | None) -> Solution:
    """The solution, after a warning if it misses the accuracy asked for; Python shows the same warning once.

    Single precision, and a ``tol`` of one's own, ask for what the arithmetic can give: rounding is no news there. An
    operator equal to zero has the image 0, of which no error is a small part.
    """
    ended = f"{iteration_limit(A)} iterations of conjugate gradients" if solution.limited else "rounding"
    rounded = solution.rounded and tol is None and solution.x.real.dtype == torch.float64 and A.norm() > 0
    if solution.limited or rounded:
        warnings.warn(
            f"{A!r}.tikhonov: {ended} ended the solve above the accuracy asked for; use a larger rho (noise level), a "
            "looser tol, float64, or an operator with a closed form: see explain().",
            RuntimeWarning,
            stacklevel=2,
        )
    return solution


def by_parts(A: LinearOperator, y: Tensor, rho: float | Tensor, v: Tensor | None, tol: float | None) -> Tensor:
    """The solve of a real operator for complex data or images: real and imaginary part apart."""
    vr, vi = (None, None) if v is None else (v.real, v.imag if v.is_complex() else torch.zeros_like(v))
    yr, yi = y.real, y.imag if y.is_complex() else torch.zeros_like(y)
    return torch.complex(A._tikhonov(yr, rho, vr, tol, None)[0], A._tikhonov(yi, rho, vi, tol, None)[0])


def align(A: LinearOperator, rho: float | Tensor, shape: tuple[int, ...]) -> float | Tensor:
    """One number an image, (B, 1, 1, 1), reshaped to broadcast against (..., *shape)."""
    if not isinstance(rho, Tensor) or rho.ndim == 0:
        return rho
    lead = rho.shape[: max(rho.ndim - len(A.in_shape), 0)]
    return rho.reshape(*lead, *(1,) * len(shape))


def largest_singular_value(A: LinearOperator, steps: int = 300, tol: float = 1e-6) -> float:
    """Largest singular value of ``A``, over all items it is built for, by Lanczos iteration on ``A^H A``.

    Source: Golub & Van Loan, *Matrix Computations*, 2013, sec. 10.1.
    """
    generator = torch.Generator().manual_seed(0)
    v = torch.randn((*A.lead, *A.in_shape), generator=generator, dtype=torch.float64).to(A.device, A.dtype)
    v, v_old, beta = v / v.norm(), torch.zeros_like(v), 0.0
    diagonal: list[float] = []
    off: list[float] = []
    estimate = 0.0
    for _ in range(steps):
        w = A._adjoint(A._forward(v)) - beta * v_old
        alpha = float(torch.vdot(v.flatten(), w.flatten()).real)
        w = w - alpha * v
        diagonal.append(alpha)
        tridiagonal = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
        if off:
            tridiagonal = tridiagonal + torch.diag(torch.tensor(off, dtype=torch.float64), 1)
        previous, estimate = estimate, float(torch.linalg.eigvalsh(tridiagonal, UPLO="U")[-1])
        beta = float(w.norm())
        if estimate - previous <= tol * estimate or beta <= 1e-12 * estimate or len(diagonal) >= v.numel():
            break
        off.append(beta)
        v, v_old = w / beta, v
    return math.sqrt(max(estimate, 0.0))
