"""Block matching and 3-D filtering."""

from .prior import BM3D

__all__ = ["BM3D"]
