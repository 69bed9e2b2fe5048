"""Colour filter arrays: one colour a pixel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pnp.linear_operator import LinearOperator

from .arguments import refusal, shape_of

BAYER = ("RGGB", "BGGR", "GRBG", "GBRG")
XTRANS = ("GBGGRG", "RGRBGB", "GBGGRG", "GRGGBG", "BGBRGR", "GRGGBG")  # Fujifilm's 6 x 6 cell


class Demosaic(LinearOperator):
    """``(A x)_ij = x_{c(i, j), i, j}``: each pixel keeps the one colour that its filter passes.

    ``pattern`` names a Bayer cell, read row by row (``"RGGB"``, ``"BGGR"``, ``"GRBG"``, ``"GBRG"``), or ``"X-Trans"``,
    or lists the rows of any cell of the letters R, G, B.

    Shapes: ``shape`` (H, W) of the sensor; ``x`` (..., 3, H, W), ``A x`` (..., H, W).
    Raises: ValueError for another pattern.
    Source: Bayer, US patent 3971065, 1976.
    """

    def __init__(self, shape: Sequence[int], pattern: str | Sequence[str] = "RGGB") -> None:
        usage = "Demosaic(shape, pattern)"
        shape = shape_of(shape, usage)
        if not isinstance(pattern, Sequence) or not all(isinstance(row, str) for row in pattern):
            raise TypeError(refusal(usage, 'pattern as "RGGB", "X-Trans" or rows of the letters R, G, B', pattern))
        if len(shape) == 3 and shape[0] == 3:
            shape = shape[1:]
        if len(shape) != 2:
            raise ValueError(f"Demosaic: expected the sensor's (H, W), got {shape}.")
        super().__init__((3, *shape), shape)
        cell = torch.tensor([["RGB".index(letter) for letter in row] for row in _cell(pattern)])
        height, width = shape
        rows, cols = torch.arange(height) % len(cell), torch.arange(width) % cell.shape[1]
        self.pattern = pattern if isinstance(pattern, str) else "/".join(pattern)
        self.reach = 1 if cell.shape == (2, 2) else max(cell.shape) // 2
        self.register_buffer("colour", cell[rows[:, None], cols][None], persistent=False)
        self.colour: Tensor

    def _forward(self, x: Tensor) -> Tensor:
        return x.gather(-3, self.colour.expand(*x.shape[:-3], -1, -1, -1)).squeeze(-3)

    def _adjoint(self, y: Tensor) -> Tensor:
        return torch.where(self._filters(), y.unsqueeze(-3), 0)

    @property
    def row_gram(self) -> float:
        return 1.0

    @property
    def interpolates(self) -> bool:
        return True

    def start(self, y: Tensor) -> Tensor:
        """Bilinear interpolation: each colour's neighbours, weighted by a tent."""
        if y.is_complex():
            return torch.complex(self.start(y.real), self.start(y.imag))
        seen = self._filters().to(y.dtype)
        tent = 1 - torch.arange(-self.reach, self.reach + 1, device=y.device, dtype=y.dtype).abs() / (self.reach + 1)
        values = self._adjoint(y)
        weight = _smooth(seen, tent)
        colour = _smooth(values, tent) / torch.where(weight > 0, weight, 1)
        count = seen.sum(dim=(-2, -1), keepdim=True).clamp_min(1)
        colour = torch.where(weight > 0, colour, values.sum(dim=(-2, -1), keepdim=True) / count)
        return torch.where(self._filters(), values, colour)

    def noise_level(self, y: Tensor) -> Tensor | None:
        return None  # the mosaic of colours is no smooth picture

    def __repr__(self) -> str:
        return f"{self._name[:-1]}, {self.pattern})"

    def _filters(self) -> Tensor:
        """True where a colour is seen, (3, H, W)."""
        return self.colour == torch.arange(3, device=self.colour.device)[:, None, None]


def _cell(pattern: str | Sequence[str]) -> Sequence[str]:
    if isinstance(pattern, str):
        if pattern.upper() in BAYER:
            return [pattern[:2].upper(), pattern[2:].upper()]
        if pattern.upper().replace("-", "") == "XTRANS":
            return XTRANS
    elif pattern and len({len(row) for row in pattern}) == 1 and set("".join(pattern)) <= set("RGB"):
        return pattern
    raise ValueError(f"Demosaic: expected {', '.join(BAYER)}, X-Trans or rows of the letters R, G, B, got {pattern!r}.")


def _smooth(x: Tensor, tent: Tensor) -> Tensor:
    flat = x.reshape(-1, 1, *x.shape[-2:])
    reach = len(tent) // 2
    return (
        torch.nn.functional.conv2d(flat, (tent[:, None] * tent)[None, None], padding=reach).reshape(x.shape)
        if reach
        else x
    )
