"""Non-local means compiled for the CPU: for one shift of the image, everything from differences to sums row by row.

The rows of one shift pass through two rings of few rows, so that nothing of the size of the image is stored between
the difference of the shifted copies and their weighted sums. Each loop writes one row, which the compiler can prove
disjoint from what it reads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .numba_compiled import compiled

Floats = npt.NDArray[np.floating[Any]]
Number = Any  # of the precision of the arrays


@compiled
def _add_squares(near: Floats, far: Floats, out: Floats, first: bool) -> None:
    if first:
        for j in range(out.shape[0]):
            out[j] = (near[j] - far[j]) * (near[j] - far[j])
    else:
        for j in range(out.shape[0]):
            out[j] += (near[j] - far[j]) * (near[j] - far[j])


@compiled
def _sum_along(row: Floats, side: int, out: Floats) -> None:
    """``out[j] = row[j] + ... + row[j + side - 1]``."""
    if side == 3:
        for j in range(out.shape[0]):
            out[j] = row[j] + row[j + 1] + row[j + 2]
    elif side == 5:
        for j in range(out.shape[0]):
            out[j] = row[j] + row[j + 1] + row[j + 2] + row[j + 3] + row[j + 4]
    elif side == 7:
        for j in range(out.shape[0]):
            out[j] = row[j] + row[j + 1] + row[j + 2] + row[j + 3] + row[j + 4] + row[j + 5] + row[j + 6]
    else:
        out[:] = row[: out.shape[0]]
        for k in range(1, side):
            _add(out, row[k : k + out.shape[0]])


@compiled
def _add(out: Floats, row: Floats) -> None:
    for j in range(out.shape[0]):
        out[j] += row[j]


@compiled
def _sum_rows(ring: Floats, first: int, last: int, out: Floats) -> None:
    """The sum of the rows ``first`` to ``last`` of the picture, each kept at its number modulo the ring's length."""
    count, size = last - first + 1, ring.shape[0]
    a, b, c = ring[first % size], ring[(first + 1) % size], ring[(first + 2) % size]
    if count >= 5:
        d, e = ring[(first + 3) % size], ring[(first + 4) % size]
        for j in range(out.shape[0]):
            out[j] = a[j] + b[j] + c[j] + d[j] + e[j]
        done = 5
    elif count >= 3:
        for j in range(out.shape[0]):
            out[j] = a[j] + b[j] + c[j]
        done = 3
    else:
        out[:] = a[: out.shape[0]]
        done = 1
    for k in range(done, count):
        _add(out, ring[(first + k) % size, : out.shape[0]])


@compiled
def _weigh(sums: Floats, scale: Number, shift: Number, out: Floats) -> None:
    """``out = exp(-t)`` with ``t = max(scale sums - shift, 0)``: the 16th power of a Taylor polynomial in t / 16.

    Its error is below 1e-8 (float32, degree 6) and 1e-15 (float64, degree 13); beyond t = 32 the weight is nought.
    """
    number = sums.dtype.type
    zero, one, limit, sixteenth = number(0), number(1), number(2), number(1 / 16)
    if sums.itemsize == 4:
        c2, c3, c4, c5, c6 = number(1 / 2), number(1 / 3), number(1 / 4), number(1 / 5), number(1 / 6)
        for j in range(out.shape[0]):
            u = sixteenth * max(scale * sums[j] - shift, zero)
            p = one - u * (one - c2 * u * (one - c3 * u * (one - c4 * u * (one - c5 * u * (one - c6 * u)))))
            p = p * p
            p = p * p
            p = p * p
            p = p * p
            out[j] = p if u < limit else zero
    else:
        for j in range(out.shape[0]):
            u = sixteenth * max(scale * sums[j] - shift, zero)
            p = one - u / 10 * (one - u / 11 * (one - u / 12 * (one - u / 13)))
            p = one - u / 6 * (one - u / 7 * (one - u / 8 * (one - u / 9 * p)))
            p = one - u * (one - u / 2 * (one - u / 3 * (one - u / 4 * (one - u / 5 * p))))
            p = p * p
            p = p * p
            p = p * p
            p = p * p
            out[j] = p if u < limit else zero


@compiled
def _accumulate(out: Floats, weight: Floats, values: Floats) -> None:
    for j in range(out.shape[0]):
        out[j] += weight[j] * values[j]


@compiled
def _emit(
    row: int, ring: Floats, spread: int, rows: int, padded: Floats, margin: int, dy: int, here: int, there: int,
    weight: Floats, total: Floats, weights: Floats,
) -> None:  # fmt: skip
    """Add one row of the shifted copies to the sums, and its counterpart to the row it was compared with."""
    columns = weight.shape[0]
    _sum_rows(ring, max(0, row - spread), min(rows - 1, row + spread), weight)
    for c in range(total.shape[0]):
        near, far = padded[c, row + margin, margin:], padded[c, row + dy + margin, margin:]
        _accumulate(total[c, row, here : here + columns], weight, far[there : there + columns])
        _accumulate(total[c, row + dy, there : there + columns], weight, near[here : here + columns])
    _add(weights[row, here : here + columns], weight)
    _add(weights[row + dy, there : there + columns], weight)


@compiled
def average(
    padded: Floats, patch: int, window: int, spread: int, scale: float, shift: float, total: Floats, weights: Floats
) -> None:
    """Add to ``total`` (C, H, W) and ``weights`` (H, W) every shift of half the window, and its opposite.

    ``padded`` is the image with its mirrored frame, ``patch`` a side, ``window`` and ``spread`` radii; ``scale`` and
    ``shift`` turn a sum of squares into an exponent.
    """
    channels, height, width = total.shape
    number = padded.dtype.type
    margin, reach = (patch - 1) // 2, 2 * spread + 1
    squares, sums = np.empty(width + patch - 1, padded.dtype), np.empty(width, padded.dtype)
    ring, spread_ring = np.empty((patch, width), padded.dtype), np.empty((reach, width), padded.dtype)
    lone, weight = np.zeros(width + 2 * spread, padded.dtype), np.empty(width, padded.dtype)
    for dy in range(min(window + 1, height)):
        for dx in range(-window if dy > 0 else 1, window + 1):
            rows, columns = height - dy, width - abs(dx)
            if columns <= 0:
                continue
            here, there = max(0, -dx), max(0, dx)
            lone[:] = 0
            for r in range(rows + patch - 1):
                wide = columns + patch - 1
                for c in range(channels):
                    near, far = padded[c, r, here : here + wide], padded[c, r + dy, there : there + wide]
                    _add_squares(near, far, squares[:wide], c == 0)
                _sum_along(squares[:wide], patch, ring[r % patch, :columns])
                y = r - patch + 1
                if y < 0:
                    continue
                _sum_rows(ring, y, r, sums[:columns])
                _weigh(sums[:columns], number(scale), number(shift), lone[spread : spread + columns])
                _sum_along(lone[: columns + 2 * spread], reach, spread_ring[y % reach, :columns])
                if y >= spread:
                    _emit(
                        y - spread, spread_ring, spread, rows, padded, margin, dy, here, there,
                        weight[:columns], total, weights,
                    )  # fmt: skip
            for row in range(max(0, rows - spread), rows):
                _emit(row, spread_ring, spread, rows, padded, margin, dy, here, there, weight[:columns], total, weights)
