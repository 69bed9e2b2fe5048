"""Any pylops operator as a linear operator of this library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pnp.linear_operator import LinearOperator

from .arguments import refusal, shape_of

if TYPE_CHECKING:
    import pylops

Array = np.ndarray[Any, Any]


class PylopsOperator(LinearOperator):
    """The linear map of a ``pylops`` operator on NumPy arrays, one item of the batch at a time.

    Torch cannot see inside, so the gradient of ``forward`` is the adjoint and vice versa. On the CPU tensors and arrays
    share their memory; elsewhere they travel.

    Shapes: ``x`` (..., *in_shape), ``A x`` (..., *out_shape), the operator's columns and rows reshaped.
    Raises: ValueError if the shapes do not have as many entries as the operator has columns and rows.
    """

    def __init__(self, op: pylops.LinearOperator, in_shape: Sequence[int], out_shape: Sequence[int]) -> None:
        usage = "PylopsOperator(op, in_shape, out_shape)"
        if not all(hasattr(op, name) for name in ("matvec", "rmatvec", "dtype")):
            raise TypeError(refusal(usage, "op as a pylops.LinearOperator", op))
        in_shape = shape_of(in_shape, usage, name="in_shape")
        out_shape = shape_of(out_shape, usage, name="out_shape")
        complex_values = np.issubdtype(np.dtype(op.dtype), np.complexfloating)
        super().__init__(in_shape, out_shape, complex_in=complex_values, complex_out=complex_values)
        entries = (int(np.prod(out_shape)), int(np.prod(in_shape)))
        if tuple(op.shape) != entries:
            raise ValueError(f"{self._name}: the pylops operator has shape {tuple(op.shape)}, expected {entries}.")
        self.op = op

    def _forward(self, x: Tensor) -> Tensor:
        return _apply(self.op.matvec, self.op.rmatvec, x, self.in_shape, self.out_shape)

    def _adjoint(self, y: Tensor) -> Tensor:
        return _apply(self.op.rmatvec, self.op.matvec, y, self.out_shape, self.in_shape)

    @property
    def dtype(self) -> torch.dtype:
        return torch.from_numpy(np.empty(0, dtype=self.op.dtype)).dtype


class _ThroughNumpy(torch.autograd.Function):
    """A linear map on NumPy vectors whose gradient is its adjoint, itself differentiable again."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, there: Callable[[Array], Array], back: Callable[[Array], Array], size: int
    ) -> Tensor:
        ctx.maps = there, back
        ctx.size = x.shape[-1]
        items = x.detach().reshape(-1, x.shape[-1]).cpu().resolve_conj().resolve_neg().numpy()
        results = [np.ascontiguousarray(there(item)) for item in items]
        if len(results) == 1:
            result = torch.from_numpy(results[0])
        else:
            result = torch.from_numpy(np.stack(results))
        return result.reshape(*x.shape[:-1], size).to(x.device, x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        there, back = ctx.maps
        return _ThroughNumpy.apply(gradients[0], back, there, ctx.size), None, None, None  # type: ignore[no-untyped-call]


def _apply(
    there: Callable[[Array], Array],
    back: Callable[[Array], Array],
    x: Tensor,
    source: tuple[int, ...],
    target: tuple[int, ...],
) -> Tensor:
    flat = x.flatten(x.ndim - len(source))
    result: Tensor = _ThroughNumpy.apply(flat, there, back, int(np.prod(target)))  # type: ignore[no-untyped-call]
    return result.reshape(*x.shape[: x.ndim - len(source)], *target)
