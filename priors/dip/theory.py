"""Fitting rates of the two-layer generator: what the theory predicts, next to what gradient descent does."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from .layers import initialise
from .trajectory import BANDS, multiplicity, rings
from .two_layer import TwoLayer

STABLE = 0.5  # of the largest step size 1 / sigma_1^2 that the theory allows
TINY = 1e-12  # rounding may leave the smallest eigenvalues at or below zero


@dataclasses.dataclass(frozen=True)
class Rates:
    """Share of the target's energy still missing per frequency band, and the distance travelled, at recorded steps.

    ``predicted`` is ``sum_i (1 - eta sigma_i^2)^(2t) y_i^2 / sum_i y_i^2`` over the modes i of a band. The square of
    ``predicted_distance``, of the coefficients from their start, is ``sum_i (1 - (1 - eta sigma_i^2)^t)^2 y_i^2 /
    sigma_i^2`` over all modes: what lies in modes of small ``sigma_i``, as noise does, takes the weights far.
    Shapes: shares (steps, bands), distances (steps,).
    """

    steps: Tensor
    predicted: Tensor
    measured: Tensor
    predicted_distance: Tensor
    measured_distance: Tensor


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
    Raises: ValueError unless ``target`` is one image (H, W), with ``steps`` >= 1 and ``records`` >= 2.
    Source: Heckel & Soltanolkotabi, *Denoising and Regularization via Exploiting the Structural Bias of Convolutional
    Generators*, ICLR 2020, theorem 1.
    """
    if target.ndim != 2:
        raise ValueError(f"fitting_rates: expected one image (H, W), got {tuple(target.shape)}.")
    if steps < 1 or records < 2:
        raise ValueError(f"fitting_rates: expected steps >= 1 and records >= 2, got {steps!r}, {records!r}.")
    shape = (target.shape[0], target.shape[1])
    network = TwoLayer(1, shape, channels=channels, width=width)
    initialise(network, torch.Generator().manual_seed(seed))
    network.to(target)
    spectrum = network.dual_kernel_spectrum()
    rate = float(STABLE / spectrum.max())
    looks = sorted({round(steps ** (k / (records - 1))) for k in range(records)})
    energy = torch.fft.rfft2(target).abs().square()
    predicted = torch.stack(
        [_shares((1 - rate * spectrum).abs() ** (2 * t) * energy, energy, shape, bands) for t in looks]
    )
    modes = multiplicity(shape[1], energy) * energy / target.numel()
    travelled = [((1 - (1 - rate * spectrum) ** t) ** 2 / spectrum.clamp_min(TINY) * modes).sum().sqrt() for t in looks]
    start = network.coefficients.detach().clone()
    measured: list[Tensor] = []
    distances: list[Tensor] = []
    nothing = target.new_zeros(())
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
                distances.append((network.coefficients - start).square().sum().sqrt())
    return Rates(torch.tensor(looks), predicted, torch.stack(measured), torch.stack(travelled), torch.stack(distances))


def _shares(left: Tensor, energy: Tensor, shape: tuple[int, int], bands: int) -> Tensor:
    index = rings(shape, bands).flatten()

    def per_ring(values: Tensor) -> Tensor:
        return values.new_zeros(bands + 1).index_add(0, index, values.flatten())[:bands]

    return per_ring(left) / per_ring(energy)
