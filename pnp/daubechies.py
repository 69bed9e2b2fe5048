"""Orthonormal wavelet filters by spectral factorisation.

Source: Daubechies, *Ten Lectures on Wavelets*, 1992, sec. 6.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


def inner_roots(moments: int) -> list[Any]:
    """Roots inside the unit circle of the filter with ``moments`` vanishing moments, besides its roots at -1."""
    halfband = [math.comb(moments - 1 + k, k) for k in reversed(range(moments))]
    pairs = [np.roots([1, 4 * y - 2, 1]) for y in np.roots(halfband)]  # y = (2 - z - 1/z) / 4 gives a pair z, 1/z
    return [pair[np.abs(pair).argmin()] for pair in pairs]


def low_pass(moments: int, roots: Sequence[Any]) -> npt.NDArray[np.float64]:
    """The ``2 moments`` low-pass taps, sum sqrt(2), with these roots, one of each pair: the inner ones delay least."""
    taps = np.real(np.poly([-1.0] * moments + list(roots)))
    return np.asarray(taps * (math.sqrt(2) / taps.sum()))
