"""The question behind a reconstruction: checked, cast to the operator's side, its noise level and range known."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .automatic import span_of
from .data_terms import DataTerm, LeastSquares
from .functional import Functional
from .images import ArrayLike, from_numpy, true_images
from .linear_operator import LinearOperator
from .noise import estimate_noise
from .result import Choice
from .wrapper import Wrapper

UNKNOWN_LEVEL = 0.01  # of the image range: the noise level assumed where it cannot be known


@dataclasses.dataclass(frozen=True)
class Problem:
    """The question in the operator's dtype and on its device, with all images as one batch."""

    f: DataTerm
    g: Functional
    start: Tensor
    given_start: bool
    noise: Tensor  # per image, image units (B, 1, 1, 1)
    known_noise: bool
    span: Tensor
    truth: Tensor | None
    choices: dict[str, Choice]
    like: ArrayLike
    bounds: tuple[float, float] | None

    def bounded(self, x: Tensor) -> Tensor:
        """Images clipped to the bounds, if there are any."""
        return x if self.bounds is None else x.clamp(*self.bounds)

    def restore(self, x: Tensor) -> ArrayLike:
        """Images as the kind, dtype and device of the data."""
        return self._like_data(x.reshape(self.f.shape))

    def residual(self, x: Tensor) -> ArrayLike:
        """``A x - y`` of a batch of images, as the data came."""
        return self._like_data(self.f.residual(x).reshape(self.like.shape))

    def _like_data(self, x: Tensor) -> ArrayLike:
        if isinstance(self.like, np.ndarray):
            real = from_numpy(np.empty(0, dtype=self.like.dtype)).real.dtype
            return x.cpu().to(real.to_complex() if x.is_complex() else real).numpy()
        real = self.like.real.dtype
        return x.to(self.like.device, real.to_complex() if x.is_complex() else real)


def pose(
    y: ArrayLike,
    A: Any,
    prior: Any,
    sigma: float | Tensor | str,
    data_term: Any,
    bounds: tuple[float, float] | None,
    x0: ArrayLike | None,
    truth: ArrayLike | None,
) -> Problem:
    """The problem of ``reconstruct`` with these arguments. Raises: as there."""
    if not isinstance(A, LinearOperator):
        raise TypeError(
            f"reconstruct: expected A to be a LinearOperator, got {type(A).__name__}; pnp.operators has Matrix, "
            "PylopsOperator and FromCallables for what is none yet."
        )
    if not isinstance(prior, Functional):
        remedy = "wrap it as Denoiser(D)." if callable(prior) else "pnp.priors has a catalogue."
        raise TypeError(f"reconstruct: expected the prior to be a Functional, got {type(prior).__name__}; {remedy}")
    data = from_numpy(y) if isinstance(y, np.ndarray) and y.dtype.kind in "fc" else y
    if isinstance(data, Tensor) and (data.is_floating_point() or data.is_complex()):
        anchor = A._anchor()
        if anchor is None and data.real.dtype in (torch.float16, torch.bfloat16):
            data = data.to(torch.complex64 if data.is_complex() else torch.float32)
        elif anchor is not None:
            data = data.to(anchor.device, anchor.dtype.to_complex() if data.is_complex() else anchor.dtype)
    choices: dict[str, Choice] = {}
    f, known = _data_term(data, A, sigma, data_term, choices)
    images, _ = f.images(f.start() if x0 is None else x0, "reconstruct")
    if images.is_complex() and bounds is not None:
        raise ValueError("reconstruct: expected no bounds for complex images.")
    span = span_of(images)
    shape = (-1, *(1,) * (images.ndim - 1))
    scale = max(f.operator.norm(), torch.finfo(images.real.dtype).tiny)
    level = f.sigma if f.sigma.numel() in (1, images.shape[0]) else f.sigma.square().mean().sqrt()
    noise = level.reshape(shape) / scale
    if not known and isinstance(f, LeastSquares):
        noise = torch.where(noise.isnan(), UNKNOWN_LEVEL * span, noise).expand(span.shape)
        if not A.incoherent:
            f = LeastSquares(A, data, (noise * scale).reshape(-1, *(1,) * (f.data.ndim - 1)))
        else:
            f = LeastSquares(A, data, 0.0)
            noise = torch.zeros_like(span)
    target = None if truth is None else true_images(truth, images, A.ndim, "reconstruct")
    g = prior if bounds is None else Bounded(prior, bounds)
    return Problem(f, g, images, x0 is not None, noise.expand(span.shape), known, span, target, choices, y, bounds)


def _data_term(
    y: Tensor, A: LinearOperator, sigma: float | Tensor | str, term: DataTerm | None, choices: dict[str, Choice]
) -> tuple[DataTerm, bool]:
    """The data term, and whether its noise level is known."""
    if term is not None:
        if not isinstance(term, DataTerm):
            raise TypeError(f"reconstruct: expected data_term to be a DataTerm, got {type(term).__name__}.")
        if term.operator.in_shape != A.in_shape or term.shape != DataTerm(A, y).shape:
            raise ValueError(f"reconstruct: {term!r} is no data term of {A!r} and y; build it from both.")
        return term, True
    if not isinstance(sigma, str):
        choices["sigma"] = Choice(sigma, "given")
        return LeastSquares(A, y, sigma), True
    if sigma != "auto":
        raise ValueError(f"reconstruct: expected sigma to be a number or 'auto', got {sigma!r}.")
    levels = estimate_noise(y, A).reshape(-1)
    known = bool(torch.isfinite(levels).all())
    if known:
        choices["sigma"] = Choice(levels, "estimated from the data (pnp.estimate_noise)")
        return LeastSquares(A, y, levels.reshape(-1, *(1,) * (DataTerm(A, y).data.ndim - 1))), True
    if A.incoherent:
        choices["sigma"] = Choice(0.0, "noise and signal cannot be told apart behind random rows; taken as noise-free")
    else:
        reason = f"unknown for this operator: taken as {UNKNOWN_LEVEL:g} of the image range, candidates ranked by GCV"
        choices["sigma"] = Choice(math.nan, reason)
    term = LeastSquares(A, y, 0.0)
    term.sigma = levels.reshape(-1, *(1,) * (term.data.ndim - 1))
    return term, False


class Bounded(Wrapper):
    """A prior whose images are clipped to ``[low, high]``."""

    def __init__(self, prior: Functional, bounds: tuple[float, float]) -> None:
        low, high = bounds
        if not low < high:
            raise ValueError(f"reconstruct: expected bounds (low, high) with low < high, got {bounds!r}.")
        super().__init__(prior)
        self.bounds = (low, high)

    def prox(self, v: Tensor, tau: float | Tensor) -> Tensor:
        return self.prior.prox(v, tau).clamp(*self.bounds)

    def __repr__(self) -> str:
        return f"{self.prior!r} within {self.bounds}"
