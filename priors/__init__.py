"""Catalogue of priors."""

from .box import Box
from .nlm import NLM
from .tikhonov import Tikhonov
from .tv import TV

__all__ = ["NLM", "TV", "Box", "Tikhonov"]
