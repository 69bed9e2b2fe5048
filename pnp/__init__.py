"""Plug-and-play inverse problems: any linear operator, any prior, no knobs."""

from .functional import Denoiser, Functional

__all__ = ["Denoiser", "Functional"]
