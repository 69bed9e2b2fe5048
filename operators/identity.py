"""The identity: denoising as an inverse problem."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pnp.linear_operator import LinearOperator

from .arguments import shape_of


class Identity(LinearOperator):
    """``A x = x``: the data are the image itself, in any dtype and on any device.

    Shapes: ``x`` and ``A x`` (..., *shape).
    """

    def __init__(self, shape: Sequence[int], *, ndim: int = 2) -> None:
        shape = shape_of(shape, "Identity(shape)")
        super().__init__(shape, shape, ndim=ndim)

    def _forward(self, x: Tensor) -> Tensor:
        return x.clone()  # never an alias: whoever writes into the data must not change the image

    def _adjoint(self, y: Tensor) -> Tensor:
        return y.clone()

    @property
    def row_gram(self) -> float:
        return 1.0

    @property
    def column_gram(self) -> float:
        return 1.0

    @property
    def multiple(self) -> float:
        return 1.0

    def spectrum(self) -> Tensor | None:
        if len(self.in_shape) < self.ndim:
            return None
        *lead, last = self.in_shape[-self.ndim :]
        return torch.ones(*lead, last // 2 + 1, dtype=self.dtype, device=self.device)

    def start(self, y: Tensor) -> Tensor:
        return y
