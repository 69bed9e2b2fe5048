"""BM3D's steps as tensor operations, for any device: matrix products, sorting and indexed sums."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from . import torch_filters as filters
from .settings import REACH, Groups
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

    def threads_of_torch(self) -> AbstractContextManager[None]:
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
        """Both filters, channel by channel and in bands of reference rows whose tables fit the memory."""
        batch, channels, height, width = noisy.shape
        rows = groups.counts.shape[1]
        # three tables and what they are made of, of float32, three position rows to a reference row
        row_bytes = 4 * 4 * 3 * 64 * batch * (width - 7)
        band = max(1, int(self.memory / row_bytes) - 2 * REACH // 3)
        numerator, denominator = torch.zeros_like(noisy), torch.zeros_like(noisy)
        for top in range(0, rows, band):
            bottom = min(top + band, rows)
            first, last = max(3 * top - REACH, 0), min(3 * (bottom - 1) + REACH + 1, height - 7)
            pixels, step = slice(first, last + 7), self._rows(noisy)
            every = filters.buckets(groups, levels, top, bottom, first, width - 7, last - first)
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
                sums = numerator[:, channel, pixels], denominator[:, channel, pixels]
                filters.aggregate(total, weights, analysis, *sums, step)
        return numerator / denominator

    def _rows(self, values: Tensor) -> int:
        """Table rows at a time: what fits the CPU's cache, or the memory of a GPU."""
        if values.device.type == "cpu" and torch.get_num_threads() == 1:
            return CACHED
        return max(CACHED, int(self.memory / (24 * 64)))
