"""Every operator with every prior and nothing tuned: how far from the best of a grid of settings?"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator

import pandas as pd
import torch

import pnp

from .display import comparison
from .grid import Benchmark, Cell, Options, Outcome, Rows
from .pictures import Picture, chosen
from .problems import problem
from .reconstruction import Reconstruction, prior
from .report import Comparison, Page, Section, Table, Verdict, number

FAMILIES = ("identity", "gaussian blur", "motion blur", "sparse mask", "single pixel", "super-resolution x2")
PRIORS = ("TV", "NLM", "BM3D", "Wavelet")
NOISES = (0.001, 0.01, 0.05)
PICTURES = ("coffee", "rocket")
CHOOSING = ("camera", "coins", "astronaut")  # what the rules of pnp.automatic were chosen on: not reported
# The oracle's grid: 2 solvers x 4 strengths x 4 last levels x 2 lengths = 64 settings.
SOLVERS = ("ADMM", "HQS")
WEIGHTS = (0.1, 0.3, 1.0, 3.0)  # strength^2, the papers' lambda
MARGINS = (0.5, 1.0, 2.0, 4.0)  # s falls from a quarter of the range to this many noise levels
ITERATIONS = (8, 24)
# What is measured, effort and whether the noise level is given, and what it is held to.
MODES = {"fast": ("fast", True), "auto": ("auto", True), "best": ("best", True), "nothing given": ("auto", False)}
MEAN_GAPS = {"fast": 0.35, "auto": 0.15, "best": 0.05, "nothing given": 0.3}  # dB
MEAN_CALLS = {"fast": 24, "auto": 60}
SHOWN = NOISES[1]  # the noise level of which there are pictures
USUAL_GAP, WORST_GAP = 0.4, 0.8  # dB, of auto


@dataclasses.dataclass(frozen=True)
class Oracle(Cell):
    """The best of all settings of one solver and strength, judged by the original picture."""

    operator: str
    prior: str
    solver: str
    weight: float
    picture: Picture
    noise: float
    size: int
    margins: tuple[float, ...] = MARGINS
    iterations: tuple[int, ...] = ITERATIONS
    seed: int = 0
    device: str = "cpu"

    @property
    def label(self) -> str:
        what = f"{self.operator}, {self.picture.name}, {self.prior} oracle {self.solver} {self.weight:g}"
        return f"{what}, noise {self.noise:g}, seed {self.seed}"

    def run(self) -> Outcome:
        p = problem(self.operator, self.picture.tensor(self.size, grey=True), self.noise, self.seed, self.device)
        f = pnp.LeastSquares(p.A, p.y, math.sqrt(self.weight) * self.noise)
        best, setting = -math.inf, ""
        for margin in self.margins:
            for iterations in self.iterations:
                last = min(margin * max(self.noise / p.A.norm(), 0.002), 0.19)
                s = torch.logspace(math.log10(max(0.25, last)), math.log10(last), iterations).tolist()
                solver = pnp.ADMM(s=s, tol=0) if self.solver == "ADMM" else pnp.HQS(s=s, tol=0)
                result = solver.solve(f, prior(self.prior), truth=p.truth, progress=False)
                reached = float(pnp.psnr(result.x, p.truth))
                if reached > best:
                    best, setting = (
                        reached,
                        f"{self.solver}, weight {self.weight:g}, margin {margin:g}, {iterations} its",
                    )
        return Outcome({"PSNR": best, "setting": setting, "settings tried": len(self.margins) * len(self.iterations)})


def cells(options: Options) -> Iterator[Cell]:
    """First what is reported: automatic and oracle, setting by setting."""
    size = options.size or (64 if options.quick else 128)
    names = PICTURES[:1] if options.quick else PICTURES
    noises = NOISES[1:2] if options.quick else NOISES
    pictures = list(chosen(names, options.images).values())
    for picture, operator, kind, noise in itertools.product(pictures, FAMILIES, PRIORS, noises):
        for seed in range(options.seeds):
            for effort, known in MODES.values():
                yield Reconstruction(
                    operator, kind, "auto", picture, noise, size, True, seed, known, options.device, effort=effort
                )
            for solver, weight in itertools.product(SOLVERS, WEIGHTS):
                yield Oracle(operator, kind, solver, weight, picture, noise, size, seed=seed, device=options.device)


def summary(rows: Rows) -> Page:
    """Gaps to the oracle, by family and by prior."""
    gaps = gap_table(rows.frame)
    quantiles = pd.concat(
        [spread(gaps, ["operator"]), spread(gaps, ["prior"]), spread(gaps.assign(all="all pairs"), ["all"])]
    )
    grid = (
        f"Oracle: the best by the original picture of {len(SOLVERS)} solvers x {len(WEIGHTS)} strengths {WEIGHTS} x "
        f"{len(MARGINS)} last levels {MARGINS} x {len(ITERATIONS)} lengths {ITERATIONS}, that is "
        f"{len(SOLVERS) * len(WEIGHTS) * len(MARGINS) * len(ITERATIONS)} runs a cell. Rules were chosen on "
        f"{', '.join(CHOOSING)}; reported: {', '.join(PICTURES)}. A negative gap: better than the whole grid. Of each "
        "mode: mean gap, 90 % quantile, largest gap, mean number of prior calls (fast, auto, best: noise level given)."
    )
    sections = [
        Section("Gaps", [Table("The gap to the oracle, dB", quantiles, grid)]),
        Section("Every cell", [Table("", gaps, digits={"noise": 3})]),
    ]
    if shown := gallery(rows):
        sections.append(Section("Pictures", shown, "Noise level given."))
    return Page("Any operator, any prior", __doc__ or "", sections, verdicts(gaps), quantiles.to_string(index=False))


def gallery(rows: Rows) -> list[Comparison]:
    """What every prior makes of the first picture behind each operator."""
    groups: dict[str, dict[Reconstruction, Outcome]] = {}
    for cell, outcome in rows.outcomes.items():
        if not isinstance(cell, Reconstruction) or cell.seed or cell.noise != SHOWN:
            continue
        if (cell.effort, cell.sigma_known) == MODES["auto"]:
            group = groups.setdefault(cell.operator, {})
            if not group or next(iter(group)).picture == cell.picture:
                group[cell] = outcome
    titles = {name: f"{name}, {next(iter(group)).picture.name}, noise {SHOWN:g}" for name, group in groups.items()}
    return [comparison(titles[name], group) for name, group in groups.items()]


def verdicts(gaps: pd.DataFrame) -> list[Verdict]:
    """What the rules are held to."""
    found = [
        Verdict(
            f"{mode}: the mean gap is at most {most:g} dB.",
            bool(gaps[f"gap, {mode}"].mean() <= most),
            f"Mean: {number(gaps[f'gap, {mode}'].mean(), 2)} dB.",
        )
        for mode, most in MEAN_GAPS.items()
    ]
    for mode, most in MEAN_CALLS.items():
        calls = gaps[f"calls, {mode}"].mean()
        found.append(Verdict(f"{mode}: at most {most} prior calls on average.", bool(calls <= most), f"{calls:.0f}."))
    share, worst = (gaps["gap, auto"] <= USUAL_GAP).mean(), gaps["gap, auto"].max()
    found.append(
        Verdict(
            f"auto: within {USUAL_GAP:g} dB in nine cells of ten.",
            bool(share >= 0.9),
            f"Share: {100 * share:.0f} % of {len(gaps)}.",
        )
    )
    found.append(
        Verdict(
            f"auto: within {WORST_GAP:g} dB in every cell.",
            bool(worst <= WORST_GAP),
            f"Largest gap: {number(worst, 2)} dB.",
        )
    )
    return [*found, Verdict("No run diverged.", not gaps["diverged"].any())]


def gap_table(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per operator, prior, picture and noise: the oracle, every mode, its gap and its prior calls.

    Every seed has an oracle of its own; of several the means stand here, with the first one's setting.
    """
    frame = frame.assign(picture=frame["picture"].str.split(":").str[0])
    settings = ["operator", "prior", "picture", "noise"]
    keys = [*settings, "seed"]
    oracle = frame[frame["solver"] != "auto"].sort_values("PSNR", ascending=False).groupby(keys, sort=False)
    table = oracle[["PSNR", "setting"]].first().rename(columns={"PSNR": "oracle"})
    automatic = frame[frame["solver"] == "auto"]
    for mode, (effort, known) in MODES.items():
        runs = automatic[(automatic["effort"] == effort) & (automatic["sigma_known"] == known)].groupby(keys)
        table[mode] = runs["PSNR"].mean()
        table[f"gap, {mode}"] = table["oracle"] - table[mode]
        table[f"calls, {mode}"] = runs["prior calls"].mean()
    table["diverged"] = automatic["status"].isin(["DIVERGED", "NON_FINITE"]).groupby([automatic[k] for k in keys]).any()
    table = table.dropna(subset=["oracle", *MODES]).reset_index()
    how = {name: "first" if name == "setting" else "any" if name == "diverged" else "mean" for name in table}
    how = {name: rule for name, rule in how.items() if name not in keys}
    return table.groupby(settings, sort=False).agg(how).reset_index()


def spread(gaps: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Mean, 90 % quantile and maximum of the gap of every mode, and its prior calls."""
    records = []
    for name, group in gaps.groupby(by, sort=False):
        record: dict[str, object] = {"group": name[0] if isinstance(name, tuple) else name, "cells": len(group)}
        for mode in MODES:
            values = group[f"gap, {mode}"]
            record |= {
                f"{mode}: mean": values.mean(),
                f"{mode}: 90 %": values.quantile(0.9),
                f"{mode}: max": values.max(),
                f"{mode}: calls": group[f"calls, {mode}"].mean(),
            }
        records.append(record)
    return pd.DataFrame(records)


BENCHMARK = Benchmark("pairs", "Is every operator with every prior near the best hand-tuned setting?", cells, summary)
