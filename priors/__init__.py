"""Catalogue of priors."""

from .bm3d import BM3D
from .box import Box
from .dip import DeepImagePrior
from .nlm import NLM
from .tikhonov import Tikhonov
from .tv import TV

__all__ = ["BM3D", "NLM", "TV", "Box", "DeepImagePrior", "Tikhonov"]
