"""Orthonormal wavelet filters by spectral factorisation."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt

from pnp.daubechies import inner_roots, low_pass

Taps = npt.NDArray[np.float64]


def daubechies(moments: int, *, symmetric: bool) -> Taps:
    """The low-pass taps (``2 moments`` of them, sum sqrt(2)) of the wavelet with that many vanishing moments.

    Minimal phase, or with ``symmetric`` the choice of roots whose phase is nearest to linear (the symlets).
    Source: Daubechies, *Ten Lectures on Wavelets*, 1992, sec. 6.1 and 8.1.1.
    """
    inside = inner_roots(moments)
    groups = [[z] for z in inside if abs(z.imag) < 1e-9] + [[z, z.conjugate()] for z in inside if z.imag >= 1e-9]
    choices = itertools.product((False, True), repeat=len(groups) if symmetric else 0)
    filters = [_taps(moments, groups, choice or (False,) * len(groups)) for choice in choices]
    return min(filters, key=_phase_error)


def _taps(moments: int, groups: list[list[Any]], outside: tuple[bool, ...]) -> Taps:
    return low_pass(moments, [1 / z if out else z for group, out in zip(groups, outside, strict=True) for z in group])


def _phase_error(taps: Taps) -> float:
    """How far the phase is from linear, as a weighted mean over frequencies."""
    frequencies = np.linspace(0, np.pi, 65)[1:-1]
    response = np.exp(-1j * np.outer(frequencies, np.arange(taps.size))) @ taps
    phase, weight = np.unwrap(np.angle(response)), np.abs(response)
    slope = (weight * frequencies * phase).sum() / (weight * frequencies**2).sum()
    return float((weight * (phase - slope * frequencies) ** 2).sum())
