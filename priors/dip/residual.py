"""What the network left in the residual, given back linearly: a classical step after the fit."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from pnp.linear_operator import LinearOperator

WINDOW = 9  # pixels; windows of 5 to 13 agree within 0.1 dB
PROBE_SEED = 0
TRIALS = 49  # prior variances tried, half an octave apart


def give_back(operator: LinearOperator, y: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
    """``x`` plus the Wiener estimate of ``truth - x`` from the residual ``y - A x``.

    For denoising the share given back is local, ``max(0, 1 - sigma^2 / mean (y - x)^2)`` over 9x9 pixels; otherwise the
    result is ``A.tikhonov(y, sigma^2 / p, x)`` with the variance ``p`` of ``truth - x`` by maximum likelihood
    (Fourier-diagonal operators) or from the residual's energy. Where only noise is left, ``x`` is returned.

    Shapes: one item: ``x`` (..., *in_shape), ``y`` (..., *out_shape); ``sigma`` broadcasts against ``y``.
    Source: Lee, *Digital Image Enhancement and Noise Filtering by Use of Local Statistics*, 1980; Whittle, 1953.
    """
    residual = y - operator.forward(x)
    observed = operator.observed()
    if observed is not None:
        residual = torch.where(observed, residual, 0)
    if _is_identity(operator, x):
        return x + local_gain(residual, sigma) * residual
    level = sigma.square().mean()
    p = _variance(operator, residual, level)
    if not p > 0:
        return x
    return operator.tikhonov(y if observed is None else torch.where(observed, y, 0), float(level / p), x)


def local_gain(residual: Tensor, sigma: Tensor | float) -> Tensor:
    """``max(0, 1 - sigma^2 / mean |residual|^2)`` over 9x9 pixels of each channel. Shapes: (..., H, W)."""
    flat = residual.abs().square().reshape(-1, 1, *residual.shape[-2:])
    half = WINDOW // 2
    energy = F.avg_pool2d(flat, WINDOW, stride=1, padding=half, count_include_pad=False).reshape(residual.shape)
    variance = sigma**2
    return (1 - variance / energy.clamp_min(torch.finfo(energy.dtype).tiny)).clamp_min(0)


def _is_identity(operator: LinearOperator, x: Tensor) -> bool:
    if operator.in_shape != operator.out_shape or operator.observed() is not None:
        return False
    probe = _probe(x)
    return bool(torch.equal(operator.forward(probe), probe))


def _probe(like: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(PROBE_SEED)
    return torch.randn(like.shape, generator=generator, dtype=like.real.dtype).to(like)


def _variance(operator: LinearOperator, residual: Tensor, level: Tensor) -> float:
    """Variance ``p`` of the missing image, modelled as white: residual ~ N(0, p A A^H + level)."""
    h = operator.spectrum()
    if h is None:  # E ||r||^2 = p tr(A A^H) + M level; the trace by one random probe
        probe = _probe(residual)
        trace = operator.adjoint(probe).abs().square().sum()
        items = residual.numel() // max(1, torch.Size(operator.out_shape).numel())
        excess = residual.abs().square().sum() - level * items * operator.rows
        return float(excess / trace)
    axes = tuple(range(-operator.ndim, 0))
    power = torch.fft.rfftn(residual, dim=axes, norm="ortho").abs().square()
    best, chosen = float((torch.log(level) + power / level).mean()), 0.0
    top = float(residual.abs().square().mean() / h.abs().square().mean()) * 16
    for k in range(TRIALS):
        p = top * 2 ** (-k / 2)
        expected = p * h.abs().square() + level
        cost = float((torch.log(expected) + power / expected).mean())
        if cost < best:
            best, chosen = cost, p
    return chosen
