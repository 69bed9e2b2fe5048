"""Predicted error of a reconstruction, measured on the data alone: Stein's unbiased risk estimate and its kin."""

from __future__ import annotations

import torch
from torch import Tensor

from .data_terms import LeastSquares

# c / ||A||^2 = least + (gain * noise level / range)^2, at most the last. On camera and coins (blurs and decimation,
# four priors, three noise levels) the best of three candidates was missed by 0.02 dB on average; unwhitened by 0.07.
WHITENING_LEAST, WHITENING_GAIN, WHITENING_MOST = 1e-3, 40.0, 0.3
PROBE = 0.3  # step in units of the noise level: 1.0 is biased and picks wrong by up to 1 dB, 0.1 and 0.3 agree


class Probe:
    """A random direction in the data, the same for every image of a batch, for Monte-Carlo divergences.

    Source: Ramani, Blu & Unser, *Monte-Carlo SURE*, 2008, eq. 14.
    """

    def __init__(self, f: LeastSquares, step: Tensor, span: Tensor, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)

        def signs() -> Tensor:
            return torch.randint(0, 2, f.data.shape[1:], generator=generator).double() * 2 - 1

        direction = torch.complex(signs(), signs()) if f.data.is_complex() else signs()
        if f.observed is not None:
            direction = torch.where(f.observed.cpu(), direction, 0)
        self.direction = direction.to(f.data)
        self.step = step.reshape(-1, *(1,) * (f.data.ndim - 1))  # per image, data units
        self.span = span.reshape(self.step.shape)  # range of the data
        self.parts = 2 if f.data.is_complex() else 1
        self._f = f

    def shifted(self) -> LeastSquares:
        """The data term with its data moved along the direction."""
        return self._f.moved(self.step * self.direction)

    def divergence(self, x: Tensor, x_shifted: Tensor) -> Tensor:
        """``sum_i d(A x)_i / d y_i``, the degrees of freedom of a reconstruction. Shape (B,)."""
        change = self._f.operator.forward(x_shifted - x) / self.step
        return (self.direction.conj() * change).real.flatten(1).sum(dim=1)

    def sure(self, x: Tensor, x_shifted: Tensor) -> Tensor:
        """Stein's unbiased estimate of ``||A x - A truth||^2 / M`` at the data term's noise level. Shape (B,).

        Source: Stein, *Estimation of the Mean of a Multivariate Normal Distribution*, 1981.
        """
        f, count = self._f, self._f.count()
        variance = f.sigma.reshape(-1).square()
        power = f.residual(x).abs().square().flatten(1).sum(dim=1)
        return (power + 2 * variance * self.divergence(x, x_shifted)) / count - self.parts * variance

    def ranking(self, x: Tensor, x_shifted: Tensor) -> Tensor:
        """SURE of ``||K^(1/2) A (x - truth)||^2 / M``, ``K = (A A^H + c I)^-1``, but for a constant: what ranks images.

        The plain estimate looks at ``A x`` and so hardly sees the frequencies that ``A`` dims; dividing them by what
        ``A`` did, up to where noise prevails (``c``), comes close to the error of ``x`` itself. Where ``K`` has no
        closed form, or is a multiple of the identity, this is the plain estimate. Shape (B,).

        Source: Eldar, *Generalized SURE for Exponential Families*, 2009, with the projection regularised.
        """
        f, A = self._f, self._f.operator
        if not A.solves_dual or A.row_gram is not None:
            return self.sure(x, x_shifted)
        power = A.norm() ** 2
        c = power * (WHITENING_LEAST + (WHITENING_GAIN * f.sigma / self.span) ** 2).clamp_max(WHITENING_MOST)

        def whiten(r: Tensor) -> Tensor:
            return A._by_parts(lambda part: A._solve_dual(part, c), r, A.complex_out, A.complex_out)

        r, variance = f.residual(x), f.sigma.reshape(-1).square()
        change = A.forward(x_shifted - x) / self.step
        weighted = (r.conj() * whiten(r)).real.flatten(1).sum(dim=1)
        freedom = (whiten(self.direction.expand_as(r)).conj() * change).real.flatten(1).sum(dim=1)
        return (weighted + 2 * variance * freedom) / f.count()

    def gcv(self, x: Tensor, x_shifted: Tensor) -> Tensor:
        """Generalised cross-validation ``(||A x - y||^2 / M) / (1 - df / M)^2``: needs no noise level. Shape (B,).

        Source: Golub, Heath & Wahba, *Generalized Cross-Validation*, 1979; with Monte-Carlo degrees of freedom.
        """
        count = self._f.count() * self.parts
        power = self._f.residual(x).abs().square().flatten(1).sum(dim=1)
        freedom = (1 - self.divergence(x, x_shifted) / count).clamp_min(1e-3)
        return power / count / freedom.square()
