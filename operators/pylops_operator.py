"""Any pylops operator as a linear operator of this library."""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.utils.dlpack
from torch import Tensor

from pnp.linear_operator import LinearOperator

from .arguments import refusal, shape_of
from .paired import paired

if TYPE_CHECKING:
    import pylops


class PylopsOperator(LinearOperator):
    """The linear map of a ``pylops`` operator on NumPy or CuPy arrays, one item of the batch at a time.

    Torch cannot see inside, so the gradient of ``forward`` is the adjoint and vice versa. On the CPU tensors and NumPy
    arrays share their memory; on a GPU tensors and CuPy arrays do, where CuPy is installed. Without it, or for an
    operator that itself holds NumPy arrays (``host=True``), tensors travel to the CPU and back.

    Shapes: ``x`` (..., *in_shape), ``A x`` (..., *out_shape), the operator's columns and rows reshaped.
    Raises: ValueError if the shapes do not have as many entries as the operator has columns and rows.
    """

    def __init__(
        self, op: pylops.LinearOperator, in_shape: Sequence[int], out_shape: Sequence[int], *, host: bool = False
    ) -> None:
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
        self.op, self.host = op, host

    def _forward(self, x: Tensor) -> Tensor:
        return self._through(x, 0, self.in_shape, self.out_shape)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._through(y, 1, self.out_shape, self.in_shape)

    @property
    def dtype(self) -> torch.dtype:
        return torch.from_numpy(np.empty(0, dtype=self.op.dtype)).dtype

    def call(self, items: Tensor, which: int) -> Tensor:
        """The operator (0) or its adjoint (1) on a batch of vectors, without gradients."""
        function = self.op.rmatvec if which else self.op.matvec
        items = items.detach().resolve_conj().resolve_neg()
        there, back = (_on_host, _from_host) if self.host else _sharing(items.device)
        results = [back(function(there(item))) for item in items]
        result = results[0][None] if len(results) == 1 else torch.stack(results)  # one item is not copied
        return result.to(items.device, items.dtype)

    def _through(self, x: Tensor, which: int, source: tuple[int, ...], target: tuple[int, ...]) -> Tensor:
        items = paired(x.reshape(-1, math.prod(source)), self, which)
        return items.reshape(*x.shape[: x.ndim - len(source)], *target)


def _on_host(x: Tensor) -> Any:
    return x.cpu().numpy()


def _from_host(array: Any) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))


def _sharing(device: torch.device) -> tuple[Callable[[Tensor], Any], Callable[[Any], Tensor]]:
    """To arrays in the tensors' own memory and back: NumPy's on the CPU, CuPy's on a GPU where it is installed."""
    if device.type != "cuda" or importlib.util.find_spec("cupy") is None:
        return _on_host, _from_host
    cupy: Any = importlib.import_module("cupy")
    return cupy.from_dlpack, lambda array: torch.utils.dlpack.from_dlpack(cupy.ascontiguousarray(array))
