"""Is it the fixed filters of a network that let it fit a picture long before noise, and is it as fast as predicted?"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
import pandas as pd

import pnp
from pnp.priors.dip import FilterDecoder, Trajectory, fitting_rates
from pnp.priors.dip.filter_decoder import FILTERS
from pnp.priors.dip.trajectory import BANDS

from .figures import Panel, lines, panels
from .findings import Finding, section, words
from .grid import Benchmark, Cell, Options, Outcome, Rows, Value
from .pictures import Picture, chosen
from .report import Charts, Comparison, Page, Section, Table, Tile
from .statistics import half_width
from .structural_bias_findings import LEVEL, NAMES, denoising, fixed_and_learnt, noise_left, predicted
from .trajectories import (
    PER_DECADE,
    TARGETS,
    Curve,
    Film,
    Followed,
    drawn,
    first,
    follow,
    mean_curve,
    present,
    scaled,
    seeds,
    targets,
)

SIGMA = 40 / 255  # Heckel & Soltanolkotabi, fig. 1
SMALL = 0.05  # root mean square of the two-layer network's targets: the theory wants weights that hardly move


@dataclasses.dataclass(frozen=True)
class Fitting(Followed):
    """One of four decoders fitted to one target."""

    filters: str
    target: str
    width: int

    @property
    def label(self) -> str:
        return f"{self.filters}, {self.target}, {self.picture.name}, seed {self.seed}"

    def build(self) -> FilterDecoder:
        return FilterDecoder(1, filters=self.filters, width=self.width)

    def run(self) -> Outcome:
        truth = self.original()
        y = targets(truth, SIGMA, self.seed)[self.target]
        prior = self.prior(bounds=(-0.05, 1.05))  # beyond the range: exact black would saturate the sigmoid
        fitted, film = Trajectory(y, per_decade=PER_DECADE), Film(truth)
        denoised = Trajectory(truth, per_decade=PER_DECADE)
        result = follow(prior, self.identity(), y, [fitted, denoised, film])
        curves = fitted.curves().columns()
        variance = float(y.var(correction=0))
        curves["left"] = [10 ** (-psnr / 10) / variance for psnr in curves["psnr"]]
        curves["psnr of the picture"] = denoised.curves().psnr.tolist()
        row: dict[str, Value] = {
            "parameters": sum(p.numel() for p in drawn(self.build, self.seed).parameters()),
            "fitted at": first(curves["iterations"], [left <= LEVEL for left in curves["left"]]),
            "left": curves["left"][-1],
            "distance": curves["distance"][-1],
            "status": result.status.name,
        }
        if self.target == "picture + noise":
            row |= {"peak": film.peak, "peak at": film.peak_iteration, "last": film.psnr}
        images = {"truth": truth, "target": y, "best": film.best, "last": film.last}
        return Outcome(row, {name: pnp.to_image(x) for name, x in images.items()}, curves)


@dataclasses.dataclass(frozen=True)
class TwoLayerRates(Cell):
    """The two-layer generator ``ReLU(U C) v`` under gradient descent, next to what its dual kernel predicts."""

    target: str
    picture: Picture
    channels: int
    width: float
    size: int
    steps: int
    seed: int = 0

    @property
    def label(self) -> str:
        return f"two-layer, {self.target}, {self.picture.name}, seed {self.seed}"

    def run(self) -> Outcome:
        truth = self.picture.tensor(self.size, grey=True).double()
        y = targets(truth, SIGMA, self.seed)[self.target][0]
        y = y - y.mean()
        rates = fitting_rates(
            y * (SMALL / y.square().mean().sqrt()),
            channels=self.channels,
            width=self.width,
            steps=self.steps,
            seed=self.seed,
        )
        curves = {"iterations": rates.steps.tolist()}
        for name in ("predicted", "measured"):
            curves |= {f"{name} {i}": share.tolist() for i, share in enumerate(getattr(rates, name).T, 1)}
            curves[f"{name} distance"] = getattr(rates, f"{name}_distance").tolist()
        row: dict[str, Value] = {
            "largest deviation": float((rates.predicted - rates.measured).abs().max()),
            "distance": float(rates.measured_distance[-1]),
            "predicted distance": float(rates.predicted_distance[-1]),
        }
        for i in range(BANDS):
            row |= {f"left {i + 1}": float(rates.measured[-1, i]), f"predicted {i + 1}": float(rates.predicted[-1, i])}
        return Outcome(row, {}, curves)


def cells(options: Options) -> Iterator[Cell]:
    """The published sizes on a GPU; elsewhere fewer pixels and, in proportion, fewer channels and iterations."""
    side, width, iterations = scaled(options, gpu=(256, 256, 20_000), host=(64, 64, 500), quick=(32, 32, 100))
    size = options.size or side
    picture = chosen(["camera"], options.images)["camera"]
    channels, steps = (32, 20) if options.quick else (512, 200)
    for seed in seeds(options):
        for target in TARGETS:
            yield TwoLayerRates(target, picture, channels, 1.0, min(size, 32), steps, seed)
            for filters in FILTERS:
                yield Fitting(
                    filters,
                    target,
                    width,
                    picture=picture,
                    size=size,
                    iterations=iterations,
                    seed=seed,
                    device=options.device,
                )


def summary(rows: Rows) -> Page:
    """Iterations to fit each target, bands, denoising, distances; then the theory."""
    frame = rows.frame
    fits = frame[frame["filters"].notna()] if "filters" in frame else frame.iloc[:0]
    theory = frame[frame["predicted distance"].notna()] if "predicted distance" in frame else frame.iloc[:0]
    sections: list[Section] = []
    found: list[Finding] = []
    text = []
    if len(fits):
        pace, iterations = paces(rows), int(fits["iterations"].max())
        found += fixed_and_learnt(pace, iterations) + denoising(fits)
        shown_pace = pace.replace({"filters": NAMES})
        table = Table("Iterations to fit", shown_pace, _TIMES_CAPTION, dict.fromkeys(TARGETS, 0))
        sections += [
            Section("Picture and noise", [table, _targets(rows)], _settings(fits)),
            Section("Frequencies of the noise", [_bands(rows)], "White noise has the same energy at every frequency."),
            Section("Picture + noise", [_denoised(rows), *_pictures(rows)], "PSNR against the clean picture."),
            Section("Distance of the weights from their start", [_distances(rows)]),
        ]
        shown = [Panel(_series(rows, t, "left"), "iteration", "share of the variance left", t, "xy") for t in TARGETS]
        panels([panel for panel in shown if panel.series], rows.folder / "figure.png")
        text += [_settings(fits), pace.round(2).to_string(index=False)]
    if len(theory):
        found += predicted(theory)
        sections.append(Section("Predicted and measured", [_rates(rows), _two_layer(theory)], _TWO_LAYER))
        text.append(_two_layer(theory).frame.round(3).to_string(index=False))
    if not rows.options.quick:
        sections, text = section(found) + sections, [*text, words(found)]
    return Page("Structural bias", __doc__ or "", sections, text="\n\n".join(text))


_TIMES_CAPTION = (
    f"Iterations until {LEVEL:.0%} of the target's variance is left, means over the seeds; infinite where one seed "
    "never came there. Noise left: share of the noise target's variance left at the iteration when the picture is "
    "fitted."
)
_BANDS_CAPTION = "Band 1, the lowest fifth of the half-width, also holds the mean, which every network finds at once."
_TWO_LAYER = (
    "ReLU(U C) v with a fixed Gaussian convolution U of one pixel, gradient descent on C. Solid: measured; dashed: "
    f"predicted from the spectrum of U's dual kernel. Targets without their mean, of root mean square {SMALL}."
)


def paces(rows: Rows) -> pd.DataFrame:
    """Per network: iterations to fit each target, and what is left of the noise when the picture is fitted."""
    fits = {(c.filters, c.target, c.seed): o for c, o in rows.outcomes.items() if isinstance(c, Fitting)}
    records: list[dict[str, object]] = []
    for filters in dict.fromkeys(key[0] for key in fits):
        record: dict[str, object] = {"filters": filters}
        for target in TARGETS:
            found = [fits[key].row["fitted at"] for key in fits if key[:2] == (filters, target)]
            record[target] = np.mean(np.array(found, dtype=float)) if found else math.nan
        left = [
            noise_left(o.curves, fits[filters, "noise", key[2]].curves)
            for key, o in fits.items()
            if key[:2] == (filters, "picture") and (filters, "noise", key[2]) in fits
        ]
        record |= {"noise left": float(np.mean(left)) if left else math.nan, "± noise left": half_width(left)}
        records.append(record)
    return pd.DataFrame(records)


def _settings(fits: pd.DataFrame) -> str:
    row = fits.iloc[0]
    weights = ", ".join(
        f"{NAMES[n]} {int(p):,}" for n, p in fits.groupby("filters", sort=False)["parameters"].first().items()
    )
    return (
        f"Decoders of depth 4 (weights: {weights}), Adam with rate 0.01, {row['size']:.0f} x {row['size']:.0f} pixels, "
        f"{row['iterations']:,.0f} iterations, seeds: {fits['seed'].nunique()}; noise target uniform on [0, 1], noise "
        f"on the picture {SIGMA:.3f}, clipped. Published: the phantom at 256 x 256, gradient descent with momentum, "
        "100,000 iterations."
    )


def _curve(rows: Rows, filters: str, target: str, column: str) -> Curve:
    return mean_curve(rows, lambda c: isinstance(c, Fitting) and (c.filters, c.target) == (filters, target), column)


def _series(rows: Rows, target: str, column: str) -> dict[str, Curve]:
    return present({NAMES[filters]: _curve(rows, filters, target, column) for filters in FILTERS})


def _targets(rows: Rows) -> Charts:
    figures = []
    for target in TARGETS:
        if series := _series(rows, target, "left"):
            drawing = lines(series, x="iteration", y="share of the variance left", title=target, log="xy")
            figures.append((drawing, f"Share of the variance left of {target}"))
    return Charts("Share of the target's variance left", figures)


def _bands(rows: Rows) -> Charts:
    figures = []
    for filters in FILTERS:
        series = present({f"band {i}": _curve(rows, filters, "noise", f"band error {i}") for i in range(1, BANDS + 1)})
        if series:
            drawing = lines(series, x="iteration", y="relative error", title=NAMES[filters], log="x")
            figures.append((drawing, f"Relative error of each band of noise, {NAMES[filters]}"))
    return Charts("Relative error per band, noise as target", figures, _BANDS_CAPTION)


def _denoised(rows: Rows) -> Charts:
    series = _series(rows, "picture + noise", "psnr of the picture")
    drawing = lines(series, x="iteration", y="PSNR against the clean picture, dB", log="x")
    return Charts("Denoising", [(drawing, "PSNR against the clean picture")])


def _distances(rows: Rows) -> Charts:
    figures = []
    for filters in FILTERS:
        series = present({target: _curve(rows, filters, target, "distance") for target in TARGETS})
        if series:
            drawing = lines(series, x="iteration", y="distance of the weights", title=NAMES[filters], log="xy")
            figures.append((drawing, f"Distance of the weights, {NAMES[filters]}"))
    return Charts("Decoders", figures)


def _rates(rows: Rows) -> Charts:
    def curve(target: str, column: str) -> Curve:
        return mean_curve(rows, lambda c: isinstance(c, TwoLayerRates) and c.target == target, column)

    figures = []
    for target in TARGETS:
        solid, dashed = (
            present({f"{name} {i}": curve(target, f"{kind} {i}") for i in range(1, BANDS + 1)})
            for name, kind in (("band", "measured"), ("predicted", "predicted"))
        )
        if solid:
            drawing = lines(solid, x="step", y="share of the energy left", title=target, dashed=dashed)
            figures.append((drawing, f"Share left per band of {target}, measured and predicted"))
    solid, dashed = (
        present({f"{target}{more}": curve(target, f"{kind} distance") for target in TARGETS})
        for kind, more in (("measured", ""), ("predicted", ", predicted"))
    )
    drawing = lines(solid, x="step", y="distance of the weights", title="distance", dashed=dashed)
    return Charts("Two-layer generator", [*figures, (drawing, "Distance of the weights, measured and predicted")])


def _two_layer(theory: pd.DataFrame) -> Table:
    names = [f"{kind} {i}" for i in range(1, BANDS + 1) for kind in ("left", "predicted")]
    names += ["distance", "predicted distance", "largest deviation"]
    means = theory.groupby("target", sort=False)[names].mean().reset_index()
    means["seeds"] = theory["seed"].nunique()
    means = means.rename(columns={"predicted distance": "distance predicted"})
    return Table(
        "After the last step",
        means,
        "Share of the energy left in each band, measured and predicted; distance of the weights from their start.",
        {**dict.fromkeys(means.columns, 3), "seeds": 0},
    )


def _pictures(rows: Rows) -> list[Comparison]:
    found = [
        (c.filters, o)
        for c, o in rows.outcomes.items()
        if isinstance(c, Fitting) and (c.target, c.seed) == ("picture + noise", 0)
    ]
    if not found:
        return []
    truth = found[0][1].images["truth"]
    tiles = [Tile("noisy", found[0][1].images["target"], group="data")]
    for filters, outcome in found:
        row = outcome.row
        tiles.append(Tile(NAMES[filters], outcome.images["best"], f"{row['peak']:.2f} dB", group="at the best moment"))
    for filters, outcome in found:
        tiles.append(Tile(NAMES[filters], outcome.images["last"], f"{outcome.row['last']:.2f} dB", group="at the end"))
    return [Comparison("Fits of picture + noise", truth, tiles)]


BENCHMARK = Benchmark("structural-bias", __doc__ or "", cells, summary)
