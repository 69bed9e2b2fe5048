"""Photon counts."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .images import ArrayLike
from .linear_operator import LinearOperator
from .separable import Separable


class Poisson(Separable):
    """Photon counts ``y ~ Poisson(n)`` with expected counts ``n = gain * A x + background``.

    ``f(x) = sum_i n_i - y_i + y_i log(y_i / n_i)``, the negative log likelihood up to a constant: 0 where ``n = y``,
    infinite where ``n < 0``. Least squares takes one noise level for all pixels; here dark pixels are trusted more than
    bright ones, whose noise level ``sqrt(n)`` is larger, and no pixel is asked for fewer than 0 counts.

    ``data`` holds ``(y - background) / gain``, which is ``A x`` plus noise, and ``sigma`` that noise's level, averaged
    over each image. The prox is exact for a diagonal operator (a quadratic equation a pixel); see ``Separable`` for any
    other.

    Shapes: ``y`` (..., *A.out_shape); ``background`` and ``gain`` one number or one an image; ``background``
    also one a measurement.
    Units: ``y`` and ``background`` counts; ``gain`` counts for one unit of ``A x``.
    Raises: ValueError for negative or NaN counts, a negative ``background``, ``gain <= 0``; TypeError for integers and
    complex operators.
    Source: Figueiredo & Bioucas-Dias, *Restoration of Poissonian Images Using Alternating Direction Optimization*,
    2010, eq. 7 and 24.
    """

    _known = ("counts", "background", "gain")

    def __init__(
        self,
        operator: LinearOperator,
        data: ArrayLike,
        background: float | Tensor = 0.0,
        gain: float | Tensor = 1.0,
        *,
        tol: float = 1e-3,
    ) -> None:
        super().__init__(operator, data, tol=tol)
        if self.data.is_complex():
            raise TypeError("Poisson: expected real counts, got complex data; photon counts have no phase.")
        if (self.data < 0).any():
            raise ValueError(
                f"Poisson: expected counts >= 0, got {int((self.data < 0).sum())} negative ones; do not subtract the "
                "background from y but pass it as background."
            )
        self.counts = self.data
        self.background = self._broadcast(background, "background", positive=False)
        self.gain = self._broadcast(gain, "gain", positive=True)
        if self.gain.numel() not in (1, self.data.shape[0]):
            raise ValueError("Poisson: expected one gain, or one an image; a gain per measurement belongs into A.")
        self.data = self._seen((self.counts - self.background) / self.gain)
        mean = self.counts.flatten(1).sum(dim=1) / self.count()
        self.sigma = mean.sqrt().reshape(-1, *(1,) * (self.data.ndim - 1)) / self.gain

    def _terms(self, w: Tensor) -> Tensor:
        n = self.gain * w + self.background
        y = self.counts
        inside = torch.where(n > 0, n, 1)
        terms = n - y + torch.xlogy(y, y / inside)
        return torch.where((n > 0) | ((n == 0) & (y == 0)), terms, math.inf)

    def _slopes(self, w: Tensor) -> Tensor:
        n = self.gain * w + self.background
        return self.gain * (1 - torch.where(self.counts > 0, self.counts / n, 0))

    def lipschitz(self) -> float | Tensor:
        """Of the gradient where ``A x >= 0``: ``gain^2 ||A||^2 max(y / background^2)``; infinite without background.

        Shapes: one an image, (B, 1, 1, 1).
        """
        curvature = torch.where(self.counts > 0, self.counts / self.background.square(), 0)
        peak = (self.gain.square() * self._power * curvature).flatten(1).amax(dim=1)
        return peak.reshape(-1, *(1,) * self.operator.ndim, 1)

    def _prox_terms(self, w: Tensor, step: Tensor) -> Tensor:
        t = step * self.gain.square()  # in expected counts n the quadratic is 1/(2 t) (n - n_w)^2
        m = self.gain * w + self.background - t
        root = (m.square() + 4 * t * self.counts).sqrt()
        n = torch.where(m >= 0, (m + root) / 2, 2 * t * self.counts / (root - m).clamp_min(torch.finfo(m.dtype).tiny))
        return (n - self.background) / self.gain

    def _curvature(self, w: Tensor) -> Tensor:
        mean = self.counts.flatten(1).mean(dim=1).clamp_min(1)  # phi'' = gain^2 y / n^2, near gain^2 / y
        return self.gain.flatten().square() / mean
