"""The matrix of parallel-beam tomography: how much of each square pixel each strip-shaped beam covers."""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import torch
from torch import Tensor


class Strips(NamedTuple):
    """The sparse matrix of some views and its transpose, each by rows, so that both products only gather."""

    matrix: Tensor
    transpose: Tensor


def coverage(u: Tensor, outer: float, inner: float) -> Tensor:
    """Area of a unit pixel on the side ``< u`` of a line at distance ``u`` from its centre, less one half.

    The pixel's shadow is a trapezoid of half-widths ``outer = (|cos| + |sin|) / 2``, ``inner = ||cos| - |sin|| / 2``.
    """
    flat = u.abs().clamp_max(inner)
    slope = (u.abs() - inner).clamp(0, outer - inner)
    ramp = slope - slope.square() / (2 * (outer - inner)) if outer > inner else 0 * slope
    return u.sign() * (flat + ramp) / (outer + inner)  # the trapezoid's height is 1 / (outer + inner)


def strips(shape: tuple[int, int], angles: Tensor, detectors: int, dtype: torch.dtype, device: torch.device) -> Strips:
    """The matrix (views * detectors, pixels) for ``angles`` in degrees; beams and pixels are one unit wide."""
    height, width = shape
    x = torch.arange(width, dtype=torch.float64) - (width - 1) / 2
    y = (height - 1) / 2 - torch.arange(height, dtype=torch.float64)[:, None]
    indices, values = [], []
    for view, degrees in enumerate(angles.tolist()):
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        outer, inner = (abs(cos) + abs(sin)) / 2, abs(abs(cos) - abs(sin)) / 2
        position = (x * cos + y * sin).flatten() + detectors / 2  # beam j lies between j and j + 1
        first = torch.floor(position - outer)
        edges = torch.stack([coverage(first + k - position, outer, inner) for k in range(4)], dim=-1)
        beam = first.long()[:, None] + torch.arange(3)  # a shadow is at most sqrt(2) wide: three beams
        values.append((edges[:, 1:] - edges[:, :-1]) * ((beam >= 0) & (beam < detectors)))
        indices.append(beam + view * detectors)
    weight, row = torch.stack(values, dim=1).flatten(1), torch.stack(indices, dim=1).flatten(1)
    seen = weight > 1e-12
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), seen.sum(dim=1).cumsum(dim=0)])
    size = (height * width, len(angles) * detectors)
    with warnings.catch_warnings():  # torch calls its row-compressed layout beta; its products are long in use
        warnings.filterwarnings("ignore", message="Sparse .* tensor support is in beta state")
        parts = starts.to(torch.int32), row[seen].to(torch.int32), weight[seen].to(dtype)
        transpose = torch.sparse_csr_tensor(*parts, size, check_invariants=False)
        matrix = torch.sparse_csc_tensor(*parts, size[::-1], check_invariants=False).to_sparse_csr()
        return Strips(matrix.to(device), transpose.to(device))
