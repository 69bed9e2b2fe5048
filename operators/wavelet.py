"""Orthonormal periodic wavelet transform."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pnp.daubechies import inner_roots, low_pass
from pnp.linear_operator import LinearOperator

from .arguments import precision, shape_of, whole
from .cache import Cache

MOST_MOMENTS = 10  # beyond it the roots of the spectral factor lose digits in double precision
LEVELS = 4


class Wavelet(LinearOperator):
    """Coefficients of ``x`` in an orthonormal basis of Daubechies wavelets with ``moments`` vanishing moments.

    An isometry: ``A^H A = A A^H = I``, hence ``A.H`` is synthesis, and every operator composed with it keeps its exact
    solve. ``moments=1`` is Haar's basis. Each level halves the sides, which must be even there.

    Shapes: ``shape`` (H, W) or (D, H, W); ``A x`` has it too, the coarsest part in the first corner (Mallat's layout).
    Raises: ValueError if ``moments`` is not in 1 ... 10 or the sides do not allow ``levels``.
    Source: Daubechies, *Ten Lectures on Wavelets*, 1992, sec. 6.1 (the filters); Mallat, *A Wavelet Tour of Signal
    Processing*, 2009, sec. 7.3 and 7.5.1 (periodic transform).
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        moments: int = 4,
        levels: int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        usage = "Wavelet(shape, moments=4, levels=None)"
        shape = shape_of(shape, usage)
        if levels is not None:
            whole(levels, "levels", usage)
        super().__init__(shape, shape, ndim=len(shape))
        possible = min((n & -n).bit_length() - 1 for n in self.in_shape)  # how often two divides every side
        self.levels = min(possible, LEVELS) if levels is None else levels
        if not 0 <= self.levels <= possible:
            raise ValueError(f"Wavelet: sides {self.in_shape} allow 0 to {possible} levels, got {levels!r}.")
        if moments not in range(1, MOST_MOMENTS + 1):
            raise ValueError(f"Wavelet: expected 1 to {MOST_MOMENTS} vanishing moments, got {moments!r}.")
        self.moments = moments
        # The precision to work in and nothing else: a number rounded to float32 would stay so in double().
        self.register_buffer("precision", torch.zeros((), dtype=precision(dtype, usage)), persistent=False)
        self.precision: Tensor
        self._taps: Cache[Tensor] = Cache()

    @property
    def taps(self) -> Tensor:
        """The low-pass filter."""
        return self._taps.get([self.precision], self._low_pass)

    def _low_pass(self) -> Tensor:
        return torch.from_numpy(low_pass(self.moments, inner_roots(self.moments))).to(self.precision)

    def _forward(self, x: Tensor) -> Tensor:
        for level in range(self.levels):
            part = self._corner(x, level)
            for axis in range(-self.ndim, 0):
                part = self._split(part, axis)
            x = _replace(x, part)
        return x

    def _adjoint(self, y: Tensor) -> Tensor:
        for level in reversed(range(self.levels)):
            part = self._corner(y, level)
            for axis in range(-self.ndim, 0):
                part = self._merge(part, axis)
            y = _replace(y, part)
        return y

    @property
    def row_gram(self) -> float:
        return 1.0

    @property
    def column_gram(self) -> float:
        return 1.0

    def _corner(self, x: Tensor, level: int) -> Tensor:
        for axis, n in zip(range(-self.ndim, 0), self.in_shape, strict=True):
            x = x.narrow(axis, 0, n >> level)
        return x

    def _split(self, x: Tensor, axis: int) -> Tensor:
        """Averages, then details, each at half the length: ``sum_k taps_k x[2 i + k]``, periodic."""
        bands = []
        for filter_taps in self._pair():
            band = torch.zeros_like(x)
            for k, tap in enumerate(filter_taps):
                band = band + tap * x.roll(-k, axis)
            bands.append(_every_other(band, axis))
        return torch.cat(bands, dim=axis)

    def _merge(self, y: Tensor, axis: int) -> Tensor:
        """The transpose of ``_split``."""
        x = torch.zeros_like(y)
        for band, filter_taps in zip(y.chunk(2, axis), self._pair(), strict=True):
            spread = _interleaved(band, axis)
            for k, tap in enumerate(filter_taps):
                x = x + tap * spread.roll(k, axis)
        return x

    def _pair(self) -> tuple[Tensor, Tensor]:
        """The low-pass filter and its mirror, the high-pass one."""
        signs = 1 - 2 * (torch.arange(len(self.taps), device=self.taps.device) % 2)
        return self.taps, signs * self.taps.flip(0)


def _every_other(x: Tensor, axis: int) -> Tensor:
    return x.movedim(axis, -1)[..., ::2].movedim(-1, axis)


def _interleaved(band: Tensor, axis: int) -> Tensor:
    """``band`` with a zero after each entry along ``axis``."""
    last = band.movedim(axis, -1)
    return torch.stack([last, torch.zeros_like(last)], dim=-1).flatten(-2).movedim(-1, axis)


def _replace(x: Tensor, part: Tensor) -> Tensor:
    """``x`` with its first corner replaced."""
    result = x.clone()
    corner = result
    for axis, n in enumerate(part.shape):
        corner = corner.narrow(axis, 0, n)
    corner.copy_(part)
    return result
