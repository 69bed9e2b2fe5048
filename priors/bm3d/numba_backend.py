"""BM3D's two steps on the CPU with compiled kernels: bands of rows, plain threads, bounded memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..threads import calm
from .settings import REACH, Groups
from .transforms import Matrix, autocorrelation, biorthogonal, cosine, kaiser, synthesis

Floats = npt.NDArray[np.float32]
Run = Callable[[Iterable[Callable[[], None]]], None]

CHUNK = 12  # reference rows of one task; two chunks apart, groups touch disjoint rows (3 * CHUNK > 35)
BAND = 4 * CHUNK  # reference rows whose coefficients are held at a time: few, since their tables outgrow the caches
KEPT = 2**28  # bytes of tables kept for the next call: fresh pages cost a tenth of a thread's time, and threads more
_spare: list[Floats] = []


class NumbaBackend:
    """Block matching and collaborative filtering by the compiled kernels, on ``torch.get_num_threads()`` threads.

    The results are the same to the last bit on any number of threads.
    """

    def __init__(self) -> None:
        from . import numba_filters, numba_matching, numba_tables

        _announce(numba_matching.match)
        self.matching, self.filters, self.tables = numba_matching, numba_filters, numba_tables
        self.threads = torch.get_num_threads()
        self.pool = ThreadPoolExecutor(self.threads)  # starts a thread when there is work for it
        self.order = _search_order(REACH, numba_matching.LANES)

    def threads_of_torch(self) -> AbstractContextManager[None]:
        return calm()

    def match(self, images: Tensor, limits: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """The ``size`` nearest blocks of every reference. Shapes: images (B, H, W), limits (B,) summed over a block."""
        batch, height, width = images.shape
        shape = batch, (height - 8) // 3 + 1, (width - 8) // 3 + 1
        numbers, counts = np.empty((*shape, size), np.int16), np.empty(shape, np.int16)
        tasks = [
            task
            for i, limit in enumerate(limits.tolist())
            for task in self._match_tasks(images[i].numpy(), limit, numbers[i], counts[i])
        ]
        self._parallel(tasks)
        return torch.from_numpy(numbers), torch.from_numpy(counts)

    def noise(self, numbers: Tensor, counts: Tensor, analysis: Matrix) -> Tensor:
        """Variance of each group's sum for unit noise, (B, rows, columns, 64)."""
        noise = np.empty((*counts.shape, 64), np.float32)
        overlap = autocorrelation(analysis).astype(np.float32).ravel()
        self._parallel(
            [
                partial(self.matching.sum_noise, numbers[i].numpy(), counts[i].numpy(), overlap, a, b, noise[i])
                for i in range(len(noise))
                for a, b in _split(0, noise.shape[1], CHUNK)
            ]
        )
        return torch.from_numpy(noise)

    def hard_threshold(self, noisy: Tensor, groups: Groups, thresholds: Tensor) -> Tensor:
        """Collaborative hard thresholding. Shapes: noisy (B, C, H, W), thresholds (B,)."""
        return self._filter(noisy, None, groups, thresholds, biorthogonal())

    def wiener(self, noisy: Tensor, pilot: Tensor, groups: Groups, variances: Tensor) -> Tensor:
        """Collaborative empirical Wiener filter. Shapes: noisy and pilot (B, C, H, W), variances (B,)."""
        return self._filter(noisy, pilot, groups, variances, cosine())

    def _match_tasks(
        self, image: Floats, limit: float, numbers: npt.NDArray[np.int16], counts: npt.NDArray[np.int16]
    ) -> Iterable[Callable[[], None]]:
        matching = self.matching
        rows, columns = counts.shape
        extra = 2 * matching.MARGIN + 2
        tile = 240  # reference columns: a pass of CHUNK rows stays within SPAN cells
        for left in range(0, columns, tile):
            across = min(tile, columns - left)
            stride = across + extra
            padded = np.full((3 * (rows + extra + 2), 3 * stride), matching.OUTSIDE, np.float32)
            margin = 3 * matching.MARGIN
            first, last = (max(3 * left - margin, 0), min(3 * (left + stride) - margin, image.shape[1]))
            at = first - 3 * left + margin
            padded[margin : margin + image.shape[0], at : at + last - first] = image[:, first:last]
            phases = padded.reshape(rows + extra + 2, 3, stride, 3).transpose(1, 3, 0, 2)
            planes = np.ascontiguousarray(phases).reshape(9, rows + extra + 2, stride)
            for top in range(0, rows, CHUNK):
                bottom = min(top + CHUNK, rows)
                yield partial(
                    matching.match, planes, self.order, top, bottom, left, across, np.float32(limit), numbers, counts
                )

    def _filter(
        self, noisy: Tensor, pilot: Tensor | None, groups: Groups, levels: Tensor, analysis: npt.NDArray[np.float64]
    ) -> Tensor:
        estimate = np.empty(noisy.shape, np.float32)
        window = kaiser()
        matrices = [np.ascontiguousarray(m, np.float32) for m in (analysis, synthesis(analysis, window), window)]
        channels = [
            (
                noisy[i, c].numpy(),
                None if pilot is None else pilot[i, c].numpy(),
                groups.numbers[i].numpy(),
                groups.counts[i].numpy(),
                groups.noise[i].numpy(),
                level,
                matrices,
                estimate[i, c],
            )
            for i, level in enumerate(levels.tolist())
            for c in range(noisy.shape[1])
        ]
        alone = (
            len(channels) - len(channels) % self.threads
        )  # a channel a thread; the threads share the rows of the rest
        self._parallel([partial(self._filter_channel, *channel, _serial) for channel in channels[:alone]])
        for channel in channels[alone:]:
            self._filter_channel(*channel, self._parallel)
        return torch.from_numpy(estimate)

    def _filter_channel(
        self,
        noisy: Floats,
        pilot: Floats | None,
        numbers: npt.NDArray[np.int16],
        counts: npt.NDArray[np.int16],
        noise: Floats,
        level: float,
        matrices: list[Floats],
        estimate: Floats,
        run: Run,
    ) -> None:
        """Filter one channel in bands: the rows that a band shares with the next are carried over."""
        analysis, inverse, window = matrices
        height, width = noisy.shape
        down, across = height - 7, width - 7
        references = len(counts)
        span = 3 * (min(BAND, references) - 1) + 2 * REACH + 1
        images = [noisy] if pilot is None else [noisy, pilot]
        *tables, total = [_buffer(span * across * 64) for _ in range(len(images) + 1)]
        weights = np.empty(span * across, np.float32)
        denominator = np.zeros_like(estimate)
        estimate[:] = 0
        start = 0
        group: Callable[..., None] = self.filters.hard_threshold if pilot is None else self.filters.wiener
        for top in range(0, references, BAND):
            bottom = min(top + BAND, references)
            origin = 3 * top - REACH
            fresh, used = 0, 3 * (bottom - top - 1) + 2 * REACH + 1  # rows of the tables
            if top:
                fresh = span - 3 * BAND
                for table in (*tables, total, weights):
                    table.reshape(span, -1)[:fresh] = table.reshape(span, -1)[3 * BAND :]
            for sums in (total, weights):
                sums.reshape(span, -1)[fresh:used] = 0
            first, last = max(origin + fresh, 0), min(origin + used, down)
            run(
                [
                    partial(self.tables.tabulate, image, analysis, a, b, origin, table)
                    for image, table in zip(images, tables, strict=True)
                    for a, b in _split(first, last, 3 * CHUNK)
                ]
            )
            tasks: list[Callable[[], None]] = [
                partial(group, *tables, numbers, counts, noise, a, b, origin, across, np.float32(level), total, weights)
                for a, b in _split(top, bottom, CHUNK)
            ]
            run(tasks[0::2])
            run(tasks[1::2])
            done = down if bottom == references else 3 * bottom - REACH
            run(
                [
                    partial(
                        self.tables.aggregate,
                        total,
                        weights,
                        inverse,
                        window,
                        start,
                        done,
                        origin,
                        a,
                        b,
                        estimate,
                        denominator,
                    )
                    for a, b in _split(start, done + 7, -(-(done + 7 - start) // self.threads))
                ]
            )
            start = done
        estimate /= denominator
        _give_back([*tables, total])

    def _parallel(self, tasks: Iterable[Callable[[], None]]) -> None:
        tasks = list(tasks)
        if self.threads == 1 or len(tasks) == 1:
            return _serial(tasks)
        for done in [self.pool.submit(task) for task in tasks]:
            done.result()


def _buffer(size: int) -> Floats:
    """An uninitialised array, a spare one if it has this size."""
    while True:
        try:
            buffer = _spare.pop()  # threads share the list; pop and += are atomic
        except IndexError:
            return np.empty(size, np.float32)
        if len(buffer) == size:
            return buffer


def _give_back(buffers: list[Floats]) -> None:
    if sum(buffer.nbytes for buffer in (*_spare, *buffers)) <= KEPT:
        _spare.extend(buffers)


def _serial(tasks: Iterable[Callable[[], None]]) -> None:
    for task in tasks:
        task()


def _split(first: int, last: int, size: int) -> list[tuple[int, int]]:
    return [(a, min(a + size, last)) for a in range(first, last, max(size, 1))]


def _search_order(reach: int, lanes: int) -> npt.NDArray[np.int32]:
    """First displacements (dy, dx) of the matching passes, from the centre outwards so that bounds tighten early."""
    starts = [-reach + phase + 3 * half for phase in range(3) for half in (0, lanes)]
    passes = [(dy, dx) for dy in range(-reach, reach + 1) for dx in starts]
    return np.array(sorted(passes, key=lambda p: p[0] ** 2 + (p[1] + 3 * lanes // 2) ** 2), np.int32)


def _announce(kernel: Any) -> None:
    """Say once that the kernels are about to be compiled, when no earlier run left them in Numba's cache."""
    if kernel.signatures or any(Path(kernel.stats.cache_path).glob("numba_matching.match-*.nbi")):
        return
    logging.getLogger("pnp").info("BM3D: compiling its kernels (about ten seconds, once; Numba keeps them on disk).")
