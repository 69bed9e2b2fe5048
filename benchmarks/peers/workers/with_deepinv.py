"""deepinv: total variation by PGD or ADMM, BM3D by half-quadratic splitting with the settings of DPIR."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from protocol import Array, Task, halves, serve

try:
    import torchvision  # noqa: F401
except RuntimeError:  # its wheel for GPUs lacks these operators beside a CPU torch; deepinv calls none of them
    _library = torch.library.Library("torchvision", "FRAGMENT")
    for _name in ("nms", "qnms"):
        _library.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import deepinv
from deepinv.optim.dpir import get_DPIR_params


class Scrambled(deepinv.physics.DecomposablePhysics):
    """Rows of a scrambled Walsh-Hadamard transform; data are a full vector, zero where no row was measured."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        length = task.shape[0] * task.shape[1]
        self.left, self.right = (torch.from_numpy(m).float() for m in halves(length))
        self.position = torch.from_numpy(task.given("position"))
        self.inverse = self.position.argsort()
        self.size = task.shape
        mask = torch.zeros(1, length)
        mask[0, torch.from_numpy(task.given("rows"))] = 1
        self.register_buffer("mask", mask)

    def V_adjoint(self, x: torch.Tensor) -> torch.Tensor:
        return self._transform(x.reshape(1, -1)[:, self.inverse])

    def V(self, v: torch.Tensor, **_: Any) -> torch.Tensor:
        return self._transform(v)[:, self.position].reshape(1, 1, *self.size)

    def U(self, v: torch.Tensor) -> torch.Tensor:
        return v

    def U_adjoint(self, y: torch.Tensor, **_: Any) -> torch.Tensor:
        return y

    def _transform(self, v: torch.Tensor) -> torch.Tensor:
        return (self.left @ v.reshape(len(self.left), len(self.right)) @ self.right).reshape(1, -1)


@functools.lru_cache(maxsize=1)
def problem(task: Task) -> tuple[Any, torch.Tensor, torch.Tensor]:
    """The physics, the data, the first guess."""
    size = (1, *task.shape)
    y = torch.from_numpy(task.y).float()[None, None]
    physics: Any
    if task.kind == "blur":
        physics = deepinv.physics.BlurFFT(
            img_size=size, filter=torch.from_numpy(task.given("kernel")).float()[None, None]
        )
    elif task.kind == "mask":
        physics = deepinv.physics.Inpainting(img_size=size, mask=torch.from_numpy(task.given("mask")).float()[None])
    elif task.kind == "downsample":
        kernel = torch.from_numpy(task.given("kernel")).float()[None, None]
        physics = deepinv.physics.Downsampling(img_size=size, filter=kernel, factor=task.factor, padding="circular")
    elif task.kind == "hadamard":
        physics = Scrambled(task)
        y = torch.zeros_like(physics.mask)
        y[0, torch.from_numpy(task.given("rows"))] = torch.from_numpy(task.y).float()
    else:
        physics = deepinv.physics.Denoising()
    return physics, y, torch.from_numpy(task.start).float()[None, None]


def forward(task: Task) -> Array:
    data = problem(task)[0].A(torch.from_numpy(task.probe).float()[None, None])[0]
    return np.asarray(data[torch.from_numpy(task.given("rows"))] if task.kind == "hadamard" else data[0])


def tv(
    task: Task, *, algorithm: str, weight: float, step: float, iterations: int, inner: int, early_stop: bool = False
) -> Array:
    physics, y, _ = problem(task)
    model = getattr(deepinv.optim, algorithm)(
        data_fidelity=deepinv.optim.L2(),
        prior=deepinv.optim.TVPrior(n_it_max=inner),
        lambda_reg=weight,
        stepsize=step,
        max_iter=iterations,
        early_stop=early_stop,
    )
    with torch.no_grad():
        return np.asarray(model(y, physics)[0, 0])


def bm3d(task: Task, *, noise: float, step: float, start: bool) -> Array:
    physics, y, first = problem(task)
    sigmas, steps, iterations = get_DPIR_params(noise * task.sigma)
    model = deepinv.optim.HQS(
        data_fidelity=deepinv.optim.L2(),
        prior=deepinv.optim.PnP(denoiser=deepinv.models.BM3D()),
        params_algo={"stepsize": (step * steps).tolist(), "g_param": sigmas.tolist()},
        max_iter=iterations,
        early_stop=False,
    )
    with torch.no_grad():
        return np.asarray(model(y, physics, init=first if start else None)[0, 0])


serve({"forward": forward, "TV": tv, "BM3D": bm3d})
