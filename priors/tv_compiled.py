"""The iteration of ``tv_dual`` compiled for the CPU: the same arithmetic on one image, a few rows at a time.

An image is (C, D, H, W), with D = 1 for a picture, its dual (ndim, C, D, H, W). Each loop runs along one contiguous row
and writes few arrays, so that the compiler can prove them disjoint and use vector instructions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .numba_compiled import compiled

Floats = npt.NDArray[np.floating[Any]]
Number = Any  # of the precision of the arrays


@compiled
def _add(row: Floats, terms: Floats) -> None:
    for j in range(row.shape[0]):
        row[j] += terms[j]


@compiled
def _add_difference(row: Floats, plus: Floats, minus: Floats) -> None:
    for j in range(row.shape[0]):
        row[j] += plus[j] - minus[j]


@compiled
def _clip(row: Floats, lo: Number, hi: Number) -> None:
    for j in range(row.shape[0]):
        row[j] = min(max(row[j], lo), hi)


@compiled
def _image(w: Floats, p: Floats, lo: Number, hi: Number, bounded: bool, u: Floats) -> None:
    """``u = w - D^T p`` clipped to [lo, hi]."""
    ndim, channels, depth, height, _ = p.shape
    for c in range(channels):
        for z in range(depth):
            for y in range(height):
                row = u[c, z, y]
                row[:] = w[c, z, y]
                if ndim == 3:
                    if z > 0:
                        _add_difference(row, p[0, c, z, y], p[0, c, z - 1, y])
                    else:
                        _add(row, p[0, c, z, y])
                if ndim >= 2:
                    if y > 0:
                        _add_difference(row, p[ndim - 2, c, z, y], p[ndim - 2, c, z, y - 1])
                    else:
                        _add(row, p[ndim - 2, c, z, y])
                across = p[ndim - 1, c, z, y]
                row[0] += across[0]
                _add_difference(row[1:], across[1:], across[:-1])
                if bounded:
                    _clip(row, lo, hi)


@compiled
def _step(q: Floats, ahead: Floats, here: Floats, rate: Number, squares: Floats) -> None:
    for j in range(q.shape[0]):
        g = q[j] + rate * (ahead[j] - here[j])
        q[j] = g
        squares[j] += g * g


@compiled
def _scale(squares: Floats) -> None:
    one = squares.dtype.type(1)
    for j in range(squares.shape[0]):
        squares[j] = one / np.sqrt(max(squares[j], one))


@compiled
def _extrapolate(q: Floats, p: Floats, scale: Floats, momentum: Number) -> None:
    for j in range(q.shape[0]):
        g = q[j] * scale[j]
        q[j] = g + momentum * (g - p[j])
        p[j] = g


@compiled
def _ahead(u: Floats, c: int, z: int, y: int, axis: int) -> Floats:
    """The row whose difference to row (c, z, y) is wanted, itself at the far border."""
    if axis == 0:
        row: Floats = u[c, min(z + 1, u.shape[1] - 1), y]
    elif axis == 1:
        row = u[c, z, min(y + 1, u.shape[2] - 1)]
    else:
        row = u[c, z, y, 1:]
    return row


@compiled
def _dual_step(
    u: Floats, p: Floats, q: Floats, momentum: Number, rate: Number, isotropic: bool, squares: Floats
) -> None:
    """``p = project(q + rate D u)`` and ``q = p + momentum (p - p_old)``, in place."""
    ndim, channels, depth, height, _ = p.shape
    for z in range(depth):
        for y in range(height):
            for d in range(ndim):
                if d == 0 or not isotropic:
                    squares[:] = 0
                for c in range(channels):
                    ahead = _ahead(u, c, z, y, d + 3 - ndim)
                    count = ahead.shape[0]
                    _step(q[d, c, z, y, :count], ahead, u[c, z, y, :count], rate, squares[:count])
                if not isotropic:
                    _scale(squares)
                    for c in range(channels):
                        _extrapolate(q[d, c, z, y], p[d, c, z, y], squares, momentum)
            if isotropic:
                _scale(squares)
                for d in range(ndim):
                    for c in range(channels):
                        _extrapolate(q[d, c, z, y], p[d, c, z, y], squares, momentum)


@compiled
def _square_and_match(p: Floats, ahead: Floats, here: Floats, squares: Floats) -> Number:
    matched = squares.dtype.type(0)
    for j in range(ahead.shape[0]):
        g = ahead[j] - here[j]
        squares[j] += g * g
        matched += g * p[j]
    return matched


@compiled
def _sum_of_roots(squares: Floats) -> Number:
    total = squares.dtype.type(0)
    for j in range(squares.shape[0]):
        total += np.sqrt(squares[j])
    return total


@compiled
def _squared_distance(a: Floats, b: Floats) -> Number:
    total = a.dtype.type(0)
    for j in range(a.shape[0]):
        total += (a[j] - b[j]) * (a[j] - b[j])
    return total


@compiled
def _relative_gap(w: Floats, p: Floats, u: Floats, isotropic: bool, squares: Floats) -> float:
    """``(primal - dual) / primal``; rows are summed in their own precision, the rows' sums in double."""
    ndim, channels, depth, height, _ = p.shape
    variation, matched, misfit = 0.0, 0.0, 0.0
    for z in range(depth):
        for y in range(height):
            for d in range(ndim):
                if d == 0 or not isotropic:
                    squares[:] = 0
                for c in range(channels):
                    ahead = _ahead(u, c, z, y, d + 3 - ndim)
                    count = ahead.shape[0]
                    matched += _square_and_match(p[d, c, z, y, :count], ahead, u[c, z, y, :count], squares[:count])
                if not isotropic or d == ndim - 1:
                    variation += _sum_of_roots(squares)
            for c in range(channels):
                misfit += _squared_distance(u[c, z, y], w[c, z, y])
    primal = variation + misfit / 2
    return max(variation - matched, 0.0) / primal if primal > 0 else 0.0


@compiled
def descend(
    w: Floats, p: Floats, lo: float, hi: float, bounded: bool, target: float, isotropic: bool, limit: int
) -> tuple[float, int]:
    """Improve the dual ``p`` in place until the relative gap is below ``target``; return the gap and the iterations."""
    number = w.dtype.type
    q, u, squares = p.copy(), np.empty_like(w), np.empty(w.shape[3], w.dtype)
    rate, check, gap, iteration = number(0.25 / p.shape[0]), 4, np.inf, 0
    for iteration in range(1, limit + 1):
        _image(w, q, number(lo), number(hi), bounded, u)
        _dual_step(u, p, q, number((iteration - 1) / (iteration + 4)), rate, isotropic, squares)
        if iteration >= min(check, limit):
            _image(w, p, number(lo), number(hi), bounded, u)
            gap = _relative_gap(w, p, u, isotropic, squares)
            if not gap > target:
                break
            check += max(4, check // 8)
    return gap, iteration
