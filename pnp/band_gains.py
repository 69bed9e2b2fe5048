"""The contrast that the data call for: an estimate's bands of frequency, each times the gain of least risk."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .cosine import cosine_parts
from .risk import Probe

LOWEST = 1 / 24  # cycles a pixel: slower waves keep their size, which every prior gets right to a per cent
PER_OCTAVE = 2  # bands
# Evidence, in units of the noise variance, from which the data outweigh the neighbouring band. On camera, coins and
# astronaut (128 pixels, five operators, three noise levels) the gains are worth 0.20 dB with total variation, 0.11 with
# non-local means, 0.06 with wavelets and 0.03 with block matching on average, and cost 0.03 dB at worst. A ridge of 80
# is as good on average and cost 0.36 dB behind a blur of a larger picture.
RIDGE = 300.0


def equalized(probe: Probe, x: Tensor, x_shifted: Tensor, fading: float) -> tuple[Tensor, Tensor, Tensor]:
    """``sum_j a_j P_j x`` with the gains ``a`` of least risk, the same of ``x_shifted``, and the gains (B, K).

    Priors flatten what they should keep and invent edges of waves that the data do not hold: their images have too
    little contrast in some bands of frequency and too much in others. ``P_0`` to ``P_K`` are smooth radial bands that
    add up to the identity; ``P_0``, the lowest, has gain 1. Stein's estimate of ``||A x - A truth||^2`` is quadratic in
    the others, whose least value a small system gives. Where the data say little of a band, a ridge draws its gain to
    ``fading`` times that of the band below: 1 believes the prior in what no data confirm.

    Shapes: ``x`` and ``x_shifted`` (B, C, H, W) or (B, C, D, H, W), the estimates from the data and the moved data.
    Source: Blu & Luisier, *The SURE-LET Approach to Image Denoising*, 2007; Xue, Luisier & Blu, *Multi-Wiener SURE-LET
    Deconvolution*, 2013; the bands of a finished estimate and the ridge between neighbours are ours.
    """
    ndim = probe.f.operator.ndim
    bands = radial_bands(tuple(x.shape[-ndim:]), x.real)
    low, *parts = cosine_parts(x, bands, ndim)
    low_change, *changes = cosine_parts(x_shifted - x, bands, ndim)
    images = [probe.seen(part).flatten(1) for part in parts]
    missing = -probe.f.residual(low).flatten(1)
    noise = probe.f.sigma.reshape(-1, 1).double().square()
    products = torch.stack([torch.stack([_inner(a, b) for b in images], dim=1) for a in images], dim=1)
    explained = torch.stack([_inner(image, missing) for image in images], dim=1)
    along = probe.f.operator.adjoint(probe.direction / probe.step)  # <b, A v> = <A^H b, v>: once for all bands
    freedom = torch.stack([_inner(along.flatten(1), change.flatten(1)) for change in changes], dim=1)
    weight = RIDGE * probe.level.reshape(-1, 1).double().square()
    steps = torch.eye(len(parts)).to(products)
    steps[1:, :-1] -= fading * torch.eye(len(parts) - 1).to(products)
    first = weight * steps[0]  # the lowest band has gain 1, and draws the first of these to it
    gains = torch.linalg.solve(products + weight[:, :, None] * (steps.T @ steps), explained - noise * freedom + first)
    shape = (-1, *(1,) * (x.ndim - 1))
    for gain, part, change in zip(gains.to(x.real).T, parts, changes, strict=True):
        low, low_change = low + gain.reshape(shape) * part, low_change + gain.reshape(shape) * change
    return low, low + low_change, gains


def radial_bands(grid: tuple[int, ...], like: Tensor) -> list[Tensor]:
    """Hat functions of the logarithm of the frequency that add up to one, as gains of ``cosine_parts``."""
    ndim = len(grid)
    squared = torch.zeros((1,) * ndim).to(like)
    for axis, n in enumerate(grid):
        frequency = (torch.fft.rfftfreq if axis == ndim - 1 else torch.fft.fftfreq)(2 * n).to(like)
        squared = squared + frequency.square().reshape(-1, *(1,) * (ndim - 1 - axis))
    last = round(PER_OCTAVE * math.log2(math.sqrt(ndim) / 2 / LOWEST))
    place = (PER_OCTAVE * torch.log2(squared.sqrt().clamp_min(LOWEST) / LOWEST)).clamp_max(last)
    return [(1 - (place - band).abs()).clamp_min(0) for band in range(last + 1)]


def _inner(a: Tensor, b: Tensor) -> Tensor:
    return (a.conj() * b).real.sum(dim=1, dtype=torch.float64)
