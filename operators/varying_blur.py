"""Blur whose kernel changes across the picture."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .arguments import real_tensor, shape_of
from .blur import Blur
from .few_digits import FewDigits


class VaryingBlur(FewDigits):
    """``A x = sum_k kernel_k * (weight_k x)``: every pixel spreads by its own mixture of a few kernels.

    By default the kernels stand on a regular grid over the picture and are interpolated bilinearly between its nodes.
    CG solves it, preconditioned by the blur with the mean kernel.

    Shapes: ``kernels`` (P, Q, h, w), the nodes being the centres of P x Q equal tiles; or (K, h, w) with ``weights``
    (K, H, W). ``x`` (..., H, W); ``A x`` the same, or smaller with ``boundary="valid"``, as for `Blur`.
    Units: ``A x`` has the units of ``x`` when each kernel and the weights of each pixel sum to one.
    Raises: ValueError if kernels and weights do not fit.
    Source: Nagy & O'Leary, *Restoring images degraded by spatially variant blur*, 1998, sec. 2.
    """

    def __init__(
        self, kernels: Tensor, shape: Sequence[int], boundary: str = "circular", *, weights: Tensor | None = None
    ) -> None:
        usage = "VaryingBlur(kernels, shape)"
        kernels, shape = real_tensor(kernels, "kernels", usage), shape_of(shape, usage)
        weights = None if weights is None else real_tensor(weights, "weights", f"{usage[:-1]}, weights=None)")
        if len(shape) != 2 or any(n % 1 or n < 1 for n in shape):
            raise ValueError(f"VaryingBlur: expected shape (H, W) of integers, got {shape}; channels and batch lead.")
        height, width = shape
        if kernels.ndim == 4 and weights is None:
            tiles = (kernels.shape[0], kernels.shape[1])
            weights = _tents(height, tiles[0])[:, None, :, None] * _tents(width, tiles[1])[:, None, :]
            weights = weights.flatten(0, 1).to(kernels)
            kernels = kernels.flatten(0, 1)
        if kernels.ndim != 3 or weights is None or tuple(weights.shape) != (len(kernels), height, width):
            raise ValueError(
                "VaryingBlur: expected kernels (P, Q, h, w), or (K, h, w) with weights (K, H, W), got "
                f"{tuple(kernels.shape)} and {None if weights is None else tuple(weights.shape)}."
            )
        blur = Blur(kernels, (len(kernels), height, width), boundary)
        super().__init__((height, width), blur.out_shape[1:])
        self.blur = blur
        share = weights.mean(dim=(-2, -1))[:, None, None]
        self.mean = Blur((share * kernels).sum(dim=0), (height, width), boundary)
        self.register_buffer("weights", weights)
        self.weights: Tensor

    def _forward(self, x: Tensor) -> Tensor:
        return self.blur._forward(self.weights * x[..., None, :, :]).sum(dim=-3)

    def _adjoint(self, y: Tensor) -> Tensor:
        spread = y[..., None, :, :].expand(*y.shape[:-2], len(self.weights), *y.shape[-2:])
        return (self.weights * self.blur._adjoint(spread)).sum(dim=-3)

    def circulant(self) -> Tensor | float | None:
        return self.mean.circulant()

    def _precondition_dual(self, r: Tensor, rho: float | Tensor) -> Tensor:
        solve = self.mean._solve_dual if self.mean.solves_dual else self.mean._precondition_dual
        return solve(r, rho)


def _tents(n: int, nodes: int) -> Tensor:
    """Weights of linear interpolation between the centres of equal parts, constant beyond. Shapes: (nodes, n)."""
    places = ((torch.arange(n, dtype=torch.float64) + 0.5) * nodes / n - 0.5).clamp(0, nodes - 1)
    return (1 - (places - torch.arange(nodes)[:, None]).abs()).clamp_min(0)
