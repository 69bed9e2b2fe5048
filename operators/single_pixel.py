"""The single-pixel camera: one detector, many patterns."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pnp.linear_operator import LinearOperator

from .arguments import number, shape_of, whole
from .delegate import Delegate
from .dense_patterns import KINDS, DensePatterns
from .hadamard import next_length, sequency
from .hadamard_patterns import HadamardPatterns

ORDERINGS = ("scrambled", "sequency", "cake-cutting", "zig-zag")


class SinglePixel(Delegate):
    """``(A x)_i = <pattern_i, x>``: the numbers one detector gives for ``measurements`` patterns.

    ``"hadamard"`` patterns have unit norm, entries of one magnitude, and the constant pattern first; their transform
    takes O(n log n) operations for any number of pixels and is solved exactly. ``ordering="scrambled"`` permutes
    pixels and rows at random, which suits compressed sensing; ``"sequency"`` (sign changes along the raveled
    pattern), ``"cake-cutting"`` (number of pieces) and ``"zig-zag"`` (diagonals of the two-dimensional sequency
    plane) show coarse patterns first, and are defined on the picture grid, enlarged to powers of two. ``"gaussian"``
    and ``"rademacher"`` entries are independent with variance ``1 / measurements``; ``"binary"`` ones are raw 0/1.

    Shapes: ``shape`` (H, W), each channel measured alike, or (C, H, W); data (..., measurements).
    Raises: ValueError for an unknown kind of pattern or ordering, or fewer than one measurement.
    Source: Duarte et al., *Single-pixel imaging via compressive sampling*, 2008; Yu, *Super sub-Nyquist single-pixel
    imaging by means of cake-cutting Hadamard basis sort*, 2019; Vaz et al., *Image quality of compressive single-pixel
    imaging using different Hadamard orderings*, 2020.
    """

    def __init__(
        self,
        shape: Sequence[int],
        measurements: int,
        patterns: str = "hadamard",
        seed: int = 0,
        *,
        ordering: str = "scrambled",
        dtype: torch.dtype | None = None,
    ) -> None:
        usage = "SinglePixel(shape, measurements, patterns, seed)"
        shape = shape_of(shape, usage)
        number(measurements, "measurements", usage)
        whole(seed, "seed", usage)
        if measurements < 1 or measurements % 1:
            raise ValueError(
                f"SinglePixel: expected at least one measurement, got {measurements!r}; "
                f"give their number, not a share of the {math.prod(shape)} pixels."
            )
        if patterns not in ("hadamard", *KINDS):
            raise ValueError(f"SinglePixel: expected patterns out of hadamard, {', '.join(KINDS)}, got {patterns!r}.")
        if ordering not in ORDERINGS or patterns != "hadamard" and ordering != "scrambled":
            raise ValueError(
                f"SinglePixel: expected an ordering out of {', '.join(ORDERINGS)} (Hadamard patterns only), "
                f"got {ordering!r} for {patterns!r}."
            )
        dtype = dtype or torch.get_default_dtype()
        super().__init__(_engine(shape, int(measurements), patterns, seed, ordering, dtype))
        self.patterns, self.ordering = patterns, ordering

    def pattern(self, index: int) -> Tensor:
        """Row ``index`` of ``A`` as a picture, with the operator's scaling. Shapes: (*shape)."""
        row = torch.zeros(self.out_shape, dtype=self.dtype, device=self.device)
        row[index] = 1
        return self.adjoint(row)

    def prepare(self, raw: Tensor, *, dark: float | Tensor = 0.0) -> Tensor:
        """Data for ``A`` from what the detector read while the mirrors showed 0/1 patterns.

        A mirror array shows no negative light. With (..., 2, m) readings, first the pixels where a pattern is positive,
        then those where it is negative, the difference is taken and every constant offset cancels. With (..., m)
        readings of the positive parts alone, ``dark`` is subtracted and Hadamard patterns are completed by their
        constant first one; binary patterns need nothing else. Gaussian patterns need both exposures.

        Shapes: ``raw`` (..., m) or (..., 2, m); ``dark`` broadcasts against ``raw``; returns (..., m).
        Units: one unit of ``raw`` is the sum of the image over the pixels shown, at full mirror weight.
        Raises: ValueError for another shape, or where one exposure cannot give signed data.
        """
        m = self.rows
        scale = 1 / math.sqrt(self.columns if self.patterns == "hadamard" else m)
        paired = raw.ndim >= 2 and tuple(raw.shape[-2:]) == (2, m)
        if not paired and (raw.ndim < 1 or raw.shape[-1] != m):
            raise ValueError(f"{self._name}.prepare: expected (..., {m}) or (..., 2, {m}), got {tuple(raw.shape)}.")
        if self.patterns == "binary":
            scale = 1.0
        if paired:
            return (raw[..., 0, :] - raw[..., 1, :]) * scale
        light = raw - dark
        if self.patterns == "binary":
            return light
        if self.patterns != "hadamard":
            raise ValueError(f"{self._name}.prepare: {self.patterns} patterns need both exposures, (..., 2, {m}).")
        return (2 * light - light[..., :1]) * scale  # pattern = 2 * shown - constant

    def __repr__(self) -> str:
        kind = self.patterns if self.ordering == "scrambled" else f"{self.patterns}, {self.ordering}"
        return f"{self._name[:-1]}, {kind})"


def _engine(
    shape: tuple[int, ...], measurements: int, patterns: str, seed: int, ordering: str, dtype: torch.dtype
) -> LinearOperator:
    if patterns != "hadamard":
        return DensePatterns(shape, measurements, patterns, seed, dtype=dtype)
    if ordering != "scrambled":
        length, order, position = _ordered(shape, ordering)
        return HadamardPatterns(shape, length, _cycle([order], measurements), position, random=False, dtype=dtype)
    generator = torch.Generator().manual_seed(seed)
    n = math.prod(shape)
    length = next_length(n)
    position = torch.randperm(length, generator=generator)[:n]
    rounds = []
    for _ in range(-(-measurements // length)):  # more measurements than rows: every row again, in another order
        others = 1 + torch.randperm(length - 1, generator=generator) if length > 1 else torch.zeros(0, dtype=torch.long)
        rounds.append(torch.cat([torch.zeros(1, dtype=torch.long), others]))
    return HadamardPatterns(shape, length, _cycle(rounds, measurements), position, random=True, dtype=dtype)


def _cycle(rounds: list[Tensor], measurements: int) -> Tensor:
    rows = torch.cat(rounds)
    return rows.repeat(-(-measurements // len(rows)))[:measurements].clone()


def _ordered(shape: tuple[int, ...], ordering: str) -> tuple[int, Tensor, Tensor]:
    """Length, rows in the order in which they are shown, and the place of each pixel."""
    *lead, height, width = (1, *shape) if len(shape) == 1 else shape
    sides = [1 << (n - 1).bit_length() for n in (*lead, height, width)]
    length = math.prod(sides)
    places = torch.arange(length).reshape(sides)
    position = places[tuple(slice(0, n) for n in (*lead, height, width))].flatten()
    if ordering == "sequency":
        return length, sequency_rows(length), position
    tall, wide = sides[-2:]
    i, j = (g.flatten() for g in torch.meshgrid(torch.arange(tall), torch.arange(wide), indexing="ij"))
    rows = (sequency(tall)[:, None] * wide + sequency(wide)).flatten()
    diagonal = i + j
    if ordering == "zig-zag":  # as in JPEG: every second diagonal runs upwards
        key = diagonal * length + torch.where(diagonal % 2 == 0, j, i)
    else:  # a pattern with i and j sign changes has (i + 1)(j + 1) pieces
        key = ((i + 1) * (j + 1)) * length + diagonal * wide + j
    rows = rows[key.argsort()]
    planes = sequency(length // (tall * wide))
    return length, (planes[:, None] * (tall * wide) + rows).T.flatten() if len(planes) > 1 else rows, position


def sequency_rows(length: int) -> Tensor:
    """For each sequency, the row of Sylvester's matrix that has it: the bit-reversed Gray code."""
    index = torch.arange(length)
    gray = index ^ (index >> 1)
    rows = torch.zeros_like(index)
    for bit in range(length.bit_length() - 1):
        rows = (rows << 1) | ((gray >> bit) & 1)
    return rows
