"""Big arrays kept from one call for the next."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


class Stock:
    """Up to ``most`` bytes of arrays, shared by a prior and its ``fresh`` copies; threads may take and give at will.

    Fresh pages cost a tenth of the time of one thread, and threads more. A pickled or deeply copied stock is empty.
    """

    def __init__(self, most: float) -> None:
        self.most = most
        self._arrays: list[Floats] = []
        self._lock = threading.Lock()

    def take(self, size: int) -> Floats:
        """An uninitialised array, one of the stock if it has this size."""
        with self._lock:
            while self._arrays:
                array = self._arrays.pop()
                if len(array) == size:
                    return array
        return np.empty(size, np.float32)

    def give_back(self, arrays: list[Floats]) -> None:
        with self._lock:
            if sum(array.nbytes for array in (*self._arrays, *arrays)) <= self.most:
                self._arrays.extend(arrays)

    def __reduce__(self) -> tuple[Any, ...]:
        return Stock, (self.most,)
