"""Dead entries: data of weight zero, which may hold anything, NaN included, and become zero."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}  # by the bytes of a floating-point number


def live_bits(weight: Tensor, *, complex_data: bool = False) -> Tensor:
    """What `clear` needs to know of a weight: all bits set where it is not zero, no bit where it is.

    Shapes: (*weight.shape), with a last dimension of 2 for the parts of complex data.
    """
    bits = torch.where(weight != 0, -1, 0).to(INTEGERS[weight.element_size()])
    return torch.stack([bits, bits], dim=-1) if complex_data else bits


def clear(y: Tensor, bits: Tensor) -> Tensor:
    """``y`` where ``bits`` are set, zero elsewhere, whatever stood there; differentiable, and a new tensor.

    A product with zero would keep NaN, and ``torch.where`` takes ten times as long as this and of bits.

    Shapes: ``y`` (..., *grid); ``bits`` of `live_bits`, made for the precision of ``y``.
    """
    result: Tensor = _Clear.apply(y, bits)  # type: ignore[no-untyped-call]
    return result


class _Clear(torch.autograd.Function):
    """A projection: its own adjoint, hence its own gradient."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, bits: Tensor) -> Tensor:
        ctx.save_for_backward(bits)
        y = y.resolve_conj().resolve_neg()
        result = torch.empty(y.shape, dtype=y.dtype, device=y.device)
        torch.bitwise_and(_integers(y, bits), bits, out=_integers(result, bits))
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (bits,) = ctx.saved_tensors
        return clear(gradients[0], bits), None


def _integers(x: Tensor, bits: Tensor) -> Tensor:
    """The same memory, read as integers."""
    return (torch.view_as_real(x) if x.is_complex() else x).view(bits.dtype)
