"""What constructors refuse: arguments of the wrong kind, most often two that have changed places.

``usage`` is the call as it should be, ``"Decimate(shape, factor)"``: its first word says who refuses, the whole what to
write instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor


def shape_of(value: Any, usage: str, *, name: str = "shape", form: str = "(H, W)") -> tuple[int, ...]:
    """The shape as a tuple of numbers. Raises: TypeError if it is none; whether they are sizes is checked later."""
    if not isinstance(value, Sequence) or not all(is_number(n) for n in value):
        raise TypeError(refusal(usage, f"{name} as a tuple of integers, {form}", value))
    return tuple(value)


def number(value: Any, name: str, usage: str) -> None:
    """Raises: TypeError unless ``value`` is a real number."""
    if not is_number(value):
        raise TypeError(refusal(usage, f"{name} as a number", value))


def whole(value: Any, name: str, usage: str) -> None:
    """Raises: TypeError unless ``value`` is a number, ValueError unless it is a whole one."""
    number(value, name, usage)
    if value != value // 1:
        raise ValueError(refusal(usage, f"{name} as a whole number", value))


def real_tensor(value: Any, name: str, usage: str) -> Tensor:
    """``value``, of floating point. Raises: TypeError unless it is a real tensor."""
    if not isinstance(value, Tensor) or value.is_complex():
        raise TypeError(refusal(usage, f"{name} as a real torch.Tensor", value))
    return value if value.is_floating_point() else value.to(torch.get_default_dtype())


def precision(value: Any, usage: str) -> torch.dtype:
    """The dtype of an operator's real numbers, torch's default for None. Raises: TypeError if it is no real one."""
    if value is None:
        return torch.get_default_dtype()
    if not isinstance(value, torch.dtype) or not value.is_floating_point:
        raise TypeError(refusal(f"{usage[:-1]}, dtype=torch.float32)", "dtype as a floating-point torch.dtype", value))
    return value


def is_number(value: Any) -> bool:
    """Whether ``value`` is a real number, and no truth value."""
    return isinstance(value, Real) and not isinstance(value, bool)


def refusal(usage: str, expected: str, got: Any) -> str:
    """Who, expected, got, remedy."""
    return f"{usage.partition('(')[0]}: expected {expected}, got {_told(got)}; call {usage}."


def _told(value: Any) -> str:
    if isinstance(value, Tensor | np.ndarray):
        return f"{type(value).__name__}{tuple(value.shape)} of {value.dtype}"
    return f"{value!r:.60}" if isinstance(value, str | Real | Sequence | torch.dtype | None) else type(value).__name__
