"""Quadratic prior."""

from __future__ import annotations

import hashlib

from torch import Tensor

from pnp.functional import Functional
from pnp.images import check_finite

from .checks import image_batch


class Tikhonov(Functional):
    """Energy ``g(x) = weight/2 * ||x - reference||^2``; its prox is a weighted mean of image and reference.

    The baseline that every other prior must beat; also a smooth term for FISTA.

    Shapes: (..., C, H, W); ``reference`` (zero where it is None) broadcasts against the images.
    Units: ``weight`` is one over a variance, that of the image about its reference.
    Raises: ValueError if ``weight`` is negative, infinite or NaN, or a value of ``reference`` is not finite.
    Source: Tikhonov & Arsenin, *Solutions of Ill-Posed Problems*, 1977; Parikh & Boyd, *Proximal Algorithms*, 2014,
    sec. 6.1.1.
    """

    convex = True
    has_value = True

    def __init__(self, weight: float = 1.0, reference: Tensor | None = None) -> None:
        if not 0 <= weight < float("inf"):
            raise ValueError(f"Tikhonov: weight must be finite and >= 0, got {weight!r}.")
        self.weight, self.reference = float(weight), reference
        if reference is not None:
            check_finite(reference, who="Tikhonov", what="the reference")
        content = b"" if reference is None else reference.detach().cpu().contiguous().numpy().tobytes()
        self._digest = hashlib.sha256(content).hexdigest()[:12]  # two references are two priors to a checkpoint

    def prox(self, v: Tensor, tau: float | Tensor) -> Tensor:
        images, variance = image_batch(v, tau, who=f"{self!r}.prox")
        exact, strength = images.reshape(v.shape), self.weight * variance.reshape(*v.shape[:-3], 1, 1, 1)
        if self.reference is None:
            return (exact / (1 + strength)).to(v.dtype)
        return (exact + (self.reference.to(exact) - exact) * (strength / (1 + strength))).to(v.dtype)

    def __call__(self, x: Tensor) -> Tensor:
        return self.weight / 2 * self._excess(x).square().sum(dim=(-3, -2, -1))

    def gradient(self, x: Tensor) -> Tensor:
        return self.weight * self._excess(x)

    def lipschitz(self) -> float:
        return self.weight

    def _excess(self, x: Tensor) -> Tensor:
        return x if self.reference is None else x - self.reference.to(x)

    def __repr__(self) -> str:
        return f"Tikhonov({self.weight!r}{'' if self.reference is None else f', reference={self._digest}'})"
