"""Operators of deepinv and scico, where these are installed, as their documentation builds them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

import pnp

Call = Callable[[], object]
RHO = 0.01  # of the data step, relative to a norm of one


def deepinv_calls(name: str, A: pnp.LinearOperator, x: torch.Tensor) -> dict[str, Call]:
    """Forward, adjoint and ``prox_l2``; empty where deepinv has no such operator."""
    import deepinv

    size = (1, *x.shape[-2:]) if x.ndim == 2 else tuple(x.shape)
    image = x.reshape(1, *size)
    device = x.device
    physics: Any
    match name.split()[0]:
        case "gaussian" | "motion":
            physics = deepinv.physics.BlurFFT(img_size=size, filter=kernel_of(A)[None, None], device=device)
        case "random" | "sparse":
            mask = A.observed()
            physics = deepinv.physics.Inpainting(
                img_size=size, mask=None if mask is None else mask[None].float(), device=device
            )
        case "single":
            physics = deepinv.physics.SinglePixelCamera(m=A.rows, img_size=size, fast=True, device=device)
        case "super-resolution":
            physics = deepinv.physics.Downsampling(img_size=size, filter="bicubic", factor=int(name[-1]), device=device)
        case "demosaicking":
            physics = deepinv.physics.Demosaicing(img_size=size, device=device)
        case "MRI":
            seen = A.observed()
            mask = torch.ones(size[-2:]) if seen is None else seen.float()
            physics = deepinv.physics.MRI(mask=mask, img_size=(2, *size[-2:]), device=device)
            image = image.expand(1, 2, *size[-2:]).contiguous()
        case "tomography":
            physics = deepinv.physics.Tomography(angles=60, img_width=size[-1], circle=False, device=device)
        case _:
            return {}
    y = physics.A(image)
    calls: dict[str, Call] = {"forward": lambda: physics.A(image), "adjoint": lambda: physics.A_adjoint(y)}
    if name != "tomography":  # an iterative solve of minutes there
        calls["data step"] = lambda: physics.prox_l2(image, y, 1 / RHO)
    return calls


def scico_calls(name: str, A: pnp.LinearOperator, x: torch.Tensor) -> dict[str, Call]:
    """Forward and adjoint, compiled by jax; only a blur has a near equivalent of the same size there."""
    import numpy as np
    import scico.numpy as snp
    from scico.linop import CircularConvolve

    if not name.endswith("blur"):
        return {}
    image = snp.array(x.cpu().numpy())
    operator = CircularConvolve(snp.array(kernel_of(A).cpu().numpy()), image.shape, input_dtype=np.float32, jit=True)
    y = operator(image)
    return {
        "forward": lambda: operator(image).block_until_ready(),
        "adjoint": lambda: operator.adj(y).block_until_ready(),
    }


def kernel_of(A: pnp.LinearOperator, radius: int = 20) -> torch.Tensor:
    """The kernel of a blur, as it answers to one bright pixel."""
    delta = torch.zeros(A.in_shape, device=A.device)
    delta[radius, radius] = 1
    return A.forward(delta)[: 2 * radius + 1, : 2 * radius + 1]
