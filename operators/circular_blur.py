"""Periodic convolution, diagonal in Fourier space."""

from __future__ import annotations

import torch
from torch import Tensor

from pnp.linear_operator import LinearOperator
from pnp.tikhonov import align, by_parts

from .cache import Cache
from .spectral_start import noise_level, wiener
from .weigh import weigh


def wrap(kernel: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The kernel on a periodic grid, its centre pixel at the origin; a larger kernel wraps."""
    for axis, n in enumerate(shape, start=-len(shape)):
        size = kernel.shape[axis]
        index = (torch.arange(size, device=kernel.device) - size // 2) % n
        target = list(kernel.shape)
        target[axis] = n
        kernel = kernel.new_zeros(target).index_add(axis, index, kernel)
    return kernel


def items(kernel: Tensor, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The ``lead`` of a convolution of images of ``shape`` by one kernel an item: the kernel's dimensions before it."""
    return tuple(kernel.shape[: max(kernel.ndim - len(shape), 0)])


class CircularBlur(LinearOperator):
    """Periodic convolution ``A x = kernel * x``; its solve costs three real FFTs.

    Shapes: ``kernel`` (..., h, w), origin at its centre pixel ``(h // 2, w // 2)``; leading dimensions broadcast
    against those of ``x``.
    Source: Hansen, Nagy & O'Leary, *Deblurring Images*, SIAM 2006, ch. 4.
    """

    def __init__(self, kernel: Tensor, shape: tuple[int, ...], *, ndim: int = 2) -> None:
        super().__init__(shape, shape, ndim=ndim, lead=items(kernel, shape))
        self.register_buffer("kernel", kernel)
        self.kernel: Tensor
        self._spectrum: Cache[Tensor] = Cache()
        self.axes = tuple(range(-ndim, 0))

    def spectrum(self) -> Tensor:
        grid = self.in_shape[-self.ndim :]
        return self._spectrum.get([self.kernel], lambda: torch.fft.rfftn(wrap(self.kernel, grid), dim=self.axes))

    def _forward(self, x: Tensor) -> Tensor:
        return self._inverse(weigh(self._transform(x), self.spectrum()))

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._inverse(weigh(self._transform(y), self.spectrum().conj()))

    def _tikhonov(
        self, y: Tensor, rho: float | Tensor, v: Tensor | None, tol: float | None, start: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        if y.is_complex() or v is not None and v.is_complex():
            return by_parts(self, y, rho, v, tol), None
        h, rho = self.spectrum(), align(self, rho, self.in_shape)
        residual = self._transform(y) if v is None else self._transform(y) - weigh(self._transform(v), h)
        step = self._inverse(weigh(weigh(residual, h.conj()), 1 / (h.abs().square() + rho)))
        return (step if v is None else v + step), None  # a correction of v keeps v's digits in float32

    def start(self, y: Tensor) -> Tensor:
        if y.is_complex():
            return torch.complex(self.start(y.real), self.start(y.imag))
        return wiener(y, self.spectrum(), self.ndim)

    def noise_level(self, y: Tensor) -> Tensor | None:
        return None if y.is_complex() else noise_level(y, self.spectrum(), self.ndim, len(self.out_shape))

    def _transform(self, x: Tensor) -> Tensor:
        z: Tensor = torch.fft.rfftn(x, dim=self.axes)
        return z

    def _inverse(self, z: Tensor) -> Tensor:
        x: Tensor = torch.fft.irfftn(z, s=self.in_shape[-self.ndim :], dim=self.axes)
        return x
