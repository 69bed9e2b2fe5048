"""Catalogue of linear operators."""

from pnp.algebra import Stack

from .blur import Blur
from .identity import Identity
from .mask import Mask
from .matrix import Matrix
from .pylops_operator import PylopsOperator
from .single_pixel import SinglePixel

__all__ = ["Blur", "Identity", "Mask", "Matrix", "PylopsOperator", "SinglePixel", "Stack"]
