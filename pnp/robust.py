"""Data with outliers."""

from __future__ import annotations

import torch
from torch import Tensor

from .images import ArrayLike
from .linear_operator import LinearOperator
from .separable import Separable

EFFICIENCY = 1.345  # thresholds per noise level at which Huber's estimate is 95 % efficient for Gaussian noise


class L1(Separable):
    """Sum of absolute residuals ``f(x) = weight * sum_i |(A x - y)_i|``, for impulses and other outliers.

    The negative log likelihood of Laplace noise of mean absolute value ``1 / weight``. A few wrong data of any size
    move the answer hardly at all, and data without error are met exactly. For dense Gaussian noise with some outliers
    take ``Huber``.

    Shapes: ``y`` (..., *A.out_shape); ``weight`` one number, one an image or one a measurement.
    Units: ``weight`` is one over those of ``y``.
    Raises: ValueError unless ``weight > 0``.
    Source: Nikolova, *A Variational Approach to Remove Outliers and Impulse Noise*, 2004.
    """

    _known = ("weight",)

    def __init__(
        self, operator: LinearOperator, data: ArrayLike, weight: float | Tensor = 1.0, *, tol: float = 1e-3
    ) -> None:
        super().__init__(operator, data, tol=tol)
        self.weight = self._broadcast(weight, "weight", positive=True)

    def misfit(self, x: Tensor) -> Tensor:
        """Mean of ``weight |A x - y|`` over the observed entries, per image: 1 for Laplace noise of that weight.

        Shapes: (B, C, H, W) to (B,).
        """
        return self(x) / self.count()

    def _terms(self, w: Tensor) -> Tensor:
        return self.weight * (w - self.data).abs()

    def _prox_terms(self, w: Tensor, step: Tensor) -> Tensor:
        r = w - self.data
        return self.data + torch.sgn(r) * (r.abs() - self.weight * step).clamp_min(0)

    def _curvature(self, w: Tensor) -> Tensor:
        scale = self._seen((w - self.data).abs()).flatten(1).mean(dim=1)
        smallest = torch.finfo(scale.dtype).eps * w.abs().flatten(1).amax(dim=1) + torch.finfo(scale.dtype).tiny
        return self.weight.expand(self.data.shape[0], *self.weight.shape[1:]).flatten(1).mean(dim=1) / torch.maximum(
            scale, smallest
        )


class Huber(Separable):
    """Gaussian noise with outliers: ``f(x) = 1/sigma^2 sum_i h((A x - y)_i)``.

    ``h(r) = r^2 / 2`` up to ``|r| = delta`` and ``delta |r| - delta^2 / 2`` beyond: least squares for the good data,
    the absolute value for the bad. ``sigma`` is the noise level of the good data, ``delta / 1.345`` unless given.

    Shapes: ``y`` (..., *A.out_shape); ``delta`` and ``sigma`` one number, or one an image.
    Units: ``delta`` and ``sigma`` in those of ``y``.
    Raises: ValueError unless ``delta > 0`` and ``sigma > 0``.
    Source: Huber, *Robust Estimation of a Location Parameter*, 1964; Huber & Ronchetti, *Robust Statistics*, 2009,
    sec. 4.5 (the 95 % rule).
    """

    _known = ("delta",)

    def __init__(
        self,
        operator: LinearOperator,
        data: ArrayLike,
        delta: float | Tensor,
        sigma: float | Tensor | None = None,
        *,
        tol: float = 1e-3,
    ) -> None:
        super().__init__(operator, data, tol=tol)
        self.delta = self._broadcast(delta, "delta", positive=True)
        self.sigma = self._broadcast(self.delta / EFFICIENCY if sigma is None else sigma, "sigma", positive=True)
        for name, value in (("delta", self.delta), ("sigma", self.sigma)):
            if value.numel() not in (1, self.data.shape[0]):
                raise ValueError(f"Huber: expected one {name}, or one an image, got shape {tuple(value.shape)}.")

    def misfit(self, x: Tensor) -> Tensor:
        """``sqrt(2 f / count)`` per image: the root mean square of ``(A x - y) / sigma`` with outliers toned down.

        Shapes: (B, C, H, W) to (B,).
        """
        return (2 * self(x) / self.count()).sqrt()

    def lipschitz(self) -> float | Tensor:
        """Of the gradient: ``||A||^2 / sigma^2``. Shapes: one an image, (B, 1, 1, 1)."""
        return (self._power / self.sigma.square()).reshape(-1, *(1,) * self.operator.ndim, 1)

    def _terms(self, w: Tensor) -> Tensor:
        r = (w - self.data).abs()
        inner = torch.minimum(r, self.delta)
        return (inner * (r - inner / 2)) / self.sigma.square()

    def _slopes(self, w: Tensor) -> Tensor:
        r = w - self.data
        return torch.sgn(r) * torch.minimum(r.abs(), self.delta) / self.sigma.square()

    def _prox_terms(self, w: Tensor, step: Tensor) -> Tensor:
        r, t = w - self.data, step / self.sigma.square()
        size = r.abs()
        return self.data + torch.where(size <= self.delta * (1 + t), r / (1 + t), r - torch.sgn(r) * self.delta * t)

    def _curvature(self, w: Tensor) -> Tensor:
        return (1 / self.sigma.square()).flatten().expand(self.data.shape[0])
