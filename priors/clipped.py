"""Pictures whose noise was clipped to the range of a sensor or a file."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pnp.functional import Functional
from pnp.wrapper import Wrapper

from .checks import image_batch
from .windows import box_mean, mirrored

_AROUND = 9  # side of the means that tell how bright, hence how noisy, a picture is
_NEWTON = 12  # steps; convergence is monotone and quadratic, five reach float64 for any noise level
_FAR = 9.0  # standard deviations beyond which nothing is clipped


class Clipped(Wrapper):
    """``prior`` for ``v = clip(x + sigma n, low, high)``: ``m^-1(prior.prox(v, s^2))``.

    Clipping makes noise weaker and shifts its mean: to ``m(x) = E v``, with a standard deviation ``s(x) < sigma``. A
    plain denoiser is told too much noise and returns ``m(x)``: dark parts too bright, bright ones too dark. Here the
    prior gets the root mean square of ``s`` over the picture, and its result goes through the inverse of ``m``, which
    is known in closed form for Gaussian noise. Worth 2 to 5 dB where sigma is half the range of the picture, little
    below a tenth of it. For ``denoise`` of data that were clipped (a file of bytes, a saturated sensor); the images
    inside a solver's loop are not. A constant picture near the ends of the range is no fixed point: it has lost noise.

    Shapes: (..., C, H, W); either end may be infinite. The result lies in [low, high].
    Raises: TypeError unless ``prior`` is a Functional, ValueError unless ``low < high``.
    Source: Foi, *Clipped Noisy Images: Heteroskedastic Modeling and Practical Denoising*, 2009, sec. 3 and 5.
    """

    def __init__(self, prior: Functional, low: float = 0.0, high: float = 1.0) -> None:
        super().__init__(prior)
        if not low < high:
            raise ValueError(f"Clipped: expected low < high, got {low!r} and {high!r}.")
        self.low, self.high = float(low), float(high)

    def prox(self, v: Tensor, tau: float | Tensor) -> Tensor:
        images, variance = image_batch(v, tau, who=f"{self!r}.prox")
        sigma = variance.sqrt().clamp_min(torch.finfo(images.dtype).tiny)
        around = box_mean(box_mean(mirrored(images, _AROUND // 2), _AROUND, -1), _AROUND, -2)
        spread = self._moments(self._unclipped(around, sigma), sigma)[2]
        clean = self.prior.prox(images, spread.square().mean(dim=(1, 2, 3), keepdim=True))
        return self._unclipped(clean, sigma).to(v.dtype).reshape(v.shape)

    def _moments(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, slope of the mean and standard deviation of ``clip(x + sigma n)``, for x in [low, high]."""
        a, b = ((end - x).div(sigma).clamp(-_FAR, _FAR) for end in (self.low, self.high))
        below, above = torch.special.ndtr(a), torch.special.ndtr(-b)
        density = [torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi) for z in (a, b)]
        inside = 1 - below - above
        bias = a * below + b * above + density[0] - density[1]
        square = a.square() * below + b.square() * above + inside + a * density[0] - b * density[1]
        return x + sigma * bias, inside, sigma * (square - bias.square()).clamp_min(0).sqrt()

    def _unclipped(self, mean: Tensor, sigma: Tensor) -> Tensor:
        """The ``x`` in [low, high] of which ``mean`` is the mean after clipping, or the nearest: Newton's method.

        Towards each end the mean is a convex, or concave, function, and ``x = mean`` is on the side of the root from
        which the steps are monotone.
        """
        for end, nearest in ((self.low, torch.maximum), (self.high, torch.minimum)):
            if math.isfinite(end):
                mean = nearest(mean, self._moments(torch.full_like(sigma, end), sigma)[0])
        x = mean
        for _ in range(_NEWTON):
            value, slope, _ = self._moments(x, sigma)
            steep = slope.clamp_min(torch.finfo(x.dtype).eps)  # noise far beyond the range leaves no slope to divide by
            x = (x - (value - mean) / steep).clamp(self.low, self.high)
        return x

    def __repr__(self) -> str:
        return f"Clipped({self.prior!r}, {self.low!r}, {self.high!r})"
