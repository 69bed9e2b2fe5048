"""The deep image prior: untrained generator networks fitted to one image."""

from .networks import ConvDecoder, DeepDecoder, Generator, Hourglass
from .prior import DeepImagePrior
from .stopping import Discrepancy, HoldOut, MovingVariance, Oracle, Plateau, Rule, View, WindowedVariance
from .two_layer import TwoLayer

__all__ = [
    "ConvDecoder", "DeepDecoder", "DeepImagePrior", "Discrepancy", "Generator", "HoldOut", "Hourglass", "MovingVariance",
    "Oracle", "Plateau", "Rule", "TwoLayer", "View", "WindowedVariance",
]  # fmt: skip
