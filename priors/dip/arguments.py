"""What the deep image prior is called with: refused where wrong, and said in its name where not the default."""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Iterator
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pnp.checkpoint import fingerprint
from pnp.data_terms import DataTerm
from pnp.images import ArrayLike, check_finite, from_numpy


def not_default(record: Any, default: Any) -> Iterator[tuple[str, str]]:
    """Names and values of the fields that differ from a default record, those of nested records among them."""
    for field in dataclasses.fields(record):
        value, usual = getattr(record, field.name), getattr(default, field.name)
        if dataclasses.is_dataclass(value):
            yield from not_default(value, usual)
        elif isinstance(value, nn.Module):  # checkpoints must tell apart what has the same name
            yield field.name, f"{type(value).__name__}#{fingerprint([value])[:8]}"
        elif value != usual:
            yield field.name, repr(value)


def one_of(what: str, value: Any, names: tuple[str, ...]) -> None:
    """Refuse an unknown name."""
    if value not in names:
        raise ValueError(f"DeepImagePrior: {what} must be one of {names}, got {value!r}.")


def number(what: str, value: Any, end: float) -> None:
    """Refuse what is no number in [0, end)."""
    if not isinstance(value, Real):
        raise TypeError(f"DeepImagePrior: {what} must be a number, got {value!r}.")
    if not 0 <= float(value) < end:
        expected = "finite and >= 0" if math.isinf(end) else f"in [0, {end:g})"
        raise ValueError(f"DeepImagePrior: {what} must be {expected}, got {value!r}.")


def whole(what: str, value: Any, least: int | None = None) -> int:
    """The integer, NumPy's too."""
    try:
        n = operator.index(value)
    except TypeError:
        raise TypeError(f"DeepImagePrior: {what} must be a whole number, got {value!r}.") from None
    if least is not None and n < least:
        raise ValueError(f"DeepImagePrior: {what} must be >= {least}, got {value!r}.")
    return n


def range_of(pair: Any, what: str = "bounds") -> tuple[float, float]:
    """Two finite numbers, the lower one first."""
    message = f"DeepImagePrior: {what} must be two finite numbers (low, high), low < high; got {pair!r}."
    if not isinstance(pair, tuple | list) or len(pair) != 2 or not all(isinstance(end, Real) for end in pair):
        raise ValueError(message if what == "limits" else f"{message[:-1]}, or 'auto' or None.")
    low, high = float(pair[0]), float(pair[1])
    if not (low < high and math.isfinite(high - low)):
        raise ValueError(message)
    return low, high


def trainable(value: Any) -> Any:
    """Apart from the user's own graph; tensors made in inference mode are copied, since none of them can be fitted."""
    if not isinstance(value, Tensor):
        return value
    return value.detach().clone() if value.is_inference() else value.detach()


def true_images(truth: ArrayLike, term: DataTerm) -> Tensor:
    """``truth`` as a batch beside the data."""
    full = from_numpy(truth) if isinstance(truth, np.ndarray) and truth.dtype.kind in "fc" else torch.as_tensor(truth)
    if not (full.is_floating_point() or full.is_complex()):
        raise TypeError(
            f"DeepImagePrior.fit: expected truth of floating-point values, got {full.dtype}; pnp.to_tensor converts "
            "pictures."
        )
    if tuple(full.shape) != term.shape:
        raise ValueError(f"DeepImagePrior.fit: expected truth of shape {term.shape}, got {tuple(full.shape)}.")
    check_finite(full, who="DeepImagePrior.fit", what="truth")
    channels = term.data.shape[1 : term.data.ndim - len(term.operator.out_shape)]
    images: Tensor = trainable(full).to(term.data.device)
    return images.reshape(term.data.shape[0], *channels, *term.operator.in_shape)
