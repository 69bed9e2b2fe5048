"""A dense matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .arguments import refusal, shape_of
from .cache import Cache
from .direct import Direct


class Decomposition(NamedTuple):
    """Economy singular value decomposition ``A = U diag(s) V^H``."""

    left: Tensor
    values: Tensor
    right: Tensor  # V^H


class Matrix(Direct):
    """``A x = tensor @ x`` for a dense matrix on the flattened image, real or complex.

    Solved by its singular values, computed once in float64: exact for wide and for tall matrices, and stable in float32
    for every ``rho >= 1e-8 ||A||^2``.

    Shapes: ``tensor`` (m, n) with n the product of ``in_shape``; ``x`` (..., *in_shape), ``A x`` (..., m).
    Raises: ValueError if the shapes do not match or an entry is NaN or infinite.
    """

    def __init__(self, tensor: Tensor, in_shape: Sequence[int]) -> None:
        usage = "Matrix(tensor, in_shape)"
        if not isinstance(tensor, Tensor):
            raise TypeError(refusal(usage, "tensor as a torch.Tensor", tensor))
        in_shape = shape_of(in_shape, usage, name="in_shape")
        tensor = tensor if tensor.is_floating_point() or tensor.is_complex() else tensor.to(torch.get_default_dtype())
        if tensor.ndim != 2 or not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"Matrix: expected a finite matrix, got a tensor of shape {tuple(tensor.shape)}.")
        super().__init__(in_shape, (tensor.shape[0],), complex_in=tensor.is_complex(), complex_out=tensor.is_complex())
        if self.columns != tensor.shape[1]:
            raise ValueError(f"Matrix: {tensor.shape[1]} columns do not match the {self.columns} values of {in_shape}.")
        self.register_buffer("entries", torch.view_as_real(tensor) if tensor.is_complex() else tensor)
        self.entries: Tensor
        self._svd: Cache[Decomposition] = Cache()
        self._power: Cache[float] = Cache()

    @property
    def tensor(self) -> Tensor:
        """The matrix, (m, n)."""
        return torch.view_as_complex(self.entries) if self.complex_in else self.entries

    def _forward(self, x: Tensor) -> Tensor:
        return x.flatten(-len(self.in_shape)) @ self.tensor.mT

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._image(y @ self.tensor.conj())

    def _regularised_inverse(self, r: Tensor, rho: float | Tensor) -> Tensor:
        left, s, right = self._decomposition()
        x = (r @ left.conj() * (s / (s.square() + rho))) @ right.conj()
        return self._image(x)

    def _solve_dual(self, r: Tensor, rho: float | Tensor) -> Tensor:
        left, s, _ = self._decomposition()
        return (r @ left.conj() / (s.square() + rho)) @ left.mT

    def _solve_primal(self, b: Tensor, rho: float | Tensor) -> Tensor:
        _, s, right = self._decomposition()
        rho = rho.reshape(*rho.shape[: max(rho.ndim - len(self.in_shape), 0)], 1) if isinstance(rho, Tensor) else rho
        x = (b.flatten(-len(self.in_shape)) @ right.mT / (s.square() + rho)) @ right.conj()
        return self._image(x)

    def circulant(self) -> float:
        return self._power.get([self.entries], lambda: float(self.entries.square().sum()) / self.columns)

    @property
    def solves_dual(self) -> bool:
        return self.rows <= self.columns

    @property
    def solves_primal(self) -> bool:
        return self.rows >= self.columns

    def norm(self) -> float:
        return float(self._decomposition().values[0])

    def route(self) -> str:
        return "exact: one cached singular value decomposition"

    def _decomposition(self) -> Decomposition:
        return self._svd.get([self.entries], self._decompose)

    def _image(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:-1], *self.in_shape)

    def _decompose(self) -> Decomposition:
        tensor = self.tensor
        double = tensor.to(torch.complex128 if tensor.is_complex() else torch.float64)
        left, s, right = torch.linalg.svd(double, full_matrices=False)
        return Decomposition(left.to(tensor), s.to(self.entries), right.to(tensor))
