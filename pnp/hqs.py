"""Half-quadratic splitting."""

from __future__ import annotations

import dataclasses

from .run import Run
from .solver import Splitting


@dataclasses.dataclass(frozen=True, kw_only=True)
class HQS(Splitting):
    """Half-quadratic splitting for ``min f(x) + g(z) + 1/(2 s^2) ||x - z||^2`` with falling ``s``.

    The loop of ADMM without the dual variable: with a fixed ``s`` its limit is a compromise that ``s`` takes part in,
    so ``s`` should end near the noise level of the image that remains.

    Source: Geman & Yang, *Nonlinear Image Recovery with Half-Quadratic Regularization*, 1995; Zhang et al.,
    *Plug-and-Play Image Restoration with Deep Denoiser Prior*, 2021, eq. 6.
    """

    def _loop(self, run: Run) -> None:
        (z,) = run.begin(z=run.start)
        for iteration in run.iterations():
            s = run.still_running(self.level(iteration, run.start))
            x = run.data_step(z, s)
            z, z_old = run.prior_step(x, s), z
            change = z - z_old  # x and z stay apart, so the change is the only residual
            (z,) = run.finish(z, change, change, s, z=z)
