"""Blur: convolution with any kernel and any border."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import EllipsisType

import torch
from torch import Tensor

from pnp.linear_operator import LinearOperator

from . import kernels
from .arguments import real_tensor, refusal, shape_of
from .bordered_blur import BOUNDARIES, BorderedBlur, even
from .channels import Channels
from .circular_blur import CircularBlur
from .delegate import Delegate
from .kronecker import LONGEST
from .mirrored_blur import MirroredBlur
from .separable_blur import SeparableBlur
from .spectral_start import cropped_noise_level

USAGE = "Blur(kernel, shape, boundary)"


class Blur(Delegate):
    """Convolution ``A x = kernel * x``.

    ``boundary`` says what lies outside the picture: ``"circular"`` wraps it, ``"zero"``, ``"replicate"``, ``"reflect"``
    (edge pixel not repeated, as in torch and NumPy) and ``"symmetric"`` (repeated) pad it, and ``"valid"`` makes no
    assumption: only pixels whose whole neighbourhood lies inside ``shape`` are data, so there are fewer data than
    unknowns. Photographs are ``valid``; `for_data` builds their operator. The solve is exact for circular borders,
    for separable kernels, and for even kernels with a symmetric border; otherwise it is CG, preconditioned by FFTs.

    Shapes: ``kernel`` (h, w), origin at its centre pixel ``(h // 2, w // 2)``; (C, h, w) holds one kernel a channel and
    (B, 1 or C, h, w) one a batch item. ``shape`` (H, W) or (C, H, W) of the unknown image. With ``ndim=3`` kernels are
    (d, h, w) and shapes (D, H, W).
    Units: ``A x`` has the units of ``x`` when the kernel sums to one.
    Raises: ValueError for an unknown boundary, a kernel that does not fit ``shape``, or has NaN or infinite values.
    Source: Hansen, Nagy & O'Leary, *Deblurring Images*, SIAM 2006, ch. 3 and 4.
    """

    def __init__(self, kernel: Tensor, shape: Sequence[int], boundary: str = "circular", *, ndim: int = 2) -> None:
        kernel, shape = real_tensor(kernel, "kernel", USAGE), shape_of(shape, USAGE)
        _check(kernel, shape, boundary, ndim)
        if kernel.ndim > ndim and kernel.shape[-ndim - 1] > 1 and len(shape) == ndim:
            shape = (kernel.shape[-ndim - 1], *shape)
        if kernel.ndim == ndim + 2 and kernel.shape[0] == 1:
            kernel = kernel[0]
        if kernel.ndim == ndim + 1 and kernel.shape[0] == 1:
            kernel = kernel[0]
        super().__init__(_engine(kernel, shape, boundary, ndim))
        self.boundary = boundary

    @classmethod
    def gaussian(
        cls,
        sigma: float | Sequence[float],
        shape: Sequence[int],
        boundary: str = "circular",
        *,
        ndim: int = 2,
        dtype: torch.dtype | None = None,
    ) -> Blur:
        """Gaussian blur of standard deviation ``sigma`` pixels, cut at 4 sigma; the kernel sums to one."""
        shape = shape_of(shape, "Blur.gaussian(sigma, shape)")
        return cls(kernels.gaussian(sigma, ndim=ndim, dtype=dtype), shape, boundary, ndim=ndim)

    @classmethod
    def motion(
        cls,
        length: float,
        angle: float,
        shape: Sequence[int],
        boundary: str = "circular",
        *,
        dtype: torch.dtype | None = None,
    ) -> Blur:
        """Motion blur over ``length`` pixels at ``angle`` degrees, counter-clockwise from the horizontal."""
        shape = shape_of(shape, "Blur.motion(length, angle, shape)")
        return cls(kernels.motion(length, angle, dtype=dtype), shape, boundary)

    @classmethod
    def disk(
        cls, radius: float, shape: Sequence[int], boundary: str = "circular", *, dtype: torch.dtype | None = None
    ) -> Blur:
        """Defocus by a uniform disk of ``radius`` pixels."""
        shape = shape_of(shape, "Blur.disk(radius, shape)")
        return cls(kernels.disk(radius, dtype=dtype), shape, boundary)

    @classmethod
    def for_data(cls, kernel: Tensor, data_shape: Sequence[int], *, ndim: int = 2) -> Blur:
        """The ``valid`` operator of a photograph of ``data_shape``; its image is larger by the kernel less one."""
        usage = "Blur.for_data(kernel, data_shape)"
        kernel, data_shape = real_tensor(kernel, "kernel", usage), shape_of(data_shape, usage, name="data_shape")
        if min(kernel.ndim, len(data_shape)) < ndim:
            raise ValueError(refusal(usage, f"a kernel and a data_shape of {ndim} axes", (*kernel.shape, data_shape)))
        grid = tuple(n + size - 1 for n, size in zip(data_shape[-ndim:], kernel.shape[-ndim:], strict=True))
        return cls(kernel, (*data_shape[:-ndim], *grid), "valid", ndim=ndim)

    def start(self, y: Tensor) -> Tensor:
        if self.boundary == "circular":
            return self.engine.start(y)
        if self.lead:  # the norm is that of the largest item
            return self._item_by_item(lambda A, part: A.start(part), y)
        flat = y.reshape(-1, 1, *self.out_shape[-self.ndim :])
        pads = [(n - m - (n - m) // 2, (n - m) // 2) for n, m in zip(self.in_shape, self.out_shape, strict=True)]
        widths = [n for pair in reversed(pads[-self.ndim :]) for n in pair]
        v = torch.nn.functional.pad(flat, widths, mode="replicate").reshape(
            *y.shape[: -self.ndim], *self.in_shape[-self.ndim :]
        )
        return self._tikhonov(y, 1e-2 * self.norm() ** 2, v, 1e-3, None)[0]

    def noise_level(self, y: Tensor) -> Tensor | None:
        if self.lead:  # a frequency that one kernel destroys may pass another
            return self._item_by_item(_one_level, y)
        if self.boundary == "circular" or y.is_complex():
            return self.engine.noise_level(y)
        flat = self.engine.noise_level(y)
        impulse = torch.zeros(self.in_shape, dtype=y.dtype, device=y.device)
        centre: tuple[EllipsisType | int, ...] = (..., *(n // 2 for n in self.in_shape[-self.ndim :]))
        impulse[centre] = 1
        level = cropped_noise_level(y, self._forward(impulse), self.ndim, len(self.out_shape))
        if level is None or flat is None:
            return flat if level is None else level
        flat = flat.square().reshape(*level.shape, -1).mean(dim=-1).sqrt()  # one number an item, channels alike
        return torch.where(level.isnan(), flat, level)

    def _take(self, keep: Tensor) -> LinearOperator:
        kernel = self.engine.get_buffer("kernel")
        return Blur(kernel[keep], self.in_shape, self.boundary, ndim=self.ndim)

    def __repr__(self) -> str:
        return f"{self._name[:-1]}, {self.boundary})"


def _one_level(A: LinearOperator, y: Tensor) -> Tensor:
    """The noise level of each item, its channels alike; NaN where ``A`` lets none be told."""
    lead = y.shape[: y.ndim - len(A.out_shape)]
    level = A.noise_level(y)
    return y.new_full(lead, math.nan) if level is None else level.square().reshape(*lead, -1).mean(dim=-1).sqrt()


def _engine(kernel: Tensor, shape: tuple[int, ...], boundary: str, ndim: int) -> LinearOperator:
    if boundary == "circular":
        return CircularBlur(kernel, shape, ndim=ndim)
    if kernel.ndim == ndim + 1 and max(shape[-ndim:]) <= LONGEST and all(kernels.separate(k) for k in kernel):
        return Channels([_engine(k, shape[1:], boundary, ndim) for k in kernel])
    profiles = kernels.separate(kernel) if kernel.ndim == ndim and max(shape[-ndim:]) <= LONGEST else None
    if profiles is not None:
        return SeparableBlur([profile.to(kernel) for profile in profiles], shape, boundary)
    if boundary == "symmetric" and kernel.ndim <= ndim + 1 and even(kernel, ndim):
        return MirroredBlur(kernel, shape, ndim=ndim)
    return BorderedBlur(kernel, shape, boundary, ndim=ndim)


def _check(kernel: Tensor, shape: tuple[int, ...], boundary: str, ndim: int) -> None:
    if ndim not in (1, 2, 3):
        raise ValueError(f"Blur: expected ndim to be 1, 2 or 3, got {ndim!r}.")
    if any(n % 1 or n < 1 for n in shape):
        raise ValueError(refusal(USAGE, "shape as positive integers, (H, W)", shape))
    if boundary != "circular" and boundary not in BOUNDARIES:
        raise ValueError(f"Blur: expected a boundary out of circular, {', '.join(BOUNDARIES)}, got {boundary!r}.")
    if not ndim <= kernel.ndim <= ndim + 2 or not ndim <= len(shape) <= ndim + 1 or kernel.numel() == 0:
        raise ValueError(
            f"Blur: expected a kernel with {ndim} to {ndim + 2} dimensions and a shape with {ndim} or {ndim + 1}, "
            f"got {tuple(kernel.shape)} and {shape}; volumes need ndim=3."
        )
    if not bool(torch.isfinite(kernel).all()):
        raise ValueError("Blur: the kernel has NaN or infinite values.")
    channels = kernel.shape[-ndim - 1] if kernel.ndim > ndim else 1
    if channels > 1 and len(shape) > ndim and shape[0] != channels:
        raise ValueError(f"Blur: {channels} kernels do not match the {shape[0]} channels of {shape}.")
    if boundary == "valid" and any(n < size for n, size in zip(shape[-ndim:], kernel.shape[-ndim:], strict=True)):
        raise ValueError(
            f"Blur: a valid border needs images no smaller than the kernel {tuple(kernel.shape)}, got {shape}."
        )
