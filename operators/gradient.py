"""Finite differences along each axis, solved exactly by FFT (periodic) or cosine transform (Neumann)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pnp.circulant import divide
from pnp.cosine import filter_cosines
from pnp.linear_operator import LinearOperator

from .arguments import shape_of


class Gradient(LinearOperator):
    """Forward differences ``(A x)_k = x[.. i_k + 1 ..] - x[.. i_k ..]`` of an image or a volume, one component an axis.

    At the last pixel of an axis the Neumann difference is zero, the periodic one wraps. Both solves are exact.

    Shapes: ``x`` (..., H, W) or (..., D, H, W); ``A x`` (..., 2, H, W) or (..., 3, D, H, W).
    Units: ``A x`` in those of ``x`` per pixel.
    Raises: ValueError if the shape is not of two or three axes, or for an unknown boundary.
    Source: Chambolle, *An Algorithm for Total Variation Minimization and Applications*, 2004, sec. 2; for the cosine
    transform Strang, *The Discrete Cosine Transform*, 1999.
    """

    def __init__(self, shape: Sequence[int], *, boundary: str = "neumann") -> None:
        shape = shape_of(shape, 'Gradient(shape, boundary="neumann")')
        if len(shape) not in (2, 3):
            raise ValueError(f"Gradient: expected shape (H, W) or (D, H, W), got {shape}; others lead.")
        if boundary not in ("neumann", "periodic"):
            raise ValueError(f"Gradient: expected boundary 'neumann' or 'periodic', got {boundary!r}.")
        super().__init__(shape, (len(shape), *shape), ndim=len(shape))
        self.boundary = boundary

    def _forward(self, x: Tensor) -> Tensor:
        return torch.stack([self._difference(x, axis) for axis in self._axes()], dim=-self.ndim - 1)

    def _adjoint(self, y: Tensor) -> Tensor:
        parts = [self._back(part, axis) for part, axis in zip(y.unbind(-self.ndim - 1), self._axes(), strict=True)]
        return torch.stack(parts).sum(dim=0)

    def _solve_primal(self, b: Tensor, rho: float | Tensor) -> Tensor:
        power = self._eigenvalues(b, mirrored=self.boundary == "neumann") + rho
        return divide(b, power, self.ndim) if self.boundary == "periodic" else filter_cosines(b, 1 / power, self.ndim)

    def norm(self) -> float:
        """The largest singular value, from the eigenvalues ``2 - 2 cos`` of the second difference along each axis."""
        if self.boundary == "periodic":
            angles = [2 * math.pi * (n // 2) / n for n in self.in_shape]
        else:
            angles = [math.pi * (n - 1) / n for n in self.in_shape]
        return math.sqrt(sum(2 - 2 * math.cos(angle) for angle in angles))

    def route(self) -> str:
        transform = "Fourier" if self.boundary == "periodic" else "cosine"
        return f"exact: A^H A is diagonal in {transform} space, two FFTs"

    def __repr__(self) -> str:
        return f"{self._name.removesuffix(')')}, {self.boundary})"

    def _axes(self) -> range:
        return range(-self.ndim, 0)

    def _difference(self, x: Tensor, axis: int) -> Tensor:
        if self.boundary == "periodic":
            return x.roll(-1, axis) - x
        inner = x.narrow(axis, 1, x.shape[axis] - 1) - x.narrow(axis, 0, x.shape[axis] - 1)
        return torch.cat([inner, torch.zeros_like(x.narrow(axis, 0, 1))], dim=axis)

    def _back(self, y: Tensor, axis: int) -> Tensor:
        if self.boundary == "periodic":
            return y.roll(1, axis) - y
        inner, edge = y.narrow(axis, 0, y.shape[axis] - 1), torch.zeros_like(y.narrow(axis, 0, 1))
        return torch.cat([edge, inner], dim=axis) - torch.cat([inner, edge], dim=axis)

    def _eigenvalues(self, like: Tensor, *, mirrored: bool) -> Tensor:
        """Eigenvalues of ``A^H A`` on the half grid of ``rfftn``."""
        total = torch.zeros((), dtype=like.dtype, device=like.device)
        for axis, n in zip(self._axes(), self.in_shape, strict=True):
            length = 2 * n if mirrored else n
            k = torch.arange(length // 2 + 1 if axis == -1 else length, dtype=like.dtype, device=like.device)
            values = 4 * torch.sin(math.pi * k / length).square()
            total = total + values.reshape(-1, *(1,) * (-1 - axis))
        return total
