"""Catalogue of priors."""

if __name__ == "priors":  # found beside a script or on the path of the clone, not as a part of pnp
    raise ImportError("The catalogue is imported as pnp.priors, from a clone or an installed copy.")

from .bm3d import BM3D
from .box import Box
from .clipped import Clipped
from .dip import DeepImagePrior
from .equivariant import Equivariant
from .nlm import NLM
from .tikhonov import Tikhonov
from .tiled import Tiled
from .tv import TV
from .wavelet import Wavelet

__all__ = ["BM3D", "NLM", "TV", "Box", "Clipped", "DeepImagePrior", "Equivariant", "Tikhonov", "Tiled", "Wavelet"]
