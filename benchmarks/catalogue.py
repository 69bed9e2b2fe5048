"""The benchmarks, in the order of ``list``."""

from __future__ import annotations

from .demo import BENCHMARK as demo
from .grid import Benchmark

BENCHMARKS: tuple[Benchmark, ...] = (demo,)
