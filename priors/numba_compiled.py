"""How the kernels of the priors are compiled; importing this needs Numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def compiled(function: Kernel) -> Kernel:
    """``function`` as machine code that holds no lock, kept on disk.

    NaN and infinity stay legal (no "nnan", no "ninf"): comparisons must stay meaningful on them, so that loops end and
    no index leaves its array.
    """
    rules = {"reassoc", "contract", "nsz", "arcp", "afn"}
    decorate: Any = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=rules)
    kernel: Kernel = decorate(function)
    return kernel
