"""pyproximal with pylops: total variation by proximal gradients or primal-dual, BM3D by plug-and-play ADMM."""

from __future__ import annotations

import functools

import bm3d as bm3d_package
import numpy as np
import pylops
import pyproximal
from protocol import Array, Task, serve


@functools.lru_cache(maxsize=1)
def operator(task: Task) -> pylops.LinearOperator:
    """``A`` on raveled arrays."""

    def forward(x: Array) -> Array:
        return task.forward(x.reshape(task.shape)).ravel()

    def adjoint(y: Array) -> Array:
        return task.adjoint(y.reshape(task.y.shape)).ravel()

    return pylops.FunctionOperator(forward, adjoint, task.y.size, task.shape[0] * task.shape[1], dtype="float64")


def forward(task: Task) -> Array:
    return np.reshape(operator(task) @ task.probe.astype(float).ravel(), task.y.shape)


def tv_gradient(task: Task, *, weight: float, step: float, iterations: int) -> Array:
    data = pyproximal.L2(Op=operator(task), b=task.y.ravel().astype(float))
    prior = pyproximal.TV(dims=task.shape, sigma=weight)
    x0 = np.zeros(task.shape).ravel()
    x = pyproximal.optimization.primal.ProximalGradient(data, prior, x0=x0, tau=step, niter=iterations)
    return np.reshape(x, task.shape)


def tv(task: Task, *, weight: float, step: float, iterations: int) -> Array:
    data = pyproximal.L2(Op=operator(task), b=task.y.ravel().astype(float), niter=10, warm=True)
    gradient = pylops.Gradient(dims=task.shape, edge=False, kind="forward", dtype="float64")
    x0 = task.adjoint(task.y.astype(float)).ravel()
    x = pyproximal.optimization.primaldual.PrimalDual(
        data,
        pyproximal.L21(ndim=2, sigma=weight),
        gradient,
        x0=x0,
        tau=step,
        mu=0.99 / (8 * step),  # tau * mu * norm(gradient)^2 < 1
        niter=iterations,
    )
    return np.reshape(x, task.shape)


def bm3d(task: Task, *, strength: float, step: float, iterations: int, start: bool, stages: str) -> Array:
    stage = bm3d_package.BM3DStages.ALL_STAGES if stages == "all" else bm3d_package.BM3DStages.HARD_THRESHOLDING
    data = pyproximal.L2(Op=operator(task), b=task.y.ravel().astype(float), niter=50, warm=True)
    x = pyproximal.optimization.pnp.PlugAndPlay(
        data,
        lambda v, _: bm3d_package.bm3d(np.real(v), sigma_psd=strength, stage_arg=stage),
        task.shape,
        x0=task.start.astype(float).ravel() if start else np.zeros(task.shape).ravel(),
        solver=pyproximal.optimization.primal.ADMM,
        tau=step,
        niter=iterations,
    )[0]
    return np.reshape(x, task.shape)


serve({"forward": forward, "TV by gradients": tv_gradient, "TV": tv, "BM3D": bm3d})
