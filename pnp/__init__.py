"""Plug-and-play inverse problems: any linear operator, any prior, no knobs."""

from __future__ import annotations

import importlib
from types import ModuleType

from .admm import ADMM
from .damp import DAMP
from .data_terms import LeastSquares
from .fista import FISTA
from .frames import reconstruct_frames
from .functional import Denoiser, Functional
from .hqs import HQS
from .images import to_image, to_tensor
from .linear_operator import LinearOperator
from .metrics import psnr, ssim
from .noise import estimate_noise
from .pdhg import PDHG
from .poisson import Poisson
from .reconstruct import reconstruct
from .result import Result, Status
from .robust import L1, Huber
from .version import __version__

__all__ = [
    "ADMM",
    "DAMP",
    "FISTA",
    "HQS",
    "L1",
    "PDHG",
    "Denoiser",
    "Functional",
    "Huber",
    "LeastSquares",
    "LinearOperator",
    "Poisson",
    "Result",
    "Status",
    "__version__",
    "estimate_noise",
    "psnr",
    "reconstruct",
    "reconstruct_frames",
    "ssim",
    "to_image",
    "to_tensor",
]


def __getattr__(name: str) -> ModuleType:
    """``pnp.testing`` is loaded when first asked for."""
    if name == "testing":
        return importlib.import_module("pnp.testing")
    raise AttributeError(f"module 'pnp' has no attribute {name!r}")
