"""What the demo shows: tables, verdicts, pictures side by side, convergence."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from .cache import write
from .display import Group, charts, groups, quality
from .figures import Image, contact_sheet
from .grid import Outcome, Rows
from .report import Charts, Comparison, Page, Section, Table, Tile, Verdict, number, png
from .statistics import over_seeds

PRIORS = ("TV", "NLM", "BM3D", "DIP")
SOLVERS = ("ADMM", "HQS", "auto")
PROBLEMS = {"gaussian blur": "Deblurring", "random mask": "Inpainting", "single pixel": "Single-pixel recovery"}
WORDS = {
    "gaussian blur": "Blurred by a Gaussian of 1.6 pixels.",
    "random mask": "Half of the pixels are missing.",
    "single pixel": "One measurement for four pixels, scrambled Hadamard patterns.",
}
WIENER = "Wiener, best constant"
LEAD = (
    "Every reconstruction on this page is pnp.reconstruct(y, A, prior): no noise level, no strength and no number of "
    "iterations was given. In the first three problems noise of standard deviation 0.01 was added to the data, and the "
    "solver was named in two rows of three, so that ADMM and HQS can be compared. BM3D, like every other prior, is "
    "this library's own implementation: the bm3d package, free for non-commercial use only, is neither needed nor used."
)


class Entry(NamedTuple):
    """One more kind of data: a picture, the prior it is shown with, the noise in data units."""

    title: str
    words: str
    picture: str
    grey: bool
    prior: str
    noise: float
    size: int | None = None


GALLERY = {
    "super-resolution x4": Entry("Super-resolution", "4 x 4 pixels in one", "coffee", False, "BM3D", 0.005, 192),
    "demosaicking": Entry("Demosaicking", "RGGB, one colour a pixel", "chelsea", False, "BM3D", 0.01),
    "MRI": Entry("Magnetic resonance", "a quarter of the lines of k-space", "retina", True, "BM3D", 0.01),
    "tomography": Entry("Tomography", "60 angles", "phantom", True, "TV", 0.3),
}


def page(rows: Rows) -> Page:
    """Verdicts, tables, and a section per problem."""
    frame = over_seeds(rows.frame, ["PSNR", "SSIM", "seconds", "CPU s"])
    frame = frame.assign(picture=frame["picture"].str.split(":").str[0], method=frame.apply(_method, axis=1))
    main = frame[frame["operator"].isin(PROBLEMS)]
    table = _every(main)
    sections = [
        Section(
            "Results",
            [
                Table("PSNR, dB", _overview(main), best=_columns(main)),
                Table("All numbers", table, CAPTION, {"SSIM": 3, "iterations": 0}, folded=True),
            ],
        )
    ]
    for problem, title in PROBLEMS.items():
        parts: list[Comparison | Charts] = []
        for picture, group in _groups(rows, problem).items():
            parts += [_comparison(rows, f"{title}: {picture}", group), _charts(group)]
        if parts:
            sections.append(Section(title, parts, WORDS[problem]))
    more = [
        _comparison(rows, f"{entry.title}, {entry.words}: {picture}", group)
        for problem, entry in GALLERY.items()
        for picture, group in _groups(rows, problem).items()
    ]
    if more:
        sections.append(Section("More kinds of data", more, "The same call with other operators."))
    _contact_sheet(rows)
    gallery = _every(frame[~frame["operator"].isin(PROBLEMS)])
    return Page("Plug-and-play demo", LEAD, sections, verdicts(main), _text(pd.concat([table, gallery])))


CAPTION = (
    "PSNR in dB (peak 1), SSIM, wall seconds. The Wiener filter has the constant that is best for each picture, which "
    "only someone who has the original can know. Click a heading to sort."
)


def verdicts(frame: pd.DataFrame) -> list[Verdict]:
    """TV and BM3D end 2 dB above what the data show by themselves, and not below the best constant Wiener filter."""
    found = []
    for problem, title in PROBLEMS.items():
        part = frame[frame["operator"] == problem]
        gains, margins, names = [], [], []
        for _, group in part.groupby("picture"):
            tested = group.loc[group["prior"].isin(["TV", "BM3D"]), "PSNR"]
            plain, wiener = (group[group["solver"] == solver] for solver in ("trivial", "Wiener"))
            if len(tested) and len(plain) and len(wiener):
                gains.append(tested.min() - plain["PSNR"].iloc[0])
                margins.append(tested.min() - wiener["PSNR"].iloc[0])
                names.append(plain["what"].iloc[0])
        if gains:
            plain_name = {"data": "the data", "pinv": "the pseudo-inverse"}.get(names[0], f"the {names[0]} picture")
            who = " and ".join(name for name in ("TV", "BM3D") if name in set(part["prior"]))
            claim = f"{title}: {who} end at least 2 dB above {plain_name} and not below the best Wiener filter."
            detail = f"Smallest gains: {number(min(gains), 2)} and {number(min(margins), 2)} dB."
            found.append(Verdict(claim, bool(min(gains) >= 2 and min(margins) >= 0), detail))
    return found


def _method(row: pd.Series) -> str:
    if row["prior"] == "none":
        return WIENER if row["solver"] == "Wiener" else str(row["what"])
    return f"{row['prior']} · {row['solver']}"


def _rank(method: str) -> int:
    order = [WIENER, *(f"{prior} · {solver}" for prior in PRIORS for solver in SOLVERS)]
    return order.index(method) if method in order else -1


def _columns(frame: pd.DataFrame) -> list[str]:
    return [f"{PROBLEMS[o]}, {p}" for o in PROBLEMS for p in frame.loc[frame["operator"] == o, "picture"].unique()]


def _overview(frame: pd.DataFrame) -> pd.DataFrame:
    """Methods down, problems across."""
    simple = frame.assign(
        method=frame["method"].where((frame["prior"] != "none") | (frame["solver"] == "Wiener"), "no prior"),
        column=frame["operator"].map(PROBLEMS) + ", " + frame["picture"],
    )
    table = simple.pivot_table(index="method", columns="column", values="PSNR", sort=False)[_columns(frame)]
    ordered = table.loc[sorted(table.index, key=_rank)].reset_index()
    ordered.columns.name = None
    return ordered


def _every(frame: pd.DataFrame) -> pd.DataFrame:
    titles = PROBLEMS | {problem: entry.title for problem, entry in GALLERY.items()}
    place = frame["operator"].map(list(titles).index)
    frame = frame.assign(problem=frame["operator"].map(titles), place=place, rank=frame["method"].map(_rank))
    frame = frame.sort_values(["place", "picture", "rank"])
    names = ["problem", "picture", "method", "PSNR", "± PSNR", "SSIM", "± SSIM", "seconds", "iterations"]
    return frame[[name for name in names if name in frame]].reset_index(drop=True)


def _text(table: pd.DataFrame) -> str:
    """The table for a terminal, a block per problem and picture."""
    blocks = []
    for (problem, picture), block in table.groupby(["problem", "picture"], sort=False):
        rows = [f"\n{problem}, {picture}", f"  {'':24}{'PSNR':>8}{'SSIM':>8}{'seconds':>10}"]
        for _, row in block.iterrows():
            seconds = number(row["seconds"], 2) if row["seconds"] >= 0.005 else ""
            interval = f"  ± {row['± PSNR']:.2f} dB" if "± PSNR" in row else ""
            rows.append(f"  {row['method']:24}{row['PSNR']:8.2f}{row['SSIM']:8.3f}{seconds:>10}{interval}")
        blocks.append("\n".join(rows))
    return "\n".join(blocks) + "\n"


def _groups(rows: Rows, problem: str) -> dict[str, Group]:
    """By picture."""
    return {picture: group for (operator, picture, *_), group in groups(rows).items() if operator == problem}


def _comparison(rows: Rows, title: str, outcomes: Group) -> Comparison:
    baselines = {cell.solver: outcome for cell, outcome in outcomes.items() if cell.prior == "none"}
    truth = next(outcome.images["truth"] for outcome in baselines.values())
    first = "" if next(iter(outcomes)).operator in GALLERY else "Original and baselines"
    tiles = [Tile("original", truth, "", first)]
    for solver, o in sorted(baselines.items(), key=lambda item: item[0] == "Wiener"):
        tiles.append(Tile(WIENER if solver == "Wiener" else str(o.row["what"]), o.images["x"], _psnr(o), first))
    order = sorted(outcomes, key=lambda cell: (cell.solver, _rank(f"{cell.prior} · {cell.solver}")))
    for cell in order:
        o = outcomes[cell]
        if cell.prior != "none":
            seconds = f", {number(float(o.row['seconds'] or 0), 1)} s"
            group = "With the solver chosen too" if cell.solver == "auto" else f"With {cell.solver}"
            tiles.append(
                Tile(cell.prior, o.images["x"], _psnr(o) + seconds, first if cell.operator in GALLERY else group)
            )
    for tile in tiles:
        name = f"{title} {tile.group if tile.group.startswith('With') else ''} {tile.name}"
        safe = "-".join("".join(c if c.isalnum() else " " for c in name).split())
        write(rows.folder / "pictures" / f"{safe}.png", png(tile.image))
    return Comparison(title, truth, tiles)


def _psnr(outcome: Outcome) -> str:
    return f"{number(quality(outcome), 2)} dB"


def _charts(group: Group) -> Charts:
    """The legend in the order of solvers and priors."""
    rank = {name: i for i, name in enumerate((*PRIORS, "none"))}
    order = sorted(group, key=lambda cell: (cell.solver, rank[cell.prior]))
    return charts({cell: group[cell] for cell in order}, lambda cell: f"{cell.prior} {cell.solver}")


def _contact_sheet(rows: Rows) -> None:
    """``demo.png``, a row per problem, for the README."""
    sheet: list[tuple[str, list[tuple[str, Image]]]] = []
    for (problem, title), choice in zip(PROBLEMS.items(), ("camera", "astronaut", "camera"), strict=True):
        group = _groups(rows, problem).get(choice, {})
        by = {(cell.prior, cell.solver): outcome for cell, outcome in group.items()}
        keys = [("none", "trivial"), *((prior, "ADMM") for prior in PRIORS)]
        if all(key in by for key in keys):
            pictures = [("original", by["none", "trivial"].images["truth"])]
            pictures += [(f"{by[k].row['what']}, {_psnr(by[k])}", by[k].images["x"]) for k in keys]
            sheet.append((title, pictures))
    if sheet:
        contact_sheet(sheet, rows.folder / "demo.png")
