"""The market of operators: one line per catalogue entry says how to draw one, and every law applies to it.

Only tests import this module; it needs hypothesis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from hypothesis import strategies as st
from torch import Tensor

from pnp.linear_operator import LinearOperator

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

Draw = Callable[[st.SearchStrategy[int]], int]
Shape = tuple[int, int]


class Entry(NamedTuple):
    """One line of the market: ``build(draw, shape, dtype)`` makes an operator on images of that shape."""

    name: str
    build: Callable[[Draw, Shape, torch.dtype], LinearOperator]
    smallest: int = 1  # shortest side the operator accepts


def random(draw: Draw, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """A Gaussian tensor; hypothesis draws (and shrinks) its seed only."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    drawn = torch.randn(shape, generator=generator, dtype=torch.complex128 if dtype.is_complex else torch.float64)
    return drawn.to(dtype)


def some(draw: Draw, most: int) -> int:
    """A number of things, at least one."""
    return draw(st.integers(1, most))


def kernel(draw: Draw, dtype: torch.dtype, most: int = 9, *, lead: tuple[int, ...] = (), ndim: int = 2) -> Tensor:
    """A random kernel of at most ``most`` taps a side."""
    return random(draw, (*lead, *(some(draw, most) for _ in range(ndim))), dtype)


def blur(draw: Draw, shape: Shape, dtype: torch.dtype, boundary: str) -> Blur:
    """Any kernel on images of ``shape``; one that fits where the border is valid."""
    if boundary != "valid":
        return Blur(kernel(draw, dtype), shape, boundary)
    return Blur(random(draw, (some(draw, shape[0]), some(draw, shape[1])), dtype), shape, boundary)


def gaussian(draw: Draw, shape: Shape, dtype: torch.dtype, boundary: str) -> Blur:
    """A separable kernel."""
    return Blur.gaussian(some(draw, 8) / 10, shape, boundary, dtype=dtype)


def items(draw: Draw, shape: Shape, dtype: torch.dtype, boundary: str) -> Blur:
    """One kernel for each of two items."""
    taps = (some(draw, min(shape[0], 5)), some(draw, min(shape[1], 5)))
    return Blur(random(draw, (2, 1, *taps), dtype), shape, boundary)


def varying(draw: Draw, shape: Shape, dtype: torch.dtype, boundary: str) -> VaryingBlur:
    """Kernels on two by two nodes, no larger than the picture."""
    taps = (some(draw, min(shape[0], 5)), some(draw, min(shape[1], 5)))
    return VaryingBlur(random(draw, (2, 2, *taps), dtype), shape, boundary)


def rows(draw: Draw, dtype: torch.dtype) -> Tensor:
    """Two kernels of one row, hence separable."""
    return random(draw, (2, 1, some(draw, 5)), dtype)


def weights(draw: Draw, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Weights of either sign, about a third of them zero, the first one not."""
    weight = random(draw, shape, dtype)
    weight = torch.where(weight.abs() < 0.45, 0, weight)
    return torch.cat([torch.ones_like(weight.flatten()[:1]), weight.flatten()[1:]]).reshape(shape)


def pixels(draw: Draw, shape: Shape, dtype: torch.dtype, patterns: str, ordering: str = "scrambled") -> SinglePixel:
    """Fewer or more measurements than pixels."""
    count = some(draw, 2 * shape[0] * shape[1] + 3)
    return SinglePixel(shape, count, patterns, draw(st.integers(0, 99)), ordering=ordering, dtype=dtype)


def matrix(draw: Draw, shape: Shape, dtype: torch.dtype) -> Tensor:
    """A wide or a tall matrix."""
    return random(draw, (some(draw, 2 * shape[0] * shape[1] + 3), shape[0] * shape[1]), dtype)


def from_pylops(draw: Draw, shape: Shape, dtype: torch.dtype) -> PylopsOperator:
    """A dense pylops operator, wide or tall."""
    import pylops

    entries = matrix(draw, shape, dtype).numpy()
    return PylopsOperator(pylops.MatrixMult(entries, dtype=entries.dtype), shape, (len(entries),))


def folded(draw: Draw, shape: Shape, dtype: torch.dtype) -> Downsample:
    """A factor that divides the sides."""
    factor = some(draw, 3)
    return Downsample((factor * shape[0], factor * shape[1]), factor, kernel(draw, dtype))


def coils(draw: Draw, shape: Shape, dtype: torch.dtype, real: bool) -> Fourier:
    """Up to three coils of random maps."""
    maps = torch.view_as_complex(random(draw, (some(draw, 3), *shape, 2), dtype))
    return Fourier(shape, weights(draw, shape, dtype), real=real, sensitivities=maps)


def wavelet(draw: Draw, shape: Shape, dtype: torch.dtype) -> Wavelet:
    """Sides that allow two levels, filters longer than the picture among them."""
    return Wavelet((4 * shape[0], 2 * shape[1]), moments=some(draw, 5), dtype=dtype)


def flipped(x: Tensor) -> Tensor:
    """A map that is its own adjoint."""
    return x.flip(-1) + 0.5 * x


ENTRIES: tuple[Entry, ...] = (
    Entry("Identity", lambda draw, shape, dtype: Identity(shape)),
    Entry("Blur circular", lambda draw, shape, dtype: blur(draw, shape, dtype, "circular")),
    Entry("Blur valid", lambda draw, shape, dtype: blur(draw, shape, dtype, "valid")),
    Entry("Blur zero", lambda draw, shape, dtype: blur(draw, shape, dtype, "zero")),
    Entry("Blur replicate", lambda draw, shape, dtype: blur(draw, shape, dtype, "replicate")),
    Entry("Blur reflect", lambda draw, shape, dtype: blur(draw, shape, dtype, "reflect")),
    Entry("Blur symmetric", lambda draw, shape, dtype: blur(draw, shape, dtype, "symmetric")),
    Entry("Blur Gaussian circular", lambda draw, shape, dtype: gaussian(draw, shape, dtype, "circular")),
    Entry("Blur Gaussian symmetric", lambda draw, shape, dtype: gaussian(draw, shape, dtype, "symmetric")),
    Entry("Blur motion", lambda draw, shape, dtype: Blur.motion(some(draw, 9), some(draw, 180), shape, dtype=dtype)),
    Entry("Blur disk", lambda draw, shape, dtype: Blur.disk(some(draw, 9) / 2, shape, dtype=dtype)),
    Entry(
        "Blur disk symmetric", lambda draw, shape, dtype: Blur.disk(some(draw, 9) / 2, shape, "symmetric", dtype=dtype)
    ),
    Entry("Blur disk reflect", lambda draw, shape, dtype: Blur.disk(some(draw, 9) / 2, shape, "reflect", dtype=dtype)),
    Entry("Blur separable a channel", lambda draw, shape, dtype: Blur(rows(draw, dtype), (2, *shape), "zero")),
    Entry("Blur a channel", lambda draw, shape, dtype: Blur(kernel(draw, dtype, lead=(3,)), (3, *shape))),
    Entry("Blur an item circular", lambda draw, shape, dtype: items(draw, shape, dtype, "circular")),
    Entry("Blur an item valid", lambda draw, shape, dtype: items(draw, shape, dtype, "valid")),
    Entry("Blur an item zero", lambda draw, shape, dtype: items(draw, shape, dtype, "zero")),
    Entry("Blur an item replicate", lambda draw, shape, dtype: items(draw, shape, dtype, "replicate")),
    Entry("Blur an item reflect", lambda draw, shape, dtype: items(draw, shape, dtype, "reflect")),
    Entry("Blur an item symmetric", lambda draw, shape, dtype: items(draw, shape, dtype, "symmetric")),
    Entry(
        "Blur an item and a channel",
        lambda draw, shape, dtype: Blur(kernel(draw, dtype, 5, lead=(2, 3)), (3, *shape), "zero"),
    ),
    Entry("Blur of a volume", lambda draw, shape, dtype: Blur(kernel(draw, dtype, ndim=3), (3, *shape), ndim=3)),
    Entry("VaryingBlur circular", lambda draw, shape, dtype: varying(draw, shape, dtype, "circular")),
    Entry("VaryingBlur valid", lambda draw, shape, dtype: varying(draw, shape, dtype, "valid")),
    Entry("VaryingBlur zero", lambda draw, shape, dtype: varying(draw, shape, dtype, "zero")),
    Entry("VaryingBlur replicate", lambda draw, shape, dtype: varying(draw, shape, dtype, "replicate")),
    Entry("VaryingBlur reflect", lambda draw, shape, dtype: varying(draw, shape, dtype, "reflect")),
    Entry("VaryingBlur symmetric", lambda draw, shape, dtype: varying(draw, shape, dtype, "symmetric")),
    Entry("Mask", lambda draw, shape, dtype: Mask(weights(draw, shape, dtype))),
    Entry("Mask a channel", lambda draw, shape, dtype: Mask(weights(draw, (3, *shape), dtype))),
    Entry("Decimate", lambda draw, shape, dtype: Decimate(shape, some(draw, 4))),
    Entry("Downsample bicubic", lambda draw, shape, dtype: Downsample(shape, some(draw, 4), dtype=dtype)),
    Entry("Downsample", lambda draw, shape, dtype: Downsample(shape, some(draw, 4), kernel(draw, dtype))),
    Entry("Downsample folded", folded),
    Entry("Demosaic RGGB", lambda draw, shape, dtype: Demosaic(shape, "RGGB")),
    Entry("Demosaic BGGR", lambda draw, shape, dtype: Demosaic(shape, "BGGR")),
    Entry("Demosaic GRBG", lambda draw, shape, dtype: Demosaic(shape, "GRBG")),
    Entry("Demosaic GBRG", lambda draw, shape, dtype: Demosaic(shape, "GBRG")),
    Entry("Demosaic X-Trans", lambda draw, shape, dtype: Demosaic(shape, "X-Trans")),
    Entry("SinglePixel Hadamard", lambda draw, shape, dtype: pixels(draw, shape, dtype, "hadamard")),
    Entry("SinglePixel sequency", lambda draw, shape, dtype: pixels(draw, shape, dtype, "hadamard", "sequency")),
    Entry(
        "SinglePixel cake-cutting", lambda draw, shape, dtype: pixels(draw, shape, dtype, "hadamard", "cake-cutting")
    ),
    Entry("SinglePixel zig-zag", lambda draw, shape, dtype: pixels(draw, shape, dtype, "hadamard", "zig-zag")),
    Entry("SinglePixel Gaussian", lambda draw, shape, dtype: pixels(draw, shape, dtype, "gaussian")),
    Entry("SinglePixel Rademacher", lambda draw, shape, dtype: pixels(draw, shape, dtype, "rademacher")),
    Entry("SinglePixel binary", lambda draw, shape, dtype: pixels(draw, shape, dtype, "binary")),
    Entry("Matrix", lambda draw, shape, dtype: Matrix(matrix(draw, shape, dtype), shape)),
    Entry("Matrix complex", lambda draw, shape, dtype: Matrix(matrix(draw, shape, dtype.to_complex()), shape)),
    Entry("PylopsOperator", from_pylops),
    Entry("Fourier", lambda draw, shape, dtype: Fourier(shape, weights(draw, shape, dtype))),
    Entry("Fourier of real images", lambda draw, shape, dtype: Fourier(shape, weights(draw, shape, dtype), real=True)),
    Entry("Fourier of a volume", lambda draw, shape, dtype: Fourier.radial((3, *shape), some(draw, 5), dtype=dtype)),
    Entry("Fourier with coils", lambda draw, shape, dtype: coils(draw, shape, dtype, False)),
    Entry("Fourier of real images with coils", lambda draw, shape, dtype: coils(draw, shape, dtype, True)),
    Entry("Radon", lambda draw, shape, dtype: Radon(shape, some(draw, 9), dtype=dtype)),
    Entry("Wavelet", lambda draw, shape, dtype: wavelet(draw, shape, dtype)),
    Entry("FromCallables", lambda draw, shape, dtype: FromCallables(flipped, flipped, shape, shape, dtype=dtype)),
    Entry("Gradient Neumann", lambda draw, shape, dtype: Gradient(shape)),
    Entry("Gradient periodic", lambda draw, shape, dtype: Gradient(shape, boundary="periodic")),
    Entry("Gradient of a volume", lambda draw, shape, dtype: Gradient((draw(st.integers(1, 4)), *shape))),
)


COMPLEX: tuple[str, ...] = (
    *("Matrix complex", "Fourier", "Fourier of real images", "Fourier of a volume"),
    *("Fourier with coils", "Fourier of real images with coils"),
)  # the entries of complex data


@st.composite
def operators(
    draw: Draw,
    *,
    name: str | Sequence[str] | None = None,
    shape: Shape | None = None,
    dtype: torch.dtype = torch.float64,
    side: int = 7,
) -> LinearOperator:
    """An operator of the market (of the entry or entries ``name``) on images of ``shape``, else of at most ``side``."""
    names = (name,) if isinstance(name, str) else name
    entries = [entry for entry in ENTRIES if names is None or entry.name in names]
    entry = entries[draw(st.integers(0, len(entries) - 1))]
    low = entry.smallest
    height, width = shape or (draw(st.integers(low, max(low, side))), draw(st.integers(low, max(low, side))))
    return entry.build(draw, (height, width), dtype)
