"""What is run: each library's methods, their documented defaults, the grid that is searched with the truth in hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from .process import Peer, Settings
from .search import Grid
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
    grid: Callable[[str], Grid]
    default_name: str = ""  # where the default is another of the worker's methods
    checked: bool = False  # whether the worker has the operator, and so can be asked for its data


def _deepinv_tv(task: str) -> Grid:
    """``threshold`` is that of the prox, the weight times the step."""
    return Grid(
        {"weight": WEIGHTS[task], "threshold": (0.2, 0.5) if task == "inpainting" else (0.05, 0.2)},
        lambda weight, threshold: {
            **{"algorithm": "ADMM", "iterations": 60, "inner": 15},
            **{"weight": weight, "step": threshold / weight},
        },
    )


def _scico_tv(task: str) -> Grid:
    """``exact`` makes the differences of a blurred picture periodic, which its Fourier solver needs."""
    blurred = task == "deblurring"
    return Grid(
        {
            "weight": WEIGHTS[task],
            "threshold": (0.01, 0.03) if blurred else (0.04, 0.1),
            "exact": (True, False) if blurred else (False,),
        },
        lambda weight, threshold, exact: {
            **{"weight": weight, "rho": weight / threshold, "iterations": 100, "exact": exact}
        },
    )


def _pyproximal_tv(task: str) -> Grid:
    steps = (1.0, 3.0) if task == "deblurring" else (10.0, 30.0)
    return Grid(
        {"weight": WEIGHTS[task], "step": steps},
        lambda weight, step: {"weight": weight, "step": step, "iterations": 120},
    )


def _deepinv_bm3d(task: str) -> Grid:
    return Grid(
        {"noise": (1.0, 2.0, 4.0), "step": (1.0, 3.0)},
        lambda noise, step: {"noise": noise, "step": step, "start": True},
    )


def _scico_bm3d(task: str) -> Grid:
    """``factor`` is on the weight that the noise levels of the data and of the denoiser call for."""
    return Grid(
        {"strength": STRENGTHS, "factor": (1.0, 3.0)},
        lambda strength, factor: {
            **{"strength": strength, "rho": factor * (noise_of(task) / strength) ** 2},
            **{"iterations": 10, "start": True},
        },
    )


def _pyproximal_bm3d(task: str) -> Grid:
    return Grid(
        {"strength": STRENGTHS, "factor": (1.0, 3.0)},
        lambda strength, factor: {
            **{"strength": strength, "step": (strength / noise_of(task)) ** 2 / factor},
            **{"iterations": 10, "start": True, "stages": "all"},
        },
    )


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
    Method(
        BM3D,
        "deblur",
        "BM3D",
        ("deblurring",),
        {"noise": 1.0},
        "the true noise level",
        lambda _: Grid({"noise": (0.9, 1.1, 1.25)}),
    ),
    Method(
        BM3D,
        "denoise",
        "BM3D",
        ("denoising",),
        {"noise": 1.0},
        "the true noise level",
        lambda _: Grid({"noise": (0.9, 1.1, 1.25)}),
    ),
    Method(
        SKIMAGE,
        "Wiener",
        "TV",
        ("deblurring",),
        {"balance": 0.1},
        "docstring of wiener",
        lambda _: Grid({"balance": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)}),
    ),
    Method(SKIMAGE, "unsupervised Wiener", "TV", ("deblurring",), {}, "constructor", lambda _: Grid()),
    Method(
        SKIMAGE,
        "Richardson-Lucy",
        "TV",
        ("deblurring",),
        {"iterations": 50},
        "its own default",
        lambda _: Grid({"iterations": (3, 5, 10, 20)}),
    ),
    Method(SKIMAGE, "biharmonic", "TV", ("inpainting",), {}, "it has no settings", lambda _: Grid()),
    Method(
        OPENCV,
        "inpaint",
        "TV",
        ("inpainting",),
        {"radius": 3.0, "kind": "INPAINT_TELEA"},
        "tutorial on inpainting",
        lambda _: Grid({"radius": (1.0, 2.0, 3.0, 5.0), "kind": ("INPAINT_TELEA", "INPAINT_NS")}),
    ),
    Method(
        SKIMAGE,
        "TV",
        "TV",
        ("denoising",),
        {"weight": 0.1},
        "its own default",
        lambda task: Grid({"weight": WEIGHTS[task]}),
    ),
    Method(
        SKIMAGE,
        "NLM",
        "NLM",
        ("denoising",),
        {"h": 0.1, "patch": 7, "distance": 11, "given": False},
        "its own defaults",
        lambda task: Grid(
            {"h": (0.4, 0.6, 0.8), "patch": (5, 7)},
            lambda h, patch: {"h": h * noise_of(task), "patch": patch, "distance": 6, "given": True},
        ),
    ),
    Method(
        OPENCV,
        "NLM",
        "NLM",
        ("denoising",),
        {"h": 3.0, "patch": 7, "window": 21},
        "its own defaults",
        lambda task: Grid(
            {"h": (0.6, 0.8, 1.0, 1.2)}, lambda h: {"h": 255 * h * noise_of(task), "patch": 7, "window": 21}
        ),
    ),
)
