"""What the profiles of BM3D fix, and the record of which blocks belong together."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

REACH = 19  # largest displacement of a candidate: the window is 39 x 39
WINDOW = 2 * REACH + 1
SELF = REACH * WINDOW + REACH  # the candidate number of the reference itself
SMALLEST = 17  # side to which smaller pictures are continued, so that a block has a few neighbours
CONFIDENCE = 0.75  # exponent of a group's weight in the Wiener filter, see numba_filters.wiener


@dataclasses.dataclass(frozen=True)
class Settings:
    """The parameters of BM3D; the block is 8 x 8, the step 3, the window 39 x 39 in every profile.

    The results on several ``grids`` of reference blocks, shifted by so many pixels down and right, are averaged.

    ``threshold`` is in standard deviations of a coefficient. The limits are mean squared differences per pixel up to
    which two blocks count as similar, in units of the squared range of the (8 x 8 averaged) picture; noise is allowed
    for on top.
    Source: Dabov et al., *Image Denoising by Sparse 3-D Transform-Domain Collaborative Filtering*, 2007, table I;
    Lebrun, *An Analysis and Implementation of the BM3D Image Denoising Method*, 2012.
    """

    stages: int = 2
    threshold: float = 2.95
    hard_group: int = 16
    wiener_group: int = 32
    hard_limit: float = 3000 / 255**2
    wiener_limit: float = 400 / 255**2
    wiener_noise: float = 0.6
    grids: tuple[tuple[int, int], ...] = ((0, 0),)

    def sides(self, height: int, width: int) -> tuple[int, int]:
        """The sides, 8 + 3 k, to which a picture is continued so that every grid has room in it."""
        down, across = (max(shifts) for shifts in zip(*self.grids, strict=True))
        return side(height + down), side(width + across)

    def group_shapes(self, batch: int, height: int, width: int) -> list[tuple[int, int, int, int]]:
        """The shape of ``Groups.numbers`` in each stage, for a batch of such pictures."""
        rows, columns = ((length - 8) // 3 + 1 for length in self.sides(height, width))
        sizes = (self.hard_group, self.wiener_group)[: self.stages]
        return [(len(self.grids) * batch, rows, columns, size) for size in sizes]


def side(least: int) -> int:
    """The smallest 8 + 3 k that is at least ``least``, and 17."""
    return max(SMALLEST, 8 + math.ceil((least - 8) / 3) * 3)


PROFILES = {
    "fast": Settings(stages=1),
    "normal": Settings(),
    "high": Settings(grids=((0, 0), (1, 2))),
}


@dataclasses.dataclass(frozen=True)
class Groups:
    """For every reference block its similar blocks, as candidate numbers ``(dy + 19) * 39 + dx + 19``, itself first.

    ``noise`` is the variance of the 64 coefficients of the group's sum for unit noise: more than the group's size where
    its blocks overlap.
    Shapes: ``numbers`` (B, rows, columns, size) int16, the first ``counts`` (B, rows, columns) int16 of them valid;
    ``noise`` (B, rows, columns, 64) float32.
    """

    numbers: Tensor
    counts: Tensor
    noise: Tensor

    def take(self, keep: Tensor, batch: int) -> Groups:
        """The groups of some images of the batch, on every reference grid."""
        fields = (self.numbers, self.counts, self.noise)
        return Groups(*(x.reshape(-1, batch, *x.shape[1:])[:, keep].flatten(0, 1) for x in fields))

    def valid(self, shape: tuple[int, int, int, int]) -> bool:
        """Whether these are groups of ``shape`` whose every number leads to a block inside the picture.

        The kernels do not check: a number that leads elsewhere reads, and writes, memory that is not theirs.
        """
        if [tuple(x.shape) for x in (self.numbers, self.counts, self.noise)] != [shape, shape[:3], (*shape[:3], 64)]:
            return False
        if [x.dtype for x in (self.numbers, self.counts, self.noise)] != [torch.int16, torch.int16, torch.float32]:
            return False
        _, rows, columns, size = shape
        numbers = self.numbers.long()
        y = 3 * torch.arange(rows, device=numbers.device)[:, None, None] + numbers // WINDOW - REACH
        x = 3 * torch.arange(columns, device=numbers.device)[:, None] + numbers % WINDOW - REACH
        inside = (y >= 0) & (y <= 3 * (rows - 1)) & (x >= 0) & (x <= 3 * (columns - 1))
        counted = (self.counts >= 1) & (self.counts <= size)
        return bool(inside.all() and counted.all() and (numbers >= 0).all())
