"""A pair of linear maps that torch differentiates through each other."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor


class Pair(Protocol):
    """``call(x, 0)`` is the forward map, ``call(y, 1)`` its adjoint; neither needs a graph."""

    def call(self, items: Tensor, which: int) -> Tensor:
        """One of the two maps on a batch of items."""
        ...


class _Paired(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, items: Tensor, pair: Pair, which: int) -> Tensor:
        ctx.pair, ctx.which, ctx.complex = pair, which, items.is_complex()
        return pair.call(items, which)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        result = paired(gradients[0], ctx.pair, 1 - ctx.which)
        return (result if ctx.complex or not result.is_complex() else result.real), None, None


def paired(items: Tensor, pair: Pair, which: int) -> Tensor:
    """``pair.call(items, which)``, with the other map as its gradient, itself differentiable again."""
    result: Tensor = _Paired.apply(items, pair, which)  # type: ignore[no-untyped-call]
    return result
