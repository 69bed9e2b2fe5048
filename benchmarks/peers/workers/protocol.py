"""How a worker is asked and answers: arrays in files, one line of JSON each way. Needs nothing but NumPy.

A worker is a script that imports this file and one other library, so that it runs in any environment that has both.
A request names a file with the task, a method, its settings and the file for the answer; the reply tells the seconds
that the method took, or its error.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """Data ``y = A x + noise`` of one grey picture ``x`` (H, W), and what ``A`` is made of.

    ``kind`` says which: ``identity``; ``blur`` with the periodic ``kernel``, origin at its centre pixel; ``mask``, the
    pixels seen, data zero elsewhere; ``hadamard``, pixel i at place ``position[i]`` of a vector of which an orthonormal
    Walsh-Hadamard transform keeps ``rows``; ``downsample``, blur and every ``factor``-th pixel from the first on.
    ``sigma`` is the noise level and ``start`` a first guess of the picture: both are told to every library. ``probe``
    is a picture of noise, of which a library that has ``A`` returns ``A probe``.
    """

    kind: str
    shape: tuple[int, int]
    y: Array
    start: Array
    probe: Array
    sigma: float
    kernel: Array | None = None
    mask: Array | None = None
    rows: Array | None = None
    position: Array | None = None
    factor: int = 1

    @classmethod
    def load(cls, path: str | Path) -> Task:
        with np.load(path) as file:
            parts = {name: file[name] for name in file.files}
        parts = {name: part.item() if part.ndim == 0 else part for name, part in parts.items()}
        return cls(**{**parts, "shape": tuple(parts["shape"].tolist())})

    def save(self, path: str | Path) -> None:
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        np.savez(path, **{name: value for name, value in values.items() if value is not None})

    @functools.cached_property
    def spectrum(self) -> Array:
        """Of the kernel, its origin moved to the first pixel."""
        kernel = self.given("kernel")
        padded = np.zeros(self.shape)
        padded[: kernel.shape[0], : kernel.shape[1]] = kernel
        return np.fft.rfft2(np.roll(padded, [-(n // 2) for n in kernel.shape], (0, 1)))

    def forward(self, x: Array) -> Array:
        """``A x`` in float64, for libraries that take functions."""
        if self.kind == "mask":
            return x * self.given("mask")
        if self.kind == "hadamard":
            places = np.empty(x.size)
            places[self.given("position")] = x.ravel()
            return hadamard(places)[self.given("rows")]
        if self.kind == "identity":
            return x
        blurred = np.fft.irfft2(self.spectrum * np.fft.rfft2(x), s=self.shape)
        return blurred[:: self.factor, :: self.factor]

    def adjoint(self, y: Array) -> Array:
        """``A^T y``."""
        if self.kind == "mask":
            return y * self.given("mask")
        if self.kind == "hadamard":
            full = np.zeros(self.shape[0] * self.shape[1])
            full[self.given("rows")] = y
            return hadamard(full)[self.given("position")].reshape(self.shape)
        if self.kind == "identity":
            return y
        fine = np.zeros(self.shape)
        fine[:: self.factor, :: self.factor] = y
        return np.fft.irfft2(self.spectrum.conj() * np.fft.rfft2(fine), s=self.shape)

    def given(self, name: str) -> Array:
        """The part of this name.

        Raises: ValueError if this kind of task has none.
        """
        value = getattr(self, name)
        if value is None:
            raise ValueError(f"A task of kind {self.kind!r} has no {name}.")
        return np.asarray(value)


def sylvester(order: int) -> Array:
    """The orthonormal Walsh-Hadamard matrix whose order is a power of two."""
    matrix = np.ones((1, 1))
    while len(matrix) < order:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]]) / np.sqrt(2)
    return matrix


@functools.lru_cache(maxsize=1)
def halves(length: int) -> tuple[Array, Array]:
    """Two Walsh-Hadamard matrices whose Kronecker product has this order, a power of two."""
    power = length.bit_length() - 1
    return sylvester(1 << (power - power // 2)), sylvester(1 << (power // 2))


def hadamard(v: Array) -> Array:
    """The orthonormal Walsh-Hadamard transform of a vector, its own inverse."""
    left, right = halves(v.size)
    return (left @ v.reshape(len(left), len(right)) @ right).ravel()


Method = Callable[..., Array]


def serve(methods: Mapping[str, Method]) -> None:
    """Answer requests until there are no more; whatever a library prints goes to the error stream."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    load = functools.lru_cache(maxsize=1)(Task.load)  # one object a task: workers keep what they build for it
    for line in sys.stdin:
        request = json.loads(line)
        try:
            task, method = load(request["task"]), methods[request["method"]]
            cpu, wall = time.process_time(), time.perf_counter()
            x = np.asarray(method(task, **request["settings"]))
            reply: dict[str, Any] = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
            np.save(request["out"], x)
        except Exception:  # noqa: BLE001  the harness tells it; other settings may do better
            reply = {"error": traceback.format_exc()}
        print(json.dumps(reply), file=replies, flush=True)
