"""Matrices with few entries a row, applied along an axis as small dense blocks: time grows with their rows only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

BLOCK = 16  # rows a block: of 8, 16 and 32 the fastest between 256 and 2048 pixels, for bands of 8 to 40 entries


class Blocks(NamedTuple):
    """Rows of a matrix in groups, each with the only columns that it has entries in.

    Shapes: ``entries`` (groups, rows, columns), ``taken`` (groups * columns,); ``rows`` of the matrix in all.
    """

    entries: Tensor
    taken: Tensor
    rows: int

    def apply(self, x: Tensor, axis: int) -> Tensor:
        """The matrix times ``x`` along a negative ``axis``."""
        groups, _, columns = self.entries.shape
        if axis == -1:
            few = x.reshape(-1, x.shape[-1]).index_select(-1, self.taken).reshape(-1, groups, columns)
            y = (few.transpose(0, 1) @ self.entries.mT).transpose(0, 1)
            return y.reshape(*x.shape[:-1], -1)[..., : self.rows]
        flat = x.reshape(*x.shape[: axis + 1], -1).index_select(-2, self.taken)
        few = flat.reshape(*flat.shape[:-2], groups, columns, flat.shape[-1])
        y = (self.entries @ few).flatten(-3, -2)[..., : self.rows, :]
        return y.reshape(*y.shape[:-1], *x.shape[axis + 1 :])


def blocks(matrix: Tensor) -> Blocks | None:
    """The blocks of a matrix; None where they would not spare half of the work."""
    rows, columns = matrix.shape
    groups = -(-rows // BLOCK)
    padded = torch.nn.functional.pad(matrix, (0, 0, 0, groups * BLOCK - rows)).reshape(groups, BLOCK, columns)
    used = (padded != 0).any(dim=1)
    width = int(used.sum(dim=1).max())
    if 4 * width > columns:  # the work halves, and as much again is copied
        return None
    index = used.int().argsort(dim=1, descending=True, stable=True)[:, :width]  # those not used hold zeros
    entries = padded.gather(2, index[:, None].expand(-1, BLOCK, -1))
    return Blocks(entries, index.flatten(), rows)


def along_axes(factors: Sequence[Tensor | Blocks], x: Tensor) -> Tensor:
    """Each matrix applied along its own one of the last axes."""
    for axis, factor in enumerate(factors, start=-len(factors)):
        if isinstance(factor, Blocks):
            x = factor.apply(x, axis)
        elif axis == -1:
            x = x @ factor.mT
        else:
            y = factor @ x.reshape(*x.shape[: axis + 1], -1)
            x = y.reshape(*y.shape[:-1], *x.shape[axis + 1 :])
    return x
