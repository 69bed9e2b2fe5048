"""In which order do untrained networks fit the frequencies of a picture, and is stopping early a low-pass filter?"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
from torch import Tensor, nn

import pnp
from pnp.operators import Blur
from pnp.priors.dip import DeepDecoder, FilterDecoder, Hourglass, Trajectory, band_correspondence, band_gain
from pnp.priors.dip.trajectory import BANDS

from .figures import Panel, lines, panels
from .findings import Finding, section, words
from .grid import Benchmark, Cell, Options, Outcome, Rows, Value
from .pictures import chosen
from .report import Charts, Comparison, Page, Section, Table, Tile
from .trajectories import (
    PER_DECADE,
    Curve,
    Film,
    Followed,
    first,
    follow,
    mean_curve,
    present,
    scaled,
    seeds,
    targets,
    times,
)

SIGMA = 25 / 255
NETWORKS = ("hourglass", "deep decoder", "learnt upsampling")
FIXED = NETWORKS[:2]
REACHED = 0.8  # of the noisy picture's magnitude: a band counts as fitted
LOW_PASS = "Gaussian low-pass"


@dataclasses.dataclass(frozen=True)
class Spectrum(Followed):
    """A noisy picture: bands, noise taken over, best moment."""

    network: str
    wide: bool = False

    @property
    def label(self) -> str:
        return f"{self.network}, {self.picture.name}, seed {self.seed}"

    def build(self) -> nn.Module:
        match self.network:
            case "hourglass":
                return Hourglass(1, channels=(128,) * 5) if self.wide else Hourglass(1, inputs=8, channels=(16, 32, 64))
            case "deep decoder":
                return DeepDecoder(1, channels=(256,) * 6 if self.wide else (64,) * 5)
        return FilterDecoder(1, filters="deconvolution", width=256 if self.wide else 96)

    def run(self) -> Outcome:
        truth = self.original()
        y = targets(truth, SIGMA, self.seed)["picture + noise"]
        clean = Trajectory(truth, noise=y - truth, per_decade=PER_DECADE)
        fitted, film = Trajectory(y, per_decade=PER_DECADE), Film(truth)
        result = follow(self.prior(), self.identity(), y, [clean, fitted, film])
        against = fitted.curves()
        curves = clean.curves().columns()
        curves |= {f"correspondence {i}": band.tolist() for i, band in enumerate(against.bands.T, 1)}
        width, filtered = best_low_pass(y, truth)
        row: dict[str, Value] = {
            "noisy": float(pnp.psnr(y, truth)),
            "peak": film.peak,
            "peak at": film.peak_iteration,
            "last": film.psnr,
            LOW_PASS: float(pnp.psnr(filtered, truth)),
            "low-pass width": width,
            "status": result.status.name,
        }
        named = {"stopped": film.best, "low-pass": filtered, "end": film.last}
        for name, x in named.items():
            gains, sizes = band_gain(x - truth, y - truth), band_correspondence(x, y)
            row |= {f"{name}, noise {i + 1}": float(gain) for i, gain in enumerate(gains)}
            row |= {f"{name}, size {i + 1}": float(share) for i, share in enumerate(sizes)}
        images = {"truth": truth, "noisy": y, **named}
        return Outcome(row, {name: pnp.to_image(x) for name, x in images.items()}, curves)


def best_low_pass(y: Tensor, truth: Tensor) -> tuple[float, Tensor]:
    """The Gaussian low-pass filter of ``y`` that is best for this picture, which only its owner can know; its width."""
    shape = (y.shape[-2], y.shape[-1])
    widths = np.geomspace(0.3, 3.0, 25).tolist()
    filtered = [(w, Blur.gaussian(w, shape, boundary="reflect").to(y.device).forward(y)) for w in widths]
    return max(filtered, key=lambda one: float(pnp.psnr(one[1], truth)))


def cells(options: Options) -> Iterator[Cell]:
    """The published widths at 256 x 256 on a GPU; elsewhere narrower networks on 64 x 64 pixels."""
    size, iterations, wide = scaled(options, gpu=(256, 5_000, True), host=(64, 1_000, False), quick=(32, 100, False))
    size = options.size or size
    picture = chosen(["camera"], options.images)["camera"]
    for seed in seeds(options):
        for network in NETWORKS:
            yield Spectrum(
                network, wide, picture=picture, size=size, iterations=iterations, seed=seed, device=options.device
            )


def summary(rows: Rows) -> Page:
    """The bands' order, what of the noise is taken over, and the low-pass filter beside it."""
    pace, passed, scores = paces(rows), gains(rows.frame), stops(rows.frame)
    tables = [
        Table("Iterations until a band is fitted", pace, _PACE, dict.fromkeys(pace.columns, 0)),
        Table("Share of the noise in each band", passed, _GAINS, dict.fromkeys(passed.columns, 3)),
        Table("Stopped, filtered, fitted to the end: PSNR in dB", scores, _SCORES, {"peak at": 0}),
    ]
    found = [] if rows.options.quick else findings(pace, passed)
    sections = [
        *section(found),
        Section("Order of the bands", [tables[0], _bands(rows)], _settings(rows)),
        Section("Stopping early is a low-pass filter", [tables[1], _responses(passed), _noise(rows)]),
        Section("Quality", [tables[2], _psnr(rows), *_pictures(rows)]),
    ]
    shown = [Panel(_series(rows, n, "correspondence"), "iteration", "correspondence", n, "x") for n in NETWORKS]
    panels([panel for panel in shown if panel.series], rows.folder / "figure.png")
    text = "\n\n".join([_settings(rows), *(t.frame.round(2).to_string(index=False) for t in tables), words(found)])
    return Page("Spectral bias", __doc__ or "", sections, text=text)


_PACE = (
    f"Until the band's magnitude is {REACHED:.0%} of the noisy picture's (frequency-band correspondence, Shi et al.), "
    "means over pictures and seeds, band 1 the lowest fifth of the half-width; infinite where one fit never got there."
)
_GAINS = (
    "Of the noise that the data hold in each band, how much is in the image: 1 copies it, 0 removes it. At the best "
    "moment of each fit, of the best Gaussian low-pass filter, and at the end of the fit."
)
_SCORES = (
    "Means over pictures and seeds. The best moment and the best filter are known to the owner of the original only."
)


def paces(rows: Rows) -> pd.DataFrame:
    """Per network and band, the mean first iteration at which the band was fitted; inf where a fit never got there."""
    records = []
    for network in NETWORKS:
        found = [o.curves for c, o in rows.outcomes.items() if isinstance(c, Spectrum) and c.network == network]
        if found:
            reached = np.array(
                [
                    [
                        first(c["iterations"], [v >= REACHED for v in c[f"correspondence {b}"]])
                        for b in range(1, BANDS + 1)
                    ]
                    for c in found
                ]
            )
            records.append({"network": network} | {f"band {b}": v for b, v in enumerate(reached.mean(axis=0), 1)})
    return pd.DataFrame(records)


def gains(frame: pd.DataFrame) -> pd.DataFrame:
    """Per network and moment, the share of the noise of each band."""
    records: list[dict[str, object]] = []
    for network, part in frame.groupby("network", sort=False):
        for name, moment in (("stopped", "at the best moment"), ("end", "at the end")):
            means = {f"band {b}": part[f"{name}, noise {b}"].mean() for b in range(1, BANDS + 1)}
            records.append({"network": network, "image": moment, **means})
    low = {f"band {b}": frame[f"low-pass, noise {b}"].mean() for b in range(1, BANDS + 1)}
    return pd.DataFrame([*records, {"network": LOW_PASS, "image": "best width", **low}])


def stops(frame: pd.DataFrame) -> pd.DataFrame:
    """Per network: PSNR of the data, at the best moment, at the end, and of the best low-pass filter."""
    return frame.groupby("network", sort=False)[["noisy", "peak", "peak at", "last", LOW_PASS]].mean().reset_index()


def findings(pace: pd.DataFrame, passed: pd.DataFrame) -> list[Finding]:
    """Low bands first; stopping early passes less noise the higher the band; learnt filters much less so."""
    bands = [f"band {b}" for b in range(1, BANDS + 1)]
    found = []
    order = pace.set_index("network")[bands]
    fixed = [n for n in FIXED if n in order.index]
    if fixed:
        ordered = [n for n in fixed if bool((np.diff(order.loc[n].replace(math.inf, 1e9)) >= 0).all())]
        told = "; ".join(
            f"{n} {', '.join(times(v, 10**6) if math.isfinite(v) else 'never' for v in order.loc[n])}" for n in fixed
        )
        found.append(
            Finding(
                "Networks with fixed upsampling fit low frequencies before high ones, band after band.",
                len(ordered) == len(fixed),
                f"Iterations, lowest band first: {told}.",
            )
        )
    stopped = passed[passed["image"] == "at the best moment"].set_index("network")[bands]
    filtered = passed[passed["network"] == LOW_PASS][bands].iloc[0]
    fixed = [n for n in FIXED if n in stopped.index]
    if fixed:
        falling = [n for n in fixed if bool((np.diff(stopped.loc[n]) < 0).all())]
        told = "; ".join(f"{n} {', '.join(f'{v:.2f}' for v in stopped.loc[n])}" for n in fixed)
        found.append(
            Finding(
                "Stopped at the best moment they are low-pass filters: the higher the band, the less noise is left.",
                len(falling) == len(fixed),
                f"Share of the noise, lowest band first: {told}; {LOW_PASS} {', '.join(f'{v:.2f}' for v in filtered)}.",
            )
        )
    learnt = NETWORKS[-1]
    if fixed and learnt in stopped.index:
        steep = {n: stopped.loc[n, bands[-1]] / stopped.loc[n, bands[0]] for n in (*fixed, learnt)}
        found.append(
            Finding(
                "Learnt upsampling lets through more of the highest band, relative to the lowest, than any fixed one.",
                bool(steep[learnt] > max(steep[n] for n in fixed)),
                f"Highest over lowest: {', '.join(f'{n} {v:.2f}' for n, v in steep.items())}.",
            )
        )
    return found


def _settings(rows: Rows) -> str:
    row = rows.frame.iloc[0]
    pictures_ = ", ".join(dict.fromkeys(c.picture.name for c in rows.outcomes if isinstance(c, Spectrum)))
    return (
        f"{row['size']} x {row['size']} pixels ({pictures_}), noise {SIGMA:.3f}, clipped; Adam, rate 0.01, no jitter, "
        f"{row['iterations']:,} iterations, seeds: {rows.frame['seed'].nunique()}."
    )


def _curve(rows: Rows, network: str, column: str, since: int = 1) -> Curve:
    x, y = mean_curve(rows, lambda c: isinstance(c, Spectrum) and c.network == network, column)
    early = sum(iteration < since for iteration in x)
    return x[early:], y[early:]


def _series(rows: Rows, network: str, column: str, since: int = 1) -> dict[str, Curve]:
    return present({f"band {b}": _curve(rows, network, f"{column} {b}", since) for b in range(1, BANDS + 1)})


def _per_band(rows: Rows, column: str, axis: str, title: str, caption: str, since: int = 1) -> Charts:
    figures = []
    for network in NETWORKS:
        if series := _series(rows, network, column, since):
            drawing = lines(series, x="iteration", y=axis, title=network, log="x")
            figures.append((drawing, f"{axis} per band, {network}"))
    return Charts(title, figures, caption)


def _bands(rows: Rows) -> Charts:
    caption = (
        "Magnitude of the raw output over that of the noisy picture, at most 1, mean over each band. It ignores the "
        "phase: learnt upsampling begins with a random pattern whose high bands are as strong as the noise."
    )
    return _per_band(rows, "correspondence", "correspondence", "Frequency-band correspondence", caption)


def _noise(rows: Rows) -> Charts:
    caption = (
        "From iteration 10 on: before, what is wrong with the picture hides the noise. The noise is fitted last where "
        "its frequency is high; stopping before is a low-pass filter."
    )
    return _per_band(rows, "noise gain", "share of the noise", "Noise taken over along the iterations", caption, 10)


def _responses(passed: pd.DataFrame) -> Charts:
    rows = passed[passed["image"] != "at the end"]
    bands = list(range(1, BANDS + 1))
    series: dict[str, Curve] = {
        str(row["network"]): ([float(b) for b in bands], [float(row[f"band {b}"]) for b in bands])
        for _, row in rows.iterrows()
    }
    drawing = lines(series, x="band, lowest first", y="share of the noise", title="at the best moment")
    return Charts("Response", [(drawing, "Share of the noise per band at the best moment")])


def _psnr(rows: Rows) -> Charts:
    series = present({network: _curve(rows, network, "psnr") for network in NETWORKS})
    drawing = lines(series, x="iteration", y="PSNR against the original, dB", log="x")
    return Charts("PSNR along the iterations", [(drawing, "PSNR against the original")])


def _pictures(rows: Rows) -> list[Comparison]:
    parts = []
    found = [(c, o) for c, o in rows.outcomes.items() if isinstance(c, Spectrum) and c.seed == 0]
    for name in dict.fromkeys(c.picture.name for c, _ in found):
        mine = [(c.network, o) for c, o in found if c.picture.name == name]
        images, row = mine[0][1].images, mine[0][1].row
        tiles = [
            Tile("noisy", images["noisy"], f"{row['noisy']:.2f} dB", group="data"),
            Tile(LOW_PASS, images["low-pass"], f"{row[LOW_PASS]:.2f} dB", group="data"),
        ]
        for moment, psnr, group in (("stopped", "peak", "at the best moment"), ("end", "last", "at the end")):
            tiles += [Tile(n, o.images[moment], f"{o.row[psnr]:.2f} dB", group=group) for n, o in mine]
        parts.append(Comparison(name, images["truth"], tiles))
    return parts


BENCHMARK = Benchmark("spectral-bias", __doc__ or "", cells, summary)
