"""The deep image prior as a proximal map and as a direct fit."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pnp.data_terms import DataTerm
from pnp.functional import Functional
from pnp.images import ArrayLike, check_image, per_image
from pnp.linear_operator import LinearOperator
from pnp.result import Result

from .arguments import not_default, number, one_of, range_of, trainable, true_images, whole
from .choices import Options
from .direct import DirectFit
from .layers import NORMALISATIONS, UPSAMPLINGS
from .loop import Callback
from .memory import explained_shortage
from .network_fit import Penalties
from .presets import NAMES, Layout
from .proximal import ProximalFit
from .settings import PRECISIONS, Settings
from .stopping import Rule

FIRST_STEPS = 300  # Adam steps of a first proximal map, from random weights
WARM_STEPS = 20  # and of every later one, from the weights before


class DeepImagePrior(Functional):
    """Deep image prior: the images ``f_theta(z)`` that an untrained network draws from a fixed random z come first.

    ``fit(A, y)`` solves ``min_theta ||A f_theta(z) - y||^2`` directly and stops by itself. As a functional it serves
    any solver: ``prox(v, tau)`` fits the network to ``v`` until ``mean (f - v)^2 <= tau``, beyond which only noise is
    left to learn. A solver's ``fresh`` copy keeps weights and moments from call to call; the map is not the proximal
    map of a function and no convergence theorem applies.

    ``network`` is a preset ("paper", "fast", "small", "tiny", "light", "tapered"), an architecture ("encoder-decoder",
    "deep-decoder", "over-decoder", "conv-decoder", "two-layer"), "auto" (one of the presets, by device, size and
    noise), or any ``torch.nn.Module`` that maps (1, C', H', W') to (1, C, >= H, >= W). A module starts from its own
    weights (further networks of an ensemble are drawn anew); its z has the shape that its ``input_shape(H, W)`` asks
    for, else the channels that its first convolution reads, H x W of them; its dropout layers draw from ``seed``.
    ``jitter`` is the standard deviation of noise added to z at each step, ``average`` the largest factor of the running
    mean of the outputs; None takes the preset's. ``bounds`` is the range of the output ("auto": that of the first
    image; None: a linear output). ``steps`` are Adam steps of a proximal map: the first, and each later one.
    ``upsample``, ``normalisation`` ("batch", "instance", "mean", "none") and dropout are of the named networks alone.
    ``dropout``, ``l1``, ``l2`` (penalties on convolution weights, relative to the mean squared error of pictures in
    [0, 1]) and ``weight_decay`` (AdamW's) are off: Anderson found that none helps. ``residual`` gives back, locally,
    what of ``v - f`` exceeds the noise. ``deterministic`` repeats bit for bit on a GPU too.

    Shapes: images (..., C, H, W) of any size and number of channels. Each image of a batch has its own network, drawn
    from the same ``seed``, so that it gets the same result alone.
    Raises: ValueError for unknown names and values out of range, TypeError for what is no number.
    Source: Ulyanov, Vedaldi & Lempitsky, *Deep Image Prior*, CVPR 2018; Heckel & Hand, *Deep Decoder*, ICLR 2019.
    """

    cost = "expensive"

    def __init__(
        self,
        network: str | nn.Module = "auto",
        *,
        seed: int = 0,
        lr: float | None = None,
        jitter: float | None = None,
        iterations: int | None = None,
        steps: tuple[int, int] = (FIRST_STEPS, WARM_STEPS),
        average: float | None = None,
        bounds: str | tuple[float, float] | None = "auto",
        upsample: str | None = None,
        normalisation: str = "batch",
        dropout: float = 0.0,
        dropout_maps: bool = False,
        l1: float = 0.0,
        l2: float = 0.0,
        weight_decay: float = 0.0,
        precision: str = "auto",
        deterministic: bool = False,
        residual: bool = True,
    ) -> None:
        if not isinstance(network, nn.Module):
            one_of("network", network, NAMES)
        one_of("precision", precision, PRECISIONS)
        one_of("normalisation", normalisation, NORMALISATIONS)
        if upsample is not None:
            one_of("upsample", upsample, UPSAMPLINGS)
        for name, value in (("lr", lr), ("jitter", jitter), ("l1", l1), ("l2", l2), ("weight_decay", weight_decay)):
            if value is not None:
                number(name, value, math.inf)
        for name, value in (("average", average), ("dropout", dropout)):
            if value is not None:
                number(name, value, 1.0)
        layout = Layout(upsample, normalisation, dropout, dropout_maps)
        if layout != Layout() and (isinstance(network, nn.Module) or network == "two-layer"):
            raise ValueError(
                "DeepImagePrior: upsample, normalisation and dropout vary a named network of convolutions; they do not "
                f"apply to {network if isinstance(network, str) else type(network).__name__!r}."
            )
        seed = whole("seed", seed)
        iterations = None if iterations is None else whole("iterations", iterations, 1)
        if not isinstance(steps, tuple | list) or len(steps) != 2:
            raise ValueError(f"DeepImagePrior: steps must be (first, later), two whole numbers, got {steps!r}.")
        steps = (whole("steps", steps[0], 1), whole("steps", steps[1], 1))
        if bounds is not None and bounds != "auto":
            bounds = range_of(bounds)
        self.settings = Settings(
            network, seed, lr, jitter, iterations, average, bounds,
            layout, Penalties(l1, l2, weight_decay), precision,
            deterministic,
        )  # fmt: skip
        self.steps, self.residual = steps, residual
        self._memory: list[ProximalFit] | None = None  # a list in a fresh copy, None in the user's own object

    # ------------------------------------------------------------------ direct fit
    def fit(
        self,
        A: LinearOperator,
        y: ArrayLike,
        sigma: float | Tensor | None = None,
        *,
        truth: ArrayLike | None = None,
        loss: str = "auto",
        stop: str | Rule = "auto",
        n_nets: int = 1,
        tv: float = 0.0,
        whiten: bool | str = "auto",
        give_back: bool | str = "auto",
        photons: float = 1.0,
        limits: tuple[float, float] | None = None,
        time_limit: float | None = None,
        callback: Callback | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        graph: bool = True,
        progress: bool = True,
    ) -> Result:
        """``min_theta loss(A f_theta(z), y)``, stopped automatically; the best running average is returned.

        ``loss`` is "l2", "l1", "huber", "poisson" (with ``photons`` per unit of ``y``) or "censored" (data clipped at
        ``limits``); "auto" takes l2, and censored where strong noise was clipped. ``stop`` names a rule or is one:
        hold-out of measurements unless the problem calls for another; "oracle" needs ``truth``. ``n_nets`` networks are
        averaged and their deviation reported. ``tv`` weighs total variation, ``whiten`` fits
        ``(A A^H + c I)^(-1/2) (A f - y)`` where A is diagonal in Fourier space, ``give_back`` adds the Wiener estimate
        of what the network left in the residual ("auto": where sigma is known; the other image is in
        ``Result.extras``).
        ``time_limit`` is in seconds. A callback gets a ``View`` every few iterations and stops the fit by returning
        True. Ctrl-C returns the best image so far: of the networks that ended, else of the one cut short.
        ``checkpoint`` is written as the fit goes and resumed if it exists. ``truth`` adds the PSNR (peak 1) to the
        history. ``graph=False`` runs every step kernel by kernel on a GPU too.

        Shapes: ``y`` (..., *A.out_shape); the image (..., *A.in_shape).
        Units: ``sigma`` in those of ``y``; None if unknown, 0 for noise-free data.
        Raises: ValueError for NaN/inf in ``y``, a negative ``sigma``, a checkpoint of another problem, or what a choice
        cannot do without (a known ``sigma``, real data); TypeError for integers; RuntimeError naming a smaller preset
        when memory runs out.
        """
        if not isinstance(A, LinearOperator):
            raise TypeError(f"DeepImagePrior.fit: expected a LinearOperator, got {type(A).__name__}.")
        n_nets = whole("n_nets", n_nets, 1)
        number("tv", tv, math.inf)
        number("photons", photons, math.inf)
        if photons == 0:
            raise ValueError("DeepImagePrior: photons must be > 0, got 0.")
        if limits is not None:
            limits = range_of(limits, "limits")
            if loss not in ("auto", "censored"):
                raise ValueError(f"DeepImagePrior.fit: limits are those of loss 'censored', got loss {loss!r}.")
        options = Options(loss, stop, n_nets, tv, whiten, give_back, photons, limits, time_limit, graph, progress)
        with torch.inference_mode(False), torch.no_grad():
            term = DataTerm(A, trainable(y), 0.0 if sigma is None else trainable(sigma))
            target = None if truth is None else true_images(truth, term)
            with _kernels(self.settings.deterministic, term.data.device):
                x, result = DirectFit(
                    self.settings, term, sigma is not None, options,
                    callback=callback, checkpoint=checkpoint, truth=target,
                ).run()  # fmt: skip
        natural = term.shape

        def restore(image: Tensor) -> ArrayLike:
            image = image.reshape(natural)
            return image.cpu().numpy() if isinstance(y, np.ndarray) else image

        extras = {name: restore(image) for name, image in result.extras.items()}
        return dataclasses.replace(result, x=restore(x), extras=extras)

    # ------------------------------------------------------------------ proximal map
    def fresh(self) -> DeepImagePrior:
        private = copy.copy(self)
        private._memory = []
        return private

    def prox(self, v: Tensor, tau: float | Tensor) -> Tensor:
        check_image(v, who="DeepImagePrior.prox")
        volumes = isinstance(tau, Tensor) and tau.ndim == 5  # (B, C, D, H, W): the slices are fitted as channels
        pictures = v.detach().flatten(-4, -3) if volumes else v.detach()
        images = pictures.reshape(-1, *pictures.shape[-3:])
        ndim = 3 if volumes else 2
        variance = per_image(tau, v, who="DeepImagePrior.prox", what="tau", ndim=ndim).flatten().tolist()
        memory = [] if self._memory is None else self._memory
        if memory and len(memory) != images.shape[0]:
            raise ValueError(
                f"DeepImagePrior.prox: this copy remembers {len(memory)} images, got {images.shape[0]}; use fresh()."
            )
        pairs = list(zip(images, variance, strict=True))
        c, h, w = images.shape[1:]
        name, _ = self.settings.name(images.device, h * w, None, in_solver=True)
        with (
            torch.inference_mode(False),
            _kernels(self.settings.deterministic, images.device),
            explained_shortage(name, (c * (1 + images.is_complex()), h, w), images.device),
        ):
            fits = memory or [ProximalFit.begin(self.settings, image, t) for image, t in pairs]
            cleaned = [
                one.clean(image, t, steps=self.steps, residual=self.residual)
                for one, (image, t) in zip(fits, pairs, strict=True)
            ]
        if self._memory is not None:
            self._memory = fits
        return torch.stack(cleaned).reshape(v.shape)

    def take(self, keep: Tensor) -> DeepImagePrior:
        part = copy.copy(self)
        if self._memory:
            part._memory = [self._memory[i] for i in keep.tolist()]
        return part

    def state_dict(self) -> dict[str, Any]:
        """Weights, moments, averages and ranges of every network of a ``fresh`` copy."""
        return {"fits": [one.state_dict() for one in self._memory]} if self._memory else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what ``state_dict`` of a copy with the same settings returned."""
        if self._memory is None:
            super().load_state_dict(state)
            return
        self._memory = [ProximalFit.restored(self.settings, saved) for saved in state.get("fits", [])]

    def __repr__(self) -> str:
        said = [f"{name}={value}" for name, value in not_default(self.settings, Settings())]
        if self.steps != (FIRST_STEPS, WARM_STEPS):
            said.append(f"steps={self.steps}")
        if not self.residual:
            said.append("residual=False")
        return f"DeepImagePrior({', '.join(said)})"


@contextlib.contextmanager
def _kernels(deterministic: bool, device: torch.device) -> Iterator[None]:
    """On a GPU: the fastest convolution routines or, if asked, those that repeat bit for bit; restored afterwards."""
    if device.type != "cuda":
        yield
        return
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn = torch.backends.cudnn  # whose flags() would switch it off unless told otherwise
    with cudnn.flags(cudnn.enabled, benchmark=not deterministic, deterministic=deterministic, allow_tf32=True):
        workspace = "CUBLAS_WORKSPACE_CONFIG" in os.environ  # without it PyTorch refuses what one stream does repeat
        torch.use_deterministic_algorithms(deterministic or before[0], warn_only=before[1] or not workspace)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])
