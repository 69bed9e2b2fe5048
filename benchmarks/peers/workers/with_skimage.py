"""scikit-image: its deconvolutions, its inpainting and its denoisers."""

from __future__ import annotations

import numpy as np
from protocol import Array, Task, serve
from skimage import restoration


def wiener(task: Task, *, balance: float) -> Array:
    return restoration.wiener(np.float64(task.y), task.given("kernel"), balance, clip=False)


def unsupervised_wiener(task: Task) -> Array:
    return restoration.unsupervised_wiener(np.float64(task.y), task.given("kernel"), clip=False, rng=0)[0]


def richardson_lucy(task: Task, *, iterations: int) -> Array:
    return restoration.richardson_lucy(np.float64(task.y), task.given("kernel"), num_iter=iterations, clip=False)


def biharmonic(task: Task) -> Array:
    return restoration.inpaint_biharmonic(np.float64(task.y), task.given("mask") == 0)


def tv(task: Task, *, weight: float) -> Array:
    return restoration.denoise_tv_chambolle(np.float64(task.y), weight=weight)


def nlm(task: Task, *, h: float, patch: int, distance: int, given: bool) -> Array:
    sigma = task.sigma if given else 0.0
    return restoration.denoise_nl_means(
        np.float64(task.y), patch_size=patch, patch_distance=distance, h=h, sigma=sigma, fast_mode=True
    )


serve(
    {
        "Wiener": wiener,
        "unsupervised Wiener": unsupervised_wiener,
        "Richardson-Lucy": richardson_lucy,
        "biharmonic": biharmonic,
        "TV": tv,
        "NLM": nlm,
    }
)
