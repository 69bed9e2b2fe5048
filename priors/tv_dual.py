"""Accelerated projected gradients on the dual of TV denoising, for a batch of images on any device."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

MAX_ITERATIONS = 20_000  # beyond any gap that floats resolve; a gap of 1e-5 takes some 500


@dataclasses.dataclass(frozen=True)
class Geometry:
    """Which TV: over what one norm at one pixel is taken, and the constraint on the image."""

    isotropic: bool = True  # the norm runs over directions
    coupled: bool = True  # and over channels
    bounds: tuple[float, float] | None = None


def difference(x: Tensor, ndim: int) -> Tensor:
    """Forward differences ``D x`` along the last ``ndim`` axes, zero at the far border.

    Shapes: (..., C, *S) to (..., ndim, C, *S).
    """
    steps = [torch.diff(x, dim=axis, append=x.narrow(axis, -1, 1)) for axis in range(-ndim, 0)]
    return torch.stack(steps, dim=-ndim - 2)


def adjoint_difference(p: Tensor, ndim: int) -> Tensor:
    """``D^T p``, minus the divergence. Shapes: (..., ndim, C, *S) to (..., C, *S)."""
    return -_subtract_adjoint(torch.zeros_like(p.select(-ndim - 2, 0)), p, ndim)


def variation(x: Tensor, ndim: int, geometry: Geometry) -> Tensor:
    """Total variation of each image. Shapes: (..., C, *S) to (...)."""
    axes = [-ndim - 2] * geometry.isotropic + [-ndim - 1] * geometry.coupled
    steps = difference(x, ndim)
    norms = torch.linalg.vector_norm(steps, dim=axes) if axes else steps.abs()
    return norms.flatten(x.ndim - ndim - 1).sum(dim=-1)


def minimise(
    v: Tensor, strength: Tensor, start: Tensor | None, gap: float, geometry: Geometry
) -> tuple[Tensor, Tensor, Tensor]:
    """``x = argmin strength TV(x) + 1/2 ||x - v||^2``, its dual p (norms <= 1) and the relative gaps reached.

    With ``w = v / strength`` the iteration ``p <- project(q + D(w - D^T q) / L)`` knows no strength. An image whose
    gap is small enough leaves the batch at once: its result depends on no other.
    Shapes: v (B, C, *S), strength (B, 1, ...), p (B, ndim, C, *S), gaps (B,).
    """
    ndim = v.ndim - 2
    shape = (v.shape[0], ndim, *v.shape[1:])
    matches = start is not None and start.shape == shape and start.dtype == v.dtype and start.device == v.device
    dual = start.clone() if matches and start is not None else v.new_zeros(shape)
    positive = strength.clamp_min(torch.finfo(v.dtype).tiny ** 0.5)  # strength 0 returns v below
    mean = v.mean(dim=tuple(range(1, v.ndim)), keepdim=True)  # taken off for the sake of float32
    reached = _descend((v - mean) / positive, dual, _scaled(geometry.bounds, mean, positive), gap, geometry)
    x = torch.where(strength > 0, v - strength * adjoint_difference(dual, ndim), v)
    return x if geometry.bounds is None else x.clamp(*geometry.bounds), dual, reached


def _scaled(bounds: tuple[float, float] | None, mean: Tensor, strength: Tensor) -> tuple[Tensor, Tensor] | None:
    return None if bounds is None else ((bounds[0] - mean) / strength, (bounds[1] - mean) / strength)


def _descend(w: Tensor, dual: Tensor, limits: tuple[Tensor, Tensor] | None, gap: float, geometry: Geometry) -> Tensor:
    """Improve ``dual`` in place until every image's relative gap is below ``gap``; return the gaps."""
    ndim = w.ndim - 2
    target = max(gap, 16 * torch.finfo(w.dtype).eps)  # rounding hides smaller gaps
    reached = w.new_full((w.shape[0],), math.inf)
    alive = torch.arange(w.shape[0], device=w.device)
    p, q, g, u = dual.clone(), dual.clone(), torch.empty_like(dual), torch.empty_like(w)
    t, check = 1.0, 4  # the timetable of checks is fixed, so that no image stops earlier or later for its mates
    for iteration in range(1, MAX_ITERATIONS + 1):
        _image(w, q, limits, u)
        _gradient_step(q, u, g)
        _project(g, geometry)
        t, momentum = (1 + math.sqrt(1 + 4 * t * t)) / 2, t - 1
        torch.lerp(p, g, 1 + momentum / t, out=q)  # Beck & Teboulle 2009, step 3 of FGP
        p, g = g, p
        if iteration < min(check, MAX_ITERATIONS):
            continue
        check += max(4, check // 8)
        gaps = _relative_gap(w, p, _image(w, p, limits, u), geometry)
        reached[alive], dual[alive] = gaps, p
        keep = (gaps > target).nonzero().flatten()
        if keep.numel() == 0:
            break
        if keep.numel() < alive.numel():  # the converged ones leave
            alive, w, p, q = alive[keep], w[keep], p[keep], q[keep]
            g, u = torch.empty_like(p), torch.empty_like(w)
            limits = None if limits is None else (limits[0][keep], limits[1][keep])
    return reached


def _image(w: Tensor, p: Tensor, limits: tuple[Tensor, Tensor] | None, u: Tensor) -> Tensor:
    """The image of the dual ``p``: ``u = w - D^T p`` clipped to the limits, written into ``u``."""
    _subtract_adjoint(u.copy_(w), p, w.ndim - 2)
    return u if limits is None else torch.clamp(u, *limits, out=u)


def _subtract_adjoint(u: Tensor, p: Tensor, ndim: int) -> Tensor:
    for axis in range(-ndim, 0):
        steps, length = p.select(-ndim - 2, axis + ndim), u.shape[axis] - 1
        u.narrow(axis, 0, length).add_(steps.narrow(axis, 0, length))
        u.narrow(axis, 1, length).sub_(steps.narrow(axis, 0, length))
    return u


def _gradient_step(q: Tensor, u: Tensor, g: Tensor) -> None:
    """``g = q + D u / L`` with ``L = 4 ndim >= ||D||^2``."""
    ndim = u.ndim - 2
    g.copy_(q)
    for axis in range(-ndim, 0):
        steps, length = g.select(1, axis + ndim).narrow(axis, 0, u.shape[axis] - 1), u.shape[axis] - 1
        steps.add_(u.narrow(axis, 1, length), alpha=0.25 / ndim).sub_(u.narrow(axis, 0, length), alpha=0.25 / ndim)


def _project(g: Tensor, geometry: Geometry) -> None:
    """Scale every group of differences back to norm one, in place."""
    axes = [1] * geometry.isotropic + [2] * geometry.coupled
    if axes:
        g.div_(torch.linalg.vector_norm(g, dim=axes, keepdim=True).clamp_(min=1))
    else:
        g.clamp_(-1, 1)


def _relative_gap(w: Tensor, p: Tensor, u: Tensor, geometry: Geometry) -> Tensor:
    """``(primal - dual) / primal``, where primal - dual = TV(u) - <D u, p>, a sum of non-negative terms."""
    steps = difference(u, w.ndim - 2)
    axes = [1] * geometry.isotropic + [2] * geometry.coupled
    norms = torch.linalg.vector_norm(steps, dim=axes, keepdim=True) if axes else steps.abs()
    inner = (steps * p).sum(dim=axes, keepdim=True) if axes else steps * p
    excess = (norms - inner).flatten(1).sum(dim=1).clamp_min(0)
    primal = norms.flatten(1).sum(dim=1) + (u - w).square().flatten(1).sum(dim=1) / 2
    return torch.where(primal > 0, excess / primal, torch.zeros_like(primal))
