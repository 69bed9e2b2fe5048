"""Compiled kernels of BM3D: block matching, coefficient tables, group filters, aggregation.

Everything here works on float32 arrays of one channel whose sides are 8 + 3 k. A *reference* block sits at (3 i, 3 j); a
candidate is a number in 0..1520, ``(dy + 19) * 39 + dx + 19``, its displacement inside the 39 x 39 window. A *table*
holds the 64 coefficients of the block at every position. The kernels release the GIL and are called on bands of rows
by plain threads; results do not depend on how rows are split.

Source: Dabov, Foi, Katkovnik & Egiazarian, *Image Denoising by Sparse 3-D Transform-Domain Collaborative Filtering*,
2007. Grouping, filters and weights follow it; how they are computed is this file's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Shorts = npt.NDArray[np.int16]
Offsets = npt.NDArray[np.uint32]

_Kernel = TypeVar("_Kernel", bound=Callable[..., Any])

REACH = 19  # largest displacement: the window is 39 x 39
WINDOW = 2 * REACH + 1
SELF = REACH * WINDOW + REACH  # the candidate number of the reference itself
MARGIN = 7  # cells of padding before the image: 21 pixels >= REACH
LANES = 7  # displacements dx, dx + 3, ... that one pass shares
SPAN = 4176  # cells of one pass: a constant, so that the vectoriser sees one output stream; no multiple of 1024 floats
OUTSIDE = 1e4  # pixel value beyond the border (the image's range is 1): such candidates lose by their distance
NUMBER = 2047  # the low bits of a key: the candidate; the rest is the distance to 12 mantissa bits


def _variances() -> Floats:
    """Squared norms of the rows that ``_gather`` leaves, for groups of 1, 2, 4, ..., 32 blocks."""
    octet = [8, 8, 4, 4, 2, 2, 2, 2]
    sixteen = [16, *octet[1:], 16, *octet[1:]]
    rows = [[1], [2, 2], [4, 2, 4, 2], octet, sixteen, 2 * [32, *sixteen[1:]]]
    return np.array([row + [1] * (32 - len(row)) for row in rows], np.float32)


VARIANCES = _variances()


def _compiled(function: _Kernel) -> _Kernel:
    # no "nnan"/"ninf": the kernels must stay safe, if meaningless, on NaN
    compiled: _Kernel = numba.njit(
        cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz", "arcp"}
    )(function)
    return compiled


@_compiled
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


@_compiled
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


@_compiled
def _insert(keys: Ints, base: int, best: int, key: int) -> None:
    """Keep the ``best`` smallest keys from ``base`` on, in descending order; a sentinel follows them."""
    for j in range(best):  # a constant length would be unrolled before the vectoriser runs (5 times slower)
        keys[base + j] = min(keys[base + j], max(keys[base + j + 1], key))


@_compiled
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
    """The nearest blocks of the references in rows ``top`` to ``bottom``: ``numbers``, the reference first, and ``counts``.

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


@_compiled
def tabulate(image: Floats, analysis: Floats, top: int, bottom: int, origin: int, table: Floats) -> None:
    """The coefficients of every block in position rows ``top`` to ``bottom``; the table's first row is ``origin``."""
    width = image.shape[1]
    across = width - 7
    vertical = np.empty((8, width), np.float32)
    planar = np.empty((8, across), np.float32)
    for y in range(top, bottom):
        x0, x1, x2, x3 = image[y], image[y + 1], image[y + 2], image[y + 3]
        x4, x5, x6, x7 = image[y + 4], image[y + 5], image[y + 6], image[y + 7]
        to = np.uint32((y - origin) * across * 64)
        for u in range(8):
            m = analysis[u]
            m0, m1, m2, m3, m4, m5, m6, m7 = (
                m[0],
                m[1],
                m[2],
                m[3],
                m[4],
                m[5],
                m[6],
                m[7],
            )
            out = vertical[u]
            for c in range(width):
                out[c] = (
                    m0 * x0[c]
                    + m1 * x1[c]
                    + m2 * x2[c]
                    + m3 * x3[c]
                    + m4 * x4[c]
                    + m5 * x5[c]
                    + m6 * x6[c]
                    + m7 * x7[c]
                )
        for u in range(8):
            s = vertical[u]
            for v in range(8):
                m = analysis[v]
                m0, m1, m2, m3, m4, m5, m6, m7 = (
                    m[0],
                    m[1],
                    m[2],
                    m[3],
                    m[4],
                    m[5],
                    m[6],
                    m[7],
                )
                out = planar[v]
                for c in range(across):
                    out[c] = (
                        m0 * s[c]
                        + m1 * s[c + 1]
                        + m2 * s[c + 2]
                        + m3 * s[c + 3]
                        + m4 * s[c + 4]
                        + m5 * s[c + 5]
                        + m6 * s[c + 6]
                        + m7 * s[c + 7]
                    )
            for c in range(across):
                for v in range(8):
                    table[to + 64 * c + 8 * u + v] = planar[v, c]


@_compiled
def _haar_two(rows: Floats, a: int, b: int) -> None:
    for c in range(64):
        p, q = rows[a + c], rows[b + c]
        rows[a + c], rows[b + c] = p + q, p - q


@_compiled
def _gather(table: Floats, at: Offsets, size: int, rows: Floats) -> None:
    """Unnormalised Haar transform of ``size`` gathered table rows: a sum of n rows carries n times their variance.

    Eight rows at a time: their sum, halves' difference, two quarters' differences, four pair differences.
    """
    if size < 8:
        for k in range(size):
            source, into = at[k], np.uint32(64 * k)
            for c in range(64):
                rows[into + c] = table[source + c]
        if size == 4:
            _haar_two(rows, 0, 64)
            _haar_two(rows, 128, 192)
            _haar_two(rows, 0, 128)
        elif size == 2:
            _haar_two(rows, 0, 64)
        return
    for first in range(0, size, 8):
        t0, t1, t2, t3 = at[first], at[first + 1], at[first + 2], at[first + 3]
        t4, t5, t6, t7 = at[first + 4], at[first + 5], at[first + 6], at[first + 7]
        into = np.uint32(64 * first)
        for c in range(64):
            x0, x1, x2, x3 = table[t0 + c], table[t1 + c], table[t2 + c], table[t3 + c]
            x4, x5, x6, x7 = table[t4 + c], table[t5 + c], table[t6 + c], table[t7 + c]
            s0, s1, s2, s3 = x0 + x1, x2 + x3, x4 + x5, x6 + x7
            rows[into + c] = (s0 + s1) + (s2 + s3)
            rows[into + c + 64] = (s0 + s1) - (s2 + s3)
            rows[into + c + 128] = s0 - s1
            rows[into + c + 192] = s2 - s3
            rows[into + c + 256] = x0 - x1
            rows[into + c + 320] = x2 - x3
            rows[into + c + 384] = x4 - x5
            rows[into + c + 448] = x6 - x7
    if size == 16:
        _haar_two(rows, 0, 512)
    elif size == 32:
        _haar_two(rows, 0, 512)
        _haar_two(rows, 1024, 1536)
        _haar_two(rows, 0, 1024)


@_compiled
def _scatter(rows: Floats, at: Offsets, size: int, weight: float, total: Floats) -> None:
    """Undo the (rescaled) transform of ``_gather`` and add ``weight`` times each row to its place."""
    if size == 32:
        _haar_two(rows, 0, 1024)
        _haar_two(rows, 1024, 1536)
        _haar_two(rows, 0, 512)
    elif size == 16:
        _haar_two(rows, 0, 512)
    elif size == 4:
        _haar_two(rows, 0, 128)
        _haar_two(rows, 128, 192)
        _haar_two(rows, 0, 64)
    elif size == 2:
        _haar_two(rows, 0, 64)
    for first in range(0, size - 7, 8):
        b = np.uint32(64 * first)
        for c in range(64):
            whole, half = rows[b + c], rows[b + c + 64]
            s0, s1 = whole + half + rows[b + c + 128], whole + half - rows[b + c + 128]
            s2, s3 = whole - half + rows[b + c + 192], whole - half - rows[b + c + 192]
            d0, d1, d2, d3 = rows[b + c + 256], rows[b + c + 320], rows[b + c + 384], rows[b + c + 448]
            rows[b + c] = s0 + d0
            rows[b + c + 64] = s0 - d0
            rows[b + c + 128] = s1 + d1
            rows[b + c + 192] = s1 - d1
            rows[b + c + 256] = s2 + d2
            rows[b + c + 320] = s2 - d2
            rows[b + c + 384] = s3 + d3
            rows[b + c + 448] = s3 - d3
    for k in range(size):
        source, into = np.uint32(64 * k), at[k]
        for c in range(64):
            total[into + c] += weight * rows[source + c]


@_compiled
def sum_noise(numbers: Shorts, counts: Shorts, overlap: Floats, top: int, bottom: int, noise: Floats) -> None:
    """Variance of the 64 coefficients of each group's sum, for unit noise in the picture, to ``noise``.

    Overlapping blocks carry the same noise, so their sum is noisier than that of independent blocks: every pair (dy, dx)
    apart adds twice the autocorrelation ``overlap[dy, dx]``.
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


@_compiled
def _spread_noise(sums: Floats, level: int, noise: Floats) -> None:
    """Variance of all coefficients that ``_gather`` leaves: the differences share what the sum leaves of the total."""
    size = 1 << level
    for c in range(64):
        noise[c] = sums[c]
    if level == 0:
        return
    inverse, share = np.float32(1 / size), np.float32(1 / (size - 1))
    for k in range(1, size):
        b = np.uint32(64 * k)
        variance = VARIANCES[level, k]
        for c in range(64):  # bounded away from 0, which the smoothest coefficients of dense groups approach
            noise[b + c] = variance * max((size - noise[c] * inverse) * share, np.float32(1e-3))


@_compiled
def _places(numbers: Shorts, count: int, corner: int, across: int, at: Offsets) -> int:
    """Table rows of a group; its size, the largest power of two within ``count``."""
    level = 0
    while 2 << level <= count:
        level += 1
    for k in range(1 << level):
        number = numbers[k]
        at[k] = 64 * (corner + (number // WINDOW - REACH) * across + number % WINDOW - REACH)
    return level


@_compiled
def hard_threshold(
    table: Floats,
    numbers: Shorts,
    counts: Shorts,
    sums: Floats,
    top: int,
    bottom: int,
    origin: int,
    across: int,
    threshold: float,
    total: Floats,
    weights: Floats,
) -> None:
    """Filter the groups of reference rows ``top`` to ``bottom`` by hard thresholding; add them to the accumulators.

    The weight of a group is one over the number of coefficients kept. The group's mean is always kept.
    """
    rows = np.empty(32 * 64, np.float32)
    at = np.empty(32, np.uint32)
    noise = np.empty(32 * 64, np.float32)
    for i in range(top, bottom):
        for j in range(numbers.shape[1]):
            level = _places(
                numbers[i, j],
                counts[i, j],
                (3 * i - origin) * across + 3 * j,
                across,
                at,
            )
            size = 1 << level
            _gather(table, at, size, rows)
            _spread_noise(sums[i, j], level, noise)
            mean = rows[0]
            kept = np.float32(0)
            for k in range(size):
                scale = np.float32(1) / VARIANCES[level, k]
                b = np.uint32(64 * k)
                for c in range(64):
                    x = rows[b + c]
                    keep = np.float32(1) if x * x > threshold * threshold * noise[b + c] else np.float32(0)
                    kept += keep * noise[b + c] * scale
                    rows[b + c] = x * scale * keep
            if rows[0] == 0:
                kept += noise[0] / np.float32(size)
                rows[0] = mean / np.float32(size)
            weight = np.float32(1) / kept
            _scatter(rows, at, size, weight, total)
            for k in range(size):
                weights[at[k] >> 6] += weight


@_compiled
def wiener(
    table: Floats,
    pilot: Floats,
    numbers: Shorts,
    counts: Shorts,
    sums: Floats,
    top: int,
    bottom: int,
    origin: int,
    across: int,
    variance: float,
    total: Floats,
    weights: Floats,
) -> None:
    """Filter the groups by the empirical Wiener gain S^2 / (S^2 + variance) of the pilot's coefficients S.

    The weight of a group is one over the sum of squared gains. The group's mean is kept (gain 1).
    """
    rows = np.empty(32 * 64, np.float32)
    clean = np.empty(32 * 64, np.float32)
    at = np.empty(32, np.uint32)
    noise = np.empty(32 * 64, np.float32)
    for i in range(top, bottom):
        for j in range(numbers.shape[1]):
            level = _places(
                numbers[i, j],
                counts[i, j],
                (3 * i - origin) * across + 3 * j,
                across,
                at,
            )
            size = 1 << level
            _gather(table, at, size, rows)
            _gather(pilot, at, size, clean)
            _spread_noise(sums[i, j], level, noise)
            mean = rows[0] / np.float32(size)
            energy = np.float32(0)
            for k in range(size):
                scale = np.float32(1) / VARIANCES[level, k]
                b = np.uint32(64 * k)
                for c in range(64):
                    power = clean[b + c] * clean[b + c]
                    gain = power / (power + variance * noise[b + c])
                    energy += gain * gain * noise[b + c] * scale
                    rows[b + c] *= gain * scale
            power = clean[0] * clean[0]
            gain = power / (power + variance * noise[0])
            energy += (np.float32(1) - gain * gain) * noise[0] / np.float32(size)
            rows[0] = mean
            weight = np.float32(1) / energy
            _scatter(rows, at, size, weight, total)
            for k in range(size):
                weights[at[k] >> 6] += weight


@_compiled
def aggregate(
    total: Floats,
    weights: Floats,
    synthesis: Floats,
    window: Floats,
    top: int,
    bottom: int,
    origin: int,
    first: int,
    last: int,
    numerator: Floats,
    denominator: Floats,
) -> None:
    """Transform position rows ``top`` to ``bottom`` back and add them to the pixel rows ``first`` to ``last``.

    The window is folded into ``synthesis``; it is separable, and so are the two sums over overlapping blocks.
    """
    width = numerator.shape[1]
    across = width - 7
    planar = np.empty((8, across), np.float32)
    lines = np.empty((8, width), np.float32)
    for y in range(max(top, first - 7), min(bottom, last)):
        source = np.uint32((y - origin) * across * 64)
        weight = weights[(y - origin) * across : (y - origin + 1) * across]
        lines[:] = 0
        for u in range(8):
            for c in range(across):
                block = np.uint32(source + 64 * c + 8 * u)
                for v in range(8):
                    planar[v, c] = total[block + v]
            p0, p1, p2, p3 = planar[0], planar[1], planar[2], planar[3]
            p4, p5, p6, p7 = planar[4], planar[5], planar[6], planar[7]
            for k in range(8):
                m = synthesis[k]
                m0, m1, m2, m3, m4, m5, m6, m7 = (
                    m[0],
                    m[1],
                    m[2],
                    m[3],
                    m[4],
                    m[5],
                    m[6],
                    m[7],
                )
                out = lines[u, k:]
                for c in range(across):
                    out[c] += (
                        m0 * p0[c]
                        + m1 * p1[c]
                        + m2 * p2[c]
                        + m3 * p3[c]
                        + m4 * p4[c]
                        + m5 * p5[c]
                        + m6 * p6[c]
                        + m7 * p7[c]
                    )
        l0, l1, l2, l3, l4, l5, l6, l7 = (
            lines[0],
            lines[1],
            lines[2],
            lines[3],
            lines[4],
            lines[5],
            lines[6],
            lines[7],
        )
        for k in range(8):
            if first <= y + k < last:
                m = synthesis[k]
                m0, m1, m2, m3, m4, m5, m6, m7 = (
                    m[0],
                    m[1],
                    m[2],
                    m[3],
                    m[4],
                    m[5],
                    m[6],
                    m[7],
                )
                out = numerator[y + k]
                for c in range(width):
                    out[c] += (
                        m0 * l0[c]
                        + m1 * l1[c]
                        + m2 * l2[c]
                        + m3 * l3[c]
                        + m4 * l4[c]
                        + m5 * l5[c]
                        + m6 * l6[c]
                        + m7 * l7[c]
                    )
        spread = lines[0]
        spread[:] = 0
        for k in range(8):
            out = spread[k:]
            for c in range(across):
                out[c] += window[k] * weight[c]
        for k in range(8):
            if first <= y + k < last:
                out = denominator[y + k]
                for c in range(width):
                    out[c] += window[k] * spread[c]
