"""What a deep image prior is told once: network, seed, training, precision; and the making of one fit from it."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor, nn

from .network_fit import NetworkFit, Penalties
from .presets import Layout, Recipe, build, choose, copy_module, recipe

PRECISIONS = ("auto", "float32", "bfloat16", "float64")
Z_RANGE = 0.1  # z is uniform on [0, 0.1): Ulyanov et al. 2018


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings of ``DeepImagePrior``, which documents them."""

    network: str | nn.Module = "auto"
    seed: int = 0
    lr: float | None = None
    jitter: float | None = None
    iterations: int | None = None
    average: float | None = None
    bounds: str | tuple[float, float] | None = "auto"
    layout: Layout = dataclasses.field(default_factory=Layout)
    penalties: Penalties = dataclasses.field(default_factory=Penalties)
    precision: str = "auto"
    deterministic: bool = False

    def name(
        self, device: torch.device, pixels: int, relative_sigma: float | None, *, in_solver: bool = False
    ) -> tuple[str, str]:
        """The network used, and why."""
        if isinstance(self.network, nn.Module):
            return type(self.network).__name__, "given by the user"
        if self.network != "auto":
            return self.network, "asked for by name"
        return choose(device, pixels, relative_sigma, in_solver=in_solver)

    def recipe(self, name: str, relative_sigma: float | None) -> Recipe:
        """How that network is trained here."""
        chosen = recipe(name, relative_sigma)
        return dataclasses.replace(
            chosen,
            lr=chosen.lr if self.lr is None else self.lr,
            jitter=chosen.jitter if self.jitter is None else self.jitter,
            iterations=chosen.iterations if self.iterations is None else self.iterations,
            average=chosen.average if self.average is None else self.average,
        )

    def working_precision(self, device: torch.device) -> tuple[torch.dtype, str]:
        """The type the network's body computes in, and why."""
        if self.precision == "float64":
            return torch.float64, "asked for"
        if self.precision == "float32":
            return torch.float32, "asked for"
        if self.precision == "bfloat16":
            return torch.bfloat16, "asked for"
        if device.type == "cuda":
            fast = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            fast = device.type == "cpu" and _cpu_has_bfloat16()
        if fast:
            return (
                torch.bfloat16,
                "the device computes in it directly; weights, head, operator and loss stay in float32",
            )
        return torch.float32, "the device has no bfloat16 arithmetic"

    def start_fit(
        self,
        shape: tuple[int, int, int],
        *,
        low: float,
        high: float,
        device: torch.device,
        relative_sigma: float | None,
        member: int = 0,
        bounded: bool = True,
        penalty_scale: float = 1.0,
        in_solver: bool = False,
    ) -> NetworkFit:
        """A new fit of an image of this shape and range; all its randomness comes from ``seed`` and ``member``."""
        channels, height, width = shape
        name, _ = self.name(device, height * width, relative_sigma, in_solver=in_solver)
        weights_and_z = torch.Generator().manual_seed(_stream(self.seed, member, 0))
        if isinstance(self.network, nn.Module):
            network = copy_module(self.network, member, weights_and_z)
        else:
            network = build(name, channels, (height, width), self.layout, relative_sigma, weights_and_z)
        z = _draw_z(network, height, width, weights_and_z)
        precision, _ = self.working_precision(device)
        real = torch.float64 if precision == torch.float64 else torch.float32
        return NetworkFit(
            network,
            z.to(device=device, dtype=real),
            shape,
            centre=0.5 * (low + high),
            span=high - low,
            sigmoid=bounded,
            recipe=self.recipe(name, relative_sigma),
            generator=torch.Generator(device).manual_seed(_stream(self.seed, member, 1)),
            precision=precision,
            penalties=dataclasses.replace(self.penalties, scale=penalty_scale),
        )


def _cpu_has_bfloat16() -> bool:
    ask = getattr(torch.cpu, "get_capabilities", None)  # absent from older versions of PyTorch
    capabilities = {} if ask is None else ask()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _stream(seed: int, member: int, purpose: int) -> int:
    """Seeds of unrelated streams for weights and for noise, one pair per network of an ensemble."""
    return (seed * 1_000_003 + member * 10_007 + purpose * 5_003) % (2**63)


def _draw_z(network: nn.Module, height: int, width: int, generator: torch.Generator) -> Tensor:
    """The fixed random input: in the shape the network asks for, else of the image's size."""
    ask = getattr(network, "input_shape", None)
    if callable(ask):
        shape = tuple(int(n) for n in ask(height, width))
    else:
        first = next((m for m in network.modules() if isinstance(m, nn.Conv2d)), None)
        shape = (32 if first is None else first.in_channels, height, width)
    if getattr(network, "uniform", True):
        return torch.rand((1, *shape), generator=generator, dtype=torch.float32) * Z_RANGE
    return torch.randn((1, *shape), generator=generator, dtype=torch.float32)


def value_range(x: Tensor, margin: float) -> tuple[float, float]:
    """Smallest and largest value, widened by the share ``margin`` of their distance on either side."""
    low, high = (float(n) for n in torch.aminmax(x))
    gap = high - low
    if not gap > 0:  # a constant image: any range around it will do
        gap = max(abs(low), math.ulp(0.0)) or 1.0
        gap = gap if gap > 1e-300 else 1.0
    return low - margin * gap, high + margin * gap
