"""Catalogue of linear operators."""

if __name__ == "operators":  # found beside a script or on the path of the clone, not as a part of pnp
    raise ImportError("The catalogue is imported as pnp.operators, from a clone or an installed copy.")

from pnp.algebra import Stack

from .blur import Blur
from .decimate import Decimate
from .demosaic import Demosaic
from .downsample import Downsample
from .fourier import Fourier
from .from_callables import FromCallables
from .gradient import Gradient
from .identity import Identity
from .mask import Mask
from .matrix import Matrix
from .pylops_operator import PylopsOperator
from .radon import Radon
from .single_pixel import SinglePixel
from .varying_blur import VaryingBlur
from .wavelet import Wavelet

__all__ = [
    "Blur",
    "Decimate",
    "Demosaic",
    "Downsample",
    "Fourier",
    "FromCallables",
    "Gradient",
    "Identity",
    "Mask",
    "Matrix",
    "PylopsOperator",
    "Radon",
    "SinglePixel",
    "Stack",
    "VaryingBlur",
    "Wavelet",
]
