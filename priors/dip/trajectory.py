"""How a fit proceeds: error, distance of the weights and frequency bands along the iterations."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from .stopping import View

BANDS = 5  # rings of a fifth of the half-width each, as Shi et al. draw them
PER_DECADE = 12


def rings(shape: tuple[int, int], bands: int = BANDS, *, device: torch.device | None = None) -> Tensor:
    """Index of the ring of every Fourier mode of ``rfft2``, ``bands`` for modes outside the inscribed circle.

    Shapes: (H, W // 2 + 1).
    """
    rows = torch.fft.fftfreq(shape[0], device=device)[:, None]
    columns = torch.fft.rfftfreq(shape[1], device=device)
    radius = (rows.square() + columns.square()).sqrt() * 2  # 1 at the half-width
    index: Tensor = (radius * bands).floor().long().clamp_max(bands)
    return index


def band_correspondence(x: Tensor, reference: Tensor, bands: int = BANDS) -> Tensor:
    """Frequency-band correspondence: mean over each ring of ``min(|F x| / |F reference|, 1)``.

    A ratio of magnitudes that ignores the phase: 1 when the band has reached the reference's size.
    Shapes: (C, H, W), channels averaged first, to (bands,).
    Raises: ValueError unless both are images (C, H, W) of one shape.
    Source: Shi, Mettes, Maji & Snoek, *On Measuring and Controlling the Spectral Bias of the Deep Image Prior*, 2022.
    """
    _check_pair(x, reference, "band_correspondence")
    a, b = (torch.fft.rfft2(t.double().mean(dim=0)).abs() for t in (x, reference))
    ratio = (a / b.clamp_min(torch.finfo(b.dtype).tiny)).clamp_max(1)
    return _per_ring(ratio, x, bands) / _per_ring(torch.ones_like(ratio), x, bands)


def band_error(x: Tensor, reference: Tensor, bands: int = BANDS) -> Tensor:
    """Relative error of each ring, phase included: ``||F x - F reference||^2 / ||F reference||^2``.

    Shapes: (C, H, W) to (bands,).
    Raises: ValueError unless both are images (C, H, W) of one shape.
    """
    _check_pair(x, reference, "band_error")
    a, b = (torch.fft.rfft2(t.double()) for t in (x, reference))
    error, size = ((t.abs().square()).sum(dim=0) for t in (a - b, b))
    return _per_ring(error, x, bands) / _per_ring(size, x, bands)


def band_gain(x: Tensor, reference: Tensor, bands: int = BANDS) -> Tensor:
    """How much of each ring of ``reference`` is in ``x``: ``Re <F x, F reference> / ||F reference||^2``.

    The gain of a filter if ``x`` is ``reference`` filtered; with ``x`` the error of an estimate and ``reference`` the
    noise of its data, the share of the noise that was fitted.
    Shapes: (C, H, W) to (bands,).
    Raises: ValueError unless both are images (C, H, W) of one shape.
    """
    _check_pair(x, reference, "band_gain")
    a, b = (torch.fft.rfft2(t.double()) for t in (x, reference))
    product, size = (t.sum(dim=0) for t in ((a * b.conj()).real, b.abs().square()))
    return _per_ring(product, x, bands) / _per_ring(size, x, bands)


def _check_pair(x: Tensor, reference: Tensor, who: str) -> None:
    if x.ndim != 3 or x.shape != reference.shape:
        raise ValueError(
            f"{who}: expected two images (C, H, W) of one shape, got {tuple(x.shape)} and {tuple(reference.shape)}."
        )


def multiplicity(width: int, like: Tensor) -> Tensor:
    """How many modes of ``fft2`` a column of ``rfft2`` stands for. Shapes: (width // 2 + 1,)."""
    twice = torch.full((width // 2 + 1,), 2.0, dtype=like.dtype, device=like.device)
    twice[0] = 1
    if width % 2 == 0:
        twice[-1] = 1
    return twice


def _per_ring(values: Tensor, x: Tensor, bands: int) -> Tensor:
    """Sum over the modes of each ring, a mode of ``rfft2`` counted as often as it stands for one of ``fft2``."""
    height, width = x.shape[-2:]
    index = rings((height, width), bands, device=x.device)
    twice = multiplicity(width, values)
    total = torch.zeros(bands + 1, dtype=values.dtype, device=x.device)
    return total.index_add(0, index.flatten(), (values * twice).flatten())[:bands]


@dataclasses.dataclass(frozen=True)
class Curves:
    """What a trajectory recorded; one row per look.

    ``psnr`` and ``average_psnr`` are of the raw output and of the running average; ``bands`` the correspondence and
    ``band_errors`` the phase-aware error of the raw output against the reference; ``distance`` is how far the weights
    are from their start, ``||theta - theta_0||``; ``noise_gains`` is the share of the noise that the raw output holds,
    NaN where the noise is not known.
    """

    iterations: Tensor
    loss: Tensor
    psnr: Tensor
    average_psnr: Tensor
    distance: Tensor
    bands: Tensor
    band_errors: Tensor
    noise_gains: Tensor

    def columns(self) -> dict[str, list[float]]:
        """Every curve by name, bands counted from 1, the lowest: columns of a table."""
        named: dict[str, list[float]] = {}
        for field in dataclasses.fields(self):
            values, name = getattr(self, field.name).double(), field.name.replace("_", " ")
            if values.ndim == 1:
                named[name] = values.tolist()
            else:
                named |= {f"{name.removesuffix('s')} {i}": column.tolist() for i, column in enumerate(values.T, 1)}
        return named

    def reached(self, share: float = 0.9) -> Tensor:
        """First recorded iteration at which each band's correspondence reached ``share``; inf where it never did."""
        above = self.bands >= share
        first = above.to(torch.int8).argmax(dim=0)
        return torch.where(above.any(dim=0), self.iterations[first].double(), math.inf)


class Trajectory:
    """A callback for ``fit`` that records a run at logarithmically spaced iterations: the first network's, where a fit
    has several.

    ``reference`` is what PSNR and bands are measured against: the true image, or the noisy one. With the ``noise`` of
    the data, how much of it the output has taken over is recorded as well.
    Raises: ValueError unless ``per_decade`` and ``bands`` are at least 1.
    """

    def __init__(
        self, reference: Tensor, *, noise: Tensor | None = None, per_decade: int = PER_DECADE, bands: int = BANDS
    ) -> None:
        if per_decade < 1 or bands < 1:
            raise ValueError(f"Trajectory: expected per_decade and bands >= 1, got {per_decade!r}, {bands!r}.")
        self.reference, self.noise, self.per_decade, self.bands = reference, noise, per_decade, bands
        self._mark = 0
        self._latest: float = 0
        self._rows: list[tuple[Tensor, ...]] = []

    def __call__(self, view: View) -> bool:
        if view.iteration <= self._latest:  # another network begins: nothing of it is recorded
            self._latest = math.inf
            return False
        self._latest = view.iteration
        if view.iteration >= self._iteration(self._mark):
            while self._iteration(self._mark) <= view.iteration:
                self._mark += 1
            self._record(view)
        return False

    def _iteration(self, mark: int) -> int:
        """The earliest iteration of a mark; rounded, so that powers of ten are hit exactly."""
        return round(10 ** (mark / self.per_decade))

    def _record(self, view: View) -> None:
        reference = self.reference.to(view.output.device).reshape(view.output.shape)
        gains = torch.full((self.bands,), math.nan, dtype=torch.float64)
        if self.noise is not None:
            noise = self.noise.to(view.output.device).reshape(view.output.shape)
            gains = band_gain(view.output - reference, noise, self.bands).cpu()
        self._rows.append(
            (
                torch.tensor(view.iteration),
                view.loss.double().cpu(),
                _psnr(view.output, reference).cpu(),
                _psnr(view.average, reference).cpu(),
                view.distance.double().cpu(),
                band_correspondence(view.output, reference, self.bands).cpu(),
                band_error(view.output, reference, self.bands).cpu(),
                gains,
            )
        )

    def curves(self) -> Curves:
        """Everything recorded so far."""
        if not self._rows:
            raise ValueError("Trajectory.curves: nothing recorded yet; pass the trajectory to fit as callback.")
        return Curves(*(torch.stack(column) for column in zip(*self._rows, strict=True)))


def _psnr(x: Tensor, reference: Tensor) -> Tensor:
    return -10 * torch.log10((x.double() - reference.double()).square().mean())
