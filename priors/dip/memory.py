"""How much memory a fit takes, and which preset fits."""

from __future__ import annotations

import os

import torch
from torch import nn

from .presets import Layout, build

ORDER = ("paper", "fast", "small", "light", "tapered", "tiny")
COPIES = 3.0  # kept per convolution output: before and after normalisation, and its gradient


def activation_bytes(network: nn.Module, shape: tuple[int, int]) -> int:
    """Bytes that a step keeps for its gradient, counted on tensors without memory."""
    total = 0

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        total += output.numel() * 4

    network = network.to("meta")
    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, nn.Conv2d)]
    inputs = network.input_shape(*shape)  # type: ignore[operator]
    with torch.no_grad():
        network(torch.empty((1, *inputs), device="meta"))
    for hook in hooks:
        hook.remove()
    return int(total * COPIES)


def is_shortage(error: RuntimeError) -> bool:
    """Whether the error says that memory ran out, on a device or on the host."""
    return isinstance(error, torch.cuda.OutOfMemoryError) or "can't allocate memory" in str(error)


def explain_shortage(name: str, shape: tuple[int, int, int], device: torch.device) -> str:
    """The message for a fit that ran out of memory: what was asked, and the largest preset that should fit."""
    if device.type == "cuda":  # what PyTorch holds without using counts as free
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        free = torch.cuda.mem_get_info(device)[0] + unused
    else:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    channels, height, width = shape
    needs: list[tuple[str, int]] = []
    for candidate in ORDER:
        network = build(candidate, channels, (height, width), Layout(), None, torch.Generator().manual_seed(0))
        needs.append((candidate, activation_bytes(network, (height, width))))
    ceiling = min(free, dict(needs).get(name, free))  # the one that failed, and larger ones, are no advice
    fitting = [(preset, need) for preset, need in needs if need < ceiling]
    smallest = min(needs, key=lambda pair: pair[1])
    advice = (
        f"network={fitting[0][0]!r} needs about {fitting[0][1] / 2**30:.1f} GiB"
        if fitting
        else f"the smallest, network={smallest[0]!r}, needs about {smallest[1] / 2**30:.1f} GiB: use tiles"
    )
    return (
        f"DeepImagePrior: out of memory on {device} fitting network {name!r} to an image {channels}x{height}x{width}; "
        f"{advice} ({free / 2**30:.1f} GiB are free)."
    )
