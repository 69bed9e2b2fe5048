"""What the profiles of BM3D fix, and the record of which blocks belong together."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

REACH = 19  # largest displacement of a candidate: the window is 39 x 39
WINDOW = 2 * REACH + 1
SELF = REACH * WINDOW + REACH  # the candidate number of the reference itself
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

    def valid(self) -> bool:
        """Whether every number leads to a block inside the picture (a table read elsewhere would not be checked)."""
        _, rows, columns, size = self.numbers.shape
        numbers = self.numbers.long()
        y = 3 * torch.arange(rows, device=numbers.device)[:, None, None] + numbers // WINDOW - REACH
        x = 3 * torch.arange(columns, device=numbers.device)[:, None] + numbers % WINDOW - REACH
        inside = (y >= 0) & (y <= 3 * (rows - 1)) & (x >= 0) & (x <= 3 * (columns - 1))
        counted = (self.counts >= 1) & (self.counts <= size)
        shapes = self.counts.shape == self.numbers.shape[:3] and self.noise.shape == (*self.counts.shape, 64)
        return shapes and bool(inside.all() and counted.all() and (numbers >= 0).all())
