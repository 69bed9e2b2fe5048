"""Image quality: PSNR and SSIM on tensors, one number per image, by scikit-image's formulas."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .images import ArrayLike, from_numpy


def psnr(x: ArrayLike, truth: ArrayLike, *, data_range: float = 1.0) -> Tensor:
    """Peak signal-to-noise ratio ``10 log10(data_range^2 / mean (x - truth)^2)`` in dB, inf for equal images.

    Shapes: (H, W) or (C, H, W) to a scalar; (B, C, H, W) to (B,).
    Raises: ValueError for different shapes or ``data_range <= 0``.
    """
    a, b = _pair(x, truth, data_range, "psnr")
    error = (a - b).abs().square().mean(dim=tuple(range(-min(a.ndim, 3), 0)))
    return 10 * torch.log10(data_range**2 / error)


def ssim(x: ArrayLike, truth: ArrayLike, *, data_range: float = 1.0) -> Tensor:
    """Mean structural similarity over 7x7 windows, sample covariance, channels averaged.

    Shapes: (H, W) or (C, H, W) to a scalar; (B, C, H, W) to (B,); H and W at least 7.
    Raises: ValueError for different shapes, smaller images or ``data_range <= 0``.
    Source: Wang et al., *Image Quality Assessment: From Error Visibility to Structural Similarity*, 2004, eq. 13.
    """
    a, b = _pair(x, truth, data_range, "ssim")
    if min(a.shape[-2:]) < 7:
        raise ValueError(f"ssim: expected images of at least 7x7 pixels, got {tuple(a.shape)}.")
    n = 7 * 7
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2

    def mean(t: Tensor) -> Tensor:  # over every full window
        flat = t.reshape(-1, 1, *t.shape[-2:])
        pooled = torch.nn.functional.avg_pool2d(flat, 7, stride=1)
        return pooled.reshape(*t.shape[:-2], *pooled.shape[-2:])

    mean_a, mean_b = mean(a), mean(b)
    sample = n / (n - 1)
    var_a = sample * (mean(a * a) - mean_a * mean_a)
    var_b = sample * (mean(b * b) - mean_b * mean_b)
    covariance = sample * (mean(a * b) - mean_a * mean_b)
    similarity = ((2 * mean_a * mean_b + c1) * (2 * covariance + c2)) / (
        (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    )
    return similarity.mean(dim=tuple(range(-min(a.ndim, 3), 0)))


def _pair(x: ArrayLike, truth: ArrayLike, data_range: float, who: str) -> tuple[Tensor, Tensor]:
    if not data_range > 0:
        raise ValueError(f"{who}: expected data_range > 0, got {data_range!r}.")
    a, b = (from_numpy(t) if isinstance(t, np.ndarray) else torch.as_tensor(t) for t in (x, truth))
    if a.shape != b.shape or a.ndim < 2:
        raise ValueError(f"{who}: expected two images of one shape, got {tuple(a.shape)} and {tuple(b.shape)}.")
    if not (a.is_complex() or b.is_complex()):
        a, b = a.double(), b.double()
    return a, b.to(a.device)
