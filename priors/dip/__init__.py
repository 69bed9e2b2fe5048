"""The deep image prior: untrained generator networks fitted to one image."""

from .networks import ConvDecoder, DeepDecoder, Generator, Hourglass
from .prior import DeepImagePrior
from .stopping import Discrepancy, HoldOut, MovingVariance, Oracle, Plateau, Rule, View, WindowedVariance
from .theory import Rates, fitting_rates
from .trajectory import Curves, Trajectory, band_correspondence, band_error
from .two_layer import TwoLayer

__all__ = [
    "ConvDecoder",
    "Curves",
    "DeepDecoder",
    "DeepImagePrior",
    "Discrepancy",
    "Generator",
    "HoldOut",
    "Hourglass",
    "MovingVariance",
    "Oracle",
    "Plateau",
    "Rates",
    "Rule",
    "Trajectory",
    "TwoLayer",
    "View",
    "WindowedVariance",
    "band_correspondence",
    "band_error",
    "fitting_rates",
]
