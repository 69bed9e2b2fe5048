"""What is run: each library's methods, their documented defaults, the grid that is searched with the truth in hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import product

from .process import Peer, Settings
from .tasks import noise_of

DEEPINV = Peer("deepinv", "with_deepinv.py", ("deepinv", "torch", "bm3d"))
SCICO = Peer("scico", "with_scico.py", ("scico", "jax", "bm3d"))
PYPROXIMAL = Peer("pyproximal", "with_pyproximal.py", ("pyproximal", "pylops", "bm3d"))
SKIMAGE = Peer("scikit-image", "with_skimage.py", ("scikit-image",))
OPENCV = Peer("OpenCV", "with_opencv.py", ("opencv-python-headless",))
BM3D = Peer("bm3d", "with_bm3d.py", ("bm3d",))
PEERS = (DEEPINV, SCICO, PYPROXIMAL, SKIMAGE, OPENCV, BM3D)

INVERSE = ("deblurring", "inpainting", "single pixel", "super-resolution")
WEIGHTS = {  # of total variation against half the squared misfit
    "deblurring": (1e-4, 2e-4, 4e-4, 8e-4, 1.6e-3),
    "inpainting": (1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2),
    "single pixel": (2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3),
    "super-resolution": (1e-4, 2e-4, 4e-4, 8e-4, 1.6e-3),
    "denoising": (0.02, 0.03, 0.045, 0.07, 0.1, 0.15),
}
STRENGTHS = (10 / 255, 20 / 255, 40 / 255)  # of the denoiser in plug-and-play ADMM


@dataclasses.dataclass(frozen=True)
class Method:
    """A method of another library on some tasks, beside ours with ``prior``; settings by task."""

    peer: Peer
    name: str  # the worker's
    prior: str
    tasks: tuple[str, ...]
    default: Settings
    source: str  # of the default
    grid: Callable[[str], list[Settings]]
    default_name: str = ""  # where the default is another of the worker's methods
    checked: bool = False  # whether the worker has the operator, and so can be asked for its data


def _deepinv_tv(task: str) -> list[Settings]:
    fixed: Settings = {"algorithm": "ADMM", "iterations": 60, "inner": 15}
    thresholds = (0.2, 0.5) if task == "inpainting" else (0.05, 0.2)
    return [{**fixed, "weight": w, "step": t / w} for w, t in product(WEIGHTS[task], thresholds)]


def _scico_tv(task: str) -> list[Settings]:
    """``exact`` makes the differences of a blurred picture periodic, which its Fourier solver needs."""
    variants = ((0.01, True), (0.01, False)) if task == "deblurring" else ((0.04, False), (0.1, False))
    return [
        {"weight": w, "rho": w / t, "iterations": 100, "exact": exact}
        for w, (t, exact) in product(WEIGHTS[task], variants)
    ]


def _pyproximal_tv(task: str) -> list[Settings]:
    steps = (1.0, 3.0) if task == "deblurring" else (10.0, 30.0)
    return [{"weight": w, "step": step, "iterations": 120} for w, step in product(WEIGHTS[task], steps)]


def _deepinv_bm3d(task: str) -> list[Settings]:
    return [{"noise": n, "step": step, "start": True} for n, step in product((1.0, 2.0, 4.0), (1.0, 3.0))]


def _scico_bm3d(task: str) -> list[Settings]:
    return [
        {"strength": s, "rho": c * (noise_of(task) / s) ** 2, "iterations": 10, "start": True}
        for s, c in product(STRENGTHS, (1.0, 3.0))
    ]


def _pyproximal_bm3d(task: str) -> list[Settings]:
    return [
        {"strength": s, "step": (s / noise_of(task)) ** 2 / c, "iterations": 10, "start": True, "stages": "all"}
        for s, c in product(STRENGTHS, (1.0, 3.0))
    ]


METHODS = (
    Method(
        DEEPINV,
        "TV",
        "TV",
        INVERSE,
        {"algorithm": "PGD", "weight": 1e-2, "step": 1.0, "iterations": 300, "inner": 20, "early_stop": True},
        "example on deblurring with a total-variation prior",
        _deepinv_tv,
        checked=True,
    ),
    Method(
        SCICO,
        "TV",
        "TV",
        INVERSE,
        {"weight": 2e-2, "rho": 0.5, "iterations": 50, "exact": False},
        "example on deconvolution by ADMM with total variation",
        _scico_tv,
        checked=True,
    ),
    Method(
        PYPROXIMAL,
        "TV",
        "TV",
        INVERSE,
        {"weight": 1.0, "step": 1.0, "iterations": 10},
        "constructor of TV, ten proximal gradient steps",
        _pyproximal_tv,
        default_name="TV by gradients",
        checked=True,
    ),
    Method(
        DEEPINV,
        "BM3D",
        "BM3D",
        INVERSE,
        {"noise": 1.0, "step": 1.0, "start": False},
        "get_DPIR_params with the true noise level",
        _deepinv_bm3d,
        checked=True,
    ),
    Method(
        SCICO,
        "BM3D",
        "BM3D",
        INVERSE,
        {"strength": 20 / 255, "rho": 1.0, "iterations": 10, "start": False},
        "example on deconvolution by plug-and-play ADMM with BM3D",
        _scico_bm3d,
        checked=True,
    ),
    Method(
        PYPROXIMAL,
        "BM3D",
        "BM3D",
        INVERSE,
        {"strength": 0.05, "step": 1.0, "iterations": 40, "start": False, "stages": "hard"},
        "tutorial on plug-and-play priors",
        _pyproximal_bm3d,
        checked=True,
    ),
    Method(BM3D, "deblur", "BM3D", ("deblurring",), {"noise": 1.0}, "the true noise level", lambda _: _noises()),
    Method(BM3D, "denoise", "BM3D", ("denoising",), {"noise": 1.0}, "the true noise level", lambda _: _noises()),
    Method(
        SKIMAGE,
        "Wiener",
        "TV",
        ("deblurring",),
        {"balance": 0.1},
        "docstring of wiener",
        lambda _: [{"balance": b} for b in (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)],
    ),
    Method(SKIMAGE, "unsupervised Wiener", "TV", ("deblurring",), {}, "constructor", lambda _: []),
    Method(
        SKIMAGE,
        "Richardson-Lucy",
        "TV",
        ("deblurring",),
        {"iterations": 50},
        "its own default",
        lambda _: [{"iterations": n} for n in (3, 5, 10, 20)],
    ),
    Method(SKIMAGE, "biharmonic", "TV", ("inpainting",), {}, "it has no settings", lambda _: []),
    Method(
        OPENCV,
        "inpaint",
        "TV",
        ("inpainting",),
        {"radius": 3.0, "kind": "INPAINT_TELEA"},
        "tutorial on inpainting",
        lambda _: [{"radius": r, "kind": f"INPAINT_{k}"} for r, k in product((1.0, 2.0, 3.0, 5.0), ("TELEA", "NS"))],
    ),
    Method(
        SKIMAGE,
        "TV",
        "TV",
        ("denoising",),
        {"weight": 0.1},
        "its own default",
        lambda task: [{"weight": w} for w in WEIGHTS[task]],
    ),
    Method(
        SKIMAGE,
        "NLM",
        "NLM",
        ("denoising",),
        {"h": 0.1, "patch": 7, "distance": 11, "given": False},
        "its own defaults",
        lambda task: [
            {"h": h * noise_of(task), "patch": patch, "distance": 6, "given": True}
            for h, patch in product((0.4, 0.6, 0.8), (5, 7))
        ],
    ),
    Method(
        OPENCV,
        "NLM",
        "NLM",
        ("denoising",),
        {"h": 3.0, "patch": 7, "window": 21},
        "its own defaults",
        lambda task: [{"h": 255 * h * noise_of(task), "patch": 7, "window": 21} for h in (0.6, 0.8, 1.0, 1.2)],
    ),
)


def _noises() -> list[Settings]:
    return [{"noise": n} for n in (0.9, 1.1, 1.25)]
