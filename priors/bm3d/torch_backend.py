"""BM3D's steps as tensor operations, for any device: matrix products, sorting and indexed sums."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from . import torch_filters as filters
from .settings import REACH, Groups
from .strips import LEAST, strips
from .torch_matching import match, sum_noise
from .transforms import Matrix, biorthogonal, cosine

CACHED = 8192  # table rows filtered at a time on the CPU, so that they stay in its cache


class TorchBackend:
    """Block matching as tiled matrix products, filters on gathered coefficient rows; ``memory`` bytes of tables.

    On a GPU every step is a few launches for the whole batch, waited for once a filter to learn how many groups there
    are of each size. Sums of overlapping blocks follow ``torch.use_deterministic_algorithms``: without it a GPU adds
    in any order (1e-7 of the range).
    """

    def __init__(self, memory: float) -> None:
        self.memory = memory

    def at_work(self) -> AbstractContextManager[None]:
        return nullcontext()

    def match(self, images: Tensor, limits: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """The ``size`` nearest blocks of every reference. Shapes: images (B, H, W), limits (B,) summed over a block."""
        return match(images, limits, size, self.memory)

    def noise(self, numbers: Tensor, counts: Tensor, analysis: Matrix) -> Tensor:
        """Variance of each group's sum for unit noise, (B, rows, columns, 64)."""
        return sum_noise(numbers, counts, analysis, self._rows(numbers) // 32)

    def hard_threshold(self, noisy: Tensor, groups: Groups, thresholds: Tensor) -> Tensor:
        """Collaborative hard thresholding. Shapes: noisy (B, C, H, W), thresholds (B,)."""
        return self._filter(noisy, None, groups, thresholds, biorthogonal())

    def wiener(self, noisy: Tensor, pilot: Tensor, groups: Groups, variances: Tensor) -> Tensor:
        """Collaborative empirical Wiener filter. Shapes: noisy and pilot (B, C, H, W), variances (B,)."""
        return self._filter(noisy, pilot, groups, variances, cosine())

    def _filter(self, noisy: Tensor, pilot: Tensor | None, groups: Groups, levels: Tensor, analysis: Matrix) -> Tensor:
        """Both filters, for as many images and columns at a time as leave the tables room for bands of some height."""
        batch, _, height, width = noisy.shape
        positions = int(self.memory / (4 * 4 * 64))  # three tables and what they are made of, of float32
        room = positions // min(height - 7, 3 * (LEAST - 1) + 2 * REACH + 1)
        numerator, denominator = torch.zeros_like(noisy), torch.zeros_like(noisy)
        count = max(1, room // (width - 7))
        for items in (slice(first, first + count) for first in range(0, batch, count)):
            for strip in strips(groups.counts.shape[2], room):
                place = items, slice(None), slice(None), strip.pixels
                images = noisy[place], None if pilot is None else pilot[place]
                fields = (x[items, :, strip.references] for x in (groups.numbers, groups.counts, groups.noise))
                sums = numerator[place], denominator[place]
                self._add_bands(images, Groups(*fields), strip.begin, levels[items], analysis, sums, positions)
        return numerator / denominator

    def _add_bands(
        self,
        images: tuple[Tensor, Tensor | None],
        groups: Groups,
        begin: int,
        levels: Tensor,
        analysis: Matrix,
        sums: tuple[Tensor, Tensor],
        positions: int,
    ) -> None:
        """Add the groups to ``sums``, channel by channel and in bands of reference rows that reach ``positions``."""
        noisy, pilot = images
        batch, channels, height, width = noisy.shape
        rows, step = groups.counts.shape[1], self._rows(noisy)
        band = max(1, positions // (3 * batch * (width - 7)) - 2 * REACH // 3)
        for top in range(0, rows, band):
            bottom = min(top + band, rows)
            first, last = max(3 * top - REACH, 0), min(3 * (bottom - 1) + REACH + 1, height - 7)
            pixels = slice(first, last + 7)
            every = filters.buckets(groups, levels, (top, bottom), (first, begin), (last - first, width - 7))
            parts = [part for bucket in every for part in bucket.parts(step)]
            for channel in range(channels):
                table = filters.table(noisy[:, channel, pixels], analysis, step)
                guide = None if pilot is None else filters.table(pilot[:, channel, pixels], analysis, step)
                total, weights = torch.zeros_like(table), table.new_zeros(len(table))
                for part in parts:
                    if guide is None:
                        filters.hard_threshold(table, part, total, weights)
                    else:
                        filters.wiener(table, guide, part, total, weights)
                numerator, denominator = (x[:, channel, pixels] for x in sums)
                filters.aggregate(total, weights, analysis, numerator, denominator, step)

    def _rows(self, values: Tensor) -> int:
        """Table rows at a time: what fits the CPU's cache, or the memory."""
        most = max(1, int(self.memory / (24 * 64)))
        return min(CACHED, most) if values.device.type == "cpu" and torch.get_num_threads() == 1 else most
