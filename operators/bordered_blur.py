"""Convolution of a picture that does not wrap: the border is padded by a rule, or unknown and estimated too."""

from __future__ import annotations

from types import EllipsisType

import torch
from torch import Tensor

from pnp.cosine import filter_cosines

from .cache import Cache
from .circular_blur import items, wrap
from .few_digits import FewDigits

BOUNDARIES = ("valid", "zero", "replicate", "reflect", "symmetric")


def border_index(n: int, before: int, after: int, boundary: str) -> Tensor:
    """Which of ``n`` pixels stands at each place of a padded axis; -1 for zero.

    ``reflect`` does not repeat the edge pixel (as in torch and NumPy), ``symmetric`` does.
    """
    places = torch.arange(-before, n + after)
    if boundary == "valid":
        return torch.arange(n)
    if boundary == "zero":
        return torch.where((places >= 0) & (places < n), places, -1)
    if boundary == "replicate":
        return places.clamp(0, n - 1)
    if boundary == "symmetric":
        folded = places % (2 * n)
        return torch.minimum(folded, 2 * n - 1 - folded)
    folded = places % max(2 * (n - 1), 1)
    return torch.minimum(folded, 2 * (n - 1) - folded).clamp_min(0)


def border_matrix(profile: Tensor, n: int, boundary: str) -> Tensor:
    """The matrix of a one-dimensional convolution with that border."""
    size = len(profile)
    index = border_index(n, size - 1 - size // 2, size // 2, boundary)
    m = len(index) - size + 1
    rows = torch.arange(m)[:, None].expand(m, size)
    taps = index[torch.arange(m)[:, None] + torch.arange(size)]
    rows, taps = rows.to(profile.device), taps.to(profile.device)
    matrix = profile.new_zeros(m, n + 1)  # the last column collects what falls on zeros
    matrix.index_put_((rows, torch.where(taps < 0, n, taps)), profile.flip(0).expand(m, size), accumulate=True)
    return matrix[:, :n].contiguous()


class BorderedBlur(FewDigits):
    """Convolution ``A x = valid(kernel * padded(x))`` with any kernel; CG, preconditioned on the larger periodic grid.

    Where the border repeats pixels and the kernel is even along each axis, the cosine transform preconditions better.

    Shapes: ``kernel`` (..., h, w), origin at its centre pixel; ``x`` (..., H, W); ``A x`` the same, or
    (..., H - h + 1, W - w + 1) with ``boundary="valid"``.
    Source: Hansen, Nagy & O'Leary, *Deblurring Images*, SIAM 2006, ch. 3; the grid of the unknown border: Almeida &
    Figueiredo, *Deconvolving images with unknown boundaries using ADMM*, 2013; cosines: Ng, Chan & Tang, *A fast
    algorithm for deblurring models with Neumann boundary conditions*, 1999.
    """

    def __init__(self, kernel: Tensor, shape: tuple[int, ...], boundary: str, *, ndim: int = 2) -> None:
        sizes, grid = kernel.shape[-ndim:], shape[-ndim:]
        out = tuple(n - size + 1 for n, size in zip(grid, sizes, strict=True)) if boundary == "valid" else grid
        super().__init__(shape, (*shape[:-ndim], *out), ndim=ndim)
        self.lead = items(kernel, shape)
        self._keep(kernel)
        self.boundary, self.sizes, self.axes = boundary, tuple(sizes), tuple(range(-ndim, 0))
        for axis, (n, size) in enumerate(zip(grid, sizes, strict=True)):
            index = border_index(n, size - 1 - size // 2, size // 2, boundary)
            self.register_buffer(f"index{axis}", index, persistent=False)
        self.padded = tuple(_fast(n + size - 1) for n, size in zip(out, sizes, strict=True))
        self._transfer: Cache[Tensor] = Cache()
        self._power: Cache[Tensor] = Cache()
        self._mirrored: Cache[Tensor | None] = Cache()

    def _keep(self, kernel: Tensor) -> None:
        self.register_buffer("kernel", kernel)

    def _point_spread(self) -> Tensor:
        return self.get_buffer("kernel")

    def _forward(self, x: Tensor) -> Tensor:
        return self._filter(self._spectrum(), self._pad(x))[self._crop()]

    def _adjoint(self, y: Tensor) -> Tensor:
        z = y.new_zeros(*y.shape[: -self.ndim], *self.padded)
        z[self._crop()] = y
        return self._unpad(self._filter(self._spectrum().conj(), z))

    def circulant(self) -> Tensor:
        grid = self.in_shape[-self.ndim :]
        return self._power.get(
            self._tensors(), lambda: torch.fft.rfftn(wrap(self._point_spread(), grid), dim=self.axes).abs().square()
        )

    def _precondition_dual(self, r: Tensor, rho: float | Tensor) -> Tensor:
        mirrored = self._mirrored.get(self._tensors(), self._mirrored_power)
        if mirrored is not None:
            return filter_cosines(r, 1 / (mirrored + rho), self.ndim)
        z = r.new_zeros(*r.shape[: -self.ndim], *self.padded)
        z[self._crop()] = r
        return self._filter(1 / (self._spectrum().abs().square() + rho), z)[self._crop()]

    def _precondition_primal(self, b: Tensor, rho: float | Tensor) -> Tensor:
        return self._precondition_dual(b, rho) if self.boundary == "zero" else b

    def _mirrored_power(self) -> Tensor | None:
        """Eigenvalues of ``A A^H`` in the cosine basis, were the border symmetric; None where no cosines come near."""
        if self.boundary in ("valid", "zero") or not even(self._point_spread(), self.ndim):
            return None
        return mirrored_spectrum(self._point_spread(), self.in_shape[-self.ndim :]).square()

    def _spectrum(self) -> Tensor:
        return self._transfer.get(
            self._tensors(), lambda: torch.fft.rfftn(self._point_spread(), s=self.padded, dim=self.axes)
        )

    def _filter(self, gain: Tensor, z: Tensor) -> Tensor:
        result: Tensor = torch.fft.irfftn(
            gain * torch.fft.rfftn(z, s=self.padded, dim=self.axes), s=self.padded, dim=self.axes
        )
        return result

    def _crop(self) -> tuple[EllipsisType | slice, ...]:
        grid = self.out_shape[-self.ndim :]
        return (..., *(slice(size - 1, size - 1 + n) for n, size in zip(grid, self.sizes, strict=True)))

    def _indices(self) -> list[Tensor]:
        return [self.get_buffer(f"index{axis}") for axis in range(self.ndim)]

    def _pad(self, x: Tensor) -> Tensor:
        if self.boundary == "valid":
            return x
        if self.boundary == "zero":
            pads = [(size - 1 - size // 2, size // 2) for size in reversed(self.sizes)]
            return torch.nn.functional.pad(x, [n for pair in pads for n in pair])
        for axis, index in zip(self.axes, self._indices(), strict=True):
            x = x.index_select(axis, index)
        return x

    def _unpad(self, z: Tensor) -> Tensor:
        grid = self.in_shape[-self.ndim :]
        for axis, index, n in zip(self.axes, self._indices(), grid, strict=True):
            z = z.narrow(axis, 0, len(index))
            if self.boundary == "zero":
                z = z.narrow(axis, self.sizes[axis] - 1 - self.sizes[axis] // 2, n)
            elif self.boundary != "valid":
                shape = list(z.shape)
                shape[axis] = n
                z = z.new_zeros(shape).index_add(axis, index, z)
        return z


def even(kernel: Tensor, ndim: int) -> bool:
    """Whether the kernel is its own mirror image, to rounding, in each of the last ``ndim`` axes."""
    odd = all(size % 2 for size in kernel.shape[-ndim:])  # else the origin is not in the middle
    bound = 4 * torch.finfo(kernel.dtype).eps * float(kernel.abs().max())
    return odd and all(bool(((kernel - kernel.flip(axis)).abs() <= bound).all()) for axis in range(-ndim, 0))


def mirrored_spectrum(kernel: Tensor, grid: tuple[int, ...]) -> Tensor:
    """Real spectrum of an even kernel on twice the grid, on which a symmetric border is a periodic one."""
    double = tuple(2 * n for n in grid)
    spectrum: Tensor = torch.fft.rfftn(wrap(kernel, double), dim=tuple(range(-len(grid), 0)))
    return spectrum.real


def _fast(n: int) -> int:
    """The next length that the FFT does quickly: no prime factor above 5."""
    while True:
        rest = n
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return n
        n += 1
