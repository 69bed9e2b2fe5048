"""Preconditioned conjugate gradients for a batch of independent Hermitian positive definite systems."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

CHECK_EVERY = 4  # iterations between two looks at the residual: each look synchronises with the device
GROWTH = 100.0  # of the residual above its least value, which a system solved in exact arithmetic may show for a while
REFRESH_EVERY = 50  # iterations between two true residuals: the recurrence drifts by rounding
STAGNATION = 0.2  # share of the true residual that is drift, from which on the arithmetic allows no better solution


class Solution(NamedTuple):
    """What conjugate gradients returns: the solution, the iterations spent, the norm of each system's residual, and
    whether the iterations ran out before every system had reached its tolerance or the accuracy of its arithmetic.
    """

    x: Tensor
    iterations: int
    residual: Tensor
    limited: bool


def inner(a: Tensor, b: Tensor, dims: int) -> Tensor:
    """Real part of ``<a, b>`` over the last ``dims`` dimensions, which are kept."""
    axes = tuple(range(-dims, 0))
    if a.is_complex() or b.is_complex():
        return (a.conj() * b).real.sum(dim=axes, keepdim=True)
    return (a * b).sum(dim=axes, keepdim=True)


def conjugate_gradient(
    apply: Callable[[Tensor], Tensor],
    b: Tensor,
    *,
    dims: int,
    tolerance: Callable[[Tensor], Tensor],
    start: Tensor | None = None,
    precondition: Callable[[Tensor], Tensor] | None = None,
    max_iter: int = 2000,
) -> Solution:
    """Solve ``K x = b`` for Hermitian positive definite ``K``, one system for each item of the leading dimensions.

    A system stops once ``||b - K x|| <= tolerance(x)``, or at the accuracy its arithmetic allows:
    ``~ 4 eps ||K|| ||x||``, or where the recurrence for the residual has left the true one. It is then frozen, so that
    no item depends on its batch mates. ``start`` is scaled by the factor that minimises the energy norm of the error
    along it, so a start is never worse than zero.

    Shapes: ``b`` (..., *system) with ``dims`` system dimensions; ``tolerance`` maps x to (..., 1, ..., 1).
    Source: Saad, *Iterative Methods for Sparse Linear Systems*, 2003, alg. 9.1; the drift of the residual: van der
    Vorst & Ye, *Residual replacement strategies for Krylov subspace iterative methods*, 2000.
    """
    eps = torch.finfo(b.real.dtype).eps
    norm_b = inner(b, b, dims).sqrt()
    if start is None:
        x, r = torch.zeros_like(b), b
    else:
        image = apply(start)
        scale = _ratio(inner(start, b, dims), inner(start, image, dims))
        x, r = scale * start, b - scale * image
    z = precondition(r) if precondition else r
    p, rz = z, inner(r, z, dims)
    largest = torch.zeros_like(norm_b)  # a Rayleigh quotient: lower bound of ||K||, close after a few iterations
    active = torch.ones_like(norm_b, dtype=torch.bool)
    best, least = x, inner(r, r, dims)  # of the iterates whose true residual is known
    iteration, limited = 0, True
    for iteration in range(1, max_iter + 1):
        if (iteration - 1) % CHECK_EVERY == 0:
            allowed = torch.maximum(tolerance(x), 4 * eps * (largest * inner(x, x, dims).sqrt() + norm_b))
            active = active & (inner(r, r, dims).sqrt() > allowed)
            if not active.any():
                limited = False
                break
        image = apply(p)
        curvature = inner(p, image, dims)
        largest = torch.maximum(largest, _ratio(curvature, inner(p, p, dims)))
        step = torch.where(active, _ratio(rz, curvature), 0)
        x = x + step * p
        r = r - step * image
        if iteration % REFRESH_EVERY == 0:
            true = b - apply(x)
            drift, power = inner(true - r, true - r, dims), inner(true, true, dims)
            better = power < least
            best, least = torch.where(better, x, best), torch.minimum(power, least)
            # Where rounding makes up the residual, or it has grown, no further step can lower it.
            active = active & (drift <= STAGNATION**2 * power) & (power <= GROWTH**2 * least)
            r = true
        z = precondition(r) if precondition else r
        rz, rz_old = inner(r, z, dims), rz
        p = z + torch.where(active, _ratio(rz, rz_old), 0) * p
    if iteration >= REFRESH_EVERY:  # rounding may have driven the last iterates away
        true = b - apply(x)
        power = inner(true, true, dims)
        x, r = torch.where(power <= least, x, best), torch.where(power <= least, true, b - apply(best))
    return Solution(x, iteration, inner(r, r, dims).sqrt(), limited)


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    """``a / b``, and 0 where ``b`` is 0 (the item is solved exactly)."""
    return torch.where(b > 0, a / torch.where(b > 0, b, 1), 0)
