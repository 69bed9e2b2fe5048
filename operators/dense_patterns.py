"""Independent random patterns of a single-pixel camera."""

from __future__ import annotations

import math

import torch

from .matrix import Matrix

KINDS = ("gaussian", "rademacher", "binary")
MOST_ENTRIES = 1 << 28  # 1 GiB in float32


class DensePatterns(Matrix):
    """Patterns drawn entry by entry: Gaussian or +-1 of variance ``1/m``, or raw 0/1.

    Source: Candes & Wakin, *An introduction to compressive sampling*, 2008.
    """

    def __init__(self, shape: tuple[int, ...], measurements: int, kind: str, seed: int, *, dtype: torch.dtype) -> None:
        columns = math.prod(shape)
        if measurements * columns > MOST_ENTRIES:
            raise ValueError(
                f"SinglePixel: {measurements} x {columns} independent entries do not fit into memory; "
                'patterns="hadamard" needs none.'
            )
        generator = torch.Generator().manual_seed(seed)
        if kind == "gaussian":
            entries = torch.randn(measurements, columns, generator=generator)
        else:
            entries = torch.randint(0, 2, (measurements, columns), generator=generator, dtype=torch.uint8).float()
            entries = 2 * entries - 1 if kind == "rademacher" else entries
        entries = entries.to(dtype)  # drawn in float32, so that they are the same numbers in float64
        super().__init__(entries if kind == "binary" else entries / math.sqrt(measurements), shape)
        self.kind = kind

    @property
    def incoherent(self) -> bool:
        return self.kind != "binary"  # 0/1 patterns share their mean, a direction message passing cannot average out
