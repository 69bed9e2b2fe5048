"""How the kernels of the priors are compiled, and how that is told of; importing this needs Numba."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any, TypeVar

import numba
from numba.core import event, types

ROOM = "pnp.priors."
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


class Announcer(event.Listener):
    """Says on stderr that a prior is being compiled: once a prior and precision, never when it comes from disk.

    Numba tells of every compilation, and holds its compiler's lock meanwhile. The line is a warning of the logger
    "pnp", the lowest level that is seen where no logging is set up.
    """

    def __init__(self) -> None:
        self._told: set[tuple[str, str]] = set()

    def on_start(self, event: event.Event) -> None:
        module = event.data["dispatcher"].py_func.__module__
        arrays = [argument.dtype for argument in event.data["args"] if isinstance(argument, types.Array)]
        precision = next((str(dtype) for dtype in arrays if isinstance(dtype, types.Float)), "")
        if not module.startswith(ROOM) or not precision:
            return
        prior = re.split("[._]", module.removeprefix(ROOM))[0].upper()
        if (prior, precision) not in self._told:
            self._told.add((prior, precision))
            logging.getLogger("pnp").warning(
                "pnp: compiling %s for %s, some 10 to 20 seconds, once: Numba keeps the kernels on disk.",
                prior,
                precision,
            )

    def on_end(self, event: event.Event) -> None:
        pass


event.register("numba:compile", Announcer())  # type: ignore[no-untyped-call]
