"""Decoders that differ in one thing only: whether their spatial filter is fixed or learnt."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import Pointwise, Upsample
from .networks import Generator

FILTERS = ("bilinear", "binomial", "convolution", "deconvolution")
LEARNT = ("convolution", "deconvolution")


class FilterDecoder(Generator):
    """Layers of one spatial filter, ReLU and batch normalisation; ``filters`` says which, and what is learnt.

    Fixed filters follow a learnt 1x1 convolution: "bilinear" upsampling by two, or the "binomial" 4x4 low-pass at full
    size. Learnt ones are the 3x3 "convolution" at full size and the 4x4 "deconvolution" of stride two; they have a
    third of the channels, so that all four have about ``width^2`` to ``2 width^2`` weights a layer. What such networks
    fit first tells what the fixed filters are worth.

    Shapes: ``z`` (1, channels, h, w), of the image's size or, where the layers upsample, ``2^depth`` times smaller;
    output (1, outputs, >= H, >= W).
    Raises: ValueError for an unknown filter or fewer than three channels.
    Source: Heckel & Soltanolkotabi, *Denoising and Regularization via Exploiting the Structural Bias of Convolutional
    Generators*, ICLR 2020, fig. 4: widths 128, 256 and 512 for 256 x 256 pixels.
    """

    def __init__(self, outputs: int, *, filters: str = "bilinear", width: int = 128, depth: int = 4) -> None:
        super().__init__()
        if filters not in FILTERS:
            raise ValueError(f"FilterDecoder: filters must be one of {FILTERS}, got {filters!r}.")
        if width < 3 or depth < 1:
            raise ValueError(f"FilterDecoder: expected width >= 3 and depth >= 1, got {width!r}, {depth!r}.")
        self.filters, self.depth = filters, depth
        self.channels = width // 3 if filters in LEARNT else width
        layers: list[nn.Module] = []
        for _ in range(depth):
            layers += [*self._filter(), nn.ReLU(), nn.BatchNorm2d(self.channels, track_running_stats=False)]
        self.body = nn.Sequential(*layers)
        self.head = Pointwise(self.channels, outputs)

    def _filter(self) -> list[nn.Module]:
        k = self.channels
        match self.filters:
            case "bilinear":
                return [Pointwise(k, k, bias=False), Upsample("bilinear")]
            case "binomial":
                return [Pointwise(k, k, bias=False), Binomial()]
            case "convolution":
                return [nn.Conv2d(k, k, 3, padding=1, bias=False)]
        return [nn.ConvTranspose2d(k, k, 4, stride=2, padding=1, bias=False)]

    def input_shape(self, height: int, width: int) -> tuple[int, int, int]:
        factor = 2**self.depth if self.filters in ("bilinear", "deconvolution") else 1
        return self.channels, max(2, math.ceil(height / factor)), max(2, math.ceil(width / factor))


class Binomial(nn.Module):
    """The fixed low-pass ``[1, 3, 3, 1] / 8`` per axis of every channel, zeros beyond the edge.

    Shapes: (B, C, H, W), kept.
    """

    def forward(self, x: Tensor) -> Tensor:
        taps: Tensor = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype, device=x.device) / 8
        kernel = (taps[:, None] * taps).expand(x.shape[1], 1, 4, 4)
        return F.conv2d(F.pad(x, (1, 2, 1, 2)), kernel, groups=x.shape[1])
