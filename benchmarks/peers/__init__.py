"""The benchmark against other libraries, each of which may live in an environment of its own."""

from .benchmark import BENCHMARK

__all__ = ["BENCHMARK"]
