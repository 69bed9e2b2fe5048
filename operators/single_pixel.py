"""The single-pixel camera: one detector, many patterns."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence

import torch
from torch import Tensor

from pnp.linear_operator import LinearOperator

from .arguments import is_number, number, precision, shape_of, whole
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
        super().__init__(_engine(shape, int(measurements), patterns, seed, ordering, precision(dtype, usage)))
        self.patterns, self.ordering = patterns, ordering

    def pattern(self, index: int) -> Tensor:
        """Row ``index`` of ``A`` as a picture, with the operator's scaling; a negative one counts from the end.

        Shapes: (*shape).
        Raises: TypeError unless ``index`` is an integer, ValueError if there is no such pattern.
        """
        usage, m = f"{self._name}.pattern", self.out_shape[0]
        if isinstance(index, bool) or not hasattr(index, "__index__") or isinstance(index, Tensor) and index.ndim:
            raise TypeError(f"{usage}: expected the number of one pattern, got {index!r:.60}; ask for one at a time.")
        if not -m <= operator.index(index) < m:
            raise ValueError(f"{usage}: expected one of the {m} patterns, 0 to {m - 1}, got {index}; build more.")
        row = torch.zeros(self.out_shape, dtype=self.dtype, device=self.device)
        row[operator.index(index)] = 1
        return self.adjoint(row)

    def prepare(self, raw: Tensor, complement: Tensor | None = None, *, dark: float | Tensor = 0.0) -> Tensor:
        """Data for ``A`` from what the detector read while the mirrors showed 0/1 patterns.

        A mirror array shows no negative light. ``raw`` are the readings of the pixels where a pattern is positive;
        those of the pixels where it is negative, if they were taken, are ``complement``. Of both, the difference is
        taken, in which every offset that they share cancels, ``dark`` included, whatever it is. From ``raw`` alone,
        ``dark`` is subtracted; Hadamard patterns are then completed by their constant first one, binary patterns need
        nothing else, and Gaussian and Rademacher patterns need both exposures.

        Shapes: ``raw`` and ``complement`` (..., m), ``dark`` a number or broadcasting against them; returns (..., m),
        in the operator's precision.
        Units: one unit of ``raw`` is the sum of the image over the pixels shown, at full mirror weight.
        Raises: TypeError for what is no real tensor; ValueError for another shape, or where one exposure cannot give
        signed data.
        """
        m, who = self.out_shape[0], f"{self._name}.prepare"
        raw = self._readings(raw, "raw")
        if not is_number(dark) and (not isinstance(dark, Tensor) or dark.is_complex()):
            told = str(dark.dtype) if isinstance(dark, Tensor) else type(dark).__name__
            raise TypeError(f"{who}: expected dark as a number or a real torch.Tensor, got {told}; 0 is no dark light.")
        if isinstance(dark, Tensor) and not _broadcasts(dark, raw):
            raise ValueError(
                f"{who}: expected dark as a number or of a shape that broadcasts against that of raw, "
                f"{tuple(raw.shape)}, got {tuple(dark.shape)}; one number a reading is (..., {m})."
            )
        scale = {"hadamard": 1 / math.sqrt(self.columns), "binary": 1.0}.get(self.patterns, 1 / math.sqrt(m))
        if complement is not None:
            other = self._readings(complement, "complement")
            if other.shape != raw.shape:
                raise ValueError(
                    f"{who}: expected complement of the shape of raw, {tuple(raw.shape)}, got {tuple(other.shape)}; "
                    "give both exposures of the same patterns."
                )
            return (raw - other) * scale
        light = raw - (dark.to(raw) if isinstance(dark, Tensor) else dark)
        if self.patterns == "binary":
            return light
        if self.patterns != "hadamard":
            raise ValueError(
                f"{who}: expected both exposures of {self.patterns} patterns, got one; call prepare(raw, complement)."
            )
        return (2 * light - light[..., :1]) * scale  # pattern = 2 * shown - constant

    def _readings(self, readings: Tensor, name: str) -> Tensor:
        """The detector's numbers as the operator takes them."""
        who, m = f"{self._name}.prepare", self.out_shape[0]
        if not isinstance(readings, Tensor) or readings.is_complex():
            told = str(readings.dtype) if isinstance(readings, Tensor) else type(readings).__name__
            raise TypeError(f"{who}: expected {name} as a real torch.Tensor, got {told}; torch.as_tensor converts it.")
        if readings.ndim < 1 or readings.shape[-1] != m or readings.numel() == 0:
            raise ValueError(
                f"{who}: expected {name} of shape (..., {m}), one reading a pattern, got {tuple(readings.shape)}; "
                "two exposures of each pattern are two arguments, prepare(raw, complement)."
            )
        return readings.to(self.device, self.dtype)

    def __repr__(self) -> str:
        kind = self.patterns if self.ordering == "scrambled" else f"{self.patterns}, {self.ordering}"
        return f"{self._name[:-1]}, {kind})"


def _broadcasts(a: Tensor, b: Tensor) -> bool:
    """Whether ``a`` broadcasts to the shape of ``b``."""
    return a.ndim <= b.ndim and all(n in (1, k) for n, k in zip(reversed(a.shape), reversed(b.shape), strict=False))


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
