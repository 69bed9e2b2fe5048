"""The priors as plain denoisers: quality, time and memory beside bm3d, scikit-image and OpenCV."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator

import pandas as pd
import torch

import pnp
from pnp.priors import BM3D

from .grid import Benchmark, Cell, Options, Outcome, Rows
from .other_denoisers import denoisers
from .pictures import Picture, find
from .reconstruction import prior
from .report import Page, Section, Table, Verdict
from .timing import interleaved, medians, peak_bytes

OURS = ("TV", "NLM", "Wavelet", "BM3D")
TENSORS = "BM3D, torch"  # what BM3D falls back on without Numba
REUSED = "BM3D, matches reused"  # as inside a solve, while the image moves little
THEIRS = "bm3d package"
SIGMAS = (5, 10, 25, 50, 100)  # of 255
TIMED = 25  # the noise level at which times are taken; they hardly depend on it
NEAREST = {
    "TV": "skimage TV",
    "NLM": "skimage NLM",
    "Wavelet": "skimage wavelet, spun",
    **dict.fromkeys(("BM3D", TENSORS, REUSED), THEIRS),
}
GREY = ("camera", "brick", "moon", "coins")
COLOUR = ("astronaut", "coffee", "chelsea")
MEAN_SLACK, WORST_SLACK = 0.03, 0.15  # dB below the package, of the mean and of one picture, sigma 10 to 100
FASTER = (  # times, on one thread, for these kinds of pictures
    *(("BM3D", "grey", 25.0), ("BM3D", "colour", 25.0), (REUSED, "grey", 60.0), (TENSORS, "grey", 5.0)),
    *(("NLM", "grey", 2.0), ("NLM", "colour", 2.0)),
)


@dataclasses.dataclass(frozen=True)
class Comparison(Cell):
    """All denoisers on one noisy picture; ``methods`` names them, so a new package is a new cell.

    With ``rounds`` they take turns for their times, and their memory is measured.
    """

    picture: Picture
    sigma: int
    size: int
    grey: bool
    methods: tuple[str, ...]
    rounds: int
    seed: int = 0
    device: str = "cpu"

    @property
    def label(self) -> str:
        return f"{self.picture.name}, {self.size} pixels, sigma {self.sigma}, seed {self.seed}"

    def run(self) -> Outcome:
        truth = self.picture.tensor(self.size, grey=self.grey).to(self.device)
        level = self.sigma / 255
        generator = torch.Generator().manual_seed(self.seed)
        noisy = truth + level * torch.randn(truth.shape, generator=generator, dtype=torch.float64).to(truth)
        calls = {name: functools.partial(self._denoise(name), noisy, level) for name in self.methods}
        row: dict[str, float | str] = {"noisy PSNR": float(pnp.psnr(noisy, truth))}
        for name, call in calls.items():
            row[f"PSNR {name}"] = float(pnp.psnr(call().to(truth), truth))
        if self.rounds:
            for name, call in calls.items():
                row[f"memory {name}"] = peak_bytes(call, device=self.device) / (truth.numel() * truth.element_size())
            seconds = interleaved(calls, rounds=self.rounds, device=self.device)
            row |= {f"CPU s {name}": value for name, value in medians(seconds).items()}
        return Outcome(row)

    def _denoise(self, name: str) -> Callable[[torch.Tensor, float], torch.Tensor]:
        if name in OURS:
            return prior(name).denoise
        if name == TENSORS:
            return BM3D(backend="torch").denoise
        if name == REUSED:
            solve = BM3D(rematch_every=1_000_000).fresh()  # the first call, unmeasured, finds the matches
            return lambda noisy, level: solve.prox(noisy, level**2)
        other = denoisers()[name]
        return lambda noisy, level: pnp.to_tensor(other(pnp.to_image(noisy), level))


def cells(options: Options) -> Iterator[Cell]:
    """Four grey pictures and three in colour, 256 pixels a side; times of the first of each, and of 512 pixels.

    The deep image prior has a benchmark of its own.
    """
    size = options.size or (128 if options.quick else 256)
    sigmas = (TIMED,) if options.quick else SIGMAS
    grey, colour = (GREY[:1], COLOUR[:1]) if options.quick else (GREY, COLOUR)
    methods = (*OURS, TENSORS, REUSED, *denoisers())
    timed = {GREY[0], COLOUR[0]}
    for seed in range(options.seeds):
        for name in (*grey, *colour):
            for sigma in sigmas:
                rounds = (3 if options.quick else 5) if name in timed and sigma == TIMED and seed == 0 else 0
                picture = find(name, options.images)
                yield Comparison(picture, sigma, size, name in GREY, methods, rounds, seed, options.device)
    if not options.quick and options.size is None:
        for name in (GREY[0], COLOUR[0]):
            picture = find(name, options.images)
            yield Comparison(picture, TIMED, 2 * size, name in GREY, methods, 3, 0, options.device)


def summary(rows: Rows) -> Page:
    """One row per method, picture and noise; times as ratios to the nearest equivalent."""
    table = records(rows.frame)
    quality = table.groupby(["kind", "sigma", "method"], sort=False)[["PSNR", "gain, dB"]].mean().reset_index()
    quality = quality.pivot_table(index=["kind", "method"], columns="sigma", values="PSNR", sort=False).reset_index()
    quality.columns = [f"sigma {name}" if isinstance(name, int) else str(name) for name in quality.columns]
    times = table.dropna(subset=["CPU s"])[
        ["picture", "kind", "size", "method", "CPU s", "memory, images", "against", "times faster"]
    ]
    licence = "The bm3d package is free for non-commercial use only; it is measured here, used nowhere."
    caption = f"{rows.options.threads} thread(s) for every method; CPU seconds are medians of interleaved rounds."
    digits = {"CPU s": 4, "memory, images": 1, "times faster": 1, "gain, dB": 2}
    sections = [
        Section("PSNR, means over pictures", [Table("", quality, licence)]),
        Section("Time and memory", [Table("", times, caption, digits)]),
        Section("Every picture", [Table("", table, digits=digits)]),
    ]
    text = "\n\n".join(part.to_string(index=False, float_format=lambda v: f"{v:.3f}") for part in (quality, times))
    return Page("Denoisers", __doc__ or "", sections, verdicts(table), text=text)


def records(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per method of every cell, beside its nearest equivalent."""
    found: list[dict[str, object]] = []
    for _, row in frame.iterrows():
        for column in [c for c in frame.columns if c.startswith("PSNR ")]:
            name = column.removeprefix("PSNR ")
            if pd.isna(row[column]):
                continue
            other = NEAREST.get(name, "")
            record: dict[str, object] = {
                "picture": row["picture"].split(":")[0],
                "kind": "grey" if row["grey"] else "colour",
                "size": row["size"],
                "sigma": row["sigma"],
                "method": name,
                "PSNR": row[column],
                "CPU s": row.get(f"CPU s {name}", float("nan")),
                "memory, images": row.get(f"memory {name}", float("nan")),
                "against": other,
                "gain, dB": row[column] - row.get(f"PSNR {other}", float("nan")),
            }
            record["times faster"] = row.get(f"CPU s {other}", float("nan")) / record["CPU s"]  # type: ignore[operator]
            found.append(record)
    return pd.DataFrame(found)


def verdicts(table: pd.DataFrame) -> list[Verdict]:
    """Quality and time beside the equivalents that are installed."""
    found = []
    for kind, part in table[(table["method"] == "BM3D") & (table["sigma"] >= 10)].groupby("kind", sort=False):
        gain = part["gain, dB"].dropna()
        if len(gain):
            mean, worst = gain.mean(), gain.min()
            claim = f"BM3D, {kind}: mean within {MEAN_SLACK} dB of the package, no picture {WORST_SLACK} dB worse"
            holds = bool(mean >= -MEAN_SLACK and worst >= -WORST_SLACK)
            found.append(Verdict(claim, holds, f"mean {mean:+.3f}, worst {worst:+.2f} dB of {len(gain)} pictures"))
    for method, kind, bar in FASTER:
        ratio = table.loc[(table["method"] == method) & (table["kind"] == kind), "times faster"].dropna()
        if len(ratio):
            claim = f"{method}, {kind}: at least {bar:g} times faster than {NEAREST[method]}"
            detail = f"{ratio.min():.1f} to {ratio.max():.1f} times"
            found.append(Verdict(claim, bool(ratio.min() >= bar), detail))
    return found


BENCHMARK = Benchmark("denoisers", __doc__ or "", cells, summary, timing=True)
