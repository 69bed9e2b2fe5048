"""Times that can be compared on a busy machine, and peak memory."""

from __future__ import annotations

import ctypes
import gc
import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

Call = Callable[[], object]
M_MMAP_THRESHOLD = -3  # of mallopt(3)
MAPPED = 1 << 16  # bytes from which a block is a mapping of its own, given back when it is freed
HEAPED = 1 << 25  # the C library's own threshold once blocks of that size have come and gone


def interleaved(
    calls: Mapping[str, Call], *, rounds: int = 7, at_least: float = 0.02, limit: float = 60.0, device: str = "cpu"
) -> dict[str, list[float]]:
    """Seconds of each call in each round, all calls taking turns, so that a busy minute hits them alike.

    Seconds are process CPU time, summed over threads; wall time on a GPU. A short call is repeated until it takes
    ``at_least`` seconds, and divided. Each call runs once before, unmeasured. Rounds end early after ``limit`` seconds.
    """
    clock = time.perf_counter if device.startswith("cuda") else time.process_time
    repeats = {name: _repeats(call, clock, at_least, device) for name, call in calls.items()}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    started = time.perf_counter()
    for _ in range(rounds):
        for name, call in calls.items():
            _wait(device)
            begin = clock()
            for _ in range(repeats[name]):
                call()
            _wait(device)
            seconds[name].append((clock() - begin) / repeats[name])
        if time.perf_counter() - started > limit:
            break
    return seconds


def medians(seconds: Mapping[str, list[float]]) -> dict[str, float]:
    """The median over the rounds of each call."""
    return {name: statistics.median(values) for name, values in seconds.items()}


def ratio(seconds: Mapping[str, list[float]], ours: str, theirs: str) -> float:
    """Median over the rounds of their time over ours: above one, ours is faster."""
    return statistics.median(b / a for a, b in zip(seconds[ours], seconds[theirs], strict=True))


def _repeats(call: Call, clock: Callable[[], float], at_least: float, device: str) -> int:
    call()
    _wait(device)
    begin = clock()
    call()
    _wait(device)
    spent = max(clock() - begin, 1e-6)
    return max(1, min(int(at_least / spent) + 1, 1000)) if spent < at_least else 1


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def peak_bytes(call: Call, *, device: str = "cpu") -> float:
    """Memory that the call needs at its peak beyond what was held before it; nan where the system cannot say.

    On Linux the resident set's high-water mark is reset before the call, so NumPy, torch and compiled code all count.
    On the C library's heap freed blocks leave holes, others in every call, and the resident set would be up to twice
    what the call holds: it runs in a thread, which begins with an empty heap, and larger blocks are mapped one by one.
    """
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        result = call()
        _wait(device)
        del result
        return float(torch.cuda.max_memory_allocated() - before)
    if not Path("/proc/self/clear_refs").exists():
        return float("nan")
    gc.collect()
    library, threads, graph = ctypes.CDLL(None), torch.get_num_threads(), torch.is_grad_enabled()

    def measured() -> float:
        torch.set_num_threads(threads)
        with torch.set_grad_enabled(graph):
            library.malloc_trim(0)
            before = _resident("VmRSS")
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets VmHWM to VmRSS (proc(5))
            result = call()
            peak = _resident("VmHWM") - before
            del result
        return peak

    library.mallopt(M_MMAP_THRESHOLD, MAPPED)
    try:
        with ThreadPoolExecutor(max_workers=1) as pool:
            peak = pool.submit(measured).result()
    finally:
        library.mallopt(M_MMAP_THRESHOLD, HEAPED)
    return max(peak, 0.0)


def _resident(field: str) -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith(field))
    return float(line.split()[1]) * 1024
