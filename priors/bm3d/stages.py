"""The two stages of BM3D on prepared channels, the same for every backend."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

import torch
from torch import Tensor

from .memory import Memory
from .settings import Groups, Settings
from .transforms import Matrix, biorthogonal, cosine


class Backend(Protocol):
    """How the steps are computed: block matching and the two collaborative filters, on (B, C, H, W) float32 batches."""

    def at_work(self) -> AbstractContextManager[None]:
        """What a call runs in, once: its threads, and how many torch's own operations may use beside them."""

    def match(self, images: Tensor, limits: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """Numbers and counts (see Groups) of the ``size`` nearest blocks, at most ``limits`` (B,) away."""

    def noise(self, numbers: Tensor, counts: Tensor, analysis: Matrix) -> Tensor:
        """The variance of each group's sum (see Groups)."""

    def hard_threshold(self, noisy: Tensor, groups: Groups, thresholds: Tensor) -> Tensor:
        """Collaborative hard thresholding at ``thresholds`` (B,)."""

    def wiener(self, noisy: Tensor, pilot: Tensor, groups: Groups, variances: Tensor) -> Tensor:
        """Collaborative Wiener filter for noise of ``variances`` (B,); ``pilot`` models the clean image."""


def denoise(
    noisy: Tensor, sigma: Tensor, settings: Settings, backend: Backend, memory: Memory, stale: Tensor | None
) -> Tensor:
    """Both stages (or the first alone): the basic estimate by hard thresholding, then the Wiener filter it steers.

    Blocks are matched on the first channel, for the images ``stale`` (None: all); the others keep their groups in
    ``memory``.
    Shapes: noisy (B, C, H, W) float32 with sides 8 + 3 k, sigma (B,).
    """
    contrast = signal_range(noisy[:, 0], sigma)
    limits = 64 * (settings.hard_limit * contrast.square() + 2 * sigma.square())
    hard = _grouped(memory.hard, noisy[:, 0], limits, settings.hard_group, biorthogonal(), backend, stale)
    pilot = backend.hard_threshold(noisy, hard, settings.threshold * sigma)
    memory.hard = hard
    if settings.stages == 1:
        return pilot
    limits = 64 * settings.wiener_limit * (contrast + 4 * sigma).square()
    memory.wiener = _grouped(memory.wiener, pilot[:, 0], limits, settings.wiener_group, cosine(), backend, stale)
    return backend.wiener(noisy, pilot, memory.wiener, settings.wiener_noise * sigma.square())


def _grouped(
    known: Groups | None,
    images: Tensor,
    limits: Tensor,
    size: int,
    analysis: Matrix,
    backend: Backend,
    stale: Tensor | None,
) -> Groups:
    """The groups ``known`` from an earlier call, with those of the ``stale`` images found anew."""
    if known is not None and stale is not None and len(stale) == 0:
        return known
    if known is None or stale is None:
        numbers, counts = backend.match(images, limits, size)
        return Groups(numbers, counts, backend.noise(numbers, counts, analysis))
    numbers, counts = backend.match(images[stale], limits[stale], size)
    fresh = numbers, counts, backend.noise(numbers, counts, analysis)
    parts = (known.numbers, known.counts, known.noise)
    return Groups(*(old.index_copy(0, stale, new) for old, new in zip(parts, fresh, strict=True)))


def signal_range(images: Tensor, sigma: Tensor) -> Tensor:
    """How far apart the values of the clean picture lie, (B,): the unit of the distance limits.

    The range of 8 x 8 means (in which noise is 8 times weaker), or that of two values of the same variance where it
    is larger (fine texture).
    """
    means = torch.nn.functional.avg_pool2d(images[:, None], 8, stride=4)
    span = means.amax(dim=(1, 2, 3)) - means.amin(dim=(1, 2, 3))
    spread = (images.var(dim=(1, 2), correction=0) - sigma.square()).clamp_min(0).sqrt()
    return torch.maximum(span, 2 * spread)
