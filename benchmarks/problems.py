"""Inverse problems by name: the operator, noisy data, and what one would do without a prior."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

import pnp.operators as catalogue
from pnp import LinearOperator, psnr

Shape = tuple[int, int]


def single_pixel(compression: int) -> str:
    """The name of the single-pixel camera that measures one number for so many pixels."""
    return "single pixel" if compression == 4 else f"single pixel {compression}"


def operator(name: str, shape: Shape) -> LinearOperator:
    """The operator of this name for one picture size.

    Raises: ValueError for an unknown name.
    """
    height, width = shape
    match name:
        case "identity":
            return catalogue.Identity(shape)
        case "gaussian blur":  # the mild blur of most papers
            return catalogue.Blur.gaussian(1.6, shape)
        case "strong gaussian blur":
            return catalogue.Blur.gaussian(5.0, shape)
        case "motion blur":
            return catalogue.Blur.motion(15, 30.0, shape)
        case "random mask":
            return catalogue.Mask.random(shape, 0.5, 0)
        case "sparse mask":
            return catalogue.Mask.random(shape, 0.2, 0)
        case "single pixel":
            return catalogue.SinglePixel(shape, height * width // 4, patterns="hadamard", seed=0)
        case "single pixel 1" | "single pixel 2" | "single pixel 8":
            return catalogue.SinglePixel(shape, height * width // int(name[-1]), patterns="hadamard", seed=0)
        case "super-resolution x2" | "super-resolution x4":
            return catalogue.Downsample(shape, int(name[-1]))
        case "demosaicking":
            return catalogue.Demosaic(shape)
        case "MRI":
            return catalogue.Fourier.lines(shape, 0.25, 0, real=True)
        case "tomography":
            return catalogue.Radon(shape, 60)
    raise ValueError(f"There is no problem called {name!r}.")


@dataclasses.dataclass(frozen=True)
class Problem:
    """Data of one picture."""

    A: LinearOperator
    truth: Tensor
    y: Tensor


def problem(name: str, truth: Tensor, noise: float, seed: int, device: str = "cpu") -> Problem:
    """``y = A truth + noise``, white and Gaussian; drawn in float64 so that every device gets the same."""
    A = operator(name, (truth.shape[-2], truth.shape[-1])).to(device)
    clean = A.forward(truth.to(device))
    generator = torch.Generator().manual_seed(seed)
    parts = torch.randn((2, *clean.shape), generator=generator, dtype=torch.float64) * noise
    n = torch.complex(parts[0], parts[1]) if clean.is_complex() else parts[0]
    return Problem(A, truth.to(device), clean + n.to(clean))


def trivial(name: str, p: Problem) -> tuple[str, Tensor]:
    """What one sees without solving anything, and its name."""
    if name == "identity" or name.endswith("blur"):
        return "data", p.y
    if name.startswith("single pixel"):
        return "pinv", p.A.pinv(p.y)
    if name.endswith("mask") or name == "MRI":
        x = p.A.adjoint(p.y)
        return "zero-filled", x.real if x.is_complex() and not p.truth.is_complex() else x
    if name == "demosaicking":
        return "bilinear", p.A.start(p.y)
    if name == "tomography":
        return "filtered backprojection", p.A.start(p.y)
    return "pinv", p.A.pinv(p.y)


def best_wiener(p: Problem) -> tuple[float, Tensor]:
    """The Wiener filter of the constant noise-to-signal ratio that is best for this picture: the oracle's baseline.

    Deviations from zero or from the constant image that fits the data best, whichever is better, so that no gain
    comes from a wrong mean.
    """
    ones = torch.ones_like(p.truth)
    image = p.A.forward(ones)
    level = (torch.vdot(image.flatten(), p.y.flatten()) / image.abs().square().sum()).real
    power = p.A.norm() ** 2
    candidates = [
        (ratio, p.A.tikhonov(p.y, ratio * power, mean, tol=1e-3))
        for ratio in torch.logspace(-6, 1, 29).tolist()
        for mean in (torch.zeros_like(ones), level * ones)
    ]
    return max(candidates, key=lambda candidate: float(psnr(candidate[1], p.truth)))
