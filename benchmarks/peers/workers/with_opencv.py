"""OpenCV: inpainting and non-local means, both on bytes."""

from __future__ import annotations

import os

import cv2
import numpy as np
from protocol import Array, Task, serve

cv2.setNumThreads(int(os.environ.get("OMP_NUM_THREADS", "1")))


def _bytes(y: Array) -> Array:
    return np.round(255 * np.clip(y, 0, 1)).astype(np.uint8)


def inpaint(task: Task, *, radius: float, kind: str) -> Array:
    missing = np.uint8(task.given("mask") == 0)
    return cv2.inpaint(_bytes(task.y), missing, radius, getattr(cv2, kind)) / 255


def nlm(task: Task, *, h: float, patch: int, window: int) -> Array:
    return cv2.fastNlMeansDenoising(_bytes(task.y), None, h, patch, window) / 255


serve({"inpaint": inpaint, "NLM": nlm})
