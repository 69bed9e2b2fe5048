"""The proximal map of one image: a network fitted to it, from the weights of the call before."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .residual import local_gain
from .settings import Settings, value_range

WARM_LR = 0.3  # of the learning rate, in calls after the first
WARM_AVERAGE = 0.9  # the running mean's factor there: 20 steps cannot fill one of 0.99
GUARD_EVERY = 5  # steps between looks at the misfit on a GPU: each waits for the device
MARGIN = 0.25  # of the first image's range: later ones may exceed it


class ProximalFit:
    """A network that remembers the image it was last fitted to."""

    def __init__(
        self,
        settings: Settings,
        shape: tuple[int, int, int],
        low: float,
        high: float,
        relative_sigma: float,
        device: torch.device,
    ) -> None:
        self.settings = settings
        self.facts = (*shape, low, high, relative_sigma)
        self.fit = settings.start_fit(
            shape,
            low=low,
            high=high,
            device=device,
            relative_sigma=relative_sigma,
            bounded=settings.bounds is not None,
            in_solver=True,
        )

    @classmethod
    def begin(cls, settings: Settings, image: Tensor, tau: float) -> ProximalFit:
        """A network with random weights for images like this one, (C, H, W)."""
        channels = _real(image)
        low, high = settings.bounds if isinstance(settings.bounds, tuple) else value_range(channels, MARGIN)
        c, h, w = channels.shape
        return cls(settings, (c, h, w), low, high, tau**0.5 / (high - low), image.device)

    @classmethod
    def restored(cls, settings: Settings, state: dict[str, Any]) -> ProximalFit:
        """The network that ``state_dict`` described."""
        c, h, w, low, high, relative_sigma = state["facts"].tolist()
        device = state["fit"]["theta"].device
        one = cls(settings, (int(c), int(h), int(w)), low, high, relative_sigma, device)
        one.fit.load_state_dict(state["fit"])
        return one

    def state_dict(self) -> dict[str, Any]:
        """Tensors alone."""
        return {"facts": torch.tensor(self.facts, dtype=torch.float64), "fit": self.fit.state_dict()}

    def __reduce__(self) -> tuple[Any, ...]:
        """Copied and pickled by its state: the network's parameters are views that a copy would cut from the vector."""
        return ProximalFit.restored, (self.settings, self.state_dict())

    def clean(self, image: Tensor, tau: float, *, steps: tuple[int, int], residual: bool) -> Tensor:
        """``image`` fitted to within ``tau`` and no further; what exceeds the noise is given back with ``residual``."""
        if bool((image == image.flatten()[0]).all()):
            return image.clone()  # a constant carries no noise
        v = _real(image).to(self.fit.theta.dtype)
        if tuple(v.shape) != self.fit.shape:
            raise ValueError(
                f"DeepImagePrior.prox: this copy remembers an image of shape {self.fit.shape}, got {tuple(v.shape)}; "
                "use fresh()."
            )
        with torch.no_grad():
            x = self._fitted(v, tau, steps)
            if residual:
                x = x + local_gain(v - x, tau**0.5) * (v - x)
        return _like(x, image)

    def _fitted(self, v: Tensor, tau: float, steps: tuple[int, int]) -> Tensor:
        fit, first = self.fit, not self.fit.optimizer.state
        if not first:
            fit.set_lr(WARM_LR * fit.recipe.lr)
            fit.limit = min(WARM_AVERAGE, fit.limit)
        fit.restart_average()

        def loss(x: Tensor) -> Tensor:
            return _misfit(x, v) / (2 * tau)

        every = GUARD_EVERY if v.is_cuda else 1
        before = fit.average
        for step in range(1, steps[0 if first else 1] + 1):
            before = fit.average.clone() if step > 1 else before
            fit.step(loss)
            if step % every == 0 and float(torch.minimum(_misfit(fit.output, v), _misfit(fit.average, v))) <= tau:
                break
        return _no_closer(fit.average, before, v, tau)


def _no_closer(x: Tensor, before: Tensor, v: Tensor, tau: float) -> Tensor:
    """``x``, or the point on the way to it from ``before`` where ``mean (x - v)^2`` has fallen to ``tau``."""
    step, gap = x - before, before - v
    a, b, c = step.square().mean(), (step * gap).mean(), gap.square().mean() - tau  # a t^2 + 2 b t + c = 0
    share = (-b - (b * b - a * c).clamp_min(0).sqrt()) / a.clamp_min(torch.finfo(a.dtype).tiny)
    crossed = (_misfit(x, v) < tau) & (c > 0)
    return torch.where(crossed, before + share.clamp(0, 1) * step, x)


def _misfit(x: Tensor, v: Tensor) -> Tensor:
    return (x - v).square().mean()


def _real(image: Tensor) -> Tensor:
    """A complex image as twice as many real channels."""
    return torch.cat([image.real, image.imag]) if image.is_complex() else image


def _like(x: Tensor, image: Tensor) -> Tensor:
    if image.is_complex():
        real, imaginary = x.to(image.real.dtype).chunk(2)
        return torch.complex(real, imaginary)
    return x.to(image.dtype)
