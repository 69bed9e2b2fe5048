"""Mirrored borders, moving means and offsets, for whatever looks at a pixel's surroundings."""

from __future__ import annotations

import torch
from torch import Tensor


def mirrored(v: Tensor, margin: int) -> Tensor:
    """``v`` continued by ``margin`` pixels of its mirror image, edge pixels repeated; any size."""
    for axis in (-2, -1):
        length = v.shape[axis]
        index = torch.arange(-margin, length + margin, device=v.device) % (2 * length)
        v = v.index_select(axis, torch.minimum(index, 2 * length - 1 - index))
    return v


def box_mean(x: Tensor, side: int, axis: int) -> Tensor:
    """Mean over ``side`` neighbours from each pixel on, where all of them exist, by sums of doubling length."""
    length = x.shape[axis] - side + 1
    total, power, done, size = None, x, 0, 1
    while True:
        if side & size:
            part = power.narrow(axis, done, length)
            total = part if total is None else total + part
            done += size
        if total is not None and done == side:
            return total / side
        count = power.shape[axis] - size
        power, size = power.narrow(axis, 0, count) + power.narrow(axis, size, count), 2 * size


def middles(v: Tensor) -> Tensor:
    """The middle of each channel's range, (B, C, 1, 1), without a gradient; zero where it is not finite.

    To be taken off by what keeps offsets, since float32 sums of far-off values lose their differences. Unlike a mean's,
    its value depends on no order of summation.
    """
    range_ends = v.detach().amin((-2, -1), keepdim=True) + v.detach().amax((-2, -1), keepdim=True)
    return torch.nan_to_num(range_ends / 2, 0.0, 0.0, 0.0)
