"""Orthonormal wavelet filters by spectral factorisation."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import numpy.typing as npt

Taps = npt.NDArray[np.float64]


def daubechies(moments: int, *, symmetric: bool) -> Taps:
    """The low-pass taps (``2 moments`` of them, sum sqrt(2)) of the wavelet with that many vanishing moments.

    Minimal phase, or with ``symmetric`` the choice of roots whose phase is nearest to linear (the symlets).
    Source: Daubechies, *Ten Lectures on Wavelets*, 1992, sec. 6.1 and 8.1.1.
    """
    halfband = [math.comb(moments - 1 + k, k) for k in range(moments)][::-1]
    inside = []
    for y in np.roots(halfband):  # y = (2 - z - 1/z) / 4: each root gives a pair z, 1/z
        pair = np.roots([1, 4 * y - 2, 1])
        inside.append(pair[np.argmin(np.abs(pair))])
    groups = [[z] for z in inside if abs(z.imag) < 1e-9] + [[z, z.conjugate()] for z in inside if z.imag >= 1e-9]
    choices = itertools.product((False, True), repeat=len(groups) if symmetric else 0)
    filters = [_taps(moments, groups, choice or (False,) * len(groups)) for choice in choices]
    return min(filters, key=_phase_error)


def _taps(moments: int, groups: list[list[Any]], outside: tuple[bool, ...]) -> Taps:
    roots = [1 / z if out else z for group, out in zip(groups, outside, strict=True) for z in group]
    taps = np.real(np.poly([-1.0] * moments + roots))
    return np.asarray(taps * (math.sqrt(2) / taps.sum()))


def _phase_error(taps: Taps) -> float:
    """How far the phase is from linear, as a weighted mean over frequencies."""
    frequencies = np.linspace(0, np.pi, 65)[1:-1]
    response = np.exp(-1j * np.outer(frequencies, np.arange(taps.size))) @ taps
    phase, weight = np.unwrap(np.angle(response)), np.abs(response)
    slope = (weight * frequencies * phase).sum() / (weight * frequencies**2).sum()
    return float((weight * (phase - slope * frequencies) ** 2).sum())
