"""The loss of a direct fit: data terms through the operator, held-out measurements, whitening, total variation."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from pnp.linear_operator import LinearOperator

LOSSES = ("l2", "l1", "huber", "poisson", "censored")
HUBER = 1.345  # in noise levels: 95 % efficient for Gaussian noise
IMAGE_DEVIATION = 0.2  # of a picture's range: typical standard deviation of pictures, for the whitening constant


@dataclasses.dataclass(frozen=True)
class Objective:
    """``loss(A x, y)`` per measurement, a negative log-likelihood less its minimum, plus ``tv`` times total variation.

    ``sigma`` is the noise level (where unknown, a stand-in that sets the scale alone); ``fitted`` and ``held`` weigh
    the entries of ``y`` with 0 or 1. With ``gain`` the residual is first multiplied by it in Fourier space: the
    whitening ``(A A^H + c I)^(-1/2)``, which lets all frequencies converge together.

    Shapes: image (C, H, W); ``y`` that of one item.
    """

    operator: LinearOperator
    y: Tensor
    sigma: Tensor
    loss: str
    fitted: Tensor
    held: Tensor | None
    shape: tuple[int, ...]  # of one image for the operator
    complex_image: bool
    gain: Tensor | None = None
    tv: float = 0.0
    span: float = 1.0
    scale: float = 1.0  # of penalties against the data loss, see ``penalty_scale``
    photons: float = 1.0
    limits: tuple[float, float] = (-math.inf, math.inf)  # of the recorded values, for "censored"

    def __call__(self, image: Tensor) -> Tensor:
        value = self.data_loss(self.operator.forward(self.to_operator(image)))
        if self.tv:
            value = value + self.tv * self.scale * total_variation(image / self.span)
        return value

    def to_operator(self, image: Tensor) -> Tensor:
        """The network's channels as an image of the operator's shape, dtype and kind."""
        real = self.y.real.dtype
        if self.complex_image:
            half = image.shape[0] // 2
            return torch.complex(image[:half].to(real), image[half:].to(real)).reshape(self.shape)
        return image.to(real).reshape(self.shape)

    def data_loss(self, prediction: Tensor) -> Tensor:
        """Mean negative log-likelihood of the fitted entries, less that of the data themselves."""
        residual = prediction - self.y
        if self.gain is not None:
            residual = self._whitened(residual * self.fitted)
        match self.loss:
            case "l2":
                each = 0.5 * (residual / self.sigma).abs().square()
            case "l1":
                each = (residual / self.sigma).abs()
            case "huber":
                size = (residual / self.sigma).abs()
                each = torch.where(size <= HUBER, 0.5 * size.square(), HUBER * (size - 0.5 * HUBER))
            case "poisson":
                mean = prediction.clamp_min(1e-6 * self.span)
                counts = torch.where(self.y > 0, self.y, 1)  # the likelihood of the data themselves is taken off
                each = self.photons * (mean - self.y - torch.xlogy(self.y, mean / counts))
            case "censored":
                low, high = self.limits
                each = 0.5 * (residual / self.sigma).square()
                below = -torch.special.log_ndtr((low - prediction) / self.sigma)
                above = -torch.special.log_ndtr((prediction - high) / self.sigma)
                each = torch.where(self.y <= low, below, torch.where(self.y >= high, above, each))
            case _:
                raise ValueError(f"DeepImagePrior.fit: loss must be one of {LOSSES}, got {self.loss!r}.")
        if self.gain is not None:
            return each.mean()
        return (each * self.fitted).sum() / self.fitted.expand(each.shape).sum()

    def scores(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Twice the data loss, ``mean |A x - y|^2 / sigma^2`` for l2: of the held-out (NaN without), fitted entries.

        Real and imaginary part of complex data are two entries. Third, with ``gain``, the whitened residual's energy
        over that of whitened noise.
        """
        with torch.no_grad():
            prediction = self.operator.forward(self.to_operator(image))
            plain = dataclasses.replace(self, gain=None)
            twice = 1.0 if self.y.is_complex() else 2.0
            fitted = twice * plain.data_loss(prediction)
            whitened = None if self.gain is None else twice * self.data_loss(prediction) / self._gain_energy()
            if self.held is None:
                return torch.full_like(fitted, math.nan), fitted, whitened
            return twice * dataclasses.replace(plain, fitted=self.held).data_loss(prediction), fitted, whitened

    def _gain_energy(self) -> Tensor:
        """Mean of the squared gain over all frequencies: what whitening leaves of the energy of white noise."""
        gain = torch.ones(()) if self.gain is None else self.gain
        axes = tuple(range(-self.operator.ndim, 0))
        energy: Tensor = torch.fft.irfftn(gain**2, s=self.operator.out_shape[-self.operator.ndim :], dim=axes)
        return energy.flatten()[0]

    def _whitened(self, residual: Tensor) -> Tensor:
        if residual.is_complex():  # the gain is that of a real operator, which acts on the parts
            return torch.complex(self._whitened(residual.real), self._whitened(residual.imag))
        gain = 1.0 if self.gain is None else self.gain
        axes = tuple(range(-self.operator.ndim, 0))
        sizes = residual.shape[-self.operator.ndim :]
        filtered: Tensor = torch.fft.irfftn(gain * torch.fft.rfftn(residual, dim=axes), s=sizes, dim=axes)
        return filtered


def total_variation(x: Tensor) -> Tensor:
    """Isotropic total variation of (C, H, W) per pixel, rounded off at 1e-4."""
    dx = torch.diff(x, dim=-1, append=x[..., -1:])
    dy = torch.diff(x, dim=-2, append=x[..., -1:, :])
    return (dx.square() + dy.square() + 1e-8).sqrt().mean()


def whitening(operator: LinearOperator, sigma: float, span: float, share: float) -> Tensor | None:
    """Fourier gain of ``sqrt(c) (A A^H + c I)^(-1/2)``, ``c = share sigma^2 / (0.2 span)^2``; None if not diagonal."""
    h = operator.spectrum()
    if h is None:
        return None
    c = share * (sigma / (IMAGE_DEVIATION * span)) ** 2
    return (c / (h.abs().square() + c)).sqrt() if c > 0 else None


def hold_out(operator: LinearOperator, y: Tensor, share: float, seed: int, member: int = 0) -> Tensor:
    """1 at a random share of the measurements, at the same places in every channel; the constant row is never held out.

    Each ``member`` of an ensemble holds out others, as in cross-validation: what one never saw the next has fitted.

    Shapes: broadcasts against ``y`` of one item.
    """
    shape = operator.out_shape
    if len(shape) == 3 and len(operator.in_shape) == 3 and shape[0] == operator.in_shape[0]:
        shape = (1, *shape[1:])  # one decision for all channels of a pixel
    generator = torch.Generator().manual_seed(seed)
    held = (torch.rand(shape, generator=generator, dtype=torch.float32) - member * share) % 1 < share
    if operator.constant_row is not None and held.numel() == math.prod(operator.out_shape):
        held.view(-1)[operator.constant_row] = False
    return held.to(device=y.device, dtype=y.real.dtype)
