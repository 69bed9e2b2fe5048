"""BM3D's two steps on the CPU with compiled kernels: bands of rows, plain threads, bounded memory."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..threads import calm
from .settings import REACH, Groups
from .stock import Floats, Stock
from .strips import Strip, strips
from .transforms import Matrix, autocorrelation, biorthogonal, cosine, kaiser, synthesis

Shorts = npt.NDArray[np.int16]
Tasks = Iterable[Callable[[], None]]

CHUNK = 12  # reference rows of one task; two chunks apart, groups touch disjoint rows (3 * CHUNK > 35)
BAND = 4 * CHUNK  # reference rows whose coefficients are held at a time: few, since their tables outgrow the caches


@dataclasses.dataclass(frozen=True)
class Channel:
    """One channel of one image, its pilot (None in the first stage), its groups and its threshold or noise variance."""

    noisy: Floats
    pilot: Floats | None
    numbers: Shorts
    counts: Shorts
    noise: Floats
    level: float

    def part(self, strip: Strip) -> Channel:
        """What belongs to a strip, in contiguous arrays; the arrays themselves where it is the whole picture."""

        def pixels(image: Floats) -> Floats:
            return np.ascontiguousarray(image[:, strip.pixels])

        pilot = None if self.pilot is None else pixels(self.pilot)
        numbers, counts = (np.ascontiguousarray(x[:, strip.references]) for x in (self.numbers, self.counts))
        noise = np.ascontiguousarray(self.noise[:, strip.references])
        return Channel(pixels(self.noisy), pilot, numbers, counts, noise, self.level)


class NumbaBackend:
    """Block matching and collaborative filtering by the compiled kernels, on ``torch.get_num_threads()`` threads.

    The results are the same to the last bit on any number of threads. ``memory`` bounds the bytes of the coefficient
    tables in use, those kept for the next call lie in ``stock``. The threads end with ``at_work``.
    """

    def __init__(self, memory: float, stock: Stock) -> None:
        from . import numba_filters, numba_matching, numba_tables

        self.matching, self.filters, self.tables = numba_matching, numba_filters, numba_tables
        self.memory, self.stock = memory, stock
        self.threads = torch.get_num_threads()
        self.pool = ThreadPoolExecutor(self.threads)  # starts a thread when there is work for it
        self.order = _search_order(REACH, numba_matching.LANES)

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        with calm(), self.pool:
            yield

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

    def _match_tasks(self, image: Floats, limit: float, numbers: Shorts, counts: Shorts) -> Tasks:
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
        numbers, counts, noise = (x.numpy() for x in (groups.numbers, groups.counts, groups.noise))

        def channel(i: int, c: int, level: float) -> Channel:
            guide = None if pilot is None else pilot[i, c].numpy()
            return Channel(noisy[i, c].numpy(), guide, numbers[i], counts[i], noise[i], level)

        tasks = [
            partial(self._filter_channel, channel(i, c, level), matrices, estimate[i, c])
            for i, level in enumerate(levels.tolist())
            for c in range(noisy.shape[1])
        ]
        column_bytes = 4 * _table_rows(counts.shape[1]) * (64 * (2 if pilot is None else 3) + 1)
        widest = int(self.memory / column_bytes)  # no matter how many threads there are
        at_once = min(self.threads, max(1, widest // (noisy.shape[3] - 7)))
        # a channel a thread, as far as the memory goes; the threads share the rows of the rest
        alone = len(tasks) - len(tasks) % at_once if 2 * at_once >= self.threads else 0
        step = alone if at_once == self.threads else at_once
        for first in range(0, alone, max(step, 1)):
            self._parallel([partial(task, widest, _serial) for task in tasks[first : min(first + step, alone)]])
        for task in tasks[alone:]:
            task(widest, self._parallel)
        return torch.from_numpy(estimate)

    def _filter_channel(
        self, channel: Channel, matrices: list[Floats], estimate: Floats, widest: int, run: Callable[[Tasks], None]
    ) -> None:
        """Filter one channel, in strips of at most ``widest`` positions."""
        denominator = np.zeros_like(estimate)
        estimate[:] = 0
        for strip in strips(channel.counts.shape[1], widest):
            part = channel.part(strip)
            sums = np.zeros((2, *part.noisy.shape), np.float32)
            self._filter_strip(part, strip.begin, matrices, sums, run)
            estimate[:, strip.pixels] += sums[0]
            denominator[:, strip.pixels] += sums[1]
        estimate /= denominator

    def _filter_strip(
        self, strip: Channel, begin: int, matrices: list[Floats], sums: Floats, run: Callable[[Tasks], None]
    ) -> None:
        """Add the groups of a strip to ``sums``, in bands: the rows that one shares with the next are carried over."""
        analysis, inverse, window = matrices
        height, width = strip.noisy.shape
        down, across, references = height - 7, width - 7, len(strip.counts)
        span = _table_rows(references)
        images = [strip.noisy] if strip.pilot is None else [strip.noisy, strip.pilot]
        *tables, total = [self.stock.take(span * across * 64) for _ in range(len(images) + 1)]
        weights = np.empty(span * across, np.float32)
        group: Callable[..., None] = self.filters.hard_threshold if strip.pilot is None else self.filters.wiener
        groups, level = (strip.numbers, strip.counts, strip.noise), np.float32(strip.level)
        start = 0
        for top in range(0, references, BAND):
            bottom = min(top + BAND, references)
            origin = 3 * top - REACH
            fresh, used = 0, 3 * (bottom - top - 1) + 2 * REACH + 1  # rows of the tables
            if top:
                fresh = span - 3 * BAND
                for table in (*tables, total, weights):
                    table.reshape(span, -1)[:fresh] = table.reshape(span, -1)[3 * BAND :]
            for table in (total, weights):
                table.reshape(span, -1)[fresh:used] = 0
            first, last = max(origin + fresh, 0), min(origin + used, down)
            run(
                [
                    partial(self.tables.tabulate, image, analysis, a, b, origin, table)
                    for image, table in zip(images, tables, strict=True)
                    for a, b in _split(first, last, 3 * CHUNK)
                ]
            )
            tasks = [
                partial(group, *tables, *groups, a, b, origin, across, begin, level, total, weights)
                for a, b in _split(top, bottom, CHUNK)
            ]
            run(tasks[0::2])
            run(tasks[1::2])
            done = down if bottom == references else 3 * bottom - REACH
            aggregate = partial(self.tables.aggregate, total, weights, inverse, window, start, done, origin)
            size = -(-(done + 7 - start) // self.threads)
            run([partial(aggregate, a, b, *sums) for a, b in _split(start, done + 7, size)])
            start = done
        self.stock.give_back([*tables, total])

    def _parallel(self, tasks: Tasks) -> None:
        tasks = list(tasks)
        if self.threads == 1 or len(tasks) == 1:
            return _serial(tasks)
        for done in [self.pool.submit(task) for task in tasks]:
            done.result()


def _table_rows(references: int) -> int:
    """Position rows that the groups of a band reach, of so many reference rows in all."""
    return 3 * (min(BAND, references) - 1) + 2 * REACH + 1


def _serial(tasks: Tasks) -> None:
    for task in tasks:
        task()


def _split(first: int, last: int, size: int) -> list[tuple[int, int]]:
    return [(a, min(a + size, last)) for a in range(first, last, max(size, 1))]


@functools.cache
def _search_order(reach: int, lanes: int) -> npt.NDArray[np.int32]:
    """First displacements (dy, dx) of the matching passes, from the centre outwards so that bounds tighten early."""
    starts = [-reach + phase + 3 * half for phase in range(3) for half in (0, lanes)]
    passes = [(dy, dx) for dy in range(-reach, reach + 1) for dx in starts]
    return np.array(sorted(passes, key=lambda p: p[0] ** 2 + (p[1] + 3 * lanes // 2) ** 2), np.int32)
