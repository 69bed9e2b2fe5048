"""The measurements that every library gets: four inverse problems and denoising."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from pnp.operators import Downsample
from pnp.operators.hadamard_patterns import HadamardPatterns
from pnp.operators.kernels import gaussian

from ..problems import Problem, problem
from .workers.protocol import Task

NAMES = {
    "deblurring": "gaussian blur",
    "inpainting": "random mask",
    "single pixel": "single pixel",
    "denoising": "identity",
}
TASKS = ("deblurring", "inpainting", "single pixel", "super-resolution", "denoising")
BLUR = 1.6  # pixels, of the deblurring and of the blur before every fourth pixel is kept
FACTOR = 4


def noise_of(task: str) -> float:
    """Standard deviation of the noise, white and Gaussian."""
    return 25 / 255 if task == "denoising" else 0.01


def measure(task: str, truth: torch.Tensor, seed: int) -> Problem:
    """The task on one picture: operator, truth and data.

    Raises: ValueError for an unknown task.
    """
    if task in NAMES:
        return problem(NAMES[task], truth, noise_of(task), seed)
    if task != "super-resolution":
        raise ValueError(f"There is no task called {task!r}.")
    A = Downsample((truth.shape[-2], truth.shape[-1]), FACTOR, gaussian(BLUR))
    clean = A.forward(truth)
    n = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Problem(A, truth, clean + (noise_of(task) * n).to(clean))


def written(task: str, p: Problem) -> tuple[Task, np.ndarray[Any, Any]]:
    """The task as other libraries get it, and the data of its probe, which they must reproduce.

    Raises: ValueError for a picture of several channels, or sides for which the patterns are not Sylvester's.
    """
    if p.truth.shape[0] != 1:
        raise ValueError(f"Expected a grey picture (1, H, W), got {tuple(p.truth.shape)}.")
    probe = torch.rand(p.truth.shape, generator=torch.Generator().manual_seed(0))
    parts: dict[str, Any] = {"kind": "identity"}
    if task == "deblurring":
        parts = {"kind": "blur", "kernel": gaussian(BLUR).numpy()}
    elif task == "super-resolution":
        parts = {"kind": "downsample", "kernel": gaussian(BLUR).numpy(), "factor": FACTOR}
    elif task == "inpainting":
        parts = {"kind": "mask", "mask": p.A.forward(torch.ones_like(p.truth))[0].numpy()}
    elif task == "single pixel":
        parts = {"kind": "hadamard", **_patterns(p)}
    start = p.A.start(p.y)
    shape = (p.truth.shape[-2], p.truth.shape[-1])
    arrays: dict[str, Any] = {"y": p.y[0].numpy(), "start": start[0].numpy(), "probe": probe[0].numpy()}
    return Task(shape=shape, sigma=noise_of(task), **arrays, **parts), p.A.forward(probe)[0].numpy()


def _patterns(p: Problem) -> dict[str, np.ndarray[Any, Any]]:
    engine = next(module for module in p.A.modules() if isinstance(module, HadamardPatterns))
    if engine.length != engine.columns or engine.length & (engine.length - 1):
        raise ValueError(f"Expected a power of two of pixels for Sylvester's patterns, got {engine.columns}.")
    return {"rows": engine.order.numpy(), "position": engine.position.numpy()}
