"""Pictures and tensors: conversion, shape conventions and the checks made at the public edge."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

ArrayLike = Any  # a torch.Tensor or a NumPy array; what goes in is what comes out


def from_numpy(array: np.ndarray[Any, Any]) -> Tensor:
    """The array as a tensor, sharing memory where torch can: copied if read-only, reversed or of foreign byte order."""
    if array.dtype.kind in "fc" and array.dtype.itemsize > 8 * (1 + (array.dtype.kind == "c")):
        array = array.astype(np.float64 if array.dtype.kind == "f" else np.complex128)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    plain = array.flags.writeable and all(stride >= 0 for stride in array.strides)
    return torch.from_numpy(array if plain else array.copy())


def to_tensor(picture: ArrayLike) -> Tensor:
    """The picture as an image tensor (C, H, W), integers scaled by their type's range to [0, 1].

    Shapes: (H, W) to (1, H, W); (H, W, C) with C = 1, 2, 3 or 4 to (C, H, W). A tensor is taken to be (C, H, W)
        already.
    Raises: TypeError for complex or object arrays, ValueError for other shapes.
    """
    if isinstance(picture, Tensor):
        return picture[None] if picture.ndim == 2 else picture
    array = np.asarray(picture)
    if array.dtype.kind == "b":
        array = array.astype(np.float32)
    elif array.dtype.kind in "ui":
        array = (array / np.iinfo(array.dtype).max).astype(np.float32)
    elif array.dtype.kind != "f":
        raise TypeError(f"to_tensor: expected a picture of floats or integers, got dtype {array.dtype}.")
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 2, 3, 4):
        raise ValueError(f"to_tensor: expected (H, W) or (H, W, C) with at most 4 channels, got {array.shape}.")
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    return from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))


def to_image(image: ArrayLike) -> np.ndarray[Any, Any]:
    """The image tensor as a NumPy picture: (1, H, W) or (H, W) to (H, W); (C, H, W) to (H, W, C).

    Values are kept as they are (floats, not clipped).
    Raises: ValueError if it is a batch of several images.
    """
    tensor = (from_numpy(image) if isinstance(image, np.ndarray) else torch.as_tensor(image)).detach().cpu()
    if tensor.dtype == torch.bfloat16:  # unknown to NumPy
        tensor = tensor.float()
    while tensor.ndim > 3 and tensor.shape[0] == 1:
        tensor = tensor[0]
    if tensor.ndim not in (2, 3):
        raise ValueError(
            f"to_image: expected one image (C, H, W), got {tuple(tensor.shape)}; convert a batch one by one."
        )
    if tensor.ndim == 3:
        tensor = tensor[0] if tensor.shape[0] == 1 else tensor.permute(1, 2, 0)
    return np.ascontiguousarray(tensor.numpy())


def check_image(x: Tensor, *, who: str, ndim: int = 2) -> None:
    """Refuse what is no floating-point image tensor (..., C, H, W); looks at shape and dtype only."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{who}: expected a torch.Tensor, got {type(x).__name__}; pnp.to_tensor converts pictures.")
    if not (x.is_floating_point() or x.is_complex()):
        raise TypeError(f"{who}: expected a floating-point image, got {x.dtype}; pnp.to_tensor converts pictures.")
    if x.ndim < ndim + 1:
        raise ValueError(f"{who}: expected an image (..., C, {'D, ' * (ndim == 3)}H, W), got shape {tuple(x.shape)}.")
    if x.numel() == 0:
        raise ValueError(f"{who}: expected a non-empty image, got shape {tuple(x.shape)}.")


def check_finite(x: Tensor, *, who: str, what: str) -> None:
    """Refuse NaN and inf, naming how many there are. Synchronises with the device: public edge only."""
    finite = torch.isfinite(x)
    if not finite.all():
        raise ValueError(
            f"{who}: {what} has {int((~finite).sum())} NaN or infinite values of {x.numel()}; "
            "replace them, or mark them as missing with a Mask operator."
        )


def batched(v: ArrayLike, *, ndim: int, who: str) -> tuple[Tensor, Callable[[Tensor], ArrayLike]]:
    """``v`` as one batch (B, C, H, W) of floats, and the function that brings a result back to the kind of ``v``."""
    tensor = from_numpy(v) if isinstance(v, np.ndarray) and v.dtype.kind in "fc" else v
    if not isinstance(tensor, Tensor):
        kind = f"array of {v.dtype}" if isinstance(v, np.ndarray) else type(v).__name__
        raise TypeError(
            f"{who}: expected a floating-point tensor or array, got {kind}; pnp.to_tensor converts pictures."
        )
    if tensor.ndim < ndim:
        raise ValueError(f"{who}: expected an image of at least {ndim} dimensions, got shape {tuple(tensor.shape)}.")
    images = tensor if tensor.ndim > ndim else tensor[None]
    check_image(images, who=who, ndim=ndim)
    images = images.reshape(-1, *images.shape[-ndim - 1 :])

    def restore(x: Tensor) -> ArrayLike:
        x = x.reshape(tensor.shape)
        return x.numpy() if isinstance(v, np.ndarray) else x

    return images, restore


def true_images(truth: ArrayLike, images: Tensor, ndim: int, who: str) -> Tensor:
    """``truth`` as a batch beside ``images``. Raises: ValueError for another shape, TypeError for integers."""
    target, _ = batched(truth, ndim=ndim, who=f"{who}, truth")
    if target.shape != images.shape:
        raise ValueError(
            f"{who}: expected truth of the images' shape {tuple(images.shape)}, got {tuple(target.shape)}."
        )
    real = images.real.dtype
    return target.to(images.device, real.to_complex() if target.is_complex() else real)


def precision(images: Tensor) -> torch.dtype:
    """The real type in which ``images`` are computed: their own, but float32 for half types, whose squares overflow."""
    real = images.real.dtype
    return torch.float32 if real in (torch.float16, torch.bfloat16) else real


def per_image(value: float | Tensor, images: Tensor, *, who: str, what: str, ndim: int = 2) -> Tensor:
    """A number, or one per image, as a tensor (B, 1, 1, 1) beside ``images`` (..., C, H, W), in their ``precision``.

    A tensor's values are not looked into: that would wait for the device.
    Raises: TypeError unless it is a real number, tensor or array; ValueError for another shape and for a number that is
    negative, infinite or NaN.
    """
    if not isinstance(value, Real | Tensor | np.ndarray) or isinstance(value, Tensor) and value.is_complex():
        raise TypeError(f"{who}: expected {what} to be a real number or a tensor of one per image, got {value!r}.")
    if isinstance(value, Real) and not 0 <= value < float("inf"):
        raise ValueError(f"{who}: expected {what} to be finite and >= 0, got {value!r}.")
    number = torch.as_tensor(value, dtype=precision(images), device=images.device)
    batch, ones = images.shape[: -ndim - 1], (1,) * (ndim + 1)
    lead = number.shape[: -ndim - 1] if number.shape[-ndim - 1 :] == ones else number.shape
    if number.numel() == 1:
        lead = torch.Size()
    pairs = zip(reversed(lead), reversed(batch), strict=False)
    if len(lead) > len(batch) or any(length not in (1, count) for length, count in pairs):
        raise ValueError(
            f"{who}: expected {what} to be a number or one per image, {(*batch, *ones)}, got shape "
            f"{tuple(number.shape)}."
        )
    return number.reshape(*lead, *ones).expand(*batch, *ones).reshape(-1, *ones)
