"""Three operators, two pictures, four priors, two solvers, and nothing tuned; then four more kinds of data."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import pandas as pd

from .figures import contact_sheet, lines
from .grid import Benchmark, Cell, Options, Outcome, Rows
from .pictures import Picture, find
from .reconstruction import Reconstruction
from .report import Charts, Comparison, Page, Section, Table, Tile, Verdict, number, png
from .statistics import over_seeds

PROBLEMS = {"gaussian blur": "Deblurring", "random mask": "Inpainting", "single pixel": "Single-pixel recovery"}
GALLERY = {  # problem: (title, picture, grey, prior, noise)
    "super-resolution x4": ("Super-resolution, 4 times", "coffee", False, "BM3D", 0.005),
    "demosaicking": ("Demosaicking", "chelsea", False, "BM3D", 0.01),
    "MRI": ("MRI, a quarter of k-space", "moon", True, "BM3D", 0.01),
    "tomography": ("Tomography, 60 angles", "coins", True, "TV", 0.2),
}
PICTURES = ("camera", "astronaut")
PRIORS = ("TV", "NLM", "BM3D", "DIP")
SOLVERS = ("ADMM", "HQS")
NOISE = 0.01
WORDS = {
    "gaussian blur": "Gaussian blur of 1.6 pixels",
    "random mask": "half of the pixels missing",
    "single pixel": "one measurement for four pixels, scrambled Hadamard patterns",
}


def cells(options: Options) -> Iterator[Cell]:
    size = options.size or (64 if options.quick else 128)
    pictures = [find(name, None) for name in PICTURES] if options.images is None else own(options)
    for prior in reversed(PRIORS[:3] if options.quick else PRIORS):  # the slowest first: all cores stay busy
        for seed in range(options.seeds):
            for problem in PROBLEMS:
                for picture in pictures:
                    for solver in SOLVERS:
                        yield Reconstruction(
                            problem, prior, solver, picture, NOISE, size, seed=seed, device=options.device
                        )
    for problem, (_, name, grey, prior, noise) in GALLERY.items():
        for kind, solver in ((prior, "auto"), ("none", "trivial"), ("none", "Wiener")):
            yield Reconstruction(problem, kind, solver, find(name), noise, size, grey, device=options.device)
    for seed in range(options.seeds):
        for problem in PROBLEMS:
            for picture in pictures:
                for solver in ("trivial", "Wiener"):
                    yield Reconstruction(
                        problem, "none", solver, picture, NOISE, size, seed=seed, device=options.device
                    )


def own(options: Options) -> list[Picture]:
    """The first two pictures of the user's folder."""
    from .pictures import pictures

    return pictures(options.images)[:2]


def summary(rows: Rows) -> Page:
    frame = over_seeds(rows.frame, ["PSNR", "SSIM", "seconds", "CPU s"])
    frame = frame[frame["operator"].isin(PROBLEMS)]
    shown = [_problem(rows, frame, name) for name in PROBLEMS if name in set(frame["operator"])]
    gallery = _gallery(rows)
    table = _table(frame)
    if options_images_default(rows):
        _sheet(rows)
    lead = (
        "Every reconstruction below is one call, pnp.reconstruct(y, A, prior): no noise level, no strength, no iteration "
        "count was given. Noise of standard deviation 0.01 is in all data of the first three problems. Filled in by "
        "the same two solvers, the priors differ in nothing but their denoiser. BM3D and all others are this library's "
        "own implementations; the bm3d package, which is free for non-commercial use only, is not needed and not used."
    )
    sections = [Section("Results", [Table("All numbers", table, digits={"SSIM": 3}, caption=_caption())]), *shown]
    return Page(
        "Plug-and-play demo",
        lead,
        sections + ([gallery] if gallery.parts else []),
        _verdicts(frame),
        _text(table),
    )


def options_images_default(rows: Rows) -> bool:
    return rows.options.images is None


def _caption() -> str:
    return (
        "PSNR in dB (peak 1), SSIM, wall seconds with one thread a job. The Wiener filter is given the constant that is "
        "best for each picture, which only someone who has the original can know. Click a heading to sort."
    )


def _method(row: pd.Series) -> str:
    if row["prior"] == "none":
        return "Wiener, best constant" if row["solver"] == "Wiener" else str(row["what"])
    return f"{row['prior']} · {row['solver']}"


def _table(frame: pd.DataFrame) -> pd.DataFrame:
    columns = {
        "problem": frame["operator"].map(PROBLEMS),
        "picture": frame["picture"].str.split(":").str[0],
        "method": frame.apply(_method, axis=1),
        "PSNR": frame["PSNR"],
    }
    if "± PSNR" in frame:
        columns["± PSNR"] = frame["± PSNR"]
    columns |= {"SSIM": frame["SSIM"], "seconds": frame["seconds"]}
    for name in ("iterations", "status"):
        if name in frame:
            columns[name] = frame[name].fillna("") if name == "status" else frame[name]
    table = pd.DataFrame(columns)
    order = {name: index for index, name in enumerate(PROBLEMS.values())}
    methods = {"data": 0, "zero-filled": 0, "pinv": 0, "Wiener, best constant": 1}
    ranks = {f"{p} · {s}": 2 + 2 * i + j for i, p in enumerate(PRIORS) for j, s in enumerate(SOLVERS)}
    keys = pd.DataFrame(
        {
            "problem": table["problem"].map(order),
            "picture": table["picture"],
            "method": table["method"].map(methods | ranks),
        }
    )
    return table.loc[keys.sort_values(["problem", "picture", "method"]).index].reset_index(drop=True)


def _text(table: pd.DataFrame) -> str:
    """The table for a terminal, a block per problem and picture."""
    blocks = []
    for (problem, picture), block in table.groupby(["problem", "picture"], sort=False):
        lines_ = [f"\n{problem}, {picture}", f"  {'':24}{'PSNR':>8}{'SSIM':>8}{'seconds':>10}"]
        for _, row in block.iterrows():
            seconds = number(row["seconds"], 2) if row["seconds"] >= 0.005 else ""
            lines_.append(f"  {row['method']:24}{row['PSNR']:8.2f}{row['SSIM']:8.3f}{seconds:>10}")
        blocks.append("\n".join(lines_))
    return "\n".join(blocks) + "\n"


def _verdicts(frame: pd.DataFrame) -> list[Verdict]:
    """With TV and BM3D at least 2 dB above what the data show, and not below the best constant Wiener filter."""
    verdicts = []
    for problem, title in PROBLEMS.items():
        part = frame[frame["operator"] == problem]
        gains, margins = [], []
        for _, group in part.groupby("picture"):
            level = {solver: group.loc[group["solver"] == solver, "PSNR"] for solver in ("trivial", "Wiener")}
            tested = group[group["prior"].isin(["TV", "BM3D"])]
            if tested.empty or any(column.empty for column in level.values()):
                continue
            gains.append(tested["PSNR"].min() - level["trivial"].iloc[0])
            margins.append(tested["PSNR"].min() - level["Wiener"].iloc[0])
        if gains:
            baseline = part.loc[part["solver"] == "trivial", "what"].iloc[0]
            claim = f"{title}: TV and BM3D end at least 2 dB above {baseline} and not below the best Wiener filter."
            detail = f"Smallest gains: {number(min(gains), 2)} and {number(min(margins), 2)} dB."
            verdicts.append(Verdict(claim, bool(min(gains) >= 2 and min(margins) >= 0), detail))
    return verdicts


def _outcomes(rows: Rows, problem: str) -> dict[str, dict[Reconstruction, Outcome]]:
    """The cells of a problem with the first seed, by picture."""
    found: dict[str, dict[Reconstruction, Outcome]] = {}
    for cell, outcome in rows.outcomes.items():
        if isinstance(cell, Reconstruction) and cell.operator == problem and cell.seed == 0:
            found.setdefault(cell.picture.name, {})[cell] = outcome
    return found


def _tiles(outcomes: dict[Reconstruction, Outcome], rows: Rows) -> tuple[np.ndarray, list[Tile]]:
    baselines = {cell.solver: outcome for cell, outcome in outcomes.items() if cell.prior == "none"}
    truth = next(outcome.images["truth"] for outcome in baselines.values())
    tiles = [Tile("original", truth, "", "Original and baselines")]
    for solver, name in (("trivial", ""), ("Wiener", "Wiener, best constant")):
        if solver in baselines:
            o = baselines[solver]
            tiles.append(Tile(name or str(o.row["what"]), o.images["x"], _note(o), "Original and baselines"))
    for cell, o in sorted(outcomes.items(), key=lambda item: (item[0].solver, (*PRIORS, "none").index(item[0].prior))):
        if cell.prior != "none":
            group = f"With {cell.solver}" if cell.solver in SOLVERS else "Reconstruction"
            tiles.append(Tile(cell.prior, o.images["x"], _note(o), group))
            write_png(rows, f"{cell.operator}-{cell.picture.name}-{cell.prior}-{cell.solver}", o.images["x"])
    for tile in tiles[:3]:
        cell = next(iter(outcomes))
        write_png(rows, f"{cell.operator}-{cell.picture.name}-{tile.name}", tile.image)
    return truth, tiles


def _note(outcome: Outcome) -> str:
    if "PSNR" not in outcome.row:
        return ""
    return f"{number(float(outcome.row['PSNR'] or 0), 2)} dB, {number(float(outcome.row['seconds'] or 0), 1)} s"


def write_png(rows: Rows, name: str, image: np.ndarray) -> None:
    from .cache import write

    safe = "".join(c if c.isalnum() or c in ".-" else "_" for c in name)
    write(rows.folder / "pictures" / f"{safe}.png", png(image))


def _problem(rows: Rows, frame: pd.DataFrame, problem: str) -> Section:
    parts: list[Comparison | Charts | Table] = []
    for picture, outcomes in _outcomes(rows, problem).items():
        if not any(cell.prior == "none" for cell in outcomes):
            continue
        truth, tiles = _tiles(outcomes, rows)
        parts.append(Comparison(f"{PROBLEMS[problem]}: {picture}", truth, tiles))
        parts.append(_charts(outcomes))
    return Section(PROBLEMS[problem], parts, f"{WORDS[problem].capitalize()}.")


def _charts(outcomes: dict[Reconstruction, Outcome]) -> Charts:
    solved = {f"{cell.prior} {cell.solver}": o.curves for cell, o in outcomes.items() if o.curves}
    solved = dict(sorted(solved.items(), key=lambda item: PRIORS.index(item[0].split()[0])))
    levels = {str(c.solver): float(o.row["PSNR"]) for c, o in outcomes.items() if c.prior == "none"}  # type: ignore[arg-type]

    def series(x: str, y: str) -> dict[str, tuple[list[float], list[float]]]:
        return {
            name: (curves[x] if x != "iteration" else [float(i) for i in range(1, len(curves[y]) + 1)], curves[y])
            for name, curves in solved.items()
        }

    figures = [
        (
            lines(
                series("seconds", "psnr"),
                x="seconds",
                y="PSNR, dB",
                log="x",
                levels={"Wiener": levels.get("Wiener", np.nan)},
            ),
            "PSNR against seconds",
        ),
        (
            lines(series("iteration", "primal"), x="iteration", y="residual, in units of s", log="y"),
            "Residual against iteration",
        ),
    ]
    return Charts(
        "Convergence", figures, "Left: PSNR of the iterates. Right: rms difference of the two halves of the split."
    )


def _gallery(rows: Rows) -> Section:
    parts = []
    for problem, (title, *_) in GALLERY.items():
        for picture, outcomes in _outcomes(rows, problem).items():
            if any(cell.prior == "none" for cell in outcomes):
                truth, tiles = _tiles(outcomes, rows)
                parts.append(Comparison(f"{title}: {picture}", truth, tiles))
    return Section("More kinds of data", parts, "The same call with other operators; again nothing is chosen by hand.")


@functools.cache
def _columns() -> tuple[tuple[str, str], ...]:
    return (("none", "trivial"), *((prior, "ADMM") for prior in PRIORS))


def _sheet(rows: Rows) -> None:
    """``demo.png``: a row per problem, the picture that shows it best, for the README."""
    sheet = []
    for problem, picture in zip(PROBLEMS, ("astronaut", "camera", "astronaut"), strict=True):
        outcomes = _outcomes(rows, problem).get(picture, {})
        by = {(cell.prior, cell.solver): outcome for cell, outcome in outcomes.items()}
        if not all(key in by for key in _columns()[:1]):
            continue
        pictures = [("original", by["none", "trivial"].images["truth"])]
        for key in _columns():
            if key in by:
                o = by[key]
                name = o.row["what"] if key[0] == "none" else key[0]
                pictures.append((f"{name}, {float(o.row['PSNR'] or 0):.1f} dB", o.images["x"]))
        sheet.append((PROBLEMS[problem], pictures))
    if sheet:
        contact_sheet(sheet, rows.folder / "demo.png")


BENCHMARK = Benchmark("demo", __doc__, cells, summary)
