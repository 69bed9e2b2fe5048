"""Missing pixels and missing colours: the applications that Anderson names as future work, with the same priors."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from .display import charts, comparison, groups
from .grid import Benchmark, Cell, Options, Rows
from .pictures import illustrations
from .reconstruction import Reconstruction
from .report import Page, Section, Table, Verdict, number
from .statistics import over_seeds

PRIORS = ("TV", "NLM", "Wavelet", "BM3D", "DIP")
NOISE = 0.01
# Problem: what is missing, and the pictures it is shown on; colours are missing in colour pictures only.
PROBLEMS = {
    "random mask": ("Half of the pixels are missing", ("cameraman", "f16")),
    "sparse mask": ("Four of five pixels are missing", ("cameraman", "f16")),
    "demosaicking": ("Two of three colours are missing in every pixel (RGGB)", ("f16", "baboon")),
}
NAMES = tuple(dict.fromkeys(name for _, names in PROBLEMS.values() for name in names))


def cells(options: Options) -> Iterator[Cell]:
    """Nothing given but data, operator and prior; ``--quick`` leaves the network out."""
    size = options.size or (64 if options.quick else 256)
    methods = [(prior, "auto") for prior in (PRIORS[:4] if options.quick else PRIORS)]
    cast = illustrations(NAMES, options.images).pictures
    for problem, (_, names) in PROBLEMS.items():
        for picture in [cast[name] for name in names if name in cast]:
            for prior, solver in [*methods, ("none", "trivial")]:
                for seed in range(options.seeds):
                    yield Reconstruction(problem, prior, solver, picture, NOISE, size, seed=seed, device=options.device)


def summary(rows: Rows) -> Page:
    """A table of methods and problems, pictures, convergence."""
    frame = over_seeds(rows.frame, ["PSNR", "SSIM", "CPU s"])
    frame = frame.assign(
        picture=frame["picture"].str.split(":").str[0],
        method=frame["prior"].where(frame["prior"] != "none", "no prior"),
    )
    table = overview(frame)
    every = frame[[c for c in ("operator", "picture", "method", "PSNR", "± PSNR", "SSIM", "CPU s") if c in frame]]
    caption = f"Noise {NOISE:g}. No prior: zero-filled for masks, bilinear for colours."
    cast = illustrations(NAMES, rows.options.images)
    if not cast.genuine:
        stand_ins = (f"{picture.name} for {name}" for name, picture in cast.pictures.items())
        caption += f" Other pictures in the papers' places: {', '.join(stand_ins)}."
    tables = [
        Table("PSNR, dB", table, caption, best=list(table.columns[1:])),
        Table("All numbers", every, digits={"SSIM": 3}, folded=True),
    ]
    sections = [Section("Results", tables)]
    for problem, (words, _) in PROBLEMS.items():
        shown = {picture: group for (name, picture, *_), group in groups(rows).items() if name == problem}
        parts = [part for picture, group in shown.items() for part in (comparison(picture, group), charts(group))]
        if parts:
            sections.append(Section(words, parts))
    return Page("Inpainting and demosaicking", __doc__ or "", sections, verdicts(frame), table.to_string(index=False))


def overview(frame: pd.DataFrame) -> pd.DataFrame:
    """Methods down, problems across."""
    columns = frame.assign(problem=frame["operator"] + ", " + frame["picture"])
    table = columns.pivot_table(index="method", columns="problem", values="PSNR", sort=False).reset_index()
    table.columns.name = None
    return table


def verdicts(frame: pd.DataFrame) -> list[Verdict]:
    """Every prior improves on what one sees without any."""
    known = frame.pivot_table(index=["operator", "picture"], columns="method", values="PSNR")
    if "no prior" not in known or len(known.columns) < 2:
        return []
    gains = known.drop(columns="no prior").sub(known["no prior"], axis=0)
    least = gains.stack()
    who = f"Smallest gain: {number(least.min(), 2)} dB ({', '.join(map(str, least.idxmin()))})."
    return [Verdict("Every prior ends above the data without a prior.", bool(least.min() > 0), who)]


BENCHMARK = Benchmark("inpainting", __doc__ or "", cells, summary, pictures=NAMES)
