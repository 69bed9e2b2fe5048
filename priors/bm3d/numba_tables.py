"""Compiled coefficient tables: the transform of every block, and back to pixels with aggregation."""

from __future__ import annotations

import numpy as np

from ..numba_compiled import compiled
from .numba_common import Floats

TILE = 128  # columns whose coefficients are reordered at a time: they stay in the first cache


@compiled
def tabulate(image: Floats, analysis: Floats, top: int, bottom: int, origin: int, table: Floats) -> None:
    """The coefficients of every block in position rows ``top`` to ``bottom``; the table's first row is ``origin``."""
    width = image.shape[1]
    across = width - 7
    vertical = np.empty((8, width), np.float32)
    planar = np.empty((64, TILE), np.float32)
    for y in range(top, bottom):
        x0, x1, x2, x3 = image[y], image[y + 1], image[y + 2], image[y + 3]
        x4, x5, x6, x7 = image[y + 4], image[y + 5], image[y + 6], image[y + 7]
        for u in range(8):
            m = analysis[u]
            m0, m1, m2, m3, m4, m5, m6, m7 = (m[0], m[1], m[2], m[3], m[4], m[5], m[6], m[7])
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
        for left in range(0, across, TILE):
            count = min(TILE, across - left)
            for u in range(8):
                s = vertical[u, left:]
                for v in range(8):
                    m = analysis[v]
                    m0, m1, m2, m3, m4, m5, m6, m7 = (m[0], m[1], m[2], m[3], m[4], m[5], m[6], m[7])
                    out = planar[8 * u + v]
                    for c in range(count):
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
            to = np.uint32(((y - origin) * across + left) * 64)
            for c in range(count):
                for k in range(64):
                    table[to + 64 * c + k] = planar[k, c]


@compiled
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
    planar = np.empty((64, TILE), np.float32)
    lines = np.empty((8, width), np.float32)
    for y in range(max(top, first - 7), min(bottom, last)):
        weight = weights[(y - origin) * across : (y - origin + 1) * across]
        lines[:] = 0
        for left in range(0, across, TILE):
            count = min(TILE, across - left)
            source = np.uint32(((y - origin) * across + left) * 64)
            for c in range(count):
                for k in range(64):
                    planar[k, c] = total[source + 64 * c + k]
            for u in range(8):
                p = planar[8 * u : 8 * u + 8]
                p0, p1, p2, p3, p4, p5, p6, p7 = (p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7])
                for k in range(8):
                    m = synthesis[k]
                    m0, m1, m2, m3, m4, m5, m6, m7 = (m[0], m[1], m[2], m[3], m[4], m[5], m[6], m[7])
                    out = lines[u, left + k :]
                    for c in range(count):
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
                m0, m1, m2, m3, m4, m5, m6, m7 = (m[0], m[1], m[2], m[3], m[4], m[5], m[6], m[7])
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
