"""The matrix of parallel-beam tomography: how much of each square pixel each strip-shaped beam covers."""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import torch
from torch import Tensor

TILE = 8  # pixels a side; rows of 4 to 16 pixels are alike fast, whole rows take up to twice the time


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


def tiles(shape: tuple[int, int], device: torch.device) -> Tensor:
    """The pixels of a picture, tile after tile: wherever a beam and its neighbours run, they meet in the same memory.

    Shapes: (pixels,), indices into the flat picture.
    """
    height, width = shape
    row, column = torch.arange(height, device=device)[:, None], torch.arange(width, device=device)
    across = -(-width // TILE)
    tile = (row // TILE) * across + column // TILE
    return ((tile * TILE + row % TILE) * TILE + column % TILE).flatten().argsort()


def strips(
    shape: tuple[int, int], pixels: Tensor, angles: Tensor, detectors: int, dtype: torch.dtype, device: torch.device
) -> Strips:
    """The matrix (views * detectors, pixels) for ``angles`` in degrees; beams and pixels are one unit wide.

    ``pixels`` are the indices of those of the flat picture that have a column, in their order.
    """
    height, width = shape
    pixels = pixels.cpu()
    x = (pixels % width).double() - (width - 1) / 2
    y = (height - 1) / 2 - torch.div(pixels, width, rounding_mode="floor").double()
    weight = torch.empty(len(pixels), len(angles), 3, dtype=dtype)
    row = torch.empty(len(pixels), len(angles), 3, dtype=torch.int32)
    for view, degrees in enumerate(angles.tolist()):
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        outer, inner = (abs(cos) + abs(sin)) / 2, abs(abs(cos) - abs(sin)) / 2
        position = x * cos + y * sin + detectors / 2  # beam j lies between j and j + 1
        first = torch.floor(position - outer)
        left, right = (coverage(first + k - position, outer, inner) for k in (1, 2))
        shares = left + 0.5, right - left, 0.5 - right  # a shadow is at most sqrt(2) wide: three beams
        for k, share in enumerate(shares):
            beam = first.to(torch.int32) + k
            weight[:, view, k] = torch.where((share > 1e-12) & (beam >= 0) & (beam < detectors), share, 0)
            row[:, view, k] = beam + view * detectors
    seen = weight.flatten(1) != 0
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), seen.sum(dim=1).cumsum(dim=0)]).to(torch.int32)
    size = (len(pixels), len(angles) * detectors)
    with warnings.catch_warnings():  # torch calls its row-compressed layout beta; its products are long in use
        warnings.filterwarnings("ignore", message="Sparse .* tensor support is in beta state")
        parts = starts, row.flatten(1).masked_select(seen), weight.flatten(1).masked_select(seen)
        del weight, row, seen  # as large as the matrix
        transpose = torch.sparse_csr_tensor(*parts, size, check_invariants=False)
        matrix = torch.sparse_csc_tensor(*parts, size[::-1], check_invariants=False).to_sparse_csr()
        return Strips(matrix.to(device), transpose.to(device))
