"""Frequencies of an image seen by one receiver (an exact solve) or several coils (an iterative one)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pnp.linear_operator import LinearOperator

from .cache import Cache
from .dead import clear, live_bits
from .direct import Direct
from .sampling import radius
from .weigh import weigh

OUTER = 0.1  # share of the frequencies, the highest measured, in which an image may have faded below the noise
FEWEST = 60  # below this many the two medians of the band are too uncertain


class OneReceiver(Direct):
    """``A x = mask * F x``, ``F`` the orthonormal Fourier transform of the last axes.

    ``A^H A`` is diagonal in Fourier space with entries ``mask_k^2``; for real images, on which the adjoint is
    ``Re(F^H y)``, with ``(mask_k^2 + mask_-k^2) / 2``.
    """

    def __init__(self, mask: Tensor, real: bool) -> None:
        shape = tuple(mask.shape)
        super().__init__(shape, shape, complex_in=not real, complex_out=True, ndim=len(shape))
        self.register_buffer("mask", mask)
        self.mask: Tensor
        self.axes = tuple(range(-len(shape), 0))
        self._bits: Cache[Tensor] = Cache()
        self._power_cache: Cache[Tensor] = Cache()
        self._facts: Cache[tuple[int, float, float]] = Cache()

    def _forward(self, x: Tensor) -> Tensor:
        return weigh(torch.fft.fftn(x, dim=self.axes, norm="ortho"), self.mask)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._image(weigh(self._live(y), self.mask))

    def _regularised_inverse(self, r: Tensor, rho: float | Tensor) -> Tensor:
        r = self._live(r)  # the name lets go of what it held: two images of memory
        return self._image(weigh(r, self.mask / (self._power() + rho)))

    def _solve_dual(self, r: Tensor, rho: float | Tensor) -> Tensor:
        return r / (self.mask.square() + rho)

    def _solve_primal(self, b: Tensor, rho: float | Tensor) -> Tensor:
        return self._image(weigh(torch.fft.fftn(b, dim=self.axes, norm="ortho"), 1 / (self._power() + rho)))

    @property
    def solves_dual(self) -> bool:
        return self.complex_in  # a mask and its mirror mix the data of real images

    @property
    def column_gram(self) -> float | None:
        _, low, high = self._counted()
        return high if low == high else None

    @property
    def row_gram(self) -> float | None:
        return self.column_gram if self.complex_in else None

    def circulant(self) -> Tensor | float | None:
        if self.complex_in:
            return None
        return self._power()[..., : self.in_shape[-1] // 2 + 1]

    def observed(self) -> Tensor:
        return self.mask != 0

    @property
    def rows(self) -> int:
        return self._counted()[0]

    def norm(self) -> float:
        return math.sqrt(self._counted()[2])

    def route(self) -> str:
        return "exact: A^H A is diagonal in Fourier space, two FFTs"

    def noise_level(self, y: Tensor) -> Tensor | None:
        return fading_noise(y, self.mask)

    def _image(self, z: Tensor) -> Tensor:
        x: Tensor = torch.fft.ifftn(z, dim=self.axes, norm="ortho")
        return x if self.complex_in else x.real

    def _live(self, y: Tensor) -> Tensor:
        return clear(y, self._bits.get([self.mask], lambda: live_bits(self.mask, complex_data=True)))

    def _power(self) -> Tensor:
        return self._power_cache.get([self.mask], self._compute_power)

    def _compute_power(self) -> Tensor:
        power = self.mask.square()
        if self.complex_in:
            return power
        return (power + power.flip(self.axes).roll((1,) * len(self.axes), self.axes)) / 2

    def _counted(self) -> tuple[int, float, float]:
        def count() -> tuple[int, float, float]:
            power = self._power()
            return int(torch.count_nonzero(self.mask)), float(power.min()), float(power.max())

        return self._facts.get([self.mask], count)


class Coils(LinearOperator):
    """``(A x)_c = mask * F (sensitivity_c * x)``: parallel imaging, one picture an element of the array.

    Shapes: ``sensitivities`` complex (coils, *shape), kept as a real buffer (coils, *shape, 2).
    Source: Pruessmann et al., *Advances in Sensitivity Encoding with Arbitrary k-Space Trajectories*, 2001.
    """

    def __init__(self, mask: Tensor, sensitivities: Tensor, real: bool) -> None:
        shape = tuple(mask.shape)
        super().__init__(shape, tuple(sensitivities.shape), complex_in=not real, complex_out=True, ndim=len(shape))
        self.register_buffer("mask", mask)
        self.register_buffer("parts", torch.view_as_real(sensitivities.resolve_conj()).contiguous())
        self.mask: Tensor
        self.parts: Tensor
        self.axes = tuple(range(-len(shape), 0))
        self._bits: Cache[Tensor] = Cache()
        self._diagonal: Cache[Tensor] = Cache()
        self._count: Cache[int] = Cache()

    @property
    def sensitivities(self) -> Tensor:
        """The complex maps (coils, *shape)."""
        return torch.view_as_complex(self.parts)

    def _forward(self, x: Tensor) -> Tensor:
        seen = self.sensitivities * x.unsqueeze(-self.ndim - 1)
        return weigh(torch.fft.fftn(seen, dim=self.axes, norm="ortho"), self.mask)

    def _adjoint(self, y: Tensor) -> Tensor:
        y = clear(y, self._bits.get([self.mask], lambda: live_bits(self.mask, complex_data=True)))
        seen = torch.fft.ifftn(weigh(y, self.mask), dim=self.axes, norm="ortho")
        x: Tensor = (self.sensitivities.conj() * seen).sum(dim=-self.ndim - 1)
        return x if self.complex_in else x.real

    def _precondition_primal(self, b: Tensor, rho: float | Tensor) -> Tensor:
        return b / (self._diagonal.get([self.mask, self.parts], self._compute_diagonal) + rho)

    def _compute_diagonal(self) -> Tensor:  # of A^H A
        return self.mask.square().mean() * self.parts.square().sum(dim=(0, -1))

    def _on_the_data_side(self) -> bool:
        return False  # coils overlap: their data are close to dependent, the image is not

    def observed(self) -> Tensor:
        return (self.mask != 0).expand(self.out_shape)

    @property
    def rows(self) -> int:
        return self.out_shape[0] * self._count.get([self.mask], lambda: int(torch.count_nonzero(self.mask)))

    def noise_level(self, y: Tensor) -> Tensor | None:
        level = fading_noise(y, self.mask)  # one a coil
        return None if level is None else level.square().mean(dim=-1).sqrt()


def fading_noise(y: Tensor, mask: Tensor) -> Tensor | None:
    """Noise of each part, read in the highest measured frequencies; None unless the image has faded there.

    ``s^2 = median(|y|^2) / (2 ln 2)``: the squared modulus of complex white noise is exponentially distributed. The
    band counts as faded if another of its size, a little lower, has no more power, beyond what chance allows.

    Shapes: ``y`` (..., *mask.shape) to (...).
    """
    measured = (mask != 0).flatten().nonzero().flatten()
    order = radius(mask.shape).to(mask.device).flatten()[measured].argsort()
    size = int(OUTER * len(order))
    if size < FEWEST:
        return None
    power = y.flatten(-mask.ndim)[..., measured[order]].abs().square()
    high, low = (part.median(dim=-1).values for part in (power[..., -size:], power[..., -2 * size : -size]))
    chance = 1 + 4 * math.sqrt(2 / size) / math.log(2)  # 4 standard deviations of the ratio of two such medians
    if not bool((low <= chance * high).all()):
        return None
    return (high / (2 * math.log(2))).sqrt()
