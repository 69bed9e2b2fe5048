"""Building blocks of the generator networks: convolutions, fixed upsampling, normalisation, private randomness."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEAKY_SLOPE = 0.2  # Ulyanov et al. 2018
UPSAMPLINGS = ("bilinear", "nearest", "gaussian")
NORMALISATIONS = ("batch", "instance", "mean", "none")
PADDINGS = ("reflect", "replicate", "zeros")


class Upsample(nn.Module):
    """Upsampling by two with a fixed, never learnt, interpolation kernel: the low-pass filter that is the prior.

    Bilinear (``align_corners=False``) is written on CUDA as its two phases, ``3/4 x + 1/4 neighbour`` per axis, because
    the library kernel adds its gradient in an order that changes from run to run. The Gaussian has a standard deviation
    of one fine pixel.

    Shapes: (B, C, H, W) to (B, C, 2H, 2W).
    Source: Liu et al., *The Devil is in the Upsampling*, ICCV 2023; Heckel & Soltanolkotabi, ICLR 2020.
    """

    def __init__(self, mode: str = "bilinear") -> None:
        super().__init__()
        if mode not in UPSAMPLINGS:
            raise ValueError(f"Upsample: mode must be one of {UPSAMPLINGS}, got {mode!r}.")
        self.mode = mode

    def forward(self, x: Tensor) -> Tensor:
        if self.mode == "nearest":
            return F.interpolate(x, scale_factor=2, mode="nearest")
        if self.mode == "bilinear":
            return two_phase_bilinear(x) if x.is_cuda else F.interpolate(x, scale_factor=2, mode="bilinear")
        return _smooth(F.interpolate(x, scale_factor=2, mode="nearest"))

    def extra_repr(self) -> str:
        return self.mode


def two_phase_bilinear(x: Tensor) -> Tensor:
    """Bilinear x2 upsampling with edge replication, by plain arithmetic: deterministic, and open to fusion.

    The result lies in memory channels last, as the convolutions around it want it.
    """
    x = x.permute(0, 2, 3, 1)
    for axis in (1, 2):
        n = x.shape[axis]
        before = torch.cat([x.narrow(axis, 0, 1), x.narrow(axis, 0, n - 1)], dim=axis)
        after = torch.cat([x.narrow(axis, 1, n - 1), x.narrow(axis, n - 1, 1)], dim=axis)
        phases = torch.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], dim=axis + 1)
        x = phases.flatten(axis, axis + 1)
    return x.permute(0, 3, 1, 2)


def _smooth(x: Tensor) -> Tensor:
    """Depthwise 5x5 binomial filter, the fixed Gaussian of one pixel; edges replicated."""
    taps = x.new_tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    kernel = (taps[:, None] * taps).expand(x.shape[1], 1, 5, 5)
    return F.conv2d(F.pad(x, (2, 2, 2, 2), mode="replicate"), kernel, groups=x.shape[1])


class Dropout(nn.Module):
    """Dropout of single values or, with ``maps``, of whole feature maps, drawn from the fit's own generator."""

    def __init__(self, p: float, *, maps: bool = False) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"Dropout: expected a probability in [0, 1), got {p!r}.")
        self.p, self.maps = p, maps
        self.generator: torch.Generator | None = None  # set by the fit that owns the network

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        shape = (*x.shape[:2], 1, 1) if self.maps else x.shape
        draw = torch.rand(shape, generator=self.generator, device=x.device, dtype=torch.float32)
        return x * ((draw >= self.p).to(x.dtype) / (1 - self.p))

    def extra_repr(self) -> str:
        return f"p={self.p}, maps={self.maps}"


class MeanNorm(nn.Module):
    """Subtract each map's mean and add a learnt bias: batch normalisation without the division (Shi et al. 2022)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(dim=(-2, -1), keepdim=True) + self.bias[:, None, None]


class Pointwise(nn.Conv2d):
    """A 1x1 convolution as one matrix product over the pixels: faster, channels last, than the convolution routines.

    Shapes: (B, C, H, W) to (B, C', H, W).
    """

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True) -> None:
        super().__init__(inputs, outputs, 1, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


def normalise(channels: int, kind: str) -> nn.Module:
    """A normalisation layer that uses the statistics of the image at hand in training and afterwards."""
    match kind:
        case "batch":
            return nn.BatchNorm2d(channels, track_running_stats=False)
        case "instance":
            return nn.InstanceNorm2d(channels, affine=True)
        case "mean":
            return MeanNorm(channels)
        case "none":
            return nn.Identity()
    raise ValueError(f"normalisation must be one of {NORMALISATIONS}, got {kind!r}.")


class Convolution(nn.Conv2d):
    """A 3x3 convolution whose border is continued by reflection, replication or zeros.

    On CUDA the border is put on by slices, because the library's padding adds its gradient in a changing order.
    Shapes: (B, C, H, W) to (B, C', ceil(H / stride), ceil(W / stride)); H and W at least 2 for reflection.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int, padding: str, bias: bool) -> None:
        super().__init__(inputs, outputs, 3, stride, padding=1 if padding == "zeros" else 0, bias=bias)
        self.border = padding

    def forward(self, input: Tensor) -> Tensor:
        if self.border != "zeros":
            input = pad_by_slices(input, self.border) if input.is_cuda else F.pad(input, (1, 1, 1, 1), self.border)
        return super().forward(input)


def pad_by_slices(x: Tensor, mode: str) -> Tensor:
    """One pixel of reflection or replication on every side. Shapes: (..., H, W) to (..., H + 2, W + 2)."""
    inward = 1 if mode == "reflect" else 0
    for axis in (-2, -1):
        n = x.shape[axis]
        x = torch.cat([x.narrow(axis, inward, 1), x, x.narrow(axis, n - 1 - inward, 1)], dim=axis)
    return x


def convolution(
    inputs: int, outputs: int, size: int, *, stride: int = 1, padding: str = "reflect", bias: bool = True
) -> nn.Conv2d:
    """A convolution of size 1 or 3 that keeps the image's size before ``stride``."""
    if padding not in PADDINGS:
        raise ValueError(f"padding must be one of {PADDINGS}, got {padding!r}.")
    if size == 1:
        return Pointwise(inputs, outputs, bias=bias)
    return Convolution(inputs, outputs, stride=stride, padding=padding, bias=bias)


@torch.no_grad()
def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Draw every weight anew from ``generator``, by PyTorch's own laws (uniform in +-1/sqrt(fan in)); norms to 1 and 0.

    PyTorch's constructors draw from the global generator: what they drew is overwritten here. Draws are of float32
    whatever the default type: others are other numbers.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            fan_in = (
                module.weight[0].numel() if not isinstance(module, nn.ConvTranspose2d) else module.weight[:, 0].numel()
            )
            bound = 1 / math.sqrt(max(fan_in, 1))
            for parameter in (module.weight, module.bias):
                if parameter is not None:
                    draw = torch.rand(parameter.shape, generator=generator, dtype=torch.float32)
                    parameter.copy_(draw * (2 * bound) - bound)
        elif isinstance(module, nn.BatchNorm2d | nn.InstanceNorm2d):
            if module.affine:
                module.weight.fill_(1)
                module.bias.fill_(0)
        elif isinstance(module, MeanNorm):
            module.bias.fill_(0)
        elif isinstance(module, OwnInitialisation):
            module.draw(generator)


class OwnInitialisation(nn.Module):
    """A module that knows how its own parameters are drawn."""

    def draw(self, generator: torch.Generator) -> None:
        """Overwrite the parameters."""
        raise NotImplementedError
