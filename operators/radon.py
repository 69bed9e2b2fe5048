"""Tomography with parallel beams."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from pnp.linear_operator import LinearOperator

from .arguments import is_number, precision, real_tensor, refusal, shape_of, whole
from .cache import Cache
from .paired import paired
from .strips import Strips, strips, tiles
from .views import Views, views

MOST_KEPT = 1 << 26  # pixels x angles whose matrix is kept, 2.5 GB in float32; beyond it they are made when needed
FLOOR = 3e-3  # of the largest eigenvalue: few views leave out frequencies that the circulant, an average, cannot tell
AT_ONCE = 1 << 24  # pixels x angles made at a time


class Radon(LinearOperator):
    """Parallel-beam projections ``(A x)(theta, s)``: integrals of ``x`` over strips of unit width.

    A pixel is a square, a beam a strip, and the weights are their exact overlaps: every view conserves the image's
    sum, and the adjoint is the exact transpose. ``angles`` are in degrees; at 0 the beams run down the columns, and
    the source turns counter-clockwise. Conjugate gradients on the image are preconditioned by the circulant nearest
    to ``A^H A``, a ramp filter fitted to the angles there are; ``start`` is the filtered backprojection.

    Shapes: ``shape`` (H, W); ``x`` (..., H, W); ``A x`` (..., len(angles), detectors), one detector a pixel of
    the diagonal unless given, their middle below the image's.
    Units: ``A x`` has those of ``x`` times pixel widths.
    Raises: ValueError if there are no angles, one is not finite, or ``detectors`` is below 1.
    Source: Kak & Slaney, *Principles of Computerized Tomographic Imaging*, 1988, ch. 3; Chan, *An Optimal Circulant
    Preconditioner for Toeplitz Systems*, 1988.
    """

    def __init__(
        self,
        shape: Sequence[int],
        angles: Tensor | Sequence[float] | int,
        *,
        detectors: int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        usage = "Radon(shape, angles)"
        shape = shape_of(shape, usage)
        if len(shape) != 2:
            raise ValueError(f"Radon: expected shape (H, W), got {shape}; slices of a volume lead.")
        given = tuple(angles.shape) if isinstance(angles, Tensor) else angles
        if isinstance(angles, int):
            angles = torch.arange(max(angles, 0)) * (180 / max(angles, 1))
        elif not isinstance(angles, Tensor) and not (isinstance(angles, Sequence) and all(map(is_number, angles))):
            raise TypeError(refusal(usage, "angles as their number or a vector of degrees", angles))
        degrees = real_tensor(torch.as_tensor(angles), "angles", usage)
        degrees = degrees if dtype is None else degrees.to(precision(dtype, usage))
        if degrees.ndim != 1 or len(degrees) == 0 or not bool(torch.isfinite(degrees).all()):
            raise ValueError(f"Radon: expected a vector of finite angles in degrees, got {given}.")
        count = math.ceil(math.hypot(*shape)) if detectors is None else detectors
        whole(count, "detectors", "Radon(shape, angles, detectors=None)")
        if count < 1:
            raise ValueError(f"Radon: expected at least one detector, got {detectors!r}.")
        super().__init__(shape, (len(degrees), count))
        self.register_buffer("angles", degrees)
        self.angles: Tensor
        self._shared: Cache[Views] = Cache()
        self._kept: Cache[list[Strips]] = Cache()
        self._ramp: Cache[Tensor] = Cache()
        self._norm: Cache[float] = Cache()

    def _forward(self, x: Tensor) -> Tensor:
        return self._through(x, 0)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._through(y, 1)

    def call(self, items: Tensor, which: int) -> Tensor:
        """The projection (0) or the backprojection (1) of flat items (n, pixels) or (n, rays)."""
        shared, count = self._views(), len(items)
        if not which:
            images = shared.spread(items)
            seen = torch.cat([block.matrix @ images for block in self._blocks()])
            return seen.reshape(len(seen), count, -1).transpose(0, 1).flatten(1).index_select(1, shared.place)
        seen = items.new_zeros(count, len(shared.angles) * self.out_shape[1] * shared.mirrors)
        seen = seen.index_add(1, shared.place, items).reshape(count, -1, shared.mirrors).transpose(0, 1).flatten(1)
        images, first = items.new_zeros(self.columns, count * shared.mirrors), 0
        for block in self._blocks():
            last = first + block.transpose.shape[1]
            images.addmm_(block.transpose, seen[first:last])
            first = last
        return shared.gather(images)

    def norm(self) -> float:
        return self._norm.get([self.angles], super().norm)

    def circulant(self) -> Tensor:
        return self._ramp.get([self.angles], self._nearest_circulant)

    def start(self, y: Tensor) -> Tensor:
        """The filtered backprojection, scaled to the data."""
        if y.is_complex():
            return torch.complex(self.start(y.real), self.start(y.imag))
        size = 2 * self.out_shape[-1]  # room for the ramp's tails: no wrap-around
        filtered = torch.fft.irfft(_ramp(size).to(y) * torch.fft.rfft(y, n=size, dim=-1), n=size, dim=-1)
        x = self._adjoint(filtered[..., : self.out_shape[-1]])
        shadow = self._forward(x)
        power = shadow.square().sum(dim=(-2, -1), keepdim=True).clamp_min(torch.finfo(y.dtype).tiny)
        return (shadow * y).sum(dim=(-2, -1), keepdim=True) / power * x

    def __repr__(self) -> str:
        return f"Radon({self.in_shape[0]}x{self.in_shape[1]}, {self.out_shape[0]} views)"

    def _through(self, x: Tensor, which: int) -> Tensor:
        source, target = (self.out_shape, self.in_shape) if which else (self.in_shape, self.out_shape)
        items = paired(x.reshape(-1, math.prod(source)), self, which)
        return items.reshape(*x.shape[:-2], *target)

    def _blocks(self) -> Iterable[Strips]:
        if self.columns * len(self._views().angles) <= MOST_KEPT:
            return self._kept.get([self.angles], lambda: list(self._make_blocks()))
        return self._make_blocks()

    def _make_blocks(self) -> Iterator[Strips]:
        height, width = self.in_shape
        pixels = tiles((height, width), self.angles.device)
        for angles in torch.split(self._views().angles, max(AT_ONCE // self.columns, 1)):
            yield strips((height, width), pixels, angles, self.out_shape[1], self.angles.dtype, self.angles.device)

    def _views(self) -> Views:
        return self._shared.get([self.angles], self._share)

    def _share(self) -> Views:
        height, width = self.in_shape
        return views(self.angles, self.out_shape[1], (height, width), tiles((height, width), self.angles.device))

    def _nearest_circulant(self) -> Tensor:
        """Spectrum of the circulant nearest to ``A^H A``, were that Toeplitz with its middle column; never negative."""
        height, width = self.in_shape
        impulse = torch.zeros(self.in_shape, dtype=self.angles.dtype, device=self.angles.device)
        impulse[height // 2, width // 2] = 1
        column = self._adjoint(self._forward(impulse))
        for axis, n in enumerate(self.in_shape):  # lag d stands on n - |d| of the n diagonals' places: Chan, eq. 4
            lag = (torch.arange(n, dtype=column.dtype, device=column.device) - n // 2).abs()
            column = column * (1 - lag / n).reshape(-1, *(1,) * (1 - axis))
        kernel = column.roll((-(height // 2), -(width // 2)), (0, 1))
        power: Tensor = torch.fft.rfftn(kernel, dim=(-2, -1)).real
        return power.clamp_min(FLOOR * float(power.max()))


def _ramp(size: int) -> Tensor:
    """Gain of the band-limited ramp filter at the frequencies of ``rfft``, from its taps in space.

    Source: Kak & Slaney, *Principles of Computerized Tomographic Imaging*, 1988, eq. 3.61: no error at frequency 0.
    """
    n = (torch.fft.fftfreq(size, dtype=torch.float64) * size).round()
    taps = torch.where(n % 2 == 1, -1 / (math.pi * torch.where(n == 0, 1, n)).square(), 0)
    taps[0] = 0.25
    gain: Tensor = 2 * torch.fft.rfft(taps).real
    return gain
