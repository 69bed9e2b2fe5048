"""Convolution of a mirrored picture with a kernel that is its own mirror image: diagonal in the cosine basis."""

from __future__ import annotations

import torch
from torch import Tensor

from pnp.cosine import filter_cosines

from .bordered_blur import BorderedBlur, mirrored_spectrum
from .cache import Cache
from .direct import Direct


class MirroredBlur(Direct, BorderedBlur):
    """A `BorderedBlur` with ``boundary="symmetric"`` and a kernel even along each axis: its solve is exact.

    Shapes: ``kernel`` (..., h, w), both odd; only one corner of it is kept, and its mirror images are the rest.
    Source: Ng, Chan & Tang, *A fast algorithm for deblurring models with Neumann boundary conditions*, 1999.
    """

    def __init__(self, kernel: Tensor, shape: tuple[int, ...], *, ndim: int = 2) -> None:
        super().__init__(kernel, shape, "symmetric", ndim=ndim)
        self._cosines: Cache[Tensor] = Cache()

    def _keep(self, kernel: Tensor) -> None:
        for axis in range(-self.ndim, 0):
            kernel = kernel.narrow(axis, kernel.shape[axis] // 2, kernel.shape[axis] // 2 + 1)
        self.register_buffer("corner", kernel.clone())

    def _point_spread(self) -> Tensor:
        kernel = self.get_buffer("corner")
        for axis in range(-self.ndim, 0):
            mirrored = kernel.narrow(axis, 1, kernel.shape[axis] - 1).flip(axis)
            kernel = torch.cat([mirrored, kernel], dim=axis)
        return kernel

    def _regularised_inverse(self, r: Tensor, rho: float | Tensor) -> Tensor:
        gain = self._eigenvalues()
        return filter_cosines(r, gain / (gain.square() + rho), self.ndim)

    def _solve_dual(self, r: Tensor, rho: float | Tensor) -> Tensor:
        return filter_cosines(r, 1 / (self._eigenvalues().square() + rho), self.ndim)

    def _solve_primal(self, b: Tensor, rho: float | Tensor) -> Tensor:
        return self._solve_dual(b, rho)  # A is symmetric

    def norm(self) -> float:
        return float(self._eigenvalues().abs().max())

    def route(self) -> str:
        return "exact: diagonal in cosine space, two FFTs"

    def _eigenvalues(self) -> Tensor:
        grid = self.in_shape[-self.ndim :]
        return self._cosines.get(self._tensors(), lambda: mirrored_spectrum(self._point_spread(), grid))
