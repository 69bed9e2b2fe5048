"""Pixels seen and pixels missing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pnp.noise import scattered_noise

from .arguments import number, precision, real_tensor, refusal, shape_of, whole
from .cache import Cache
from .dead import clear, live_bits
from .direct import Direct
from .interpolation import fill
from .weigh import weigh


class Mask(Direct):
    """``A x = mask * x``: inpainting, or any weight a pixel; the data keep the grid.

    Entries of zero weight are no data: they may hold anything, NaN included, and are counted nowhere.

    Shapes: ``mask`` (H, W), the same for every channel, or (C, H, W); ``x`` and ``A x`` (..., *mask.shape).
    Raises: ValueError if every weight is zero, or one is NaN or infinite.
    """

    def __init__(self, mask: Tensor, *, ndim: int = 2) -> None:
        mask = real_tensor(mask, "mask", "Mask(mask)")
        super().__init__(tuple(mask.shape), tuple(mask.shape), ndim=ndim)
        if not bool(torch.isfinite(mask).all()) or not bool((mask != 0).any()):
            raise ValueError("Mask: expected finite weights, not all of them zero.")
        self.register_buffer("mask", mask)
        self.mask: Tensor
        self._bits: Cache[Tensor] = Cache()
        self._count: Cache[int] = Cache()
        self._power: Cache[float] = Cache()

    @classmethod
    def random(cls, shape: Sequence[int], keep: float, seed: int = 0, *, dtype: torch.dtype | None = None) -> Mask:
        """A share ``keep`` of the pixels, drawn without replacement. Raises: ValueError unless 0 < keep <= 1."""
        shape = shape_of(shape, "Mask.random(shape, keep, seed)")
        return cls(_draw(shape, keep, seed, "random").to(precision(dtype, "Mask.random(shape, keep, seed)")))

    @classmethod
    def lines(cls, shape: Sequence[int], keep: float, seed: int = 0, *, dtype: torch.dtype | None = None) -> Mask:
        """A share ``keep`` of the picture's rows. Raises: ValueError unless 0 < keep <= 1."""
        shape = _picture(shape, "lines")
        kept = _draw((shape[-2],), keep, seed, "lines")
        return cls(kept[:, None].expand(*shape).to(precision(dtype, "Mask.lines(shape, keep, seed)"), copy=True))

    @classmethod
    def blocks(
        cls, shape: Sequence[int], keep: float, seed: int = 0, *, size: int = 8, dtype: torch.dtype | None = None
    ) -> Mask:
        """A share ``keep`` of the blocks of ``size`` pixels a side. Raises: ValueError unless 0 < keep <= 1 <= size."""
        shape = _picture(shape, "blocks")
        whole(size, "size", "Mask.blocks(shape, keep, seed, size=8)")
        if size < 1:
            raise ValueError(f"Mask.blocks: expected size >= 1, got {size!r}.")
        height, width = shape[-2:]
        kept = _draw((-(-height // size), -(-width // size)), keep, seed, "blocks")
        kept = kept.repeat_interleave(size, 0)[:height].repeat_interleave(size, 1)[:, :width]
        return cls(kept.expand(*shape).to(precision(dtype, "Mask.blocks(shape, keep, seed)"), copy=True))

    def _forward(self, x: Tensor) -> Tensor:
        return self.mask * x

    def _adjoint(self, y: Tensor) -> Tensor:
        return weigh(self._live(y), self.mask)

    def _regularised_inverse(self, r: Tensor, rho: float | Tensor) -> Tensor:
        return weigh(self._live(r), self.mask / (self.mask.square() + rho))

    def _solve_dual(self, r: Tensor, rho: float | Tensor) -> Tensor:
        return r / (self.mask.square() + rho)

    def _solve_primal(self, b: Tensor, rho: float | Tensor) -> Tensor:
        return b / (self.mask.square() + rho)

    def _live(self, y: Tensor) -> Tensor:
        """The entries that count, and zero."""
        return clear(y, self._bits.get([self.mask], lambda: live_bits(self.mask)))

    @property
    def row_powers(self) -> Tensor:
        return self.mask.square()

    def circulant(self) -> float:
        return self._power.get([self.mask], lambda: float(self.mask.square().mean()))

    def observed(self) -> Tensor:
        return self.mask != 0

    @property
    def rows(self) -> int:
        return self._count.get([self.mask], lambda: int(torch.count_nonzero(self.mask)))

    def norm(self) -> float:
        return float(self.mask.abs().max())

    def route(self) -> str:
        return "exact: diagonal, a division a pixel"

    @property
    def interpolates(self) -> bool:
        return True

    def start(self, y: Tensor) -> Tensor:
        seen = self.observed()
        values = torch.where(seen, y / torch.where(seen, self.mask, 1), 0)
        return fill(values, seen, ndim=self.ndim)

    def noise_level(self, y: Tensor) -> Tensor | None:
        if self.ndim != 2:
            return None
        if self.mask.ndim == 2:
            return scattered_noise(y, self.mask)
        levels = [scattered_noise(y[..., c, :, :], mask) for c, mask in enumerate(self.mask)]
        return torch.stack(levels, dim=-1)


def _picture(shape: Sequence[int], what: str) -> tuple[int, ...]:
    """A shape of two axes at least."""
    usage = f"Mask.{what}(shape, keep, seed)"
    shape = shape_of(shape, usage)
    if len(shape) < 2:
        raise ValueError(refusal(usage, "shape (..., H, W)", shape))
    return shape


def _draw(shape: tuple[int, ...], keep: float, seed: int, what: str) -> Tensor:
    """True for ``round(keep * n)`` of the entries, at least one."""
    usage = f"Mask.{what}(shape, keep, seed)"
    number(keep, "keep", usage)
    whole(seed, "seed", usage)
    if not 0 < keep <= 1:
        raise ValueError(f"Mask.{what}: expected a share with 0 < keep <= 1, got {keep!r}.")
    kept = torch.zeros(shape, dtype=torch.bool).flatten()
    generator = torch.Generator().manual_seed(seed)
    kept[torch.randperm(len(kept), generator=generator)[: max(round(keep * len(kept)), 1)]] = True
    return kept.reshape(shape)
