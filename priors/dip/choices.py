"""What a direct fit decides by itself: likelihood, whitening, stopping rule; each with its reason."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from pnp.linear_operator import LinearOperator
from pnp.result import Choice

from .objective import LOSSES, whitening
from .stopping import Discrepancy, HoldOut, MovingVariance, Oracle, Plateau, Rule

FEW_MEASUREMENTS = 2000  # below, a known noise level ranks images better than held-out errors do
HELD_OUT = 200  # measurements at least, if that is at most a fifth of them
CLIPPING_MATTERS = 0.15  # noise over the range: below it, modelling the clipping changes 0.05 dB
CLIPPED_SHARE = 0.01  # of the entries at either limit: the data were clipped
WEAK_NOISE = 0.02  # over the range: below, Fourier-diagonal operators are whitened
VERY_WEAK_NOISE = 0.003  # the whitening constant is tripled below it: bfloat16 would not resolve the rest
FLAT_SPECTRUM = 0.5  # smallest over largest gain above which whitening has nothing to gain


@dataclasses.dataclass(frozen=True)
class Options:
    """The arguments of ``DeepImagePrior.fit`` beyond operator, data and noise level."""

    loss: str = "auto"
    stop: str | Rule = "auto"
    n_nets: int = 1
    tv: float = 0.0
    whiten: bool | str = "auto"
    give_back: bool | str = "auto"
    photons: float = 1.0
    limits: tuple[float, float] | None = None
    time_limit: float | None = None
    graph: bool = True
    progress: bool = True


def likelihood(
    options: Options, y: Tensor, relative_sigma: float | None, complete: bool
) -> tuple[Choice, tuple[float, float]]:
    """The data term's name, and the limits at which the data ``y``, those that count, were clipped."""
    if options.loss not in ("auto", *LOSSES):
        raise ValueError(f"DeepImagePrior.fit: loss must be 'auto' or one of {LOSSES}, got {options.loss!r}.")
    if options.loss in ("poisson", "censored") and y.is_complex():
        raise ValueError(f"DeepImagePrior.fit: loss {options.loss!r} needs real data, got {y.dtype}.")
    if options.loss not in ("auto", "censored"):
        return Choice(options.loss, "asked for"), (-math.inf, math.inf)
    if options.loss == "censored":
        low, high = options.limits or (float(y.min()), float(y.max()))
        return Choice("censored", "asked for"), (low, high)
    if relative_sigma is not None and relative_sigma >= CLIPPING_MATTERS and complete and not y.is_complex():
        low, high = (float(n) for n in torch.aminmax(y))
        if min(float((y == low).double().mean()), float((y == high).double().mean())) >= CLIPPED_SHARE:
            reason = "strong noise, and many values sit exactly at the smallest and the largest: clipped data"
            return Choice("censored", reason), (low, high)
    return Choice("l2", "Gaussian noise unless told otherwise"), (-math.inf, math.inf)


def wants_give_back(options: Options, noisy: bool, loss: str) -> bool:
    """Whether what the network left in the residual is computed; ``noisy`` says that a noise level > 0 is known."""
    if options.give_back not in (True, False, "auto"):
        raise ValueError(f"DeepImagePrior.fit: give_back must be True, False or 'auto', got {options.give_back!r}.")
    if options.give_back is True and not noisy:
        raise ValueError("DeepImagePrior.fit: give_back=True needs a known sigma > 0 to tell the residual from noise.")
    return noisy and (loss == "l2" or options.give_back is True)


def whitening_gain(
    options: Options,
    operator: LinearOperator,
    *,
    loss: str,
    sigma: Tensor,
    relative_sigma: float | None,
    span: float,
    complete: bool,
) -> Tensor | None:
    """The Fourier gain of the whitened residual, or None for the plain one."""
    if options.whiten not in (True, False, "auto"):
        raise ValueError(f"DeepImagePrior.fit: whiten must be True, False or 'auto', got {options.whiten!r}.")
    if options.whiten is False:
        return None
    spectrum = operator.spectrum()
    possible = loss == "l2" and complete and sigma.numel() == 1 and spectrum is not None
    if not possible or spectrum is None or relative_sigma is None or not relative_sigma > 0:
        if options.whiten is True:
            raise ValueError(
                "DeepImagePrior.fit: whiten=True needs an operator diagonal in Fourier space, one known sigma > 0, "
                "loss 'l2' and no missing data."
            )
        return None
    gains = spectrum.abs()
    if options.whiten == "auto" and (relative_sigma > WEAK_NOISE or gains.min() > FLAT_SPECTRUM * gains.max()):
        return None
    return whitening(operator, float(sigma), span, 1.0 if relative_sigma >= VERY_WEAK_NOISE else 3.0)


def stopping_rule(
    options: Options, operator: LinearOperator, relative_sigma: float | None, loss: str, whitened: bool
) -> tuple[Rule, str]:
    """The rule that ends the fit, and why this one."""
    asked = options.stop
    if (asked == "discrepancy" or isinstance(asked, Discrepancy)) and (loss != "l2" or not relative_sigma):
        raise ValueError("DeepImagePrior.fit: the discrepancy rule needs a known sigma > 0 and loss 'l2'.")
    if isinstance(asked, Rule):
        return asked, "given"
    match asked:
        case "hold-out":
            return HoldOut(), "asked for"
        case "discrepancy":
            return Discrepancy(), "asked for"
        case "variance":
            return MovingVariance(), "asked for"
        case "plateau":
            return Plateau(), "asked for"
        case "oracle":
            return Oracle(), "asked for; looks at the true image"
        case "auto":
            return _automatic_rule(operator, relative_sigma, loss, whitened)
    raise ValueError(
        "DeepImagePrior.fit: stop must be a Rule or one of 'auto', 'hold-out', 'discrepancy', 'variance', 'plateau', "
        f"'oracle', got {asked!r}."
    )


def _automatic_rule(
    operator: LinearOperator, relative_sigma: float | None, loss: str, whitened: bool
) -> tuple[Rule, str]:
    if relative_sigma == 0:
        return Plateau(), "noise-free data are fitted to convergence"
    if whitened:
        return Discrepancy(), "a whitened loss mixes measurements: none can be held out"
    if operator.rows < FEW_MEASUREMENTS and relative_sigma is not None and loss == "l2":
        return Discrepancy(), "few measurements, known noise level"
    if operator.rows >= 5 * HELD_OUT:
        share = max(HoldOut().fraction, HELD_OUT / operator.rows)
        return HoldOut(fraction=share), f"{share:.0%} of the measurements are predicted, not fitted"
    return MovingVariance(), "very few measurements, nothing known of their noise"
