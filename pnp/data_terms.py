"""Data terms: how an image disagrees with the measured data, as functionals."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .functional import Functional
from .images import ArrayLike, batched, check_finite, from_numpy
from .linear_operator import LinearOperator

EXACT_FLOOR = 1e-8  # rho / ||A||^2 for noise-free data, where the solve is a closed form stable in float32
ITERATIVE_FLOOR = 1e-6  # and where conjugate gradients must still converge


class DataTerm(Functional):
    """A functional made from an operator, its data and their noise level.

    ``data`` may come in any of the shapes of one image, several channels or a batch; the term itself works on batches
    (B, C, H, W), and ``shape`` is the natural shape of the image that the data describe.
    Raises: ValueError for a wrong data shape, NaN/inf in an observed entry, a negative or NaN ``sigma``; TypeError for
    integers.
    """

    complex_images = True

    def __init__(self, operator: LinearOperator, data: ArrayLike, sigma: float | Tensor = 0.0) -> None:
        who = type(self).__name__
        y = from_numpy(data) if isinstance(data, np.ndarray) and data.dtype.kind in "fc" else data
        operator._check(y, operator.out_shape, who)
        lead = tuple(y.shape[: y.ndim - len(operator.out_shape)])
        self.operator, self.shape = operator, (*lead, *operator.in_shape)
        self.observed = operator.observed()
        if self.observed is not None:  # entries that do not count may hold anything, NaN included
            y = torch.where(self.observed, y, 0)
        if not torch.isfinite(y).all():
            raise ValueError(f"{who}: the data have NaN or infinite values; mark missing entries with a Mask operator.")
        channels = operator.ndim + 1 - len(operator.in_shape)  # lead dimensions that belong to one image: 0 or 1
        if channels not in (0, 1):
            raise ValueError(f"{who}: {operator!r} does not act on images (C, H, W) or channels (H, W).")
        batch = lead[: len(lead) - channels]
        inner = lead[len(lead) - channels :] if len(lead) >= channels else (1,) * channels
        self.data: Tensor = y.reshape(math.prod(batch), *inner, *operator.out_shape)
        self.sigma = self._noise_level(sigma, who)

    def _noise_level(self, sigma: float | Tensor, who: str) -> Tensor:
        """``sigma`` as a tensor that broadcasts against the batched data."""
        level = torch.as_tensor(sigma, dtype=self.data.real.dtype, device=self.data.device)
        if not (level >= 0).all() or torch.isinf(level).any():
            raise ValueError(f"{who}: expected sigma finite and >= 0, got {sigma!r}.")
        if level.numel() == 1:
            return level.reshape((1,) * self.data.ndim)
        if level.shape == self.data.shape[:1] == self.data.shape[-1:]:
            raise ValueError(
                f"{who}: sigma of shape {tuple(level.shape)} may be one number an image or one a measurement; "
                f"pass one an image as {(len(level), *(1,) * (self.data.ndim - 1))}, one a measurement in the shape of "
                "the data."
            )
        if level.numel() == self.data.shape[0] and level.shape[0] == self.data.shape[0]:
            return level.reshape(-1, *(1,) * (self.data.ndim - 1))
        try:
            level.expand(self.data.shape)
        except RuntimeError:
            raise ValueError(
                f"{who}: sigma of shape {tuple(level.shape)} does not broadcast against data {tuple(self.data.shape)}."
            ) from None
        return level.reshape(*(1,) * (self.data.ndim - level.ndim), *level.shape)

    def start(self) -> Tensor:
        """A good first image, asked of the operator; has the natural shape ``shape``."""
        with torch.no_grad():
            return self.operator.start(self.data).reshape(self.shape)

    def images(self, x0: ArrayLike, who: str) -> tuple[Tensor, Callable[[Tensor], ArrayLike]]:
        """``x0`` as the batch (B, C, H, W) that fits the data, of their precision and device, and the way back.

        Raises: ValueError for NaN/inf or a wrong shape, TypeError for integers.
        """
        images, restore = batched(x0, ndim=self.operator.ndim, who=who)
        check_finite(images, who=who, what="x0")
        lead = self.data.shape[: self.data.ndim - len(self.operator.out_shape)]
        if images.shape != (*lead, *self.operator.in_shape):
            raise ValueError(f"{who}: expected x0 of shape {self.shape}, got {tuple(x0.shape)}.")
        is_complex = self.operator.complex_in or self.data.is_complex() and not self.operator.complex_out
        if images.is_complex() and not is_complex:
            raise TypeError(f"{who}: expected real images, got x0 of {images.dtype}; pass x0.real.")
        real = self.data.real.dtype
        return images.to(self.data.device, real.to_complex() if is_complex else real), restore

    def residual(self, x: Tensor) -> Tensor:
        """``A x - y`` on the batched data, zero where nothing was observed."""
        r = self.operator.forward(x) - self.data
        return r if self.observed is None else torch.where(self.observed, r, 0)

    def misfit(self, x: Tensor) -> Tensor:
        """Root mean square of ``(A x - y) / sigma`` over the observed entries, of ``A x - y`` where sigma is 0.

        Real and imaginary part of complex data are two entries, because ``sigma`` is the level of each.

        Shapes: (B, C, H, W) to (B,).
        """
        r = (self.residual(x) / torch.where(self.sigma > 0, self.sigma, 1)).abs().square().flatten(1)
        return (r.sum(dim=1) / (self.count() * (1 + self.data.is_complex()))).sqrt()

    def identity(self) -> list[Any]:
        """What makes this data term what it is, for the fingerprint of a checkpoint."""
        return [self.operator, self.data, self.sigma]

    def count(self) -> int:
        """Number of observed data entries of one image."""
        items = self.data[0].numel() // math.prod(self.operator.out_shape)
        return items * self.operator.rows

    def take(self, keep: Tensor) -> Functional:
        """The term of some images of the batch."""
        part = copy.copy(self)
        part.operator, part.data = self.operator.take(keep), self.data[keep]
        part.sigma = self.sigma[keep] if self.sigma.shape[0] == self.data.shape[0] else self.sigma
        return part

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.operator!r})"


class LeastSquares(DataTerm):
    """Gaussian noise: ``f(x) = 1/(2 sigma^2) ||A x - y||^2``; with ``sigma = 0`` the constraint ``A x = y``.

    ``prox(v, tau) = A.tikhonov(y, sigma^2 / tau, v)``. A ``sigma`` per measurement whitens data and operator.

    Shapes: ``y`` (..., *A.out_shape); ``sigma`` a float, one number an image or broadcastable against ``y``.
    Units: ``sigma`` in those of ``y``; for complex data, of each part.
    """

    convex = True

    def __init__(
        self, operator: LinearOperator, data: ArrayLike, sigma: float | Tensor = 0.0, *, tol: float | None = None
    ) -> None:
        super().__init__(operator, data, sigma)
        self.tol = tol
        if self.sigma.numel() not in (1, self.data.shape[0]):
            self._whiten()
        power = operator.norm() ** 2
        exact = operator.solves_dual or operator.solves_primal
        self._floor = max(power, torch.finfo(self.data.real.dtype).tiny) * (EXACT_FLOOR if exact else ITERATIVE_FLOOR)
        self._remembers = False
        self._warm: Tensor | None = None

    def _whiten(self) -> None:
        """Divide rows and data by their noise levels, so that the remaining noise has level one."""
        from .algebra import Weighted

        if not (self.sigma > 0).all():
            raise ValueError("LeastSquares: a noise level per measurement must be > 0; use a Mask for exact entries.")
        weight = (1 / self.sigma).expand(self.data.shape).reshape(-1, *self.operator.out_shape)
        if not bool((weight == weight[:1]).all()):
            raise ValueError(
                "LeastSquares: a noise level per measurement must be the same for all channels and images."
            )
        self.operator = Weighted(weight[0], self.operator)
        self.data, self.sigma = (
            self.data * weight[0],
            torch.ones_like(self.data[:1].real.flatten()[:1]).reshape((1,) * self.data.ndim),
        )

    @property
    def has_value(self) -> bool:  # type: ignore[override]
        return bool((self.sigma > 0).all())

    def __call__(self, x: Tensor) -> Tensor:
        if not self.has_value:
            return super().__call__(x)
        return (self.residual(x) / self.sigma).abs().square().flatten(1).sum(dim=1) / 2

    def prox(self, v: Tensor, tau: float | Tensor) -> Tensor:
        rho = (self._per_image(self.sigma, v) ** 2 / tau).clamp_min(self._floor)
        start = self._warm if self._remembers else None
        if start is not None and start.shape[0] != v.shape[0]:
            start = None
        with torch.no_grad():
            x, warm = self.operator._tikhonov(self.data, rho, v, self.tol, start)
        if self._remembers:
            self._warm = warm
        return x.reshape(v.shape) if x.numel() == v.numel() else x  # one image may come without its batch dimension

    def gradient(self, x: Tensor) -> Tensor:
        return self.operator.adjoint(self.residual(x) / self.sigma**2)

    def lipschitz(self) -> float | Tensor:
        return (self.operator.norm() / self.sigma).square().reshape(-1, *(1,) * self.operator.ndim, 1)

    def scaled(self, strength: float | Tensor) -> LeastSquares:
        """The same term with noise level ``strength * sigma``: the one strength that the front door turns."""
        term = copy.copy(self)
        term.sigma = self.sigma * torch.as_tensor(strength, dtype=self.sigma.dtype, device=self.sigma.device)
        return term

    def moved(self, shift: Tensor) -> LeastSquares:
        """The same term with ``shift`` added to the data."""
        term = copy.copy(self)
        term.data = self.data + shift
        return term

    def channels_apart(self) -> LeastSquares:
        """The same term with every channel as an image of its own, (B, C, ...) to (B C, 1, ...)."""
        term = copy.copy(self)
        channels = self.data.shape[1]
        term.data = self.data.reshape(-1, 1, *self.data.shape[2:])
        if self.sigma.shape[0] > 1:
            term.sigma = self.sigma.repeat_interleave(channels, dim=0)
        term.shape = (*term.data.shape[:2], *self.operator.in_shape)
        return term

    def fresh(self) -> LeastSquares:
        term = copy.copy(self)
        term._remembers, term._warm = True, None
        return term

    def take(self, keep: Tensor) -> Functional:
        part = super().take(keep)
        if isinstance(part, LeastSquares) and part._warm is not None:
            part._warm = part._warm[keep]
        return part

    def state_dict(self) -> dict[str, Any]:
        return {} if self._warm is None else {"warm": self._warm}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._warm = state.get("warm")

    def _per_image(self, level: Tensor, v: Tensor) -> Tensor:
        return level.reshape(-1, *(1,) * (v.ndim - 1))
