"""The benchmarks, in the order of ``list``."""

from __future__ import annotations

from .deconvolution import BENCHMARK as deconvolution
from .demo import BENCHMARK as demo
from .denoisers import BENCHMARK as denoisers
from .denoising import BENCHMARK as denoising
from .dip import BENCHMARK as dip
from .grid import Benchmark
from .operators import BENCHMARK as operators
from .pairs import BENCHMARK as pairs
from .single_pixel import BENCHMARK as single_pixel
from .valid_blur import BENCHMARK as valid_blur

BENCHMARKS: tuple[Benchmark, ...] = (
    *(demo, pairs, deconvolution, denoising, single_pixel),
    *(denoisers, operators, valid_blur, dip),
)
