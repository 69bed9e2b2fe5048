"""The one interface of data terms and priors: the proximal map."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .images import ArrayLike, batched, check_finite, check_image, per_image, to_image, to_tensor


class Functional:
    """A function ``g`` of an image, known to solvers through its proximal map.

    ``prox(v, tau) = argmin_x g(x) + 1/(2 tau) ||x - v||^2``: the best image given that ``v`` carries white Gaussian
    noise of standard deviation ``sqrt(tau)``. A subclass writes ``prox``; where ``g`` has a value it writes
    ``__call__`` and sets ``has_value``; where ``g`` is smooth it writes ``gradient`` and ``lipschitz``.

    ``prox`` never changes the object that the user holds. A subclass with a memory (warm starts, network weights)
    overrides ``fresh`` to return a private copy for one solve; only that copy may remember, and it then has
    ``state_dict`` and ``load_state_dict``.

    Shapes: images are (..., C, H, W) or, for volumes, (..., C, D, H, W); ``tau`` is a float or one number an image,
    (B, 1, 1, 1).
    Source: Parikh & Boyd, *Proximal Algorithms*, 2014, sec. 1.1.
    """

    convex: bool = False  # g is convex, closed and proper: prox is firmly non-expansive
    deterministic: bool = True  # two calls with the same arguments return the same image
    has_value: bool = False  # __call__ returns g(x)
    complex_images: bool = False  # prox takes complex images as they are; else they come as two channels
    calibrated: bool = True  # prox(v, tau) is the prior's best for noise of level sqrt(tau), without refinement
    directional: bool = False  # prox of a mirrored image is not the mirrored prox: automatic runs turn the image
    cost: str = "cheap"  # "expensive" for a network fit: the front door then spends no candidate runs on it

    def prox(self, v: Tensor, tau: float | Tensor) -> Tensor:
        """``argmin_x g(x) + 1/(2 tau) ||x - v||^2`` for ``tau > 0``."""
        raise NotImplementedError(f"{self!r} does not implement prox.")

    def __call__(self, x: Tensor) -> Tensor:
        """``g(x)``, one number per image, shape (...)."""
        raise NotImplementedError(f"{self!r} has no value: only its proximal map is known.")

    def gradient(self, x: Tensor) -> Tensor:
        """Gradient of ``g`` at ``x``, where ``g`` is smooth."""
        raise NotImplementedError(f"{self!r} is not smooth: use a solver that calls prox (ADMM, HQS).")

    def lipschitz(self) -> float | Tensor:
        """Lipschitz constant of ``gradient``, where ``g`` is smooth: one number, or one an image, (B, 1, 1, 1)."""
        raise NotImplementedError(f"{self!r} is not smooth: use a solver that calls prox (ADMM, HQS).")

    def fresh(self) -> Functional:
        """The copy one solve works on: ``self`` unless ``prox`` has a memory."""
        return self

    def take(self, keep: Tensor) -> Functional:
        """The ``fresh`` copy for the images ``keep`` (indices) of a batch, once the others have finished.

        A prior that remembers something per image keeps the rows ``keep`` of its memory.
        """
        return self

    def reversed(self, axes: tuple[int, ...]) -> Functional:
        """The ``fresh`` copy whose next images are reversed along ``axes``, counted from the last.

        A prior that remembers something of the image reverses it too; here whatever is remembered is dropped.
        """
        return self.fresh()

    def anchored(self, level: Tensor) -> Functional:
        """The prior with one strength for every ``tau``, for solvers whose internal noise level ends at ``level``.

        The prior itself, unless it reads its strength off the image (it is not ``calibrated``).
        Shapes: ``level`` one an image, (B, 1, 1, 1). Units: those of the image.
        """
        return self

    def state_dict(self) -> dict[str, Any]:
        """The memory of a ``fresh`` copy, for checkpoints; empty without memory."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        if state:
            raise ValueError(
                f"{self!r}.load_state_dict: expected an empty state, got keys {sorted(state)}; only the copy that "
                "fresh() returns may have a memory."
            )

    def denoise(self, v: ArrayLike, sigma: float | Tensor, *, ndim: int = 2) -> ArrayLike:
        """``prox(v, sigma**2)``: ``v`` cleaned of white Gaussian noise of standard deviation ``sigma``.

        Shapes: (H, W) is one grey image; (..., C, H, W) otherwise; ``sigma`` a float or (B, 1, 1, 1).
        Units: ``sigma`` in those of ``v``; ``sigma = 0`` returns ``v``.
        Raises: ValueError for a ``sigma`` that is negative, NaN, infinite or has no square in the image's precision
        (float32 for half types), or for NaN/inf in ``v``; TypeError for integer images or if ``sigma`` is no number.
        """
        who = f"{type(self).__name__}.denoise"
        images, restore = batched(v, ndim=ndim, who=who)
        check_finite(images, who=who, what="the image")
        level = per_image(sigma, images, who=who, what="sigma", ndim=ndim)
        if not (level >= 0).all() or torch.isinf(level).any():
            raise ValueError(f"{who}: expected sigma to be finite and >= 0, got {sigma!r}.")
        noisy, tau, limits = level.flatten() > 0, level.square(), torch.finfo(level.dtype)
        if not ((tau.flatten()[noisy] >= limits.tiny) & (tau.flatten()[noisy] <= limits.max)).all():
            raise ValueError(
                f"{who}: the square of sigma = {sigma!r} is beyond {level.dtype}; rescale the image, or pass float64."
            )
        if noisy.all():
            return restore(proximal(self.fresh(), images, tau))
        clean = images.clone()
        if noisy.any():  # items of zero noise are returned as they came
            clean[noisy] = proximal(self.fresh(), images[noisy], tau[noisy])
        return restore(clean)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def proximal(g: Functional, v: Tensor, tau: float | Tensor) -> Tensor:
    """``g.prox(v, tau)`` of a batch (B, C, ...); a real-valued prior takes a complex image as two channels."""
    if not v.is_complex() or g.complex_images:
        return g.prox(v, tau)
    return _joined(g.prox(_parts(v), tau))


def value(g: Functional, x: Tensor) -> Tensor:
    """``g(x)`` of a batch (B, C, ...), likewise; one number an image, volumes included."""
    return g(_parts(x) if x.is_complex() and not g.complex_images else x).reshape(len(x), -1).sum(dim=1)


def _parts(x: Tensor) -> Tensor:
    """(B, C, ...) complex to (B, 2 C, ...) real."""
    return torch.cat([x.real, x.imag], dim=1)


def _joined(x: Tensor) -> Tensor:
    """(B, 2 C, ...) real to (B, C, ...) complex."""
    return torch.complex(*x.chunk(2, dim=1))


class Denoiser(Functional):
    """Any denoiser ``D(image, sigma)`` as a prior: ``prox(v, tau) = D(v, sqrt(tau))``.

    ``D`` may be a trained network, an OpenCV or scikit-image function or your own code. With ``layout="BCHW"`` it gets
    and returns tensors (B, C, H, W) and ``sigma`` as a float, or as a tensor (B, 1, 1, 1) when the batch items differ;
    with ``layout="HWC"`` it gets and returns one NumPy picture at a time, (H, W) when grey, and a float. Real and
    imaginary part of a complex image are two pictures to it.

    Raises: TypeError if ``D`` is not callable or does not return an array; ValueError for an unknown layout or if
    ``D`` returns another shape.
    Source: Venkatakrishnan, Bouman & Wohlberg, *Plug-and-Play Priors for Model Based Reconstruction*, 2013.
    """

    complex_images = True

    def __init__(self, denoiser: Any, *, layout: str = "BCHW", deterministic: bool = True, cost: str = "cheap") -> None:
        if not callable(denoiser):
            raise TypeError(f"Denoiser: expected a callable D(image, sigma), got {type(denoiser).__name__}.")
        if layout not in ("BCHW", "HWC"):
            raise ValueError(f"Denoiser: layout must be 'BCHW' (tensors) or 'HWC' (NumPy pictures), got {layout!r}.")
        self.denoiser, self.layout, self.deterministic, self.cost = denoiser, layout, deterministic, cost

    def prox(self, v: Tensor, tau: float | Tensor) -> Tensor:
        who = f"{self!r}.prox"
        check_image(v, who=who)
        sigma = per_image(tau, v, who=who, what="tau").sqrt().to(v.real.dtype)
        if v.is_complex():
            return torch.complex(self.prox(v.real, tau), self.prox(v.imag, tau))
        images = v.reshape(-1, *v.shape[-3:]).clone()  # the denoiser may work in place
        with torch.no_grad():
            x = self._tensors(images, sigma) if self.layout == "BCHW" else self._pictures(images, sigma)
        return x.reshape(v.shape)

    def _tensors(self, images: Tensor, levels: Tensor) -> Tensor:
        equal = bool((levels == levels[0]).all())
        return self._checked(self.denoiser(images, levels[0].item() if equal else levels), images)

    def _pictures(self, images: Tensor, sigma: Tensor) -> Tensor:
        cleaned = []
        for image, level in zip(images, sigma.flatten().tolist(), strict=True):
            picture = self.denoiser(to_image(image), level)
            if not isinstance(picture, np.ndarray):
                raise TypeError(f"{self!r}: the denoiser must return a NumPy array, got {type(picture).__name__}.")
            cleaned.append(self._checked(to_tensor(picture), image))
        return torch.stack(cleaned)

    def _checked(self, x: Any, expected: Tensor) -> Tensor:
        if not isinstance(x, Tensor):
            raise TypeError(f"{self!r}: the denoiser must return a tensor, got {type(x).__name__}.")
        if x.shape != expected.shape:
            raise ValueError(f"{self!r}: expected an image {tuple(expected.shape)} back, got {tuple(x.shape)}.")
        return x.to(expected)

    def __repr__(self) -> str:
        return f"Denoiser({getattr(self.denoiser, '__name__', type(self.denoiser).__name__)})"
