"""The nearest thing that other libraries offer for an operator, on the same float32 data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import pnp

from .other_denoisers import installed
from .other_libraries import deepinv_calls, kernel_of, scico_calls

Array = np.ndarray[Any, Any]
Call = Callable[[], object]
LARGEST_MATRIX = 64  # side above which a dense matrix of patterns does not fit


def equivalents(name: str, A: pnp.LinearOperator, x: torch.Tensor) -> dict[str, dict[str, Call]]:
    """By library: its calls for "forward" and, where it has them, "adjoint" and "data step"."""
    found = {} if x.is_cuda else _on_processor(name, A, np.ascontiguousarray(x.cpu().numpy()), x)
    for library, calls in (("deepinv", deepinv_calls), ("scico", scico_calls)):
        if installed(library) and (theirs := calls(name, A, x)):
            found[library] = theirs
    return found


def _on_processor(name: str, A: pnp.LinearOperator, picture: Array, x: torch.Tensor) -> dict[str, dict[str, Call]]:
    if name.endswith("blur"):
        return {"scipy.fft": _fourier_blur(A, picture), "scipy.signal": _direct_blur(A, picture)}
    if name.endswith("mask"):
        mask = np.asarray(A.observed().cpu().numpy()).astype(np.float32)  # type: ignore[union-attr]
        return {"numpy": {"forward": lambda: mask * picture, "adjoint": lambda: mask * picture}}
    if name == "demosaicking":
        return {"numpy": _mosaic(A, picture)}
    if name == "single pixel" and picture.shape[-1] <= LARGEST_MATRIX:
        return {"dense matmul": _dense(A, x)}
    if name == "single pixel":
        return {"scipy.fft DCT": _cosine(picture)}
    if name.startswith("super-resolution"):
        return {"skimage resize": _resize(picture, int(name[-1]))}
    if name == "MRI":
        return {"scipy.fft": _fourier(A, x)}
    if name == "tomography":
        return {"skimage radon": _radon(picture, 60)}
    return {}


def _fourier_blur(A: pnp.LinearOperator, picture: Array) -> dict[str, Call]:
    """Two transforms with the kernel's spectrum at hand, and the division of the data step."""
    from scipy import fft

    delta = torch.zeros(A.in_shape)
    delta[0, 0] = 1
    spectrum = fft.rfft2(A.forward(delta.to(A.device)).cpu().numpy())
    gain = np.abs(spectrum) ** 2 + np.float32(0.01)
    known = spectrum.conj() * fft.rfft2(picture)  # of the data: the same in every step

    def forward() -> object:
        return fft.irfft2(spectrum * fft.rfft2(picture), s=picture.shape)

    def adjoint() -> object:
        return fft.irfft2(spectrum.conj() * fft.rfft2(picture), s=picture.shape)

    def data_step() -> object:
        return fft.irfft2((known + np.float32(0.01) * fft.rfft2(picture)) / gain, s=picture.shape)

    return {"forward": forward, "adjoint": adjoint, "data step": data_step}


def _direct_blur(A: pnp.LinearOperator, picture: Array) -> dict[str, Call]:
    """What most people write: the kernel as an array, zero borders."""
    from scipy import signal

    kernel = kernel_of(A).cpu().numpy()
    return {"forward": lambda: signal.fftconvolve(picture, kernel, mode="same")}


def _mosaic(A: pnp.LinearOperator, picture: Array) -> dict[str, Call]:
    """Indexing by the colour of each pixel."""
    colour = A.get_buffer("colour").cpu().numpy()
    mosaic, filters = np.take_along_axis(picture, colour, 0), colour == np.arange(3)[:, None, None]
    return {"forward": lambda: np.take_along_axis(picture, colour, 0), "adjoint": lambda: np.where(filters, mosaic, 0)}


def _dense(A: pnp.LinearOperator, x: torch.Tensor) -> dict[str, Call]:
    """The patterns as a matrix, as single-pixel papers write them."""
    matrix = A.to_dense().cpu().numpy()
    image, data = x.cpu().numpy().ravel(), A.forward(x).cpu().numpy().ravel()
    return {"forward": lambda: matrix @ image, "adjoint": lambda: matrix.T @ data}


def _cosine(picture: Array) -> dict[str, Call]:
    """A cosine transform of the same length: as many operations, and a vendor-tuned library."""
    from scipy import fft

    return {"forward": lambda: fft.dct(picture.ravel(), norm="ortho"), "adjoint": lambda: fft.idct(picture.ravel())}


def _resize(picture: Array, factor: int) -> dict[str, Call]:
    from skimage.transform import resize

    shape = tuple(n // factor for n in picture.shape)
    return {"forward": lambda: resize(picture, shape, order=3, anti_aliasing=True)}


def _fourier(A: pnp.LinearOperator, x: torch.Tensor) -> dict[str, Call]:
    from scipy import fft

    mask = A.observed()
    weight = 1.0 if mask is None else mask.cpu().numpy().astype(np.float32)
    image, data = x.cpu().numpy(), A.forward(x).cpu().numpy()
    return {
        "forward": lambda: weight * fft.fft2(image, norm="ortho"),
        "adjoint": lambda: fft.ifft2(weight * data, norm="ortho"),
    }


def _radon(picture: Array, angles: int) -> dict[str, Call]:
    from skimage.transform import iradon, radon

    theta = np.arange(angles) * 180 / angles
    sinogram = radon(picture, theta, circle=False)
    return {
        "forward": lambda: radon(picture, theta, circle=False),
        "adjoint": lambda: iradon(sinogram, theta, filter_name=None, circle=False),
    }
