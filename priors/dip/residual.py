"""What the network left in the residual, given back linearly: a classical step after the fit."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from pnp.linear_operator import LinearOperator

WINDOW = 9  # pixels; windows of 5 to 13 agree within 0.1 dB
BLOCK = 8  # side of the blocks whose cosine coefficients are shrunk
STEP = 2  # pixels between blocks; with one, four times the work for 0.03 dB
BLOCKS, FREQUENCIES = 5, 3  # on a side: whose energies are averaged
CAUTION = 1.2  # of the noise's energy is taken off: a mean of few energies exceeds the noise by chance every other time
PROBE_SEED = 0
TRIALS = 49  # prior variances tried, half an octave apart


def give_back(operator: LinearOperator, y: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
    """``x`` plus the Wiener estimate of ``truth - x`` from the residual ``y - A x``.

    For denoising the share given back is local in space and frequency (``cosine_wiener``); otherwise the result is
    ``A.tikhonov(y, sigma^2 / p, x)`` with the variance ``p`` of ``truth - x`` by maximum likelihood (Fourier-diagonal
    operators) or from the residual's energy. Where only noise is left, ``x`` is returned.

    Shapes: one item: ``x`` (..., *in_shape), ``y`` (..., *out_shape); ``sigma`` broadcasts against ``y``.
    Source: Whittle, *The Analysis of Multiple Stationary Time Series*, 1953, for the likelihood.
    """
    residual = y - operator.forward(x)
    observed = operator.observed()
    if observed is not None:
        residual = torch.where(observed, residual, 0)
    if _is_identity(operator, x):
        return x + cosine_wiener(residual, sigma)
    level = sigma.square().mean()
    p = _variance(operator, residual, level)
    if not p > 0:
        return x
    return operator.tikhonov(y if observed is None else torch.where(observed, y, 0), float(level / p), x)


def local_gain(residual: Tensor, sigma: Tensor | float) -> Tensor:
    """``max(0, 1 - sigma^2 / mean |residual|^2)`` over 9x9 pixels of each channel: cheap enough for every iteration.

    Shapes: (..., H, W).
    Source: Lee, *Digital Image Enhancement and Noise Filtering by Use of Local Statistics*, 1980.
    """
    flat = residual.abs().square().reshape(-1, 1, *residual.shape[-2:])
    half = WINDOW // 2
    energy = F.avg_pool2d(flat, WINDOW, stride=1, padding=half, count_include_pad=False).reshape(residual.shape)
    variance = sigma**2
    return (1 - variance / energy.clamp_min(torch.finfo(energy.dtype).tiny)).clamp_min(0)


def cosine_wiener(residual: Tensor, sigma: Tensor) -> Tensor:
    """What of ``residual`` is not noise: ``max(0, 1 - 1.2 / E)`` times the cosine coefficients of overlapping blocks.

    ``E`` is a coefficient's energy in units of the noise's, averaged over 5x5 blocks and 3x3 neighbouring frequencies;
    the blocks have 8x8 pixels and lie two apart. Real and imaginary parts count as channels. It gives back more than
    ``local_gain``, which sees no frequencies: 0.2 dB over eight fits at noise 0.05 and 0.1.

    Shapes: (..., H, W); ``sigma`` (> 0, of each part of a complex residual) broadcasts against it.
    Source: Yaroslavsky, *Local Adaptive Image Restoration and Enhancement with the Use of DFT and DCT in a Running
    Window*, 1996.
    """
    if residual.is_complex():
        return torch.complex(cosine_wiener(residual.real, sigma), cosine_wiener(residual.imag, sigma))
    planes = (residual / sigma).reshape(-1, *residual.shape[-2:])
    return sigma * torch.stack([_shrunk(plane) for plane in planes]).reshape(residual.shape)


def _shrunk(plane: Tensor) -> Tensor:
    """One channel (H, W) of unit noise; channel by channel, because 16 coefficients a pixel are kept."""
    height, width = plane.shape
    cosines = _cosines(plane)
    basis = torch.einsum("ki,lj->klij", cosines, cosines).reshape(-1, 1, BLOCK, BLOCK)
    margin = BLOCK - STEP  # so that every pixel lies in as many blocks
    sides = (margin, margin + width % STEP, margin, margin + height % STEP)
    mode = "reflect" if min(height, width) > margin + STEP else "replicate"
    coefficients = F.conv2d(F.pad(plane[None, None], sides, mode), basis, stride=STEP)
    energy = F.avg_pool2d(coefficients.square(), BLOCKS, 1, BLOCKS // 2, count_include_pad=False)
    spectra = energy.reshape(BLOCK, BLOCK, -1).permute(2, 0, 1)[:, None]
    spectra = F.avg_pool2d(spectra, FREQUENCIES, 1, FREQUENCIES // 2, count_include_pad=False)
    energy = spectra.permute(2, 3, 0, 1).reshape(energy.shape)
    gain = (1 - CAUTION / energy.clamp_min(torch.finfo(energy.dtype).tiny)).clamp_min(0)
    total = F.conv_transpose2d(gain * coefficients, basis, stride=STEP)[0, 0]
    return total[margin : margin + height, margin : margin + width] / (BLOCK // STEP) ** 2


def _cosines(like: Tensor) -> Tensor:
    """The orthonormal cosine transform (type II) of a block's side, one frequency a row."""
    n = torch.arange(BLOCK, dtype=like.dtype, device=like.device)
    rows = math.sqrt(2 / BLOCK) * torch.cos(math.pi / BLOCK * n[:, None] * (n + 0.5))
    rows[0] /= math.sqrt(2)
    return rows


def _is_identity(operator: LinearOperator, x: Tensor) -> bool:
    if operator.in_shape != operator.out_shape or operator.observed() is not None:
        return False
    probe = _probe(x)
    return bool(torch.equal(operator.forward(probe), probe))


def _probe(like: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(PROBE_SEED)
    parts = [torch.randn(like.shape, generator=generator, dtype=like.real.dtype) for _ in range(1 + like.is_complex())]
    return (torch.complex(parts[0], parts[1]) if like.is_complex() else parts[0]).to(like)


def _variance(operator: LinearOperator, residual: Tensor, level: Tensor) -> float:
    """Variance ``p`` of the missing image, modelled as white: residual ~ N(0, p A A^H + level).

    Of each part where image or data are complex, as ``level`` is.
    """
    h = operator.spectrum()
    if h is None:  # E ||r||^2 = p tr(A A^H) + M level; the trace by one random probe
        probe = _probe(residual)
        trace = operator.adjoint(probe).abs().square().sum()
        items = residual.numel() * (1 + residual.is_complex()) // max(1, torch.Size(operator.out_shape).numel())
        excess = residual.abs().square().sum() - level * items * operator.rows
        return float(excess / trace)
    axes = tuple(range(-operator.ndim, 0))
    parts = torch.stack([residual.real, residual.imag]) if residual.is_complex() else residual
    power = torch.fft.rfftn(parts, dim=axes, norm="ortho").abs().square()
    best, chosen = float((torch.log(level) + power / level).mean()), 0.0
    top = float(parts.square().mean() / h.abs().square().mean()) * 16
    for k in range(TRIALS):
        p = top * 2 ** (-k / 2)
        expected = p * h.abs().square() + level
        cost = float((torch.log(expected) + power / expected).mean())
        if cost < best:
            best, chosen = cost, p
    return chosen
