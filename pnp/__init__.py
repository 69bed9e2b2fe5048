"""Plug-and-play inverse problems: any linear operator, any prior, no knobs."""

from .functional import Denoiser, Functional
from .images import to_image, to_tensor
from .linear_operator import LinearOperator

__all__ = ["Denoiser", "Functional", "LinearOperator", "to_image", "to_tensor"]
