"""The checks that priors share: of a call of ``prox``, in which no device is waited for, and of settings."""

from __future__ import annotations

import math
from numbers import Integral

from torch import Tensor

from pnp.images import check_image, per_image, precision


def image_batch(v: Tensor, tau: float | Tensor, *, who: str, ndim: int = 2) -> tuple[Tensor, Tensor]:
    """``v`` as one batch of real images and ``tau`` as one variance an image, both in float32 for half precision.

    Shapes: (..., C, H, W) to (B, C, H, W) and a float or (..., 1, 1, 1) to (B, 1, 1, 1); one axis more for volumes.
    Raises: TypeError for integer or complex images and for a ``tau`` that is no number; ValueError for other shapes and
    for a float ``tau`` that is negative or NaN (a tensor is not looked into: that would wait for the device).
    """
    check_image(v, who=who, ndim=ndim)
    if v.is_complex():
        raise TypeError(f"{who}: expected a real image, got {v.dtype}; pass real and imaginary part as two channels.")
    images = v.reshape(-1, *v.shape[-ndim - 1 :]).to(precision(v))
    return images, per_image(tau, v, who=who, what="tau", ndim=ndim)


def whole(value: int, *, least: int, who: str, what: str) -> int:
    """``value``, a setting that counts something.

    Raises: TypeError unless it is a whole number, ValueError if it is below ``least``.
    """
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"{who}: {what} must be a whole number, got {value!r}.")
    if value < least:
        raise ValueError(f"{who}: {what} must be >= {least}, got {value!r}.")
    return int(value)


def interval(lo: float, hi: float, *, who: str) -> tuple[float, float]:
    """``lo`` and ``hi`` with finite numbers between them, or one that both are. Raises: ValueError otherwise."""
    if not (lo <= hi and lo < math.inf and hi > -math.inf):
        raise ValueError(f"{who}: expected bounds lo <= hi that admit a finite value, got lo = {lo!r} and hi = {hi!r}.")
    return float(lo), float(hi)
