"""BM3D's steps as tensor operations, for any device: matrix products, sorting and indexed sums."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .settings import Groups
from .transforms import Matrix, autocorrelation, biorthogonal, cosine, haar, kaiser, synthesis

REACH = 19  # the window is 39 x 39
WINDOW = 2 * REACH + 1
SELF = REACH * WINDOW + REACH
TILE = 8  # reference blocks along the side of a matching tile: their windows share 60 x 60 candidates
CONFIDENCE = 0.75  # of a group's weight, see _collaborate
_L2 = 256  # groups filtered at a time on the CPU, so that they stay in its cache


class TorchBackend:
    """Block matching as tiled matrix products, filters on gathered coefficient rows; ``memory`` bytes of tables.

    On a GPU every step is a few launches for the whole batch and nothing waits for the device. Sums of overlapping
    blocks follow ``torch.use_deterministic_algorithms``: without it a GPU adds in any order (1e-7 of the range).
    """

    def __init__(self, memory: float) -> None:
        self.memory = memory

    def match(self, images: Tensor, limits: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """The ``size`` nearest blocks of every reference. Shapes: images (B, H, W), limits (B,) summed over a block.

        ``|a - b|^2 = |a|^2 + |b|^2 - 2 a b`` for all references of a tile and all candidates of its window at once.
        """
        batch, height, width = images.shape
        rows, columns = (height - 8) // 3 + 1, (width - 8) // 3 + 1
        down, across = -(-rows // TILE), -(-columns // TILE)
        side = 3 * (TILE - 1) + WINDOW
        # one row of tiles needs 3 TILE (n - 1) + side positions; beyond the border the norm is infinite
        grown = [3 * TILE * (n - 1) + side for n in (down, across)]
        margins = (REACH, grown[1] - REACH - (width - 7), REACH, grown[0] - REACH - (height - 7))
        blocks = images.unfold(1, 8, 1).unfold(2, 8, 1).reshape(batch, height - 7, width - 7, 64)
        norms = F.pad(blocks.square().sum(-1), margins, value=float("inf"))
        blocks = F.pad(blocks, (0, 0, *margins))
        numbers = images.new_empty((batch, down * TILE, across * TILE, size), dtype=torch.int16)
        counts = images.new_empty((batch, down * TILE, across * TILE), dtype=torch.int16)
        # three copies of the distances; on the CPU one row of tiles stays near the cache (twice as fast)
        step = max(1, int(self.memory / 3 / (4 * batch * across * TILE**2 * side**2))) if images.is_cuda else 1
        for top in range(0, down, step):
            count = min(step, down - top)
            band = slice(3 * TILE * top, 3 * TILE * (top + count - 1) + side)
            near = self._match_tiles(blocks[:, band], norms[:, band], limits, count, across, size)
            place = slice(TILE * top, TILE * (top + count))
            numbers[:, place], counts[:, place] = near
        return numbers[:, :rows, :columns].contiguous(), counts[:, :rows, :columns].contiguous()

    def noise(self, numbers: Tensor, counts: Tensor, analysis: Matrix) -> Tensor:
        """Variance of each group's sum for unit noise, (B, rows, columns, 64).

        Source: Makinen, Azzari & Foi, *Collaborative Filtering of Correlated Noise: Exact Transform-Domain Variance for
        Improved Shrinkage and Patch Matching*, 2020, sec. III.
        """
        overlap = torch.from_numpy(autocorrelation(analysis).reshape(64, 64)).to(numbers.device, torch.float32)
        overlap = torch.cat([overlap, overlap.new_zeros(1, 64)])
        every, levels = numbers.flatten(0, 2), _levels(counts).flatten()
        first, second = torch.triu_indices(every.shape[1], every.shape[1], 1, device=every.device)
        parts = []
        chunk = self._chunk(every)
        for start in range(0, len(every), chunk):
            number, level = every[start : start + chunk].int(), levels[start : start + chunk]
            y, x = (number // WINDOW).T.contiguous(), (number % WINDOW).T.contiguous()  # selecting rows is faster
            dy = (y.index_select(0, first) - y.index_select(0, second)).abs()
            dx = (x.index_select(0, first) - x.index_select(0, second)).abs()
            close = (torch.maximum(dy, dx) < 8) & (second[:, None] < 1 << level)
            bins = torch.where(close, 8 * dy + dx, 64).long().T
            pairs = overlap.new_zeros(len(number), 65).scatter_add_(1, bins, overlap.new_ones(1, 1).expand(bins.shape))
            parts.append((1 << level)[:, None] + 2 * pairs @ overlap)
        return torch.cat(parts).reshape(*counts.shape, 64)

    def hard_threshold(self, noisy: Tensor, groups: Groups, thresholds: Tensor) -> Tensor:
        """Collaborative hard thresholding. Shapes: noisy (B, C, H, W), thresholds (B,)."""
        return self._filter(noisy, None, groups, thresholds.square(), biorthogonal())

    def wiener(self, noisy: Tensor, pilot: Tensor, groups: Groups, variances: Tensor) -> Tensor:
        """Collaborative empirical Wiener filter. Shapes: noisy and pilot (B, C, H, W), variances (B,)."""
        return self._filter(noisy, pilot, groups, variances, cosine())

    def _match_tiles(
        self, blocks: Tensor, norms: Tensor, limits: Tensor, down: int, across: int, size: int
    ) -> tuple[Tensor, Tensor]:
        """Numbers and counts of ``down`` rows of tiles, (B, down TILE, across TILE, ...)."""
        batch, side = len(blocks), 3 * (TILE - 1) + WINDOW
        strides = (norms.stride(0), 3 * TILE * norms.stride(1), 3 * TILE, norms.stride(1), 1)
        norm = norms.as_strided((batch, down, across, side, side), strides, norms.storage_offset())
        stride = (blocks.stride(0), 3 * TILE * blocks.stride(1), 3 * TILE * 64, blocks.stride(1), 64, 1)
        near = blocks.as_strided((batch, down, across, side, side, 64), stride, blocks.storage_offset())
        own = near[..., REACH : REACH + 3 * TILE : 3, REACH : REACH + 3 * TILE : 3, :].reshape(-1, TILE**2, 64)
        near = near.reshape(-1, side * side, 64)
        distance = torch.baddbmm(norm.reshape(-1, 1, side * side), own, near.mT, alpha=-2)
        tiles = len(distance)
        shape = (tiles, TILE, TILE, WINDOW, WINDOW)
        area = side * side
        windows = distance.as_strided(shape, (TILE**2 * area, TILE * area + 3 * side, area + 3, side, 1))
        flat = windows.reshape(tiles, TILE**2, WINDOW**2)
        flat[..., SELF] = -float("inf")
        least, numbers = flat.topk(size, dim=-1, largest=False, sorted=True)
        bound = limits.repeat_interleave(down * across)[:, None] - own.square().sum(-1)
        counts = (least < bound[..., None]).sum(-1)
        numbers = torch.where(torch.arange(size, device=counts.device) < counts[..., None], numbers, SELF)

        def arranged(x: Tensor) -> Tensor:
            x = x.reshape(batch, down, across, TILE, TILE, -1).transpose(2, 3)
            return x.reshape(batch, down * TILE, across * TILE, -1).to(torch.int16)

        return arranged(numbers), arranged(counts)[..., 0]

    def _filter(self, noisy: Tensor, pilot: Tensor | None, groups: Groups, levels: Tensor, analysis: Matrix) -> Tensor:
        """Both filters, channel by channel and in bands of reference rows whose tables fit the memory."""
        batch, channels, _, width = noisy.shape
        rows = groups.counts.shape[1]
        row_bytes = 3 * 3 * 4 * 64 * batch * (width - 7)  # three tables, three position rows a reference row
        band = max(1, int(self.memory / row_bytes) - 2 * REACH // 3)
        estimate = torch.zeros_like(noisy)
        for channel in range(channels):
            weights = torch.zeros_like(noisy[:, 0])
            images = [noisy[:, channel]] if pilot is None else [noisy[:, channel], pilot[:, channel]]
            for top in range(0, rows, band):
                self._filter_band(
                    images, groups, levels, analysis, top, min(top + band, rows), estimate[:, channel], weights
                )
            estimate[:, channel] /= weights
        return estimate

    def _filter_band(
        self,
        images: list[Tensor],
        groups: Groups,
        levels: Tensor,
        analysis: Matrix,
        top: int,
        bottom: int,
        numerator: Tensor,
        denominator: Tensor,
    ) -> None:
        """Add what the groups of reference rows ``top`` to ``bottom`` estimate to the two running sums."""
        batch, height, width = numerator.shape
        first, last = max(3 * top - REACH, 0), min(3 * (bottom - 1) + REACH + 1, height - 7)
        down, across = last - first, width - 7
        device = numerator.device
        forward = torch.from_numpy(np.kron(analysis, analysis)).to(numerator)
        tables = [
            image[:, first : last + 7].unfold(1, 8, 1).unfold(2, 8, 1).reshape(-1, 64) @ forward.mT for image in images
        ]
        total = torch.zeros_like(tables[0])
        weights = total.new_zeros(len(total))

        numbers = groups.numbers[:, top:bottom].int()
        item = torch.arange(batch, device=device)[:, None, None, None]
        y = 3 * torch.arange(top, bottom, device=device)[:, None, None] - first + numbers // WINDOW - REACH
        x = 3 * torch.arange(numbers.shape[2], device=device)[:, None] + numbers % WINDOW - REACH
        places = ((item * down + y) * across + x).flatten(0, 2)
        stack = _levels(groups.counts[:, top:bottom]).flatten()
        level = levels[:, None, None].expand(numbers.shape[:3]).flatten()
        sums = groups.noise[:, top:bottom].flatten(0, 2)
        haars = _haar_matrices(places.shape[1]).to(numerator)

        chunk = self._chunk(places)
        for part in range(0, len(places), chunk):
            at = slice(part, part + chunk)
            _collaborate(tables, places[at], haars[stack[at]], stack[at], level[at], sums[at], total, weights)

        inverse = torch.from_numpy(np.kron(*2 * [synthesis(analysis, kaiser())])).to(numerator)
        window = torch.from_numpy(kaiser()).to(numerator)
        blocks = (total @ inverse.mT).reshape(batch, down, across, 8, 8)
        lines = blocks.new_zeros(batch, down, width, 8)
        shares = blocks.new_zeros(batch, down, width)
        weights = weights.reshape(batch, down, across)
        for k in range(8):
            lines[:, :, k : k + across] += blocks[..., k]
            shares[:, :, k : k + across] += window[k] * weights
        for k in range(8):
            numerator[:, first + k : last + k] += lines[..., k]
            denominator[:, first + k : last + k] += window[k] * shares

    def _chunk(self, places: Tensor) -> int:
        """Groups at a time: what fits the CPU's cache, or the memory of a GPU."""
        if places.device.type == "cpu" and torch.get_num_threads() == 1:
            return _L2
        return max(_L2, int(self.memory / (24 * 64 * places.shape[1])))


def _levels(counts: Tensor) -> Tensor:
    """log2 of the groups' sizes, the largest power of two within ``counts``."""
    return (counts[..., None] >= torch.tensor([2, 4, 8, 16, 32], device=counts.device)).sum(-1)


def _haar_matrices(size: int) -> Tensor:
    """Haar transforms of 1, 2, 4, ..., 32 rows, each in the corner of a (size, size) matrix of zeros."""
    matrices = torch.zeros(6, size, size, dtype=torch.float64)
    for level in range(6):
        if 1 << level <= size:
            matrices[level, : 1 << level, : 1 << level] = torch.from_numpy(haar(1 << level))
    return matrices


def _collaborate(
    tables: list[Tensor],
    places: Tensor,
    transform: Tensor,
    stack: Tensor,
    level: Tensor,
    sums: Tensor,
    total: Tensor,
    weights: Tensor,
) -> None:
    """Filter the groups at table rows ``places`` (G, K); add them to ``total`` and ``weights``.

    One table: hard thresholding, coefficients above sqrt(level) times their standard deviation are kept. Two: Wiener
    gains from the second. The group's mean is always kept. Its weight is one over the noise variance left in it;
    after the Wiener filter, it also favours the better estimated of groups of different sizes (numba_filters.wiener).
    """
    count, size = places.shape
    index = places.flatten()
    rows = transform @ tables[0].index_select(0, index).reshape(count, size, 64)
    extent = (1 << stack).to(sums.dtype)[:, None]
    mean = sums / extent
    rest = ((extent - mean) / (extent - 1).clamp_min(1)).clamp_min(1e-3)
    noise = torch.cat([mean[:, None], rest[:, None].expand(count, size - 1, 64)], dim=1)
    used = (torch.arange(size, device=places.device) < extent)[..., None]
    if len(tables) == 1:
        gain = (rows.square() > level[:, None, None] * noise).to(rows.dtype)
    else:
        power = (transform @ tables[1].index_select(0, index).reshape(count, size, 64)).square()
        gain = power / (power + level[:, None, None] * noise)
    gain[:, 0, 0] = 1
    energy = (gain.square() * noise * used).sum(dim=(1, 2))
    weight = 1 / energy if len(tables) == 1 else (extent[:, 0] / energy) ** CONFIDENCE / energy
    clean = (transform.mT * weight[:, None, None]) @ (rows * gain)
    total.index_add_(0, index, clean.flatten(0, 1))
    weights.index_add_(0, index, (weight[:, None] * used[..., 0]).flatten())
