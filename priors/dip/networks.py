"""Generator networks ``f_theta(z)``: hourglass with and without skips, deep decoder, convolutional decoder."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .layers import LEAKY_SLOPE, Dropout, Pointwise, Upsample, convolution, normalise


class Generator(nn.Module):
    """A network that maps a fixed random ``z`` to an image: a body, and a 1x1 head kept in full precision.

    ``input_shape(H, W)`` is the shape of the ``z`` whose image is at least H x W; the fit crops the surplus.
    ``uniform`` says whether ``z`` is uniform on [0, 0.1), as in the deep image prior, or standard normal.
    """

    body: nn.Module
    head: nn.Conv2d
    uniform: bool = True

    def input_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Channels, height and width of ``z``."""
        raise NotImplementedError

    def forward(self, z: Tensor) -> Tensor:
        features = self.body(z)
        with torch.autocast("cpu" if z.is_meta else z.device.type, enabled=False):
            image: Tensor = self.head(features.to(self.head.weight.dtype))
        return image


class _Block(nn.Sequential):
    """Convolution, normalisation, leaky ReLU, dropout."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        stride: int,
        padding: str,
        normalisation: str,
        dropout: float,
        maps: bool,
    ) -> None:
        layers: list[nn.Module] = [
            convolution(inputs, outputs, size, stride=stride, padding=padding),
            normalise(outputs, normalisation),
            nn.LeakyReLU(LEAKY_SLOPE, inplace=True),
        ]
        super().__init__(*layers, *([Dropout(dropout, maps=maps)] if dropout else []))


class _Scale(nn.Module):
    """One scale of the hourglass: down, the inner scales, up, joined with the skip branch."""

    def __init__(
        self,
        down: nn.Module,
        inner: nn.Module | None,
        upsample: Upsample,
        skip: nn.Module | None,
        join: nn.Module,
        up: nn.Module,
    ) -> None:
        super().__init__()
        self.down, self.inner, self.upsample, self.skip, self.join, self.up = down, inner, upsample, skip, join, up

    def forward(self, x: Tensor) -> Tensor:
        deeper = self.down(x)
        if self.inner is not None:
            deeper = self.inner(deeper)
        deeper = self.upsample(deeper)
        if isinstance(self.join, _Added):
            joined = self.join(deeper, None if self.skip is None else self.skip(x))
        else:
            joined = self.join(deeper if self.skip is None else torch.cat([self.skip(x), deeper], dim=1))
        result: Tensor = self.up(joined)
        return result


class _Added(nn.Module):
    """``conv(cat(skip, deeper))`` as the sum of two convolutions: no concatenated copy at full resolution."""

    def __init__(self, skip: int, deeper: int, outputs: int, padding: str) -> None:
        super().__init__()
        self.deeper = convolution(deeper, outputs, 3, padding=padding)
        self.skip = convolution(skip, outputs, 3, padding=padding, bias=False) if skip else None

    def forward(self, deeper: Tensor, skip: Tensor | None) -> Tensor:
        result: Tensor = self.deeper(deeper)
        if skip is not None and self.skip is not None:
            result = result + self.skip(skip)
        return result


class Hourglass(Generator):
    """The hourglass of the deep image prior, with skip connections or (``skip=0``) the encoder-decoder without.

    At every scale: a strided 3x3 and a 3x3 convolution down, x2 upsampling, the skip branch's 1x1 convolution joined
    in, a 3x3 and a 1x1 convolution up; each followed by normalisation and a leaky ReLU. With 5 scales of 128 channels,
    4 skip channels, 32 input and 3 output channels it has the published 2,217,831 parameters. ``join="add"`` sums the
    two branches' convolutions instead of concatenating, and ``pointwise=False`` leaves the 1x1 out: both are lighter.

    Shapes: ``z`` (1, inputs, H', W') with sides divisible by 2^scales; output (1, outputs, H', W').
    Source: Ulyanov, Vedaldi & Lempitsky, *Deep Image Prior*, CVPR 2018; without skips: Anderson, *Regularization and
    Applications of a Network Structure Deep Image Prior*.
    """

    def __init__(
        self,
        outputs: int,
        *,
        inputs: int = 32,
        channels: Sequence[int] = (128, 128, 128, 128, 128),
        skip: int | Sequence[int] = 4,
        upsample: str = "bilinear",
        padding: str = "reflect",
        normalisation: str = "batch",
        join: str = "concatenate",
        pointwise: bool = True,
        dropout: float = 0.0,
        dropout_maps: bool = False,
    ) -> None:
        super().__init__()
        if join not in ("concatenate", "add"):
            raise ValueError(f"Hourglass: join must be 'concatenate' or 'add', got {join!r}.")
        skips = [skip] * len(channels) if isinstance(skip, int) else list(skip)
        if len(skips) != len(channels) or not channels:
            raise ValueError(f"Hourglass: expected one skip width per scale ({len(channels)}), got {skips}.")
        self.inputs, self.scales = inputs, len(channels)

        def block(a: int, b: int, size: int, stride: int = 1) -> _Block:
            return _Block(a, b, size, stride, padding, normalisation, dropout, dropout_maps)

        inner: _Scale | None = None
        for i in reversed(range(len(channels))):
            entering = channels[i - 1] if i else inputs
            width = channels[i]
            deeper = width if inner is None else channels[i + 1]
            branch = block(entering, skips[i], 1) if skips[i] else None
            after = [block(width, width, 1)] if pointwise else []
            if join == "add":
                activation = [normalise(width, normalisation), nn.LeakyReLU(LEAKY_SLOPE, inplace=True)]
                drop = [Dropout(dropout, maps=dropout_maps)] if dropout else []
                merge: nn.Module = _Added(skips[i], deeper, width, padding)
                up = nn.Sequential(*activation, *drop, *after)
            else:
                merge = normalise(skips[i] + deeper, normalisation)
                up = nn.Sequential(block(skips[i] + deeper, width, 3), *after)
            down = nn.Sequential(block(entering, width, 3, 2), block(width, width, 3))
            inner = _Scale(down, inner, Upsample(upsample), branch, merge, up)
        self.body = inner if inner is not None else nn.Identity()
        self.head = Pointwise(channels[0], outputs)

    def input_shape(self, height: int, width: int) -> tuple[int, int, int]:
        factor = 2**self.scales  # two pixels at least remain at the bottom: batch statistics of one would be void
        return self.inputs, max(2, math.ceil(height / factor)) * factor, max(2, math.ceil(width / factor)) * factor


class DeepDecoder(Generator):
    """The deep decoder: 1x1 convolutions, ReLU, normalisation and fixed x2 upsampling; no learnt spatial filter.

    ``channels`` are the widths after each 1x1 convolution; all stages but the last upsample. With few channels it has
    fewer parameters than the image has pixels and cannot fit noise at all; with 512 (the over-parameterised variant)
    it fits noise late. ``order`` places the upsampling: "early" right after the convolution (Heckel & Hand, since 1x1
    convolution and interpolation commute), "late" after the normalisation, cheapest at full resolution.

    Shapes: ``z`` (1, channels[0], ceil(H / 2^n), ceil(W / 2^n)), n = len(channels) - 1; output (1, outputs, >= H,
    >= W).
    Source: Heckel & Hand, *Deep Decoder*, ICLR 2019; Heckel & Soltanolkotabi, *Denoising and Regularization via
    Exploiting the Structural Bias of Convolutional Generators*, ICLR 2020.
    """

    def __init__(
        self,
        outputs: int,
        *,
        channels: Sequence[int] = (128,) * 6,
        upsample: str = "bilinear",
        normalisation: str = "batch",
        order: str = "early",
        dropout: float = 0.0,
        dropout_maps: bool = False,
    ) -> None:
        super().__init__()
        if order not in ("early", "late") or len(channels) < 2:
            raise ValueError(
                f"DeepDecoder: order must be 'early' or 'late', with two widths or more; got {order!r}, {channels!r}."
            )
        self.channels, self.ups = tuple(channels), len(channels) - 1
        first = 0 if order == "early" else 1  # a 1x1 convolution commutes with the interpolation before it: do it first
        layers: list[nn.Module] = []
        entering = channels[0]
        for i, width in enumerate(channels):
            layers.append(Pointwise(entering, width, bias=False))
            if first <= i < first + self.ups:
                layers.append(Upsample(upsample))
            layers += [nn.ReLU(inplace=True), normalise(width, normalisation)]
            if dropout:
                layers.append(Dropout(dropout, maps=dropout_maps))
            entering = width
        self.body = nn.Sequential(*layers)
        self.head = Pointwise(channels[-1], outputs, bias=False)

    def input_shape(self, height: int, width: int) -> tuple[int, int, int]:
        factor = 2**self.ups
        return self.channels[0], max(2, math.ceil(height / factor)), max(2, math.ceil(width / factor))


class ConvDecoder(Generator):
    """The convolutional decoder: per layer upsampling, 3x3 convolution, ReLU, normalisation; ``z`` is standard normal.

    Shapes: ``z`` (1, inputs, ceil(H / 2^n), ceil(W / 2^n)), n = len(channels); output (1, outputs, >= H, >= W).
    Source: Darestani & Heckel, *Accelerated MRI with Un-trained Neural Networks*, 2021.
    """

    uniform = False

    def __init__(
        self,
        outputs: int,
        *,
        inputs: int | None = None,
        channels: Sequence[int] = (64,) * 5,
        upsample: str = "nearest",
        padding: str = "zeros",
        normalisation: str = "batch",
        dropout: float = 0.0,
        dropout_maps: bool = False,
    ) -> None:
        super().__init__()
        self.inputs, self.ups = inputs or channels[0], len(channels)
        layers: list[nn.Module] = []
        entering = self.inputs
        for width in [*channels, channels[-1]]:
            if len(layers) < 4 * self.ups:
                layers.append(Upsample(upsample))
            layers += [convolution(entering, width, 3, padding=padding), nn.ReLU(), normalise(width, normalisation)]
            entering = width
        if dropout:
            layers.append(Dropout(dropout, maps=dropout_maps))
        self.body = nn.Sequential(*layers)
        self.head = Pointwise(entering, outputs)

    def input_shape(self, height: int, width: int) -> tuple[int, int, int]:
        factor = 2**self.ups
        return self.inputs, max(2, math.ceil(height / factor)), max(2, math.ceil(width / factor))
