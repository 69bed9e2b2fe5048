"""Plug-and-play inverse problems: any linear operator, any prior, no knobs."""

from .admm import ADMM
from .data_terms import LeastSquares
from .functional import Denoiser, Functional
from .hqs import HQS
from .images import to_image, to_tensor
from .linear_operator import LinearOperator
from .metrics import psnr, ssim
from .result import Result, Status

__all__ = [
    "ADMM",
    "HQS",
    "Denoiser",
    "Functional",
    "LeastSquares",
    "LinearOperator",
    "Result",
    "Status",
    "psnr",
    "ssim",
    "to_image",
    "to_tensor",
]
