"""Compiled block matching: the nearest blocks of every reference, and the noise that overlapping blocks share."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..numba_compiled import compiled
from .numba_common import Floats, Ints, Shorts
from .settings import REACH, SELF, WINDOW

MARGIN = 7  # cells of padding before the image: 21 pixels >= REACH
LANES = 7  # displacements dx, dx + 3, ... that one pass shares
SPAN = 4176  # cells of one pass: a constant, so that the vectoriser sees one output stream; no multiple of 1024 floats
OUTSIDE = 1e4  # pixel value beyond the border (the image's range is 1): such candidates lose by their distance
NUMBER = 2047  # the low bits of a key: the candidate; the rest is the distance to 12 mantissa bits


@compiled
def _cell(
    x00: float, x01: float, x02: float, x10: float, x11: float, x12: float, x20: float, x21: float, x22: float,
    c00: Floats, c01: Floats, c02: Floats, c10: Floats, c11: Floats, c12: Floats, c20: Floats, c21: Floats, c22: Floats,
    p: int, sums: Floats, to: int,
) -> None:  # fmt: skip
    d00, d01, d02 = x00 - c00[p], x01 - c01[p], x02 - c02[p]
    d10, d11, d12 = x10 - c10[p], x11 - c11[p], x12 - c12[p]
    d20, d21, d22 = x20 - c20[p], x21 - c21[p], x22 - c22[p]
    two_two = d00 * d00 + d01 * d01 + d10 * d10 + d11 * d11
    right = d02 * d02 + d12 * d12
    three_two = two_two + d20 * d20 + d21 * d21
    sums[to] = three_two + right + d22 * d22
    sums[to + SPAN] = three_two
    sums[to + 2 * SPAN] = two_two + right
    sums[to + 3 * SPAN] = two_two


@compiled
def _cell_sums(flat: Floats, at: Ints, size: int, sums: Floats) -> None:
    """Squared differences summed over cells of 3 x 3, 3 x 2, 2 x 3 and 2 x 2 pixels, for LANES displacements.

    Phase plane (a, b) holds the pixels (3 r + a, 3 c + b), so a displacement shifts nine contiguous streams. The lanes
    are written out because a loop over them is not unrolled before the vectoriser runs (7 times slower).
    """
    r00, r01, r02 = flat[at[0] :], flat[at[1] :], flat[at[2] :]
    r10, r11, r12 = flat[at[3] :], flat[at[4] :], flat[at[5] :]
    r20, r21, r22 = flat[at[6] :], flat[at[7] :], flat[at[8] :]
    c00, c01, c02 = flat[at[9] :], flat[at[10] :], flat[at[11] :]
    c10, c11, c12 = flat[at[12] :], flat[at[13] :], flat[at[14] :]
    c20, c21, c22 = flat[at[15] :], flat[at[16] :], flat[at[17] :]
    for p in range(size):
        x00, x01, x02 = r00[p], r01[p], r02[p]
        x10, x11, x12 = r10[p], r11[p], r12[p]
        x20, x21, x22 = r20[p], r21[p], r22[p]
        _cell(
            x00, x01, x02, x10, x11, x12, x20, x21, x22, c00, c01, c02, c10, c11, c12, c20, c21, c22,
            p, sums, p,
        )  # fmt: skip
        _cell(
            x00, x01, x02, x10, x11, x12, x20, x21, x22, c00, c01, c02, c10, c11, c12, c20, c21, c22,
            p + 1, sums, p + 4 * SPAN,
        )  # fmt: skip
        _cell(
            x00, x01, x02, x10, x11, x12, x20, x21, x22, c00, c01, c02, c10, c11, c12, c20, c21, c22,
            p + 2, sums, p + 8 * SPAN,
        )  # fmt: skip
        _cell(
            x00, x01, x02, x10, x11, x12, x20, x21, x22, c00, c01, c02, c10, c11, c12, c20, c21, c22,
            p + 3, sums, p + 12 * SPAN,
        )  # fmt: skip
        _cell(
            x00, x01, x02, x10, x11, x12, x20, x21, x22, c00, c01, c02, c10, c11, c12, c20, c21, c22,
            p + 4, sums, p + 16 * SPAN,
        )  # fmt: skip
        _cell(
            x00, x01, x02, x10, x11, x12, x20, x21, x22, c00, c01, c02, c10, c11, c12, c20, c21, c22,
            p + 5, sums, p + 20 * SPAN,
        )  # fmt: skip
        _cell(
            x00, x01, x02, x10, x11, x12, x20, x21, x22, c00, c01, c02, c10, c11, c12, c20, c21, c22,
            p + 6, sums, p + 24 * SPAN,
        )  # fmt: skip


@compiled
def _insert(keys: Ints, base: Any, best: int, key: Any) -> None:
    """Keep the ``best`` smallest keys from ``base`` on, in descending order; a sentinel follows them."""
    for j in range(best):  # a constant length would be unrolled before the vectoriser runs (5 times slower)
        keys[base + j] = min(keys[base + j], max(keys[base + j + 1], key))


@compiled
def match(
    planes: Floats,
    order: Ints,
    top: int,
    bottom: int,
    left: int,
    columns: int,
    limit: float,
    numbers: Shorts,
    counts: Shorts,
) -> None:
    """The nearest blocks of reference rows ``top`` to ``bottom``: ``numbers``, the reference first, and ``counts``.

    Only blocks nearer than ``limit`` (a sum of 64 squared differences) count; ties go to the smaller candidate number.
    The planes hold the picture from reference column ``left`` on.
    Shapes: planes (9, rows, stride), numbers (rows, all columns, best), counts (rows, all columns), order (passes, 2).
    """
    best = numbers.shape[2]
    stride = planes.shape[2]
    plane = planes.shape[1] * stride
    flat = planes.reshape(9 * plane)
    rows = bottom - top
    size = (rows + 2) * stride
    references = (rows * stride + 63) // 64 * 64
    sums = np.zeros(4 * LANES * SPAN, np.float32)
    distances = np.empty(64, np.float32)
    bits = distances.view(np.int32)
    edge = np.full(references, -1, np.float32)  # what a candidate must beat; columns of padding admit none
    edge_bits = edge.view(np.int32)
    distances[0] = limit
    filler = bits[0] & ~NUMBER | SELF
    keys = np.full(references * (best + 1), filler, np.int32)
    for k in range(references):  # the reference comes before any other block; it is the sentinel, too
        keys[k * (best + 1) + best - 1] = keys[k * (best + 1) + best] = np.int32(-(2**31)) | SELF
    for row in range(rows):
        edge[row * stride : row * stride + columns] = limit
    at = np.empty(18, np.int32)
    for turn in range(order.shape[0]):
        dy, dx = order[turn, 0], order[turn, 1]
        for a in range(3):
            for b in range(3):
                y, x = dy + a + 3 * MARGIN, dx + b + 3 * MARGIN
                at[3 * a + b] = (3 * a + b) * plane + (top + MARGIN) * stride + MARGIN
                at[9 + 3 * a + b] = (3 * (y % 3) + x % 3) * plane + (top + y // 3) * stride + x // 3
        _cell_sums(flat, at, size, sums)
        for t in range(LANES):
            if dx + 3 * t > REACH or (dy == 0 and dx + 3 * t == 0):
                continue
            number = (dy + REACH) * WINDOW + dx + 3 * t + REACH
            for start in range(0, references, 64):
                here = np.uint32(start)
                full, narrow = np.uint32(4 * t * SPAN + start), np.uint32((4 * t + 1) * SPAN + start)
                full_below, narrow_below = np.uint32(full + stride), np.uint32(narrow + stride)
                low, corner = np.uint32(full_below + 2 * SPAN + stride), np.uint32(full_below + 3 * SPAN + stride)
                near = np.int32(0)
                for k in range(64):
                    d = sums[full + k] + sums[full + k + 1] + sums[narrow + k + 2]
                    d += sums[full_below + k] + sums[full_below + k + 1] + sums[narrow_below + k + 2]
                    d += sums[low + k] + sums[low + k + 1] + sums[corner + k + 2]
                    distances[k] = d
                    near |= np.int32(d < edge[here + k])
                if near:
                    for k in range(64):
                        if distances[k] < edge[here + k]:
                            base = np.uint32((start + k) * (best + 1))
                            _insert(keys, base, best, np.int32(bits[k] & ~NUMBER | number))
                            edge_bits[start + k] = keys[base] | NUMBER
    for row in range(rows):
        for column in range(columns):
            nearest = (row * stride + column + 1) * (best + 1) - 2
            count = 0
            for j in range(best):
                numbers[top + row, left + column, j] = keys[nearest - j] & NUMBER
                count += keys[nearest - j] < filler
            counts[top + row, left + column] = count


@compiled
def sum_noise(numbers: Shorts, counts: Shorts, overlap: Floats, top: int, bottom: int, noise: Floats) -> None:
    """Variance of the 64 coefficients of each group's sum, for unit noise in the picture, to ``noise``.

    Overlapping blocks carry the same noise, so their sum is noisier than that of independent blocks: every pair
    (dy, dx) apart adds twice the autocorrelation ``overlap[dy, dx]``.
    Source: Makinen, Azzari & Foi, *Collaborative Filtering of Correlated Noise: Exact Transform-Domain Variance for
    Improved Shrinkage and Patch Matching*, 2020, sec. III.
    """
    rows, columns, bins = np.empty(32, np.int32), np.empty(32, np.int32), np.empty(32, np.int32)
    pairs = np.empty(96, np.int32)
    for i in range(top, bottom):
        for j in range(numbers.shape[1]):
            size = 1
            while 2 * size <= counts[i, j]:
                size *= 2
            pairs[:] = 0
            for k in range(size):
                rows[k], columns[k] = numbers[i, j, k] // WINDOW, numbers[i, j, k] % WINDOW
            for a in range(1, size):
                row, column = rows[a], columns[a]
                for b in range(a):
                    dy, dx = abs(rows[b] - row), abs(columns[b] - column)
                    bins[b] = 8 * dy + dx if max(dy, dx) < 8 else 64 + b  # many bins: no stalls on one counter
                for b in range(a):
                    pairs[bins[b]] += 1
            sums = noise[i, j]
            for c in range(64):
                sums[c] = size
            for k in range(64):
                if pairs[k] > 0:
                    count = np.float32(2 * pairs[k])
                    source = np.uint32(64 * k)
                    for c in range(64):
                        sums[c] += count * overlap[source + c]
