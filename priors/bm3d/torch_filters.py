"""The collaborative filters as tensor operations: groups of one size at a time, through tables of coefficients."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .settings import CONFIDENCE, REACH, WINDOW, Groups
from .torch_matching import stack_levels
from .transforms import BLOCK, Matrix, haar, kaiser, synthesis

_TINY = 1e-20  # a bound that removes nothing, and can be divided by


@dataclasses.dataclass(frozen=True)
class Bucket:
    """Groups of the same number of blocks.

    Shapes: ``haar`` (size, size), ``places`` (size, G) the table row of each block, ``level`` (G, 1) the threshold or
    the noise variance of its image, ``mean`` and ``rest`` (G, 64) the variances of the Haar coefficients for unit
    noise: of the group's normalised sum and of its differences. Overlap does not change the total, so the differences
    share what the sum leaves of it; they are bounded away from 0, which the smoothest coefficients of dense groups
    approach.
    """

    haar: Tensor
    places: Tensor
    level: Tensor
    mean: Tensor
    rest: Tensor

    def parts(self, rows: int) -> list[Bucket]:
        """Consecutive groups of about ``rows`` blocks in all."""
        count = max(1, rows // len(self.places))
        fields = (
            torch.split(self.places, count, dim=1),
            *(torch.split(x, count) for x in (self.level, self.mean, self.rest)),
        )
        return [Bucket(self.haar, *part) for part in zip(*fields, strict=True)]


def buckets(
    groups: Groups, levels: Tensor, rows: tuple[int, int], origin: tuple[int, int], extent: tuple[int, int]
) -> list[Bucket]:
    """The groups of reference ``rows`` top to bottom, for tables of ``extent`` positions.

    The first table row is position row ``origin[0]``; the first reference column is position ``origin[1]`` of a row.
    """
    (top, bottom), (first, begin), (down, across) = rows, origin, extent
    numbers = groups.numbers[:, top:bottom].long()
    batch, count, columns, size = numbers.shape
    device = numbers.device
    item = torch.arange(batch, device=device)[:, None, None, None]
    y = 3 * torch.arange(top, bottom, device=device)[:, None, None] - first + numbers // WINDOW - REACH
    x = begin + 3 * torch.arange(columns, device=device)[:, None] + numbers % WINDOW - REACH
    places = ((item * down + y) * across + x).reshape(-1, size)
    stack = stack_levels(groups.counts[:, top:bottom]).flatten()
    order = stack.argsort(stable=True)
    sums = groups.noise[:, top:bottom].reshape(-1, 64)
    level = levels.repeat_interleave(count * columns)[:, None]
    found = []
    for k, chosen in enumerate(torch.split(order, torch.bincount(stack, minlength=6).tolist())):
        if len(chosen):
            blocks = 1 << k
            mean = sums[chosen] / blocks
            rest = ((blocks - mean) / max(blocks - 1, 1)).clamp_min(1e-3)
            matrix = torch.from_numpy(haar(blocks)).to(sums)
            found.append(Bucket(matrix, places[chosen, :blocks].T.contiguous(), level[chosen], mean, rest))
    return found


def table(images: Tensor, analysis: Matrix, rows: int) -> Tensor:
    """The 64 coefficients of the block at every position; about ``rows`` blocks at a time.

    Shapes: images (B, H, W) to (B (H - 7) (W - 7), 64).
    """
    forward = torch.from_numpy(np.kron(analysis, analysis)).to(images)
    blocks = images.unfold(1, BLOCK, 1).unfold(2, BLOCK, 1)
    coefficients = images.new_empty(*blocks.shape[:3], BLOCK**2)
    step = max(1, rows // blocks[:, 0, :, 0, 0].numel())
    for part, into in zip(torch.split(blocks, step, dim=1), torch.split(coefficients, step, dim=1), strict=True):
        into.copy_((part.reshape(-1, BLOCK**2) @ forward.mT).reshape(into.shape))
    return coefficients.flatten(0, 2)


def hard_threshold(noisy: Tensor, groups: Bucket, total: Tensor, weights: Tensor) -> None:
    """Keep the coefficients above ``level`` standard deviations, and the group's mean; add the groups to the totals.

    The weight of a group is one over the noise variance kept.
    """
    rows = _transformed(noisy, groups)
    bounds = [(groups.level * variance.sqrt()).clamp_min(_TINY) for variance in (groups.mean, groups.rest)]
    average = rows[0, :, 0].clone()
    rows[0] /= bounds[0]
    rows[1:] /= bounds[1]
    kept = F.hardshrink(rows, 1.0)
    counts = (kept[0] != 0).to(rows.dtype)
    counts[:, 0] = 1
    energy = counts * groups.mean + kept[1:].sign().abs_().sum(dim=0) * groups.rest
    weight = 1 / energy.sum(dim=1, keepdim=True)
    kept[0] *= bounds[0] * weight
    kept[1:] *= bounds[1] * weight
    kept[0, :, 0] = average * weight[:, 0]
    _add(kept, weight, groups, total, weights)


def wiener(noisy: Tensor, pilot: Tensor, groups: Bucket, total: Tensor, weights: Tensor) -> None:
    """Shrink by the empirical gain S^2 / (S^2 + variance), S of ``pilot``, but the mean; add the groups to the totals.

    With E the noise variance left in a group, its weight is 1 / E times (size / E)^0.75 (numba_filters.wiener).
    """
    rows = _transformed(noisy, groups)
    gain = _transformed(pilot, groups).square_()
    noise = gain[:1] + groups.level * groups.mean, gain[1:] + groups.level * groups.rest
    gain[:1] /= noise[0]
    gain[1:] /= noise[1]
    gain[0, :, 0] = 1
    power = gain.square()
    energy = (power[0] * groups.mean + power[1:].sum(dim=0) * groups.rest).sum(dim=1, keepdim=True)
    weight = (len(rows) / energy) ** CONFIDENCE / energy
    rows *= gain
    rows *= weight
    _add(rows, weight, groups, total, weights)


def _transformed(rows: Tensor, groups: Bucket) -> Tensor:
    """The table rows of each group after the Haar transform, (size, G, 64)."""
    size = len(groups.places)
    return (groups.haar @ rows.index_select(0, groups.places.flatten()).reshape(size, -1)).reshape(size, -1, 64)


def _add(rows: Tensor, weight: Tensor, groups: Bucket, total: Tensor, weights: Tensor) -> None:
    """Undo the Haar transform and add to the tables."""
    index = groups.places.flatten()
    total.index_add_(0, index, (groups.haar.mT @ rows.flatten(1)).reshape(-1, 64))
    weights.index_add_(0, index, weight.flatten().repeat(len(rows)))


def aggregate(
    total: Tensor, weights: Tensor, analysis: Matrix, numerator: Tensor, denominator: Tensor, rows: int
) -> None:
    """Transform every block back and add it, windowed, to its pixels; likewise the weights. In place, (B, H, W)."""
    batch, height, width = numerator.shape
    down, across = height - 7, width - 7
    inverse = torch.from_numpy(np.kron(*2 * [synthesis(analysis, kaiser())])).to(numerator)
    window = torch.from_numpy(kaiser()).to(numerator)
    blocks, weights = total.reshape(batch, down, across, BLOCK**2), weights.reshape(batch, down, across)
    step = max(1, rows // (batch * across))
    for top in range(0, down, step):
        part, share = blocks[:, top : top + step], weights[:, top : top + step]
        count = part.shape[1]
        planes = (inverse @ part.reshape(-1, BLOCK**2).mT).reshape(BLOCK, BLOCK, batch, count, across)
        lines = planes.new_zeros(BLOCK, batch, count, width)  # a line each row of the block
        shares = planes.new_zeros(batch, count, width)
        for k in range(BLOCK):
            lines[..., k : k + across] += planes[:, k]
            shares[..., k : k + across] += window[k] * share
        for k in range(BLOCK):
            numerator[:, top + k : top + k + count] += lines[k]
            denominator[:, top + k : top + k + count] += window[k] * shares
