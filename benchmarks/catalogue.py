"""The benchmarks, in the order of ``list``."""

from __future__ import annotations

from .compressive_sensing import BENCHMARK as compressive_sensing
from .deconvolution import BENCHMARK as deconvolution
from .demo import BENCHMARK as demo
from .denoisers import BENCHMARK as denoisers
from .denoising import BENCHMARK as denoising
from .dip import BENCHMARK as dip
from .grid import Benchmark
from .inpainting import BENCHMARK as inpainting
from .operators import BENCHMARK as operators
from .pairs import BENCHMARK as pairs
from .peers import BENCHMARK as peers
from .regularization import BENCHMARK as regularization
from .single_pixel import BENCHMARK as single_pixel
from .spectral_bias import BENCHMARK as spectral_bias
from .stack import BENCHMARK as stack
from .structural_bias import BENCHMARK as structural_bias
from .valid_blur import BENCHMARK as valid_blur

BENCHMARKS: tuple[Benchmark, ...] = (
    *(demo, pairs, deconvolution, denoising, single_pixel, inpainting),
    *(denoisers, operators, valid_blur, dip, peers, stack),
    *(regularization, structural_bias, compressive_sensing, spectral_bias),
)
