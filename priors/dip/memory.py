"""How much memory a fit takes, and which preset fits."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator

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


@contextlib.contextmanager
def explained_shortage(name: str, shape: tuple[int, int, int], device: torch.device) -> Iterator[None]:
    """Errors of exhausted memory say what was asked, and the largest preset that should fit in what was free before."""
    free = free_bytes(device)  # when the error comes, the step that failed still holds what it was given
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # the device's error is a RuntimeError, PyTorch's of the host too
        if not is_shortage(error):
            raise
        raise RuntimeError(explain_shortage(name, shape, device, free)) from error


def is_shortage(error: Exception) -> bool:
    """Whether the error says that memory ran out, on a device or on the host."""
    known = isinstance(error, torch.cuda.OutOfMemoryError | MemoryError)
    return known or "can't allocate memory" in str(error)


def free_bytes(device: torch.device) -> float:
    """Memory that can still be had; inf where the system does not tell."""
    if device.type == "cuda":  # what PyTorch holds without using counts as free
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return float(torch.cuda.mem_get_info(device)[0] + unused)
    if device.type == "cpu" and "SC_AVPHYS_PAGES" in getattr(os, "sysconf_names", {}):
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return math.inf


def explain_shortage(name: str, shape: tuple[int, int, int], device: torch.device, free: float) -> str:
    """The message for a fit that ran out of memory, of which ``free`` bytes could be had before."""
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
    had = f" ({free / 2**30:.1f} GiB were free)" if math.isfinite(free) else ""
    return (
        f"DeepImagePrior: out of memory on {device} fitting network {name!r} to an image {channels}x{height}x{width}; "
        f"{advice}{had}."
    )
