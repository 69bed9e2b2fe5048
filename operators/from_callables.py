"""Two functions as a linear operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pnp.linear_operator import LinearOperator

from .arguments import refusal, shape_of
from .paired import paired

Map = Callable[[Any], Any]


class FromCallables(LinearOperator):
    """The linear map of two functions, ``A x = forward(x)`` and ``A^H y = adjoint(y)``.

    The functions get and return one item, a tensor or, with ``numpy=True``, an array; ``batched=True`` hands them all
    items at once, (B, *shape). Torch need not see inside: the gradient of either is the other. Run
    ``pnp.testing.check_operator`` once on the result: a wrong adjoint makes every reconstruction wrong, silently.

    ``dtype`` is that of the images, and all arguments and results are in it; None takes what comes.

    Shapes: ``x`` (..., *in_shape), ``A x`` (..., *out_shape).
    Raises: TypeError if they are not callable or return no tensor (array), or ``dtype`` is no real or complex
    one; ValueError if they return another shape.
    """

    def __init__(
        self,
        forward: Map,
        adjoint: Map,
        in_shape: Sequence[int],
        out_shape: Sequence[int],
        *,
        complex_in: bool = False,
        complex_out: bool = False,
        batched: bool = False,
        numpy: bool = False,
        dtype: torch.dtype | None = None,
        ndim: int = 2,
    ) -> None:
        usage = "FromCallables(forward, adjoint, in_shape, out_shape)"
        shapes = shape_of(in_shape, usage, name="in_shape"), shape_of(out_shape, usage, name="out_shape")
        super().__init__(*shapes, complex_in=complex_in, complex_out=complex_out, ndim=ndim)
        for name, function in (("forward", forward), ("adjoint", adjoint)):
            if not callable(function):
                raise TypeError(refusal(usage, f"{name} to be callable", function))
        if dtype is not None and not (isinstance(dtype, torch.dtype) and (dtype.is_floating_point or dtype.is_complex)):
            raise TypeError(
                refusal(f"{usage[:-1]}, dtype=torch.float32)", "dtype as a real or complex torch.dtype", dtype)
            )
        self._functions = forward, adjoint
        self.batched, self.numpy, self._dtype = batched, numpy, dtype

    @classmethod
    def from_deepinv(cls, physics: Any, in_shape: Sequence[int], *, dtype: torch.dtype | None = None) -> FromCallables:
        """A linear deepinv physics, or anything with ``A(x)`` and ``A_adjoint(y)`` on batches (B, *in_shape).

        Raises: TypeError if one of the two is missing.
        """
        for method in ("A", "A_adjoint"):
            if not callable(getattr(physics, method, None)):
                raise TypeError(f"FromCallables.from_deepinv: {type(physics).__name__} has no method {method}.")
        usage = "FromCallables.from_deepinv(physics, in_shape)"
        in_shape = shape_of(in_shape, usage, name="in_shape", form="(C, H, W)")
        buffers = [*physics.buffers(), *physics.parameters()] if isinstance(physics, torch.nn.Module) else []
        anchor = next((t for t in buffers if t.is_floating_point()), torch.zeros((), dtype=dtype))
        with torch.no_grad():
            probe = physics.A(torch.zeros(1, *in_shape, dtype=anchor.dtype, device=anchor.device))
        operator = cls(
            physics.A,
            physics.A_adjoint,
            in_shape,
            tuple(probe.shape[1:]),
            complex_out=probe.is_complex(),
            batched=True,
            dtype=dtype,
            ndim=len(in_shape) - 1,
        )
        if isinstance(physics, torch.nn.Module):  # its buffers move with the operator
            operator.physics = physics
        return operator

    def _forward(self, x: Tensor) -> Tensor:
        return self._apply_to_items(x, 0, self.complex_out)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._apply_to_items(y, 1, self.complex_in)

    @property
    def dtype(self) -> torch.dtype:
        if self._dtype is None:
            return super().dtype
        return self._dtype.to_complex() if self.complex_in else self._dtype.to_real()

    def _apply_to_items(self, x: Tensor, which: int, complex_result: bool) -> Tensor:
        shape = self.out_shape if which else self.in_shape
        items = x.reshape(-1, *shape)
        result = paired(items, self, which)
        dtype = x.dtype.to_complex() if complex_result else x.dtype.to_real()
        return result.to(dtype).reshape(*x.shape[: x.ndim - len(shape)], *result.shape[1:])

    def call(self, items: Tensor, which: int) -> Tensor:
        """One of the two functions on a batch of items, without gradients."""
        function, expected = self._functions[which], self.in_shape if which else self.out_shape
        items = items.detach().clone()  # the functions are free to write into what they get
        if self.batched:
            result = self._checked(function(_out(items, self.numpy)), (len(items), *expected), which)
        else:
            result = torch.stack([self._checked(function(_out(item, self.numpy)), expected, which) for item in items])
        return result.to(items.device)

    def _checked(self, result: Any, expected: tuple[int, ...], which: int) -> Tensor:
        who = f"{self._name}: {'adjoint' if which else 'forward'}"
        kind = np.ndarray if self.numpy else Tensor
        if not isinstance(result, kind):
            raise TypeError(f"{who} must return a {kind.__name__}, got {type(result).__name__}.")
        if tuple(result.shape) != expected:
            raise ValueError(f"{who} must return shape {expected}, got {tuple(result.shape)}.")
        tensor = torch.from_numpy(np.ascontiguousarray(result)) if isinstance(result, np.ndarray) else result
        return tensor.detach()


def _out(x: Tensor, numpy: bool) -> Any:
    return x.resolve_conj().resolve_neg().cpu().numpy() if numpy else x
