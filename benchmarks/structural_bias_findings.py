"""What the fits of the benchmark on structural bias say of the papers' claims."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from pnp.priors.dip.filter_decoder import FILTERS, LEARNT

from .findings import Finding
from .trajectories import TARGETS, times

FIXED = tuple(name for name in FILTERS if name not in LEARNT)
NAMES = {
    "bilinear": "fixed bilinear upsampling",
    "binomial": "fixed binomial filter",
    "convolution": "learnt 3x3 convolution",
    "deconvolution": "learnt 4x4 deconvolution",
}
LEVEL = 0.1  # of a target's variance: what may be left of it to call it fitted
MUCH = 0.5  # of the noise's variance


def noise_left(picture: Mapping[str, list[float]], noise: Mapping[str, list[float]]) -> float:
    """Share of the noise's variance left when the picture is first seen to be fitted; at the end if it never is."""
    end = min(len(picture["left"]), len(noise["left"])) - 1
    fitted = next((k for k, left in enumerate(picture["left"]) if left <= LEVEL), end)
    return noise["left"][min(fitted, end)]


def fixed_and_learnt(pace: pd.DataFrame, iterations: int) -> list[Finding]:
    """When the picture is fitted, most of the noise is still left with fixed filters, and little with learnt ones."""
    if set(pace["filters"]) != set(FILTERS) or pace["noise left"].isna().any():
        return []
    by = pace.set_index("filters")

    def told(names: tuple[str, ...]) -> str:
        each = (
            f"{NAMES[n]} {by.loc[n, 'noise left']:.0%} (picture after {times(by.loc[n, 'picture'], iterations)} "
            f"iterations, noise after {times(by.loc[n, 'noise'], iterations)})"
            for n in names
        )
        return f"Noise left: {'; '.join(each)}."

    fitted = bool(np.isfinite(by["picture"]).all())
    return [
        Finding(
            f"With fixed filters more than {MUCH:.0%} of the noise is still to be fitted when the picture is fitted.",
            fitted and all(by.loc[n, "noise left"] > MUCH for n in FIXED),
            told(FIXED),
        ),
        Finding(
            f"With learnt filters less than {MUCH:.0%} is: without a fixed filter, noise is fitted like a picture.",
            fitted and all(by.loc[n, "noise left"] < MUCH for n in LEARNT),
            told(LEARNT),
        ),
    ]


def denoising(fits: pd.DataFrame) -> list[Finding]:
    """Stopped at its best moment, a network with fixed filters denoises better than one with learnt filters."""
    noisy = fits[fits["target"] == "picture + noise"]
    peaks, ends = (noisy.groupby("filters")[name].mean() for name in ("peak", "last"))
    if set(peaks.index) != set(FILTERS):
        return []
    told = "; ".join(f"{NAMES[n]} {peaks[n]:.2f} dB, then {ends[n]:.2f} dB" for n in FILTERS)
    return [
        Finding(
            "Stopped at their best moment, both networks with fixed filters denoise better than both with learnt ones.",
            bool(min(peaks[n] for n in FIXED) > max(peaks[n] for n in LEARNT)),
            f"At the best moment and at the end: {told}.",
        )
    ]


def predicted(theory: pd.DataFrame) -> list[Finding]:
    """Theory against measurement, and how far the weights travel for each target."""
    found = []
    worst = theory["largest deviation"].max()
    found.append(
        Finding(
            "The dual kernel predicts the measured share left of every band to 0.05 at every step.",
            bool(worst <= 0.05),
            f"Largest deviation {worst:.3f} over {len(theory)} runs; steps {theory['steps'].max():.0f}.",
        )
    )
    distance = theory.groupby("target")["distance"].mean()
    if set(distance.index) == set(TARGETS):
        told = ", ".join(f"{t} {distance[t]:.2f}" for t in TARGETS)
        found.append(
            Finding(
                "The weights travel farther for noise than for picture + noise, and for that than for the picture.",
                bool(distance["noise"] > distance["picture + noise"] > distance["picture"]),
                f"Two-layer network, targets of equal energy: {told}.",
            )
        )
    return found
