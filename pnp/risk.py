"""Predicted error of a reconstruction, measured on the data alone: Stein's unbiased risk estimate and its kin."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .data_terms import LeastSquares

# c / ||A||^2 = least + (gain * noise level / range)^2, at most the last. On camera and coins (blurs and decimation,
# four priors, three noise levels) the best of three candidates was missed by 0.02 dB on average; unwhitened by 0.07.
WHITENING_LEAST, WHITENING_GAIN, WHITENING_MOST = 1e-3, 40.0, 0.3
# Step of a probe in units of the noise level. A step adds to the noise, so that 0.2 takes the risk of a denoiser for
# 10 % too high and 0.3 for 25 %; 0.02 flatters block matching by 10 %. Of a solver 0.3 overrates the runs that
# amplify noise, which costs up to 1.2 dB behind a motion blur; 0.05 serves block matching worse.
PROBE = 0.1
WINDOW = 16  # pixels over which an error map is averaged: fewer leave the noise of the estimate


@dataclasses.dataclass(frozen=True)
class Moments:
    """The estimated risk of the mixtures ``sum_k a_k x_k`` of K reconstructions: ``a' products a + 2 penalty' a``.

    ``products`` (B, K, K) are those of the residuals, ``penalty`` (B, K) is the noise variance times the degrees of
    freedom, both a measurement; ``unit`` (B,) is the risk of noise itself. The constant that all share is left out.
    """

    products: Tensor
    penalty: Tensor
    unit: Tensor

    @property
    def risks(self) -> Tensor:
        """Of each reconstruction alone, (B, K)."""
        alone: Tensor = self.products.diagonal(dim1=1, dim2=2) + 2 * self.penalty
        return alone

    def mixture(self, ridge: float, *, convex: bool = False) -> Tensor:
        """Weights (B, K) of sum 1 and least risk, drawn to the best reconstruction by ``ridge`` units per square.

        Two estimates that err differently make a better one together, and the risk of every affine combination is known
        from the same numbers. ``convex``: no weight is negative, as befits risks that are known less well; whatever
        would get the most negative one is left out, until none does.

        Source: Blu & Luisier, *The SURE-LET Approach to Image Denoising*, 2007, eq. 14; the ridge is ours.
        """
        kept = torch.ones_like(self.risks, dtype=torch.bool)
        while True:
            weights = self._affine(ridge, kept)
            least = weights.min(dim=1)
            if not convex or not bool((least.values < 0).any()):
                return weights
            negative = least.values < 0
            kept[negative, least.indices[negative]] = False

    def _affine(self, ridge: float, kept: Tensor) -> Tensor:
        each = torch.eye(self.risks.shape[1]).to(self.risks)
        alone = each[torch.where(kept, self.risks, math.inf).argmin(dim=1)]
        steps = (each - alone[:, None, :]) * kept[:, :, None]  # from the best towards each, one a row
        slope = (self.products @ alone[:, :, None])[:, :, 0] + self.penalty
        bend = steps @ (self.products + ridge * self.unit[:, None, None] * each) @ steps.transpose(1, 2)
        length = torch.linalg.pinv(bend, hermitian=True) @ (steps @ slope[:, :, None])
        weights: Tensor = alone - (length.transpose(1, 2) @ steps)[:, 0]
        return weights


class Probe:
    """A random direction in the data, the same for every image of a batch, for Monte-Carlo divergences.

    Source: Ramani, Blu & Unser, *Monte-Carlo SURE*, 2008, eq. 14.
    """

    def __init__(self, f: LeastSquares, level: Tensor, span: Tensor, step: float, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)

        def signs() -> Tensor:
            return torch.randint(0, 2, f.data.shape[1:], generator=generator).double() * 2 - 1

        direction = torch.complex(signs(), signs()) if f.data.is_complex() else signs()
        if f.observed is not None:
            direction = torch.where(f.observed.cpu(), direction, 0)
        self.direction = direction.to(f.data)
        self.level = level.reshape(-1, *(1,) * (f.data.ndim - 1))  # of the noise, > 0, per image, data units
        self.step = step * self.level
        self.span = span.reshape(self.step.shape)  # range of the data
        self.parts = 2 if f.data.is_complex() else 1
        self.f = f

    def shifted(self) -> LeastSquares:
        """The data term with its data moved along the direction."""
        return self.f.moved(self.step * self.direction)

    def seen(self, x: Tensor) -> Tensor:
        """``A x``, zero where nothing was observed."""
        y = self.f.operator.forward(x)
        return y if self.f.observed is None else torch.where(self.f.observed, y, 0)

    def divergence(self, x: Tensor, x_shifted: Tensor) -> Tensor:
        """``sum_i d(A x)_i / d y_i``, the degrees of freedom of a reconstruction. Shape (B,)."""
        change = self.f.operator.forward(x_shifted - x) / self.step
        return (self.direction.conj() * change).real.flatten(1).sum(dim=1)

    def sure(self, x: Tensor, x_shifted: Tensor) -> Tensor:
        """Stein's unbiased estimate of ``||A x - A truth||^2 / M`` at the data term's noise level. Shape (B,).

        Source: Stein, *Estimation of the Mean of a Multivariate Normal Distribution*, 1981.
        """
        f, count = self.f, self.f.count()
        variance = f.sigma.reshape(-1).square()
        power = f.residual(x).abs().square().flatten(1).sum(dim=1)
        return (power + 2 * variance * self.divergence(x, x_shifted)) / count - self.parts * variance

    def error_map(self, x: Tensor, x_shifted: Tensor) -> Tensor:
        """Expected rms of ``A x - A truth`` around each entry of picture-like data: the estimate on a small window.

        Shapes: that of the data, (B, C, H, W) or (B, C, D, H, W); real data.
        """
        f = self.f
        change = f.operator.forward(x_shifted - x) / self.step
        risk = f.residual(x).square() + f.sigma.square() * (2 * self.direction * change - 1)
        pool = torch.nn.functional.avg_pool2d if risk.ndim == 4 else torch.nn.functional.avg_pool3d
        side = max(2 * (min(WINDOW, *risk.shape[2:]) // 2) - 1, 1)
        mean: Tensor = pool(risk, side, stride=1, padding=side // 2, count_include_pad=False)
        return mean.clamp_min(0).sqrt()

    def moments(self, xs: Sequence[Tensor], xs_shifted: Sequence[Tensor]) -> Moments:
        """What the risk ``||K^(1/2) A (x - truth)||^2 / M``, ``K = (A A^H + c I)^-1``, of any mixture depends on.

        The plain estimate looks at ``A x`` and so hardly sees the frequencies that ``A`` dims; dividing them by what
        ``A`` did, up to where noise prevails (``c``), comes close to the error of ``x`` itself. Where ``K`` has no
        closed form, or is a multiple of the identity, this is the plain estimate.

        Source: Eldar, *Generalized SURE for Exponential Families*, 2009, with the projection regularised.
        """
        f, A, count = self.f, self.f.operator, self.f.count()
        plain = not A.solves_dual or A.row_gram is not None
        c = A.norm() ** 2 * (WHITENING_LEAST + (WHITENING_GAIN * f.sigma / self.span) ** 2).clamp_max(WHITENING_MOST)

        def whiten(r: Tensor) -> Tensor:
            return r if plain else A._by_parts(lambda part: A._solve_dual(part, c), r, A.complex_out, A.complex_out)

        def inner(a: Tensor, b: Tensor) -> Tensor:
            return (a.conj() * b).real.flatten(1).double().sum(dim=1) / count

        residuals = [f.residual(x) for x in xs]
        changes = [A.forward(later - x) / self.step for x, later in zip(xs, xs_shifted, strict=True)]
        whitened = [whiten(r) for r in residuals]
        direction = self.direction.expand_as(residuals[0])
        probe = whiten(direction)
        return Moments(
            torch.stack([torch.stack([inner(r, w) for w in whitened], dim=1) for r in residuals], dim=1),
            f.sigma.reshape(-1, 1).double().square() * torch.stack([inner(probe, change) for change in changes], dim=1),
            self.level.reshape(-1).double().square() * inner(probe, direction),
        )

    def gcv(self, x: Tensor, x_shifted: Tensor) -> Tensor:
        """Generalised cross-validation ``(||A x - y||^2 / M) / (1 - df / M)^2``: needs no noise level. Shape (B,).

        Source: Golub, Heath & Wahba, *Generalized Cross-Validation*, 1979; with Monte-Carlo degrees of freedom.
        """
        count = self.f.count() * self.parts
        power = self.f.residual(x).abs().square().flatten(1).sum(dim=1)
        freedom = (1 - self.divergence(x, x_shifted) / count).clamp_min(1e-3)
        return power / count / freedom.square()
