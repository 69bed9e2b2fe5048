"""scico: ADMM with isotropic total variation, and with BM3D as the prox."""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np
import scico.numpy as snp
from protocol import Array, Task, halves, serve
from scico import functional, linop, loss
from scico.optimize.admm import ADMM, CircularConvolveSolver, LinearSubproblemSolver


@functools.lru_cache(maxsize=1)
def problem(task: Task) -> tuple[Any, jax.Array]:
    """The operator and the data."""
    y = snp.array(np.float32(task.y))
    if task.kind == "mask":
        return linop.Diagonal(snp.array(np.float32(task.given("mask")))), y
    if task.kind == "identity":
        return linop.Identity(task.shape), y
    if task.kind == "hadamard":
        return _scrambled(task), y
    kernel = np.float32(task.given("kernel"))
    blur = linop.CircularConvolve(
        snp.array(kernel), task.shape, input_dtype=np.float32, h_center=[n // 2 for n in kernel.shape]
    )
    if task.kind == "blur":
        return blur, y
    every = (slice(None, None, task.factor),) * 2
    return linop.Slice(every, task.shape, input_dtype=np.float32) @ blur, y


def _scrambled(task: Task) -> Any:
    left, right = (snp.array(np.float32(m)) for m in halves(task.shape[0] * task.shape[1]))
    rows, position = (snp.array(task.given(name)) for name in ("rows", "position"))
    inverse = snp.argsort(position)

    def transform(v: jax.Array) -> jax.Array:
        return (left @ v.reshape(len(left), len(right)) @ right).ravel()

    return linop.LinearOperator(
        task.shape,
        task.y.shape,
        eval_fn=lambda x: transform(x.ravel()[inverse])[rows],
        adj_fn=lambda r: transform(snp.zeros(len(position), r.dtype).at[rows].set(r))[position].reshape(task.shape),
        input_dtype=np.float32,
        output_dtype=np.float32,
    )


def forward(task: Task) -> Array:
    return np.asarray(problem(task)[0](snp.array(np.float32(task.probe))))


def tv(task: Task, *, weight: float, rho: float, iterations: int, exact: bool) -> Array:
    A, y = problem(task)
    circular = exact and task.kind in ("blur", "identity")  # where scico solves the inner system by FFT
    C = linop.FiniteDifference(task.shape, input_dtype=np.float32, circular=circular, append=None if circular else 0)
    solver = ADMM(
        f=loss.SquaredL2Loss(y=y, A=A),
        g_list=[weight * functional.L21Norm()],
        C_list=[C],
        rho_list=[rho],
        x0=A.adj(y),
        maxiter=iterations,
        subproblem_solver=CircularConvolveSolver() if circular else LinearSubproblemSolver(),
    )
    return np.asarray(solver.solve())


def bm3d(task: Task, *, strength: float, rho: float, iterations: int, start: bool) -> Array:
    A, y = problem(task)
    solver = ADMM(
        f=loss.SquaredL2Loss(y=y, A=A),
        g_list=[strength * rho * functional.BM3D()],  # its prox denoises at the weight over rho
        C_list=[linop.Identity(task.shape, input_dtype=np.float32)],
        rho_list=[rho],
        x0=snp.array(np.float32(task.start)) if start else A.adj(y),
        maxiter=iterations,
        subproblem_solver=LinearSubproblemSolver(cg_kwargs={"tol": 1e-3, "maxiter": 100}),
    )
    return np.asarray(solver.solve())


serve({"forward": forward, "TV": tv, "BM3D": bm3d})
