"""The one check every prior makes of its arguments: kinds and shapes only, so ``prox`` never waits for a device."""

from __future__ import annotations

import torch
from torch import Tensor

from pnp.images import check_image


def image_batch(v: Tensor, tau: float | Tensor, *, who: str, ndim: int = 2) -> tuple[Tensor, Tensor]:
    """``v`` as one batch of real images and ``tau`` as one variance an image.

    Shapes: (..., C, H, W) to (B, C, H, W) and a float or (..., 1, 1, 1) to (B, 1, 1, 1); one axis more for volumes.
    Raises: TypeError for integer or complex images; ValueError for other shapes and for a float ``tau`` that is
    negative or NaN (a tensor is not looked into: that would wait for the device).
    """
    check_image(v, who=who, ndim=ndim)
    if v.is_complex():
        raise TypeError(f"{who}: expected a real image, got {v.dtype}; pass real and imaginary part as two channels.")
    if not isinstance(tau, Tensor) and not 0 <= tau < float("inf"):
        raise ValueError(f"{who}: expected a finite variance tau >= 0, got {tau!r}.")
    images = v.reshape(-1, *v.shape[-ndim - 1 :])
    ones = (1,) * (ndim + 1)
    variance = torch.as_tensor(tau, dtype=v.dtype, device=v.device)
    if variance.ndim > v.ndim or variance.ndim and tuple(variance.shape[-ndim - 1 :]) != ones[: variance.ndim]:
        raise ValueError(f"{who}: expected tau to be a number or one per image, got shape {tuple(variance.shape)}.")
    return images, variance.expand(*v.shape[: -ndim - 1], *ones).reshape(-1, *ones)
