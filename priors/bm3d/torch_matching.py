"""Block matching as tiled matrix products, and the noise that overlapping blocks share, on any device."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor
from torch.nn import functional as F

from .settings import REACH, SELF, WINDOW
from .transforms import BLOCK, Matrix, autocorrelation

TILE = 6  # reference blocks along the side of a tile: their windows share 54 x 54 candidates
SIDE = 3 * (TILE - 1) + WINDOW
TILE_BYTES = 2**21  # of a tile's candidates, twice, its distances and what sorting them takes
PART = 13  # candidates of which only the nearest is compared at first; a third of the window's side


def match(images: Tensor, limits: Tensor, size: int, memory: float) -> tuple[Tensor, Tensor]:
    """The ``size`` nearest blocks of every reference. Shapes: images (B, H, W), limits (B,) summed over a block.

    ``|a - b|^2 - |a|^2 = |b|^2 - 2 a b`` for all references of a tile and all candidates of its window at once.
    """
    batch, height, width = images.shape
    rows, columns = (height - BLOCK) // 3 + 1, (width - BLOCK) // 3 + 1
    down, across = -(-rows // TILE), -(-columns // TILE)
    # the tiles need so many positions; beyond the border the norm is infinite
    grown = [3 * TILE * (n - 1) + SIDE for n in (down, across)]
    margins = (REACH, grown[1] - REACH - (width - 7), REACH, grown[0] - REACH - (height - 7))
    norms = F.pad(BLOCK**2 * F.avg_pool2d(images.square()[:, None], BLOCK, 1)[:, 0], margins, value=float("inf"))
    pixels = F.pad(images, margins)
    numbers = images.new_empty((batch, down * TILE, across * TILE, size), dtype=torch.int16)
    counts = images.new_empty((batch, down * TILE, across * TILE), dtype=torch.int16)
    # rows of tiles at a time: one on the CPU, whose distances stay near its cache (twice as fast)
    most = max(1, int(memory / TILE_BYTES))
    wide, items = min(across, most), min(batch, max(1, most // across)) if images.is_cuda else 1
    step = min(down, max(1, most // (items * across))) if images.is_cuda else 1
    # written again and again: fresh pages cost as much as the products
    near = images.new_empty(items * step, BLOCK**2 + 1, 3 * TILE * (wide - 1) + SIDE, SIDE)
    distance = images.new_empty(items * step * wide, TILE**2, SIDE**2)
    corners = itertools.product(range(0, batch, items), range(0, down, step), range(0, across, wide))
    for item, top, left in corners:
        some, count, width = min(items, batch - item), min(step, down - top), min(wide, across - left)
        y, x = 3 * TILE * top, 3 * TILE * left
        high, broad = (3 * TILE * (n - 1) + SIDE for n in (count, width))
        here = near[: some * count, :, :broad]
        part = slice(item, item + some)
        _candidates(pixels[part, y : y + high + 7, x : x + broad + 7], norms[part, y : y + high, x : x + broad], here)
        place = part, slice(TILE * top, TILE * (top + count)), slice(TILE * left, TILE * (left + width))
        numbers[place], counts[place] = _nearest(here, limits[part], size, distance[: some * count * width])
    return numbers[:, :rows, :columns].contiguous(), counts[:, :rows, :columns].contiguous()


def _candidates(pixels: Tensor, norms: Tensor, near: Tensor) -> None:
    """The 64 pixels and the squared norm of every block, written to ``near`` (B * rows of tiles, 65, columns, SIDE).

    A row of tiles is one matrix, in which every tile's window is SIDE whole columns, one after the other.
    """
    columns = norms.shape[2]
    strips = pixels.unfold(1, SIDE + 7, 3 * TILE).flatten(0, 1)  # (strips, columns + 7, SIDE + 7)
    for v in range(BLOCK):
        for u in range(BLOCK):
            near[:, BLOCK * v + u] = strips[:, v : v + columns, u : u + SIDE]
    near[:, -1] = norms.unfold(1, SIDE, 3 * TILE).flatten(0, 1)


def _nearest(near: Tensor, limits: Tensor, size: int, distance: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers and counts of some rows of tiles, (B, rows TILE, across TILE, ...); ``distance`` is overwritten."""
    batch, (strips, features) = len(limits), near.shape[:2]
    tiles, area = len(distance), SIDE**2
    across = tiles // strips
    windows = near.as_strided(
        (strips, across, features, SIDE, SIDE), (near.stride(0), 3 * TILE * SIDE, near.stride(1), SIDE, 1)
    )
    inner = slice(REACH, REACH + 3 * TILE, 3)
    own = windows[..., inner, inner].flatten(3).mT.flatten(0, 1)  # (tiles, references, features)
    product = torch.cat([-2 * own[..., :-1], torch.ones_like(own[..., :1])], dim=2)
    torch.bmm(product, windows.flatten(3).flatten(0, 1), out=distance)
    each = distance.as_strided(
        (tiles, TILE, TILE, WINDOW, WINDOW), (TILE**2 * area, TILE * area + 3 * SIDE, area + 3, SIDE, 1)
    )
    each[..., REACH, REACH] = -float("inf")  # the reference itself comes first
    # the nearest blocks lie in the parts with the nearest minima, so that few candidates are sorted
    minima = each.reshape(tiles, TILE, TILE, WINDOW // PART, PART, WINDOW).amin(dim=-2).flatten(-2)
    parts = minima.topk(size, dim=-1, largest=False, sorted=False)[1].flatten(1, 2)
    column, row = PART * (parts // WINDOW), parts % WINDOW
    k = torch.arange(TILE, device=near.device)
    corner = 3 * (k[:, None] * SIDE + k).flatten()[:, None]
    index = (corner + column * SIDE + row)[..., None] + SIDE * torch.arange(PART, device=near.device)
    least, order = distance.gather(2, index.flatten(2)).topk(size, dim=-1, largest=False, sorted=True)
    numbers = (row * WINDOW + column).gather(2, order // PART) + order % PART
    bound = limits.repeat_interleave(tiles // batch)[:, None] - own[..., -1]
    counts = (least < bound[..., None]).sum(-1)
    numbers = torch.where(torch.arange(size, device=counts.device) < counts[..., None], numbers, SELF)

    def arranged(x: Tensor) -> Tensor:
        x = x.reshape(batch, strips // batch, across, TILE, TILE, -1).permute(0, 1, 4, 2, 3, 5)
        return x.reshape(batch, strips // batch * TILE, across * TILE, -1).to(torch.int16)

    return arranged(numbers), arranged(counts)[..., 0]


def sum_noise(numbers: Tensor, counts: Tensor, analysis: Matrix, chunk: int) -> Tensor:
    """Variance of each group's sum for unit noise, (B, rows, columns, 64); ``chunk`` groups at a time.

    Source: Makinen, Azzari & Foi, *Collaborative Filtering of Correlated Noise: Exact Transform-Domain Variance for
    Improved Shrinkage and Patch Matching*, 2020, sec. III.
    """
    overlap = torch.from_numpy(autocorrelation(analysis).reshape(64, 64)).to(numbers.device, torch.float32)
    overlap = torch.cat([overlap, overlap.new_zeros(1, 64)])
    every, levels = numbers.flatten(0, 2), stack_levels(counts).flatten()
    first, second = torch.triu_indices(every.shape[1], every.shape[1], 1, device=every.device)
    parts = []
    for start in range(0, len(every), chunk):
        number, level = every[start : start + chunk].int(), levels[start : start + chunk]
        y, x = (number // WINDOW).T.contiguous(), (number % WINDOW).T.contiguous()  # selecting rows is faster
        dy = (y.index_select(0, first) - y.index_select(0, second)).abs()
        dx = (x.index_select(0, first) - x.index_select(0, second)).abs()
        close = (torch.maximum(dy, dx) < BLOCK) & (second[:, None] < 1 << level)
        bins = torch.where(close, BLOCK * dy + dx, 64).long().T
        pairs = overlap.new_zeros(len(number), 65).scatter_add_(1, bins, overlap.new_ones(1, 1).expand(bins.shape))
        parts.append((1 << level)[:, None] + 2 * pairs @ overlap)
    return torch.cat(parts).reshape(*counts.shape, 64)


def stack_levels(counts: Tensor) -> Tensor:
    """log2 of the groups' sizes, the largest power of two within ``counts``."""
    return (counts[..., None] >= torch.tensor([2, 4, 8, 16, 32], device=counts.device)).sum(-1)
