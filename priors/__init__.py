"""Catalogue of priors."""

from .bm3d import BM3D
from .box import Box
from .dip import DeepImagePrior
from .equivariant import Equivariant
from .nlm import NLM
from .tikhonov import Tikhonov
from .tiled import Tiled
from .tv import TV
from .wavelet import Wavelet

__all__ = ["BM3D", "NLM", "TV", "Box", "DeepImagePrior", "Equivariant", "Tikhonov", "Tiled", "Wavelet"]
