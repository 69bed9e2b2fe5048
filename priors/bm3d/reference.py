"""The authors' own BM3D, the ``bm3d`` package, for comparison: closed binaries under a non-commercial licence."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

_SMALLEST = 9  # the package crashes the interpreter on 8 x 8 pictures


def reference(images: Tensor, variances: Tensor, profile: str) -> Tensor:
    """Each image by ``bm3d.bm3d`` (grey, or channel by channel) or ``bm3d.bm3d_rgb`` (three channels), one thread.

    Small pictures are continued by their mirror image, constant and noise-free ones returned as they are, and pictures
    with NaN or infinite values become NaN, where the package would crash or fail silently.
    Shapes: images (B, C, H, W), variances (B, 1, 1, 1).
    Raises: ImportError without the package.
    """
    try:
        import bm3d
    except ImportError as error:
        raise ImportError(
            "BM3D(backend='reference') needs the authors' package: pip install pnp-imaging[bm3d]. Its licence allows "
            "non-commercial use only; backend='auto' needs neither."
        ) from error
    settings = bm3d.BM3DProfileHigh() if profile == "high" else bm3d.BM3DProfile()
    settings.num_threads = 1  # reproducible to the last bit
    stages = bm3d.BM3DStages.HARD_THRESHOLDING if profile == "fast" else bm3d.BM3DStages.ALL_STAGES
    clean = [
        _one(bm3d, image, math.sqrt(variance), settings, stages)
        for image, variance in zip(images.cpu().double().numpy(), variances.flatten().tolist(), strict=True)
    ]
    return torch.from_numpy(np.stack(clean)).to(images)


def _one(bm3d: Any, image: np.ndarray[Any, Any], sigma: float, settings: Any, stages: Any) -> np.ndarray[Any, Any]:
    if not np.isfinite(image).all():
        return np.full_like(image, np.nan)
    low, high = image.min(), image.max()
    if high == low or sigma <= 1e-6 * (high - low):
        return image
    height, width = image.shape[1:]
    grow = max(0, _SMALLEST - height), max(0, _SMALLEST - width)
    normal = np.pad((image - low) / (high - low), ((0, 0), (0, grow[0]), (0, grow[1])), mode="symmetric")
    level = sigma / (high - low)
    if len(image) == 3 and all(np.ptp(channel) > 0 for channel in normal):
        clean = bm3d.bm3d_rgb(normal.transpose(1, 2, 0), level, settings).transpose(2, 0, 1)
    else:
        clean = np.stack([bm3d.bm3d(channel, level, settings, stage_arg=stages) for channel in normal])
    clean = clean.reshape(normal.shape)[:, :height, :width]
    return np.asarray(low + (high - low) * clean)
