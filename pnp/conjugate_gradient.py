"""Preconditioned conjugate gradients for a batch of independent Hermitian positive definite systems."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

CHECK_EVERY = 4  # iterations between two looks at the residual: each look synchronises with the device
REFRESH_EVERY = 48  # iterations between two true residuals: the recurrence drifts by rounding
FLOOR = 4.0  # eps (||K|| ||x|| + ||b||): a residual that is rounding, whatever the method
STAGNATION = 0.2  # share of the true residual that is drift, from which on the recurrence no longer lowers it
DRIFT = 0.1  # of the tolerance, which rounding may add unseen in a solve too short for a look at the true residual
PROGRESS = 0.5  # of the true residual from one restart to the next; with less, the arithmetic allows no better solution


class Solution(NamedTuple):
    """What conjugate gradients returns: the solution, the iterations spent, and the norm of each system's residual.

    A system above its tolerance makes the solution ``limited`` if only the iterations ran out, ``rounded`` if the
    digits did.
    """

    x: Tensor
    iterations: int
    residual: Tensor
    limited: bool
    rounded: bool


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

    A system stops once ``||b - K x|| <= tolerance(x)``. The residual of the recurrence leaves the true one by rounding:
    where that shows, the recurrence starts anew from the true residual, until a restart no longer halves it or it is
    ``~ 4 eps ||K|| ||x||``, the accuracy that the arithmetic allows. A residual that grows is no sign of rounding: only
    the energy norm of the error falls steadily, and with it the residual may grow by the root of K's condition number
    before it falls. A system that has stopped is frozen, so that no item depends on its batch mates. ``start`` is
    scaled by the factor that minimises the energy norm of the error along it, so a start is never worse than zero.

    Shapes: ``b`` (..., *system) with ``dims`` system dimensions; ``tolerance`` maps x to (..., 1, ..., 1).
    Source: Saad, *Iterative Methods for Sparse Linear Systems*, 2003, alg. 9.1; the accuracy that can be reached:
    Greenbaum, *Estimating the attainable accuracy of recursively computed residual methods*, 1997; starting anew: van
    der Vorst & Ye, *Residual replacement strategies for Krylov subspace iterative methods*, 2000.
    """
    eps = torch.finfo(b.real.dtype).eps
    norm_b = _norm(b, dims)
    if start is None:
        x, r = torch.zeros_like(b), b
    else:
        image = apply(start)
        scale = _ratio(inner(start, b, dims), inner(start, image, dims))
        x, r = scale * start, b - scale * image
    p, rz = torch.zeros_like(b), torch.zeros_like(norm_b)
    largest = torch.zeros_like(norm_b)  # a Rayleigh quotient: lower bound of ||K||, close after a few iterations
    active = begins = torch.ones_like(norm_b, dtype=torch.bool)
    best, least = x, torch.full_like(norm_b, torch.inf)  # where a recurrence ended, and the true residual there
    for iteration in range(max_iter + 1):
        if iteration % CHECK_EVERY == 0 or iteration == max_iter:
            asked, size = tolerance(x), _norm(r, dims)
            rounding = eps * (largest * _norm(x, dims) + norm_b)
            allowed = torch.maximum(asked, FLOOR * rounding)
            active = active & (size > allowed)
            ended = iteration == max_iter or not bool(active.any())
            drift = rounding * math.sqrt(iteration)  # a random walk
            trusted = (drift <= DRIFT * asked) | (asked < allowed)  # where rounding ends the solve, it is said
            if ended and iteration < REFRESH_EVERY and bool(trusted.all()):
                break
            if ended or iteration % REFRESH_EVERY == 0 and iteration:
                true = b - apply(x)
                size = _norm(true, dims)
                over = ~active | (_norm(true - r, dims) > STAGNATION * size)
                again = over & (size > allowed) & (size <= PROGRESS * least)
                active = again | ~over & (size > allowed)
                better = over & (size < least)
                best, least = torch.where(better, x, best), torch.where(better, size, least)
                begins, r = again, torch.where(again, true, r)
                if iteration == max_iter or not bool(active.any()):
                    break
        z = precondition(r) if precondition else r
        rz, rz_old = inner(r, z, dims), rz
        p = z + torch.where(active & ~begins, _ratio(rz, rz_old), 0) * p
        begins = torch.zeros_like(active)
        image = apply(p)
        curvature = inner(p, image, dims)
        largest = torch.maximum(largest, _ratio(curvature, inner(p, p, dims)))
        step = torch.where(active, _ratio(rz, curvature), 0)
        x = x + step * p
        r = r - step * image
    x, size = torch.where(least < size, best, x), torch.minimum(least, size)
    limited, rounded = active & (size > allowed), ~active & (size > asked)
    return Solution(x, iteration, size, bool(limited.any()), bool(rounded.any()))


def _norm(a: Tensor, dims: int) -> Tensor:
    return inner(a, a, dims).sqrt()


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    """``a / b``, and 0 where ``b`` is 0 (the item is solved exactly)."""
    return torch.where(b > 0, a / torch.where(b > 0, b, 1), 0)
