"""Known range of values."""

from __future__ import annotations

import torch
from torch import Tensor

from pnp.functional import Functional

from .checks import image_batch, interval


class Box(Functional):
    """Indicator ``g(x) = 0`` where every value lies in ``[lo, hi]``, else infinity; its prox clips.

    Either end may be infinite: ``Box(0)`` asks for non-negative values only.

    Shapes: (..., C, H, W).
    Units: ``lo`` and ``hi`` in those of the image.
    Raises: ValueError unless ``lo <= hi`` admit a finite value.
    Source: Parikh & Boyd, *Proximal Algorithms*, 2014, sec. 6.2.4.
    """

    convex = True
    has_value = True

    def __init__(self, lo: float = 0.0, hi: float = float("inf")) -> None:
        self.lo, self.hi = interval(lo, hi, who="Box")

    def prox(self, v: Tensor, tau: float | Tensor) -> Tensor:
        image_batch(v, tau, who=f"{self!r}.prox")
        return v.clamp(self.lo, self.hi)

    def __call__(self, x: Tensor) -> Tensor:
        inside = ((x >= self.lo) & (x <= self.hi)).flatten(-3).all(dim=-1)
        return torch.zeros_like(inside, dtype=x.dtype).masked_fill(~inside, float("inf"))

    def __repr__(self) -> str:
        return f"Box({self.lo!r}, {self.hi!r})"
