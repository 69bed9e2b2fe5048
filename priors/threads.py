"""Threads of the compiled kernels beside those of torch."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def calm() -> Iterator[None]:
    """torch's own operations on one thread, for the few light ones around a compiled kernel.

    After each of them torch's OpenMP threads would spin for milliseconds, waiting for the next; on a busy machine this
    doubles the time of a kernel that has threads of its own. The number is one of the whole process, so only the main
    thread changes it, and gives it back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
