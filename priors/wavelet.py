"""Translation-invariant wavelet shrinkage."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pnp.functional import Functional

from .checks import image_batch, whole
from .wavelet_filters import daubechies
from .windows import box_mean, middles, mirrored


class Wavelet(Functional):
    """Soft thresholding of undecimated wavelet coefficients.

    With ``threshold="bayes"`` each threshold is ``noise^2 / signal`` (BayesShrink). The signal's standard deviation is
    that of the coefficients in a window around each of them, less the noise's; with ``window=None`` that of the whole
    band. With ``threshold="sure"`` every band has the threshold, of 33 up to 4 noise levels, of least estimated error:
    ``n noise^2 - 2 noise^2 #{|w| <= t} + sum_i min(|w_i|, t)^2`` (SureShrink); no window takes part.
    Undecimated coefficients see every shift of the picture alike, which is what cycle spinning averages. Smooth, quick
    and differentiable; colour goes through the orthonormal opponent axes.

    Shapes: (..., C, H, W), any size; ``wavelet`` is "haar", "db1" to "db10" or "sym1" to "sym10", ``window`` an odd
    side in pixels; ``levels`` end where the filters' steps exceed the picture.
    Raises: TypeError unless ``levels`` and ``window`` are whole numbers; ValueError for an unknown wavelet or rule,
    ``levels < 1`` or an even window.
    Source: Coifman & Donoho, *Translation-Invariant De-Noising*, 1995; Donoho & Johnstone, *Adapting to Unknown
    Smoothness via Wavelet Shrinkage*, 1995 (SURE); Chang, Yu & Vetterli, *Adaptive Wavelet
    Thresholding for Image Denoising and Compression*, 2000; *Spatially Adaptive Wavelet Thresholding with Context
    Modeling for Image Denoising*, 2000 (the window).
    """

    def __init__(
        self, wavelet: str = "db2", levels: int = 4, *, window: int | None = 9, threshold: str = "bayes"
    ) -> None:
        family, moments = ("db", "1") if wavelet == "haar" else (wavelet.rstrip("0123456789"), wavelet.lstrip("dbsym"))
        if family not in ("db", "sym") or not moments.isdecimal() or not 1 <= int(moments) <= 10:
            raise ValueError(f"Wavelet: wavelet must be 'haar', 'db1'..'db10' or 'sym1'..'sym10', got {wavelet!r}.")
        levels = whole(levels, least=1, who="Wavelet", what="levels")
        if window is not None and whole(window, least=1, who="Wavelet", what="window") % 2 == 0:
            raise ValueError(f"Wavelet: window must be an odd number of pixels or None, got {window!r}.")
        if threshold not in ("bayes", "sure"):
            raise ValueError(f"Wavelet: threshold must be 'bayes' or 'sure', got {threshold!r}.")
        self.wavelet, self.levels, self.window, self.threshold = wavelet, levels, window, threshold
        taps = daubechies(int(moments), symmetric=family == "sym") / math.sqrt(2)  # a Parseval frame: gain one
        self.low = [float(tap) for tap in taps]
        self.high = [float(tap) * (-1) ** k for k, tap in enumerate(taps[::-1])]

    def prox(self, v: Tensor, tau: float | Tensor) -> Tensor:
        images, variance = image_batch(v, tau, who=f"{self!r}.prox")
        middle = middles(images)  # taken off for the sake of float32
        exact, axes = images - middle, _opponent_axes(images)
        levels = min(self.levels, max(v.shape[-2:]).bit_length())  # beyond, the steps of a filter exceed the picture
        margin = len(self.low) * 2 ** (levels - 1)  # half of what the widest filter reaches
        inside = (..., slice(margin, margin + v.shape[-2]), slice(margin, margin + v.shape[-1]))
        turned = torch.einsum("oc,bchw->bohw", axes, exact)
        x = self._shrink(mirrored(turned, margin), variance, 1, levels)[inside]
        return (torch.einsum("oc,bohw->bchw", axes, x) + middle).reshape(v.shape).to(v.dtype)

    def _shrink(self, x: Tensor, variance: Tensor, level: int, levels: int) -> Tensor:
        """Analyse, threshold the three bands of details, recurse into the coarse image, synthesise."""
        step = 2 ** (level - 1)
        low, high = self._split(x, step, -1)
        coarse, *details = *self._split(low, step, -2), *self._split(high, step, -2)
        rows, columns, both = (self._threshold(band, variance / 4**level) for band in details)
        if level < levels:
            coarse = self._shrink(coarse, variance, level + 1, levels)
        return self._join(self._join(coarse, rows, step, -2), self._join(columns, both, step, -2), step, -1)

    def _threshold(self, band: Tensor, noise: Tensor) -> Tensor:
        power = band.square()
        if self.threshold == "sure":
            threshold = _least_risk(power, noise)
            return band - band.clamp(-threshold, threshold)
        if self.window is None:
            signal = power.mean(dim=(-2, -1), keepdim=True) - noise
        else:
            around = mirrored(power, self.window // 2)
            excess = 1 + 4.5 / self.window  # a small window mistakes noise for signal; fitted on four pictures
            signal = box_mean(box_mean(around, self.window, -1), self.window, -2) - excess * noise
        threshold = noise / signal.clamp_min(torch.finfo(band.dtype).tiny).sqrt()
        return band - band.clamp(-threshold, threshold)

    def _split(self, x: Tensor, step: int, axis: int) -> tuple[Tensor, Tensor]:
        """Correlation with both filters, their taps ``step`` pixels apart, around the circle."""
        length = x.shape[axis]
        ahead = torch.cat([x, x.narrow(axis, 0, (len(self.low) - 1) * step)], dim=axis)
        low, high = torch.zeros_like(x), torch.zeros_like(x)
        for k in range(len(self.low)):
            shifted = ahead.narrow(axis, k * step, length)
            low.add_(shifted, alpha=self.low[k])
            high.add_(shifted, alpha=self.high[k])
        return low, high

    def _join(self, low: Tensor, high: Tensor, step: int, axis: int) -> Tensor:
        """The adjoint of ``_split``, which undoes it."""
        length, reach = low.shape[axis], (len(self.low) - 1) * step
        low, high = (torch.cat([x.narrow(axis, length - reach, reach), x], dim=axis) for x in (low, high))
        total = torch.zeros_like(low.narrow(axis, 0, length))
        for k in range(len(self.low)):
            total.add_(low.narrow(axis, reach - k * step, length), alpha=self.low[k])
            total.add_(high.narrow(axis, reach - k * step, length), alpha=self.high[k])
        return total

    def __repr__(self) -> str:
        return f"Wavelet({self.wavelet!r}, {self.levels}, window={self.window}, threshold={self.threshold!r})"


def _least_risk(power: Tensor, noise: Tensor) -> Tensor:
    """The soft threshold of least estimated error, one a band: Stein's estimate on a grid of thresholds.

    What no threshold changes is left out of the estimate.
    Shapes: power (B, C, H, W) of the coefficients, noise (B, 1, 1, 1) their noise's variance, to (B, C, 1, 1).
    """
    least, best = torch.zeros_like(power[..., :1, :1]), torch.zeros_like(power[..., :1, :1])
    for level in torch.linspace(0, 4, 33).tolist()[1:]:  # zero keeps everything, at the risk of all the noise
        bound = level**2 * noise
        removed = (power <= bound).sum(dim=(-2, -1), keepdim=True).to(power.dtype)
        risk = torch.minimum(power, bound).sum(dim=(-2, -1), keepdim=True) - 2 * noise * removed
        better = risk < least
        least, best = torch.where(better, risk, least), torch.where(better, bound.sqrt().expand_as(best), best)
    return best


def _opponent_axes(v: Tensor) -> Tensor:
    """Orthonormal luminance and two colour differences for three channels, the channels themselves otherwise."""
    if v.shape[-3] != 3:
        return torch.eye(v.shape[-3], dtype=v.dtype, device=v.device)
    rows = [[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]]
    matrix = torch.tensor(rows, dtype=v.dtype, device=v.device)
    return matrix / matrix.square().sum(dim=1, keepdim=True).sqrt()
