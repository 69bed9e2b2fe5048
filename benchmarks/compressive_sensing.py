"""Can an untrained network be fitted to few measurements until it converges, with nothing but itself to regularise?"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator

import pandas as pd
from torch import Tensor

import pnp
from pnp.priors.dip import DeepDecoder, HoldOut, Trajectory

from .figures import Panel, lines, panels
from .findings import Finding, section, words
from .grid import Benchmark, Cell, Options, Outcome, Rows, Value
from .pictures import chosen
from .problems import problem
from .reconstruction import prior
from .report import Charts, Comparison, Page, Section, Table, Tile
from .statistics import half_width
from .trajectories import PER_DECADE, Curve, Film, Followed, follow, mean_curve, present, scaled, seeds

PICTURES = {"moon": "smooth", "grass": "texture"}
COMPRESSION = "single pixel"  # a quarter as many scrambled Hadamard rows as pixels
NOISES = (0.0, 0.1)
CONVERGED, STOPPED, MINIMUM_NORM = "network, converged", "network, stopped", "minimum norm"
OTHERS = ("TV", "BM3D")
TOLERANCE = 0.5  # dB that convergence may cost against the best moment
MUCH = 5.0  # dB


@dataclasses.dataclass(frozen=True)
class Sensing(Followed):
    """A picture from scrambled Hadamard measurements: the deep decoder, or what it is compared with.

    Converged: all measurements are fitted for every iteration. Stopped: by measurements kept out of the fit.
    """

    method: str
    noise: float
    width: int

    @property
    def label(self) -> str:
        return f"{self.picture.name}, {self.method}, noise {self.noise:g}, seed {self.seed}"

    def build(self) -> DeepDecoder:
        depth = max(2, (self.size - 1).bit_length() - 2)  # from 4 pixels up: published from 16 for 256
        return DeepDecoder(1, channels=(self.width,) * (depth + 1))

    def run(self) -> Outcome:
        p = problem(COMPRESSION, self.original(), self.noise, self.seed, self.device)
        if self.method == MINIMUM_NORM:
            return self._outcome(p.A.pinv(p.y), p.truth, {})
        if self.method in OTHERS:
            result = pnp.reconstruct(p.y, p.A, prior(self.method), sigma=self.noise, seed=self.seed, progress=False)
            return self._outcome(result.x, p.truth, {"status": result.status.name})
        network = self.prior(lr=0.005)  # as published
        trajectory, film = Trajectory(p.truth, per_decade=PER_DECADE), Film(p.truth)
        if self.method == STOPPED:
            result = network.fit(p.A, p.y, stop=HoldOut(), loss="l2", give_back=False, progress=False)
            row: dict[str, Value] = {"iterations done": result.iterations, "status": result.status.name}
            return self._outcome(result.x, p.truth, row)
        result = follow(network, p.A, p.y, [trajectory, film])
        row = {
            "best": film.peak,
            "best at": film.peak_iteration,
            "iterations done": result.iterations,
            "status": result.status.name,
        }
        return self._outcome(film.last, p.truth, row, trajectory.curves().columns())

    def _outcome(
        self, x: Tensor, truth: Tensor, row: dict[str, Value], curves: dict[str, list[float]] | None = None
    ) -> Outcome:
        images = {"x": pnp.to_image(x), "truth": pnp.to_image(truth)}
        return Outcome({"PSNR": float(pnp.psnr(x, truth)), **row}, images, curves or {})


def cells(options: Options) -> Iterator[Cell]:
    """As published on a GPU: 256 x 256, width 256, 100,000 iterations. Elsewhere 64 x 64, narrower in proportion."""
    size, width, iterations = scaled(options, gpu=(256, 256, 100_000), host=(64, 64, 1_000), quick=(32, 32, 200))
    found = chosen(PICTURES, options.images).values()
    for seed in seeds(options):
        for picture in found:
            for noise in NOISES:
                for method in (CONVERGED, STOPPED, MINIMUM_NORM, *OTHERS):
                    yield Sensing(
                        method,
                        noise,
                        width,
                        picture=picture,
                        size=options.size or size,
                        iterations=iterations,
                        seed=seed,
                        device=options.device,
                    )


def summary(rows: Rows) -> Page:
    """Convergence against its own best moment, the stop, and other priors."""
    last = [outcome.curves.get("average psnr", [math.nan])[-1] for outcome in rows.outcomes.values()]
    results = rows.frame.assign(averaged=last)
    frame = averages(results)
    table = Table("PSNR in dB", frame, _CAPTION, {"noise": 2, "best at": 0})
    found = [] if rows.options.quick else findings(results)
    sections = [
        *section(found),
        Section("All methods", [table], _settings(rows)),
        Section("Along the iterations", [_charts(rows)]),
        Section("Pictures", _pictures(rows)),
    ]
    panels(_panels(rows, "psnr", "PSNR against the original, dB", "x"), rows.folder / "figure.png")
    text = f"{_settings(rows)}\n{frame.round(2).to_string(index=False)}\n{words(found)}"
    return Page("Compressive sensing", __doc__ or "", sections, text=text)


_CAPTION = (
    "Means over the seeds, which draw noise and weights; sigma is given to TV and BM3D alone. Converged: the raw "
    "output of the last iteration; averaged: its running average; best, best at: the raw output at its best moment, "
    "which only the original tells. Stopped: by measurements kept out of the fit, the running average. Minimum norm: "
    "the smallest image that has these measurements."
)


def averages(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per picture and noise: the PSNR of each method, then of the converged fit on average and at its best."""
    frame = frame.assign(picture=frame["picture"].str.split(":").str[0])
    keys = ["picture", "noise"]
    order = [m for m in (CONVERGED, STOPPED, MINIMUM_NORM, *OTHERS) if m in set(frame["method"])]
    table = frame.pivot_table(index=keys, columns="method", values="PSNR", sort=False)[order]
    converged = frame[frame["method"] == CONVERGED].groupby(keys, sort=False)
    if CONVERGED in order:
        table = table.join(converged[["averaged", "best", "best at"]].mean())
    return table.reset_index()


def losses(frame: pd.DataFrame) -> pd.DataFrame:
    """Per picture and noise: dB that going on to convergence costs against the best moment, with its 95 % interval."""
    fits = frame[frame["method"] == CONVERGED]
    fits = fits.assign(picture=fits["picture"].str.split(":").str[0], loss=fits["best"] - fits["PSNR"])
    groups = fits.groupby(["picture", "noise"], sort=False)["loss"]
    return groups.agg(mean="mean", half=lambda values: half_width(list(values))).reset_index()


def findings(frame: pd.DataFrame) -> list[Finding]:
    """What is claimed of compressive sensing with untrained networks, for pictures that are smooth and textures."""
    lost, means = losses(frame), averages(frame)
    if lost.empty or not {STOPPED, MINIMUM_NORM} <= set(means.columns):
        return []
    means["gain"] = means[CONVERGED] - means[MINIMUM_NORM]
    means["stop"] = means[STOPPED] - means["averaged"]
    lost, means = (part.assign(kind=part["picture"].map(PICTURES)) for part in (lost, means))
    found = []
    quiet = lost[(lost["noise"] == 0) & (lost["kind"] == "smooth")]
    exact = means[means["noise"] == 0]
    if len(quiet):
        smooth = exact[exact["kind"] == "smooth"]
        found += [
            Finding(
                f"A smooth picture without noise is fitted to convergence at a cost of less than {TOLERANCE:g} dB.",
                bool((quiet["mean"] < TOLERANCE).all()),
                f"Lost against the best moment, in dB: {_listed(quiet, 'mean', 'half')}.",
            ),
            Finding(
                f"Stopping it by held-out measurements gains less than {TOLERANCE:g} dB.",
                bool((smooth["stop"] < TOLERANCE).all()),
                f"Stopped less converged, running averages both, in dB: {_listed(smooth, 'stop')}.",
            ),
            Finding(
                f"The network regularises by itself: {MUCH:g} dB and more above the smallest image that fits the data.",
                bool((smooth["gain"] >= MUCH).all()),
                f"Above minimum norm, in dB: {_listed(smooth, 'gain')}.",
            ),
        ]
    texture = exact[exact["kind"] == "texture"]
    if len(texture):
        found.append(
            Finding(
                "A texture, which is not smooth, is not recovered: no better than the smallest image that fits.",
                bool((texture["gain"] <= 0).all()),
                f"Above minimum norm, in dB: {_listed(texture, 'gain')}.",
            )
        )
    noisy = lost[lost["noise"] > 0]
    if len(noisy):
        found.append(
            Finding(
                f"With noise the fit has to be stopped: convergence costs more than {TOLERANCE:g} dB.",
                bool((noisy["mean"] > TOLERANCE).all()),
                f"Lost against the best moment, in dB: {_listed(noisy, 'mean', 'half')}.",
            )
        )
    return found


def _listed(frame: pd.DataFrame, value: str, half: str | None = None) -> str:
    def told(row: pd.Series) -> str:
        return f"{row['picture']} {row[value]:.2f}" + (f" ± {row[half]:.2f}" if half and row[half] == row[half] else "")

    return ", ".join(told(row) for _, row in frame.iterrows())


def _settings(rows: Rows) -> str:
    frame = rows.frame
    row = frame.iloc[0]
    fits = frame[frame["method"] == CONVERGED]
    return (
        f"{row['size']} x {row['size']} pixels, a quarter as many scrambled Hadamard measurements, seeds: "
        f"{frame['seed'].nunique()}; deep decoder of width {row['width']}, Adam with rate 0.005, "
        f"{(fits if len(fits) else frame)['iterations'].max():,} iterations to convergence. Published: width 256, "
        "100,000 iterations, 256 x 256 (a random mask of a third of the pixels in the authors' notebook)."
    )


def _series(rows: Rows, noise: float, column: str) -> dict[str, Curve]:
    def wanted(name: str) -> Callable[[Cell], bool]:
        return lambda c: isinstance(c, Sensing) and (c.method, c.picture.name, c.noise) == (CONVERGED, name, noise)

    names = dict.fromkeys(c.picture.name for c in rows.outcomes if isinstance(c, Sensing))
    return present({name: mean_curve(rows, wanted(name), column) for name in names})


def _panels(rows: Rows, column: str, axis: str, log: str) -> list[Panel]:
    """One panel for each noise level."""
    levels = sorted({c.noise for c in rows.outcomes if isinstance(c, Sensing)})
    titles = {noise: f"noise {noise:g}" if noise else "no noise" for noise in levels}
    found = [Panel(_series(rows, noise, column), "iteration", axis, titles[noise], log) for noise in levels]
    return [panel for panel in found if panel.series]


def _charts(rows: Rows) -> Charts:
    figures = []
    for column, axis, log in (("psnr", "PSNR against the original, dB", "x"), ("loss", "loss", "xy")):
        for panel in _panels(rows, column, axis, log):
            drawing = lines(panel.series, x=panel.x, y=panel.y, title=panel.title, log=panel.log)
            figures.append((drawing, f"{axis} against the iteration, {panel.title}"))
    return Charts("Fitting all measurements", figures, "Raw output; means over the seeds.")


def _pictures(rows: Rows) -> list[Comparison]:
    parts = []
    found = {(c.picture.name, c.noise, c.method): o for c, o in rows.outcomes.items() if _first_seed(c)}
    for name in dict.fromkeys(key[0] for key in found):
        tiles = [
            Tile(method, o.images["x"], f"{o.row['PSNR']:.2f} dB", group=f"noise {noise:g}" if noise else "no noise")
            for (picture, noise, method), o in found.items()
            if picture == name
        ]
        truth = next(o.images["truth"] for key, o in found.items() if key[0] == name)
        kind = f" ({PICTURES[name]})" if name in PICTURES else ""
        parts.append(Comparison(f"{name}{kind}", truth, tiles))
    return parts


def _first_seed(cell: Cell) -> bool:
    return isinstance(cell, Sensing) and cell.seed == 0


BENCHMARK = Benchmark("compressive-sensing", __doc__ or "", cells, summary)
