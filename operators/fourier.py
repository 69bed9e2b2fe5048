"""Magnetic resonance imaging: some frequencies of an image, by one receiver or many."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from . import sampling
from .arguments import number, precision, real_tensor, refusal, shape_of, whole
from .delegate import Delegate
from .kspace import Coils, OneReceiver

SENSE = "Fourier(shape, mask, sensitivities=sensitivities)"


class Fourier(Delegate):
    """Masked frequencies ``A x = mask * F x``, ``F`` orthonormal; with coils ``(A x)_c = mask * F (s_c x)``.

    Images are complex, as in magnetic resonance; ``real=True`` takes real ones, and the adjoint is then
    ``Re(A^H y)``. With one receiver the solve is exact, for any mask: two transforms. With ``sensitivities`` it is
    conjugate gradients on the image. The data keep the grid of ``torch.fft.fftn``, zero frequency first
    (``torch.fft.ifftshift`` brings centred data there); entries of zero weight are no data: they may hold anything,
    NaN included, and are counted nowhere. ``lines``, ``variable_density``, ``radial`` and ``random`` draw masks.

    Shapes: ``shape`` (H, W) or (D, H, W); ``mask`` that shape, real weights; ``sensitivities`` complex
    (coils, *shape); ``x`` (..., *shape); ``A x`` (..., *shape) or (..., coils, *shape).
    Units: ``A x`` has those of ``x``: noise of standard deviation ``sigma`` in each part of the data is noise of
    ``sigma`` in each part of a fully sampled image.
    Raises: ValueError for shapes that do not fit, a mask without a finite weight other than 0; TypeError for a complex
    mask or real sensitivities.
    Source: Lustig, Donoho & Pauly, *Sparse MRI*, 2007; Pruessmann et al., *SENSE*, 1999.
    """

    def __init__(
        self,
        shape: Sequence[int],
        mask: Tensor | None = None,
        *,
        real: bool = False,
        sensitivities: Tensor | None = None,
    ) -> None:
        usage = "Fourier(shape, mask)"
        shape = shape_of(shape, usage)
        if len(shape) not in (2, 3) or any(n % 1 or n < 1 for n in shape):
            raise ValueError(f"Fourier: expected integers (H, W) or (D, H, W), got {shape}; channels and batch lead.")
        mask = torch.ones(shape) if mask is None else real_tensor(mask, "mask", usage)
        if tuple(mask.shape) != shape:
            raise ValueError(f"Fourier: expected a mask of shape {shape}, got {tuple(mask.shape)}.")
        if not bool(torch.isfinite(mask).all()) or not bool((mask != 0).any()):
            raise ValueError("Fourier: expected finite weights, not all of them zero.")
        if sensitivities is None:
            super().__init__(OneReceiver(mask, real))
            return
        if not isinstance(sensitivities, Tensor) or not sensitivities.is_complex():
            raise TypeError(refusal(SENSE, "sensitivities as a complex torch.Tensor", sensitivities))
        if sensitivities.ndim != len(shape) + 1 or tuple(sensitivities.shape[1:]) != shape:
            raise ValueError(f"Fourier: expected sensitivities (coils, *{shape}), got {tuple(sensitivities.shape)}.")
        super().__init__(Coils(mask.to(sensitivities.real.dtype), sensitivities, real))

    @classmethod
    def lines(
        cls,
        shape: Sequence[int],
        keep: float,
        seed: int = 0,
        *,
        centre: float = 0.08,
        real: bool = False,
        sensitivities: Tensor | None = None,
        dtype: torch.dtype | None = None,
    ) -> Fourier:
        """A share ``keep`` of the Cartesian lines along the last axis, those within radius ``centre`` among them."""
        shape = _drawn(shape, keep, seed, centre, "lines")
        mask = sampling.lines(shape, keep, seed, centre)
        return cls(shape, _weights(mask, dtype), real=real, sensitivities=sensitivities)

    @classmethod
    def variable_density(
        cls,
        shape: Sequence[int],
        keep: float,
        seed: int = 0,
        *,
        centre: float = 0.08,
        real: bool = False,
        sensitivities: Tensor | None = None,
        dtype: torch.dtype | None = None,
    ) -> Fourier:
        """A share ``keep`` of the frequencies, denser towards the centre and complete within radius ``centre``."""
        shape = _drawn(shape, keep, seed, centre, "variable_density")
        mask = sampling.variable_density(shape, keep, seed, centre)
        return cls(shape, _weights(mask, dtype), real=real, sensitivities=sensitivities)

    @classmethod
    def radial(
        cls,
        shape: Sequence[int],
        spokes: int,
        *,
        real: bool = False,
        sensitivities: Tensor | None = None,
        dtype: torch.dtype | None = None,
    ) -> Fourier:
        """Spokes through the centre at even angles, on the nearest grid points; a stack of stars for a volume."""
        usage = "Fourier.radial(shape, spokes)"
        shape = shape_of(shape, usage)
        whole(spokes, "spokes", usage)
        if any(n % 1 or n < 1 for n in shape) or len(shape) < 2:
            raise ValueError(refusal(usage, "shape as integers (H, W) or (D, H, W)", shape))
        if spokes < 1:
            raise ValueError(f"Fourier.radial: expected at least one spoke, got {spokes!r}.")
        return cls(shape, _weights(sampling.radial(shape, spokes), dtype), real=real, sensitivities=sensitivities)

    @classmethod
    def random(
        cls,
        shape: Sequence[int],
        keep: float,
        seed: int = 0,
        *,
        real: bool = False,
        sensitivities: Tensor | None = None,
        dtype: torch.dtype | None = None,
    ) -> Fourier:
        """A share ``keep`` of the frequencies: the zero frequency, and others each with the same chance.

        For studies: most of a picture's energy lies in the few low frequencies that such a mask mostly misses.
        """
        shape = _drawn(shape, keep, seed, 0.0, "random")
        return cls(shape, _weights(sampling.uniform(shape, keep, seed), dtype), real=real, sensitivities=sensitivities)

    @property
    def mask(self) -> Tensor:
        """The weight of each frequency."""
        return self.engine.get_buffer("mask")


def _weights(mask: Tensor, dtype: torch.dtype | None) -> Tensor:
    return mask.to(precision(dtype, "Fourier.lines(shape, keep, seed)"))


def _drawn(shape: Sequence[int], keep: float, seed: int, centre: float, what: str) -> tuple[int, ...]:
    """The shape, once the arguments of a random mask are of the right kinds."""
    usage = f"Fourier.{what}(shape, keep, seed)"
    shape = shape_of(shape, usage)
    if len(shape) < 2 or any(n % 1 or n < 1 for n in shape):
        raise ValueError(refusal(usage, "shape (H, W) or (D, H, W) of integers", shape))
    number(keep, "keep", usage)
    number(centre, "centre", f"{usage[:-1]}, centre=0.08)")
    whole(seed, "seed", usage)
    return shape
