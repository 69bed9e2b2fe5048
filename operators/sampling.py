"""Which frequencies a scanner measures: masks on the grid of ``torch.fft.fftn``, zero frequency first."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

DECAY = 3.0  # power of (1 - radius): between the 2 and 5 that Lustig et al. try in sec. "Incoherent sampling"


def frequencies(shape: Sequence[int]) -> list[Tensor]:
    """Integer frequency of each index, one tensor an axis, shaped to broadcast."""
    grids = [torch.fft.fftfreq(n, dtype=torch.float64) * n for n in shape]
    return [grid.reshape(-1, *(1,) * (len(shape) - 1 - axis)) for axis, grid in enumerate(grids)]


def radius(shape: Sequence[int]) -> Tensor:
    """Distance from the zero frequency, 1 at the end of each axis."""
    total = torch.zeros(tuple(shape), dtype=torch.float64)
    for f, n in zip(frequencies(shape), shape, strict=True):
        total = total + (f / max(n / 2, 1)).square()
    return total.sqrt()


def uniform(shape: Sequence[int], keep: float, seed: int) -> Tensor:
    """A share ``keep`` of the frequencies: the zero frequency, and others each with the same chance."""
    return _draw(torch.ones(tuple(shape)), keep, seed, radius(shape) == 0)


def variable_density(shape: Sequence[int], keep: float, seed: int, centre: float) -> Tensor:
    """A share ``keep``, drawn with a chance that falls as ``(1 - radius)^3``, all within radius ``centre`` included.

    Source: Lustig, Donoho & Pauly, *Sparse MRI*, 2007, "Incoherent sampling".
    """
    r = radius(shape)
    return _draw((1 - r / r.max().clamp_min(1e-9)).clamp_min(0) ** DECAY + 1e-6, keep, seed, r <= centre)


def lines(shape: Sequence[int], keep: float, seed: int, centre: float) -> Tensor:
    """Whole lines along the last axis: a share ``keep`` of them, all within radius ``centre`` included."""
    r = radius(shape[:-1])
    return _draw(torch.ones_like(r), keep, seed, r <= centre)[..., None].expand(*shape).clone()


def radial(shape: Sequence[int], spokes: int) -> Tensor:
    """Lines through the zero frequency of the last two axes, at angles ``pi k / spokes``, on the grid."""
    height, width = shape[-2:]
    mask = torch.zeros(height, width, dtype=torch.bool)
    angles = torch.arange(spokes, dtype=torch.float64)[:, None] * (math.pi / spokes)
    reach = torch.linspace(-1, 1, 4 * max(height, width) + 1, dtype=torch.float64)  # several samples a grid point
    rows, columns = (reach * angles.sin() * height / 2).round(), (reach * angles.cos() * width / 2).round()
    inside = (rows.abs() <= (height - 1) // 2) & (columns.abs() <= (width - 1) // 2)  # the mask is then symmetric
    mask[rows[inside].long() % height, columns[inside].long() % width] = True
    return mask.expand(*shape).clone()


def _draw(chance: Tensor, keep: float, seed: int, always: Tensor) -> Tensor:
    """``round(keep * n)`` entries: those of ``always`` first, the rest at random without replacement."""
    if not 0 < keep <= 1:
        raise ValueError(f"Fourier: expected a share of frequencies with 0 < keep <= 1, got {keep!r}.")
    count = max(round(keep * chance.numel()), 1)
    lottery = torch.rand(chance.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    ticket = lottery.log() / chance  # the largest of u^(1/w) draw without replacement (Efraimidis & Spirakis, 2006)
    ticket = torch.where(always, 1 + lottery, ticket)
    mask = torch.zeros(chance.numel(), dtype=torch.bool)
    mask[ticket.flatten().topk(count).indices] = True
    return mask.reshape(chance.shape)
