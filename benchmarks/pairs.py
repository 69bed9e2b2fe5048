"""Every operator with every prior and nothing tuned: how far from the best of a grid of settings?"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import pandas as pd
import torch

import pnp

from .grid import Benchmark, Cell, Options, Outcome, Rows
from .pictures import Picture, find
from .problems import problem
from .reconstruction import Reconstruction, prior
from .report import Page, Section, Table, Verdict, number

FAMILIES = ("identity", "gaussian blur", "motion blur", "sparse mask", "single pixel", "super-resolution x2")
PRIORS = ("TV", "NLM", "BM3D", "Wavelet")
NOISES = (0.001, 0.01, 0.05)
# The rules of pnp.automatic were chosen on the first picture; only the others are for reporting.
CHOOSING = ("camera",)
REPORTING = ("coffee", "rocket")
# The oracle's grid: 2 solvers x 4 strengths x 4 last levels x 2 lengths = 64 settings.
SOLVERS = ("ADMM", "HQS")
WEIGHTS = (0.1, 0.3, 1.0, 3.0)  # strength^2, the papers' lambda
MARGINS = (0.5, 1.0, 2.0, 4.0)  # s falls from a quarter of the range to this many noise levels
ITERATIONS = (8, 24)


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
    names = REPORTING[:1] if options.quick else (*REPORTING, *CHOOSING)
    noises = NOISES[1:2] if options.quick else NOISES
    for name in names:
        picture = find(name, options.images)
        for operator in FAMILIES:
            for kind in PRIORS:
                for noise in noises:
                    for seed in range(options.seeds):
                        for known in (False, True):
                            yield Reconstruction(
                                operator, kind, "auto", picture, noise, size, True, seed, known, options.device
                            )
                        for solver in SOLVERS:
                            for weight in WEIGHTS:
                                yield Oracle(
                                    operator,
                                    kind,
                                    solver,
                                    weight,
                                    picture,
                                    noise,
                                    size,
                                    seed=seed,
                                    device=options.device,
                                )


def summary(rows: Rows) -> Page:
    """Gaps to the oracle, by family and by prior."""
    gaps = gap_table(rows.frame)
    gaps["role"] = gaps["picture"].map(lambda name: "choosing" if name.startswith(CHOOSING) else "reporting")
    reported = gaps[gaps["role"] == "reporting"]
    quantiles = pd.concat(
        [spread(reported, ["operator"]), spread(reported, ["prior"]), spread(reported.assign(all="all pairs"), ["all"])]
    )
    grid = (
        f"Oracle: the best by the original picture of {len(SOLVERS)} solvers x {len(WEIGHTS)} strengths {WEIGHTS} x "
        f"{len(MARGINS)} last levels {MARGINS} x {len(ITERATIONS)} lengths {ITERATIONS}, that is "
        f"{len(SOLVERS) * len(WEIGHTS) * len(MARGINS) * len(ITERATIONS)} runs a cell. Rules were chosen on "
        f"{', '.join(CHOOSING)}; reported: {', '.join(REPORTING)}. A negative gap: better than the whole grid."
    )
    worst = reported["gap, sigma given"].max()
    share = (reported["gap, sigma given"] <= 0.5).mean()
    verdicts = [
        Verdict(
            "Within 0.5 dB of the oracle in nine cells of ten.", bool(share >= 0.9), f"Share: {100 * share:.0f} %."
        ),
        Verdict("Within 1 dB of the oracle in every cell.", bool(worst <= 1), f"Largest gap: {number(worst, 2)} dB."),
    ]
    sections = [
        Section("Gaps", [Table("Quantiles of the gap to the oracle, dB", quantiles, grid)]),
        Section("Every cell", [Table("", gaps, digits={"noise": 3})]),
    ]
    return Page("Any operator, any prior", __doc__ or "", sections, verdicts, quantiles.to_string(index=False))


def gap_table(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per operator, prior, picture and noise: the oracle, both automatic runs and their gaps."""
    frame = frame.assign(picture=frame["picture"].str.split(":").str[0])
    keys = ["operator", "prior", "picture", "noise"]
    oracle = frame[frame["solver"] != "auto"].sort_values("PSNR", ascending=False).groupby(keys, sort=False)
    table = oracle[["PSNR", "setting"]].first().rename(columns={"PSNR": "oracle"})
    for known, name in ((False, "nothing given"), (True, "sigma given")):
        automatic = frame[(frame["solver"] == "auto") & (frame["sigma_known"] == known)]
        table[name] = automatic.groupby(keys)["PSNR"].mean()
        table[f"gap, {name}"] = table["oracle"] - table[name]
    return table.dropna(subset=["oracle", "nothing given", "sigma given"]).reset_index()


def spread(gaps: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Mean, median, 90 % quantile and maximum of both gaps."""
    records = []
    for name, group in gaps.groupby(by, sort=False):
        record: dict[str, object] = {"group": name[0] if isinstance(name, tuple) else name, "cells": len(group)}
        for column in ("gap, nothing given", "gap, sigma given"):
            short = column.removeprefix("gap, ")
            values = group[column]
            record |= {f"mean, {short}": values.mean(), f"median, {short}": values.median()}
            record |= {f"90 %, {short}": values.quantile(0.9), f"max, {short}": values.max()}
        records.append(record)
    return pd.DataFrame(records)


BENCHMARK = Benchmark("pairs", "Is every operator with every prior near the best hand-tuned setting?", cells, summary)
