"""The benchmark of operators: its grid, and the peak of memory of a call."""

import numpy as np
import pytest

from benchmarks.grid import Options
from benchmarks.operators import NAMES, SIZES, cells
from benchmarks.timing import peak_bytes

MEGABYTE = 1 << 20


def test_every_operator_is_measured_at_every_size():
    assert {(c.operator, c.size) for c in cells(Options())} == {(name, n) for name in NAMES for n in (64, *SIZES)}


def test_the_peak_of_memory_is_what_a_call_holds_at_most_not_the_holes_it_leaves():
    """Small blocks that stay keep the freed ones before them from being used for the larger ones that follow."""

    def call():
        small = []
        for megabytes in range(4, 14):
            large = np.ones(megabytes * MEGABYTE // 8)
            small.append(np.ones(6000))
            del large
        return small

    assert peak_bytes(call) == pytest.approx(13 * MEGABYTE, rel=0.1)


def test_an_error_in_a_measured_call_comes_through():
    def call():
        raise ValueError("no such call")

    with pytest.raises(ValueError, match="no such call"):
        peak_bytes(call)
