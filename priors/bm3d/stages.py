"""The two stages of BM3D on prepared channels, the same for every backend."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from .settings import Groups, Settings


class Backend(Protocol):
    """How the steps are computed: block matching and the two collaborative filters, on (B, C, H, W) float32 batches."""

    def match(self, images: Tensor, limits: Tensor, size: int) -> Groups:
        """The ``size`` nearest blocks of every reference, nearer than ``limits`` (B,), a sum over the block."""

    def hard_threshold(self, noisy: Tensor, groups: Groups, thresholds: Tensor) -> Tensor:
        """Collaborative hard thresholding at ``thresholds`` (B,)."""

    def wiener(self, noisy: Tensor, pilot: Tensor, groups: Groups, variances: Tensor) -> Tensor:
        """Collaborative Wiener filter for noise of ``variances`` (B,) with ``pilot`` as the model of the clean image."""


def denoise(noisy: Tensor, sigma: Tensor, settings: Settings, backend: Backend) -> Tensor:
    """Both stages (or the first alone): the basic estimate by hard thresholding, then the Wiener filter it steers.

    Blocks are matched on the first channel.
    Shapes: noisy (B, C, H, W) float32 with sides 8 + 3 k, sigma (B,).
    """
    first = noisy[:, 0]
    contrast = signal_range(first, sigma).square()
    limits = 64 * (settings.hard_limit * contrast + 2 * sigma.square())
    hard = backend.match(first, limits, settings.hard_group)
    pilot = backend.hard_threshold(noisy, hard, settings.threshold * sigma)
    if settings.stages == 1:
        return pilot
    groups = backend.match(pilot[:, 0], 64 * settings.wiener_limit * contrast, settings.wiener_group)
    return backend.wiener(noisy, pilot, groups, sigma.square())


def signal_range(images: Tensor, sigma: Tensor) -> Tensor:
    """How far apart the values of the clean picture lie, (B,): the unit of the distance limits.

    The range of 8 x 8 means (in which noise is 8 times weaker), or that of uniformly distributed values of the same
    variance where it is larger (fine texture).
    """
    means = torch.nn.functional.avg_pool2d(images[:, None], 8, stride=4)
    span = means.amax(dim=(1, 2, 3)) - means.amin(dim=(1, 2, 3))
    spread = (images.var(dim=(1, 2), correction=0) - sigma.square()).clamp_min(0).sqrt()
    return torch.maximum(span, math.sqrt(12) * spread)
