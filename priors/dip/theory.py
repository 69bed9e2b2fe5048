"""Fitting rates of the two-layer generator: what the theory predicts, next to what gradient descent does."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from .layers import initialise
from .trajectory import BANDS, rings
from .two_layer import TwoLayer

STABLE = 0.5  # of the largest step size 1 / sigma_1^2 that the theory allows


@dataclasses.dataclass(frozen=True)
class Rates:
    """Share of the target's energy still missing, per frequency band and recorded step.

    ``predicted`` is ``sum_i (1 - eta sigma_i^2)^(2t) y_i^2 / sum_i y_i^2`` over the modes i of a band.
    Shapes: (steps, bands).
    """

    steps: Tensor
    predicted: Tensor
    measured: Tensor


def fitting_rates(
    target: Tensor,
    *,
    channels: int = 256,
    width: float = 2.0,
    steps: int = 200,
    records: int = 20,
    bands: int = BANDS,
    seed: int = 0,
) -> Rates:
    """Fit ``G(C) = ReLU(U C) v`` to ``target`` by gradient descent and compare every band with the theory.

    Shapes: ``target`` (H, W).
    Units: ``target`` should be small against 1 for the theory's regime, in which C hardly moves.
    Raises: ValueError unless ``target`` is one image (H, W).
    Source: Heckel & Soltanolkotabi, *Denoising and Regularization via Exploiting the Structural Bias of Convolutional
    Generators*, ICLR 2020, theorem 1.
    """
    if target.ndim != 2:
        raise ValueError(f"fitting_rates: expected one image (H, W), got {tuple(target.shape)}.")
    shape = (target.shape[0], target.shape[1])
    network = TwoLayer(1, shape, channels=channels, width=width)
    initialise(network, torch.Generator().manual_seed(seed))
    network.to(dtype=target.dtype)
    spectrum = network.dual_kernel_spectrum()
    rate = float(STABLE / spectrum.max())
    looks = sorted({round(steps ** (k / (records - 1))) for k in range(records)})
    energy = torch.fft.rfft2(target).abs().square()
    predicted = torch.stack(
        [_shares((1 - rate * spectrum).abs() ** (2 * t) * energy, energy, shape, bands) for t in looks]
    )
    measured: list[Tensor] = []
    nothing = torch.zeros((), dtype=target.dtype)
    for step in range(1, looks[-1] + 1):
        network.zero_grad()
        with torch.enable_grad():
            loss = 0.5 * (network(nothing)[0, 0] - target).square().sum()
        loss.backward()
        gradient = network.coefficients.grad
        with torch.no_grad():
            if gradient is not None:
                network.coefficients.sub_(gradient, alpha=rate)
            if step in looks:
                left = torch.fft.rfft2(network(nothing)[0, 0] - target).abs().square()
                measured.append(_shares(left, energy, shape, bands))
    return Rates(torch.tensor(looks), predicted, torch.stack(measured))


def _shares(left: Tensor, energy: Tensor, shape: tuple[int, int], bands: int) -> Tensor:
    index = rings(shape, bands).flatten()

    def per_ring(values: Tensor) -> Tensor:
        return values.new_zeros(bands + 1).index_add(0, index, values.flatten())[:bands]

    return per_ring(left) / per_ring(energy)
