"""Which network for which picture: named presets, and the automatic choice by device, size and noise."""

from __future__ import annotations

import copy
import dataclasses

import torch
from torch import nn

from .layers import Dropout, initialise
from .networks import ConvDecoder, DeepDecoder, Hourglass
from .two_layer import TwoLayer

NAMES = (
    "auto", "paper", "fast", "small", "tiny", "light", "tapered", "encoder-decoder", "deep-decoder", "over-decoder",
    "conv-decoder", "two-layer",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a network is trained, and its outputs averaged.

    ``jitter`` is the standard deviation of the noise added to z at each iteration; ``average`` and ``recent`` are the
    ``beta`` and ``k`` of the running mean's factor ``min(beta, (1 + t) / (k + t))``.
    """

    lr: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    jitter: float = 0.0
    iterations: int = 2000
    average: float = 0.99  # Ulyanov et al. 2018
    recent: float = 10.0


@dataclasses.dataclass(frozen=True)
class Layout:
    """What may be varied in a named network; None keeps what the preset says."""

    upsample: str | None = None
    normalisation: str = "batch"
    dropout: float = 0.0
    dropout_maps: bool = False


# The light hourglass takes a processor two to three times as long as the tapered decoder and gained 0.2 to 1.5 dB where
# the noise was a tenth of the range: denoising and deblurring, up to 512 x 512 pixels.
NOISY = 0.08  # noise over the range from which a direct fit takes it
VERY_NOISY = 0.3  # and from which a solver's proximal maps, and fits of any size, do
SMALL = 512 * 512  # pixels up to which a processor can afford it: minutes


def choose(
    device: torch.device, pixels: int, relative_sigma: float | None, *, in_solver: bool = False
) -> tuple[str, str]:
    """The preset for ``network="auto"``, and the reason. ``relative_sigma`` is the noise over the image's range."""
    if device.type == "cuda":
        return "fast", "on a GPU the hourglass of 64 to 128 channels costs little"
    noise = 0.0 if relative_sigma is None else relative_sigma
    if noise >= VERY_NOISY or (noise >= NOISY and pixels <= SMALL and not in_solver):
        return "light", f"under strong noise ({noise:.2g} of the range) the light hourglass beats the decoders"
    return "tapered", f"on a processor the tapered deep decoder gains most in the first minute ({pixels} pixels)"


def recipe(name: str, relative_sigma: float | None) -> Recipe:
    """How the network ``name`` is trained."""
    paper_jitter = 1 / 20 if relative_sigma is not None and relative_sigma > 40 / 255 else 1 / 30  # Ulyanov et al.
    match name:
        case "paper" | "encoder-decoder" | "fast":
            return Recipe(jitter=paper_jitter, iterations=3000)
        case "small" | "tiny":
            return Recipe(betas=(0.9, 0.99), jitter=paper_jitter, iterations=3000)
        case "light":
            quiet = relative_sigma is not None and relative_sigma < 0.05
            if quiet:
                return Recipe(betas=(0.9, 0.99))
            # Its outputs scatter: about the last quarter of them, averaged, is 0.1 dB better than the last hundred.
            return Recipe(betas=(0.9, 0.99), jitter=0.03, average=0.998, recent=4.0)
        case "tapered":
            return Recipe(betas=(0.9, 0.99))
        case "two-layer":
            return Recipe(lr=0.05)
    return Recipe()


def build(
    name: str,
    outputs: int,
    shape: tuple[int, int],
    layout: Layout,
    relative_sigma: float | None,
    generator: torch.Generator,
) -> nn.Module:
    """The named network with weights drawn from ``generator`` alone: the global generator is not touched."""
    with torch.random.fork_rng(devices=[]):  # constructors draw and are overwritten below
        network = _construct(name, outputs, shape, layout, relative_sigma)
    initialise(network, generator)
    return network


def _construct(
    name: str, outputs: int, shape: tuple[int, int], layout: Layout, relative_sigma: float | None
) -> nn.Module:
    side = min(shape)
    scales = max(1, min(5, (side - 1).bit_length() - 2))  # at least 4 pixels are left at the bottom
    normalisation, dropout, maps = layout.normalisation, layout.dropout, layout.dropout_maps

    def hourglass(
        channels: tuple[int, ...],
        skip: int,
        inputs: int,
        padding: str,
        *,
        join: str = "concatenate",
        pointwise: bool = True,
    ) -> Hourglass:
        return Hourglass(
            outputs,
            inputs=inputs,
            channels=channels,
            skip=skip,
            upsample=layout.upsample or "bilinear",
            padding=padding,
            normalisation=normalisation,
            join=join,
            pointwise=pointwise,
            dropout=dropout,
            dropout_maps=maps,
        )

    def decoder(channels: tuple[int, ...], order: str) -> DeepDecoder:
        return DeepDecoder(
            outputs,
            channels=channels,
            upsample=layout.upsample or "bilinear",
            normalisation=normalisation,
            order=order,
            dropout=dropout,
            dropout_maps=maps,
        )

    match name:
        case "paper":
            return hourglass((128,) * 5, 4, 32, "reflect")
        case "encoder-decoder":
            return hourglass((128,) * 5 if side >= 256 else (64,) * scales, 0, 32, "reflect")
        case "fast":
            return hourglass((64, 128, 128, 128, 128)[:scales], 8, 16, "replicate")
        case "small":
            return hourglass((32, 64, 128, 128, 128)[:scales], 4, 16, "zeros")
        case "tiny":
            return hourglass((32,) * scales, 4, 32, "zeros")
        case "light":
            return hourglass((16, 32, 64, 64, 64)[:scales], 4, 8, "zeros", join="add", pointwise=False)
        case "tapered":
            return decoder((256, 256, 128, 64, 64)[-max(2, min(5, scales + 1)) :], "late")
        case "deep-decoder":
            width = 128  # narrower under strong noise: fewer parameters than pixels is the only stop it has
            if relative_sigma is not None:
                width = 32 if relative_sigma > 60 / 255 else 64 if relative_sigma > 40 / 255 else 128
            return decoder((width,) * (scales + 1), "early")
        case "over-decoder":
            return decoder((512,) * (scales + 1), "early")
        case "conv-decoder":
            return ConvDecoder(
                outputs, channels=(64,) * scales, upsample=layout.upsample or "nearest", normalisation=normalisation,
                dropout=dropout, dropout_maps=maps,
            )  # fmt: skip
        case "two-layer":
            return TwoLayer(outputs, shape)
    raise ValueError(f"DeepImagePrior: network must be one of {NAMES} or a torch.nn.Module, got {name!r}.")


def copy_module(module: nn.Module, member: int, generator: torch.Generator) -> nn.Module:
    """A private copy of the user's network; members of an ensemble after the first are drawn anew.

    Its dropout layers become ours, since PyTorch's draw from the global generator.
    """
    network = copy.deepcopy(module)
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Dropout | nn.Dropout2d):
                setattr(parent, name, Dropout(child.p, maps=isinstance(child, nn.Dropout2d)))
    if member:
        initialise(network, generator)
    return network
