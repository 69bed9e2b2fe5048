"""Accelerated projected gradients on the dual of TV denoising, for a batch of images on any device."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch
from torch import Tensor

MAX_ITERATIONS = 20_000  # beyond any gap that floats resolve; a gap of 1e-5 takes some 500
CACHED = 2**17  # numbers of an image that a CPU works on at a time: what it keeps near the core


@dataclasses.dataclass(frozen=True)
class Geometry:
    """Which TV: over what one norm at one pixel is taken, and the constraint on the image."""

    isotropic: bool = True  # the norm runs over directions
    coupled: bool = True  # and over channels
    bounds: tuple[float, float] | None = None


class Effort(NamedTuple):
    """What each image of a batch took, (B,): the relative gap it reached and the iterations."""

    gap: Tensor
    iterations: Tensor


def difference(x: Tensor, ndim: int) -> Tensor:
    """Forward differences ``D x`` along the last ``ndim`` axes, zero at the far border.

    Shapes: (..., C, *S) to (..., ndim, C, *S).
    """
    steps = [torch.diff(x, dim=axis, append=x.narrow(axis, -1, 1)) for axis in range(-ndim, 0)]
    return torch.stack(steps, dim=-ndim - 2)


def adjoint_difference(p: Tensor, ndim: int) -> Tensor:
    """``D^T p``, minus the divergence. Shapes: (..., ndim, C, *S) to (..., C, *S)."""
    return -_subtract_adjoint(torch.zeros_like(p.select(-ndim - 2, 0)), p, ndim)


def reversed_dual(p: Tensor, axes: tuple[int, ...], ndim: int) -> Tensor:
    """The dual ``p`` for images reversed along ``axes``: of each edge between two pixels the same, but for its sign.

    Shapes: p (..., ndim, C, *S), also without channels; axes counted from the last.
    """
    p = p.flip(axes)
    for axis in axes:
        steps = p.select(-ndim - 2, axis + ndim)
        count = p.shape[axis] - 1  # the edge after a pixel is the one before its mirror image
        moved = -steps.narrow(axis, 1, count)
        steps.narrow(axis, 0, count).copy_(moved)
        steps.narrow(axis, count, 1).zero_()
    return p


def variation(x: Tensor, ndim: int, geometry: Geometry) -> Tensor:
    """Total variation of each image. Shapes: (..., C, *S) to (...)."""
    return norms(difference(x, ndim), ndim, geometry).flatten(x.ndim - ndim - 1).sum(dim=-1)


def norms(g: Tensor, ndim: int, geometry: Geometry) -> Tensor:
    """Norm of each group of differences, kept broadcastable against ``g`` (..., ndim, C, *S)."""
    parts: tuple[Tensor, ...] = torch.split(g, 1, dim=-ndim - 2) if geometry.isotropic else (g,)
    if geometry.coupled:
        parts = tuple(values for part in parts for values in torch.split(part, 1, dim=-ndim - 1))
    squares = parts[0].square()
    for values in parts[1:]:
        squares.addcmul_(values, values)
    return squares.sqrt_()


def minimise(
    v: Tensor, strength: Tensor, start: Tensor | None, gap: float, geometry: Geometry, backend: str
) -> tuple[Tensor, Tensor, Effort]:
    """``x = argmin strength TV(x) + 1/2 ||x - v||^2``, its dual p (norms <= 1), and what each image took.

    With ``w = v / strength`` the iteration ``p <- project(q + D(w - D^T q) / L)`` knows no strength.
    Shapes: v (B, C, *S), strength (B, 1, ...), p (B, ndim, C, *S) or (B, C, ndim, 1, *S) where channels stand apart.
    """
    if not geometry.coupled:  # each channel is an image of its own
        count, channels = v.shape[:2]
        apart = dataclasses.replace(geometry, coupled=True)
        single = v.flatten(0, 1).unsqueeze(1)
        each = strength.expand(count, channels, *strength.shape[2:]).flatten(0, 1).unsqueeze(1)
        begin = None if start is None else start.flatten(0, 1)
        x, dual, effort = minimise(single, each, begin, gap, apart, backend)
        return (
            x.reshape(v.shape),
            dual.reshape(count, channels, *dual.shape[1:]),
            Effort(*(values.reshape(count, channels).amax(dim=1) for values in effort)),
        )
    shape = (v.shape[0], v.ndim - 2, *v.shape[1:])
    fits = start is not None and start.shape == shape and start.dtype == v.dtype and start.device == v.device
    dual = start.clone() if start is not None and fits else v.new_zeros(shape)
    axes = tuple(range(1, v.ndim))
    span = v.amax(axes, keepdim=True) - v.amin(axes, keepdim=True)
    # x is constant from a strength on at which flow along the rows, then across, is a dual that proves it
    flat = strength >= (v.ndim - 2) * v[0].numel() * span
    acts = (strength > 0) & ~flat  # elsewhere a picture of zeros takes the place of v: it needs no iteration
    positive = torch.where(acts, strength, torch.ones_like(strength))
    mean = v.mean(dim=axes, keepdim=True)  # taken off for the sake of float32
    lo, hi = geometry.bounds if geometry.bounds is not None else (-math.inf, math.inf)
    w = torch.where(acts, (v - mean) / positive, torch.zeros_like(v))
    arguments = (w, dual, (lo - mean) / positive, (hi - mean) / positive)
    target = max(gap, 16 * torch.finfo(v.dtype).eps)  # rounding hides smaller gaps
    effort = (_compiled if _use_compiled(v, backend) else _in_pieces)(*arguments, target, geometry)
    x = torch.where(acts, v - strength * adjoint_difference(dual, v.ndim - 2), v)
    if flat.any():
        first = v.flatten(2)[..., :1].reshape(*v.shape[:2], *(1,) * (v.ndim - 2))  # so that constants stay exactly
        x = torch.where(flat, first + (v - first).mean(dim=axes[1:], keepdim=True), x)
    return x if geometry.bounds is None else x.clamp(lo, hi), dual, effort


def _use_compiled(v: Tensor, backend: str) -> bool:
    if backend == "auto":
        return v.device.type == "cpu" and importlib.util.find_spec("numba") is not None
    return backend == "numba"


def _compiled(w: Tensor, dual: Tensor, lo: Tensor, hi: Tensor, target: float, geometry: Geometry) -> Effort:
    from .tv_compiled import descend

    volumes = w.reshape(*w.shape[:2], *(1,) * (5 - w.ndim), *w.shape[2:]).contiguous().numpy()
    duals = dual.reshape(*dual.shape[:3], *volumes.shape[2:]).numpy()  # a view: written in place
    lows, highs = lo.flatten().tolist(), hi.flatten().tolist()

    def one(index: int) -> tuple[float, int]:
        bounded, limits = geometry.bounds is not None, (lows[index], highs[index])
        return descend(volumes[index], duals[index], *limits, bounded, target, geometry.isotropic, MAX_ITERATIONS)

    workers = min(torch.get_num_threads(), w.shape[0])
    if workers == 1:
        found = [one(index) for index in range(w.shape[0])]
    else:
        with ThreadPoolExecutor(workers) as pool:  # the kernel holds no lock
            found = list(pool.map(one, range(w.shape[0])))
    return Effort(w.new_tensor([gap for gap, _ in found]), torch.tensor([iterations for _, iterations in found]))


def _in_pieces(w: Tensor, dual: Tensor, lo: Tensor, hi: Tensor, target: float, geometry: Geometry) -> Effort:
    count = w.shape[0] if w.device.type != "cpu" else max(1, CACHED // w[0].numel())
    pieces = zip(*(torch.split(tensor, count) for tensor in (w, dual, lo, hi)), strict=True)
    efforts = [_descend(w, dual, lo, hi, target, geometry) for w, dual, lo, hi in pieces]
    return Effort(*(torch.cat(values) for values in zip(*efforts, strict=True)))


def _descend(w: Tensor, dual: Tensor, lo: Tensor, hi: Tensor, target: float, geometry: Geometry) -> Effort:
    """Improve ``dual`` in place until every image's relative gap is below ``target``.

    An image whose gap is small enough leaves the batch at once, and the timetable of checks is fixed: its result
    depends on no other image.
    """
    effort = Effort(w.new_full((w.shape[0],), math.inf), torch.zeros(w.shape[0], dtype=torch.long, device=w.device))
    alive = torch.arange(w.shape[0], device=w.device)
    p, q, g, u = dual.clone(), dual.clone(), torch.empty_like(dual), torch.empty_like(w)
    check = 4
    for iteration in range(1, MAX_ITERATIONS + 1):
        _image(w, q, lo, hi, geometry, u)
        _dual_step(q, u, g, geometry)
        torch.lerp(p, g, 1 + (iteration - 1) / (iteration + 4), out=q)  # Chambolle & Dossal 2015, a = 4
        p, g = g, p
        if iteration < min(check, MAX_ITERATIONS):
            continue
        check += max(4, check // 8)
        gaps = _relative_gap(w, p, _image(w, p, lo, hi, geometry, u), geometry)
        effort.gap[alive], effort.iterations[alive], dual[alive] = gaps, iteration, p
        keep = (gaps > target).nonzero().flatten()
        if keep.numel() == 0:
            break
        if keep.numel() < alive.numel():
            alive, w, p, q, lo, hi = (tensor[keep] for tensor in (alive, w, p, q, lo, hi))
            g, u = torch.empty_like(p), torch.empty_like(w)
    return effort


def _image(w: Tensor, p: Tensor, lo: Tensor, hi: Tensor, geometry: Geometry, u: Tensor) -> Tensor:
    """The image of the dual ``p``: ``u = w - D^T p`` clipped to the bounds, written into ``u``."""
    _subtract_adjoint(u.copy_(w), p, w.ndim - 2)
    return u if geometry.bounds is None else torch.clamp(u, lo, hi, out=u)


def _subtract_adjoint(u: Tensor, p: Tensor, ndim: int) -> Tensor:
    for axis in range(-ndim, 0):
        count = u.shape[axis] - 1
        steps = p.select(-ndim - 2, axis + ndim).narrow(axis, 0, count)
        u.narrow(axis, 0, count).add_(steps)
        u.narrow(axis, 1, count).sub_(steps)
    return u


def _dual_step(q: Tensor, u: Tensor, g: Tensor, geometry: Geometry) -> None:
    """``g = project(q + D u / L)`` with ``L = 4 ndim >= ||D||^2``, every norm at most one."""
    ndim = u.ndim - 2
    g.copy_(q)
    for axis in range(-ndim, 0):
        count = u.shape[axis] - 1
        steps = g.select(1, axis + ndim).narrow(axis, 0, count)
        steps.add_(u.narrow(axis, 1, count), alpha=0.25 / ndim).sub_(u.narrow(axis, 0, count), alpha=0.25 / ndim)
    g.div_(norms(g, ndim, geometry).clamp_(min=1))


def _relative_gap(w: Tensor, p: Tensor, u: Tensor, geometry: Geometry) -> Tensor:
    """``(primal - dual) / primal``, where primal - dual = TV(u) - <D u, p>, a sum of non-negative terms."""
    steps = difference(u, w.ndim - 2)
    total = norms(steps, w.ndim - 2, geometry).flatten(1).sum(dim=1)
    primal = total + (u - w).square().flatten(1).sum(dim=1) / 2
    excess = (total - (steps * p).flatten(1).sum(dim=1)).clamp_min(0)
    return torch.where(primal > 0, excess / primal, torch.zeros_like(primal))
