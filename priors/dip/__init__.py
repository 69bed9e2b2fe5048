"""The deep image prior: untrained generator networks fitted to one image."""

from .filter_decoder import FilterDecoder
from .networks import ConvDecoder, DeepDecoder, Generator, Hourglass
from .prior import DeepImagePrior
from .stopping import Discrepancy, HoldOut, MovingVariance, Oracle, Plateau, Rule, Search, View, WindowedVariance
from .theory import Rates, fitting_rates
from .trajectory import Curves, Trajectory, band_correspondence, band_error, band_gain
from .two_layer import TwoLayer

__all__ = [
    "ConvDecoder",
    "Curves",
    "DeepDecoder",
    "DeepImagePrior",
    "Discrepancy",
    "FilterDecoder",
    "Generator",
    "HoldOut",
    "Hourglass",
    "MovingVariance",
    "Oracle",
    "Plateau",
    "Rates",
    "Rule",
    "Search",
    "Trajectory",
    "TwoLayer",
    "View",
    "WindowedVariance",
    "band_correspondence",
    "band_error",
    "band_gain",
    "fitting_rates",
]
