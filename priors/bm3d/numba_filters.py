"""Compiled collaborative filters: a group of table rows through Haar, shrinkage and back into the accumulators."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..numba_compiled import compiled
from .numba_common import Floats, Offsets, Shorts
from .settings import CONFIDENCE, REACH, WINDOW


def _variances() -> Floats:
    """Squared norms of the rows that ``_gather`` leaves, for groups of 1, 2, 4, ..., 32 blocks."""
    octet = [8, 8, 4, 4, 2, 2, 2, 2]
    sixteen = [16, *octet[1:], 16, *octet[1:]]
    rows = [[1], [2, 2], [4, 2, 4, 2], octet, sixteen, 2 * [32, *sixteen[1:]]]
    return np.array([row + [1] * (32 - len(row)) for row in rows], np.float32)


VARIANCES = _variances()
TILE = 16  # reference columns at a time: the table rows of neighbouring groups stay near the core (a tenth faster)
EXPONENT = np.float32(CONFIDENCE)


@compiled
def _haar_two(rows: Floats, a: int, b: int) -> None:
    for c in range(64):
        p, q = rows[a + c], rows[b + c]
        rows[a + c], rows[b + c] = p + q, p - q


@compiled
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


@compiled
def _scatter(rows: Floats, at: Offsets, size: int, weight: Any, total: Floats) -> None:
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


@compiled
def _spread_noise(sums: Floats, size: int, noise: Floats) -> None:
    """Variances of normalised coefficients: 64 of the group's sum, then 64 of its differences.

    Overlap does not change the total, so the differences share what the sum leaves of it.
    """
    inverse, whole, share = np.float32(1 / size), np.float32(size), np.float32(1 / max(size - 1, 1))
    for c in range(64):
        noise[c] = sums[c] * inverse
    for c in range(64):  # bounded away from 0, which the smoothest coefficients of dense groups approach
        noise[c + 64] = max((whole - noise[c]) * share, np.float32(1e-3))


@compiled
def _places(numbers: Shorts, count: int, corner: int, across: int, at: Offsets) -> int:
    """Table rows of a group; its size, the largest power of two within ``count``."""
    level = 0
    while 2 << level <= count:
        level += 1
    for k in range(1 << level):
        number = numbers[k]
        at[k] = 64 * (corner + (number // WINDOW - REACH) * across + number % WINDOW - REACH)
    return level


@compiled
def hard_threshold(
    table: Floats,
    numbers: Shorts,
    counts: Shorts,
    sums: Floats,
    top: int,
    bottom: int,
    origin: int,
    across: int,
    begin: int,
    threshold: float,
    total: Floats,
    weights: Floats,
) -> None:
    """Filter the groups of reference rows ``top`` to ``bottom`` by hard thresholding; add them to the accumulators.

    The first column of references lies ``begin`` positions into the tables, whose rows hold ``across`` of them.
    The weight of a group is one over the noise variance kept. The group's mean is always kept.
    """
    rows = np.empty(32 * 64, np.float32)
    at = np.empty(32, np.uint32)
    noise = np.empty(128, np.float32)
    for turn in range((bottom - top) * ((numbers.shape[1] + TILE - 1) // TILE)):
        i, left = top + turn % (bottom - top), turn // (bottom - top) * TILE
        for j in range(left, min(left + TILE, numbers.shape[1])):
            level = _places(numbers[i, j], counts[i, j], (3 * i - origin) * across + 3 * j + begin, across, at)
            size = 1 << level
            _gather(table, at, size, rows)
            _spread_noise(sums[i, j], size, noise)
            mean = rows[0]
            kept = np.float32(0)
            for k in range(size):
                scale = np.float32(1) / VARIANCES[level, k]
                bound = threshold * threshold * VARIANCES[level, k]
                b, n = np.uint32(64 * k), np.uint32(64 * min(k, 1))
                for c in range(64):
                    x = rows[b + c]
                    keep = np.float32(1) if x * x > bound * noise[n + c] else np.float32(0)
                    kept += keep * noise[n + c]
                    rows[b + c] = x * scale * keep
            if rows[0] == 0:
                kept += noise[0]
                rows[0] = mean / np.float32(size)
            weight = np.float32(1) / kept
            _scatter(rows, at, size, weight, total)
            for k in range(size):
                weights[at[k] >> 6] += weight


@compiled
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
    begin: int,
    variance: float,
    total: Floats,
    weights: Floats,
) -> None:
    """Filter the groups by the empirical Wiener gain S^2 / (S^2 + variance) of the pilot's coefficients S.

    With E the noise variance left in the group (the sum of squared gains times the coefficients' variances), its weight
    is 1 / E as published, times (size / E)^0.75: this favours the better estimated of blocks in groups of different
    sizes, by 0.3 to 0.6 dB on drawings and nothing on photographs. The group's mean is kept (gain 1).
    """
    rows = np.empty(32 * 64, np.float32)
    clean = np.empty(32 * 64, np.float32)
    at = np.empty(32, np.uint32)
    noise = np.empty(128, np.float32)
    for turn in range((bottom - top) * ((numbers.shape[1] + TILE - 1) // TILE)):
        i, left = top + turn % (bottom - top), turn // (bottom - top) * TILE
        for j in range(left, min(left + TILE, numbers.shape[1])):
            level = _places(numbers[i, j], counts[i, j], (3 * i - origin) * across + 3 * j + begin, across, at)
            size = 1 << level
            _gather(table, at, size, rows)
            _gather(pilot, at, size, clean)
            _spread_noise(sums[i, j], size, noise)
            mean = rows[0] / np.float32(size)
            energy = np.float32(0)
            for k in range(size):
                scale = np.float32(1) / VARIANCES[level, k]
                row_noise = variance * VARIANCES[level, k]
                b, n = np.uint32(64 * k), np.uint32(64 * min(k, 1))
                for c in range(64):
                    power = clean[b + c] * clean[b + c]
                    gain = power / (power + row_noise * noise[n + c])
                    energy += gain * gain * noise[n + c]
                    rows[b + c] *= gain * scale
            power = clean[0] * clean[0]
            gain = power / (power + variance * np.float32(size) * noise[0])
            energy += (np.float32(1) - gain * gain) * noise[0]
            rows[0] = mean
            weight = (np.float32(size) / energy) ** EXPONENT / energy
            _scatter(rows, at, size, weight, total)
            for k in range(size):
                weights[at[k] >> 6] += weight
