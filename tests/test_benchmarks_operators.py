"""The benchmark of operators: its grid, and the peak of memory of a call."""

import numpy as np
import pytest
import torch

from benchmarks.grid import Options
from benchmarks.operators import NAMES, SIZES, cells
from benchmarks.timing import peak_bytes

MEGABYTE = 1 << 20


def test_every_operator_is_measured_at_every_size():
    assert {(c.operator, c.size) for c in cells(Options())} == {(name, n) for name in NAMES for n in (64, *SIZES)}


def test_the_peak_of_memory_is_what_a_call_holds_at_most_whatever_the_heap_looks_like():
    holes = [torch.ones(MEGABYTE // 4 * (1 + k % 5)) for k in range(40)]
    del holes[::2]

    def call():
        for _ in range(10):
            first, second = torch.ones(2 * MEGABYTE), np.ones(MEGABYTE)  # 8 MB each
            del first
            third = torch.ones(MEGABYTE)  # 4 MB
            del second, third

    for _ in range(3):
        call()
    assert peak_bytes(call) == pytest.approx(16 * MEGABYTE, rel=0.1)


def test_an_error_in_a_measured_call_comes_through():
    def call():
        raise ValueError("no such call")

    with pytest.raises(ValueError, match="no such call"):
        peak_bytes(call)
