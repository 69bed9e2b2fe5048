"""The two-layer generator of the theory, and the fitting rates that the theory predicts for it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .layers import OwnInitialisation


class TwoLayer(OwnInitialisation):
    """Two-layer generator ``G(C) = ReLU(U C) v`` with a fixed circular convolution U and fixed output signs ``v``.

    ``C`` holds ``channels`` maps of the image's size and is all that is learnt; ``v`` has entries +-1/sqrt(channels).
    U is a Gaussian low-pass of standard deviation ``width`` pixels, of unit norm. Each output channel has its own C.
    There is no input ``z``: whatever is passed is ignored.

    Shapes: output (1, outputs, H, W).
    Source: Heckel & Soltanolkotabi, *Denoising and Regularization via Exploiting the Structural Bias of Convolutional
    Generators*, ICLR 2020, sec. 3.
    """

    uniform = True

    def __init__(self, outputs: int, shape: tuple[int, int], *, channels: int = 64, width: float = 2.0) -> None:
        super().__init__()
        if channels < 2 or channels % 2:
            raise ValueError(f"TwoLayer: expected an even number of channels, got {channels}.")
        if not width > 0:
            raise ValueError(f"TwoLayer: expected width > 0, got {width!r}.")
        self.shape, self.channels, self.width = tuple(shape), channels, width
        self.coefficients = nn.Parameter(torch.zeros(outputs, channels, *shape))
        signs = torch.ones(channels)
        signs[channels // 2 :] = -1
        self.register_buffer("signs", signs / channels**0.5)
        self.register_buffer("transfer", torch.fft.rfft2(_gaussian(shape, width)).real)
        self.signs: Tensor
        self.transfer: Tensor

    def input_shape(self, height: int, width: int) -> tuple[int, int, int]:
        return 1, height, width

    @torch.no_grad()
    def draw(self, generator: torch.Generator) -> None:
        """Standard normal coefficients; the two halves equal, so that the first image is zero (as in the proofs)."""
        half = self.channels // 2
        shape = (self.coefficients.shape[0], half, *self.shape)
        first = torch.randn(shape, generator=generator, dtype=torch.float32)
        self.coefficients.copy_(torch.cat([first, first], dim=1))

    def forward(self, z: Tensor) -> Tensor:
        smooth = torch.fft.irfft2(torch.fft.rfft2(self.coefficients) * self.transfer, s=self.shape)
        image: Tensor = torch.einsum("ckhw,k->chw", smooth.relu(), self.signs)[None]
        return image

    def dual_kernel_spectrum(self) -> Tensor:
        """Eigenvalues of the expected ``J J^T``, one per Fourier mode: the squared rates of gradient descent.

        For unit rows ``u_i`` of U, ``E[J J^T]_ij = 1/2 (1 - arccos(<u_i, u_j>) / pi) <u_i, u_j>``, a convolution.
        Gradient descent of step eta on ``1/2 ||G(C) - y||^2`` shrinks mode i of the residual by the factor
        ``1 - eta sigma_i^2`` a step.

        Shapes: (H, W // 2 + 1), as ``torch.fft.rfft2``.
        """
        overlap = torch.fft.irfft2(self.transfer.square(), s=self.shape)  # <u_i, u_j> as a function of i - j
        kernel = 0.5 * (1 - torch.arccos(overlap.clamp(-1, 1)) / torch.pi) * overlap
        spectrum: Tensor = torch.fft.rfft2(kernel).real
        return spectrum


def _gaussian(shape: tuple[int, int], width: float) -> Tensor:
    """A periodic Gaussian of unit Euclidean norm, its peak at the origin."""
    axes = [torch.minimum(torch.arange(n), n - torch.arange(n)).double() for n in shape]
    kernel = torch.exp(-(axes[0][:, None].square() + axes[1].square()) / (2 * width**2))
    unit: Tensor = (kernel / torch.linalg.vector_norm(kernel)).float()
    return unit
