"""What the benchmark of the deep image prior shows: one section per part that ran."""

from __future__ import annotations

import pandas as pd

from .figures import lines
from .grid import Cell, Outcome, Rows
from .network_fits import METHODS
from .pictures import illustrations
from .problems import single_pixel
from .published import COMPRESSIONS, DECONVOLUTION, DENOISING, SINGLE_PIXEL, SOURCE, TABLES, pixels
from .reconstruction import FITTED
from .report import Charts, Comparison, Page, Section, Table, Tile, Verdict, number
from .runner import table
from .statistics import half_width, over_seeds

LEAD = (
    "Fits of untrained networks to one picture, everything automatic. Averaged is the running mean of the outputs, "
    "which is what the library returns; the oracle stop looks at the original and is no method. Sigma is given."
)
GPU = (
    "Measured only with --device cuda: the published run of the paper preset (29.2 dB raw, 30.4 dB averaged), a "
    "512 x 512 picture within 4 s at 30.4 dB or more, ten times the speed of deepinv's DeepImagePrior (if installed), "
    "and 500 iterations per second of the paper preset."
)
ROOFLINE = (
    770.0  # iterations per second of the paper preset at 512 x 512: 0.47 ms of bfloat16 arithmetic + 0.82 of memory
)


def page(rows: Rows) -> Page:
    """Verdicts of every part whose cells are there."""
    parts = (_protocol, _published_run, _timed, _deepinv, _speed, _tables, _routes)
    sections: list[Section] = []
    verdicts: list[Verdict] = []
    for part in parts:
        found = part(rows)
        if found is not None:
            sections.append(found[0])
            verdicts += found[1]
    text = "\n\n".join(
        f"{s.title}\n{_text(t)}" for s in sections for t in s.parts if isinstance(t, Table) and not t.folded
    )
    gpu = rows.options.device.startswith("cuda")
    return Page(
        "Deep image prior", LEAD if gpu else f"{LEAD} {GPU}", sections, verdicts, text if gpu else f"{text}\n\n{GPU}"
    )


Found = tuple[Section, list[Verdict]] | None


def _protocol(rows: Rows) -> Found:
    """Raw, averaged, both stops, two networks, BM3D; the gap between the stops decides."""
    found, frame = _part(rows, "protocol")
    if frame.empty:
        return None
    frame["gap"] = frame["oracle"] - frame["automatic"]
    names = ["noisy", "raw", "automatic", "oracle", "gap", "alone", "ensemble", "gain", "BM3D", "iterations", "CPU s"]
    frame["gain"] = frame["ensemble"] - frame["alone"] if "ensemble" in frame else float("nan")
    frame = frame.reindex(columns=list(dict.fromkeys([*frame.columns, *names])))
    groups = frame.groupby(["picture", "sigma", "network"], sort=False)
    means = groups[names].mean()
    means.insert(5, "worst gap", groups["gap"].max())
    means["runs"] = groups.size()
    shown = means.reset_index()
    shown["picture"] = _short(shown["picture"])
    verdicts = []
    automatic = frame[frame["network"] == "auto"]
    if len(automatic):
        gap, worst = automatic["gap"].mean(), automatic["gap"].max()
        claim = "The automatic stop is within 0.2 dB of the oracle on average and 0.6 dB at worst."
        detail = f"Mean {number(gap, 2)} dB, worst {number(worst, 2)} dB over {len(automatic)} runs."
        verdicts.append(Verdict(claim, bool(gap <= 0.2 and worst <= 0.6), detail))
    for network, pairs in frame.dropna(subset="gain").groupby("network", sort=False):
        gains = pairs["gain"]
        verdicts.append(
            Verdict(
                f"Two networks averaged gain 0.4 dB or more over their average ({network}).",
                bool(gains.mean() >= 0.4),
                f"Mean {number(gains.mean(), 2)} ± {number(half_width(list(gains)), 2)} dB, least "
                f"{number(gains.min(), 2)} dB over {len(gains)} pairs.",
            )
        )
    caption = (
        "PSNR in dB, means over the runs. Raw: the network's output at the iteration whose average is returned. Alone: "
        "the average of the two networks' PSNR, ensemble: the PSNR of their mean."
    )
    digits = {"iterations": 0, "CPU s": 0, "sigma": 0, "runs": 0}
    charts = [(lines(_curves(o), x="iteration", y="PSNR, dB", log="x"), c.label) for c, o in found.items() if _first(c)]
    tiles: list[Comparison | Charts] = [Charts("Trajectories", charts)] if charts else []
    for cell, outcome in found.items():
        if _first(cell) and cell.settings()["sigma"] == 25:
            images = [Tile("original", outcome.images["truth"]), Tile("noisy", outcome.images["noisy"])]
            note = f"{number(float(outcome.row['automatic'] or 0), 2)} dB"
            tiles.append(
                Comparison(cell.label, outcome.images["truth"], [*images, Tile("returned", outcome.images["x"], note)])
            )
    return Section("Denoising protocol", [Table("", shown, caption, digits), *tiles]), verdicts


def _published_run(rows: Rows) -> Found:
    """The paper's run: which pictures, raw and averaged."""
    _, frame = _part(rows, "published")
    if frame.empty:
        return None
    raw, averaged = frame["raw"].mean(), frame["averaged"].mean()
    shown = frame.assign(picture=_short(frame["picture"]))[["picture", "seed", "raw", "averaged", "seconds"]]
    count = frame["picture"].nunique()
    claim = f"The paper preset reproduces 29.2 dB raw and 30.4 dB averaged within 0.3 dB on {count} pictures."
    holds = bool(abs(raw - 29.22) <= 0.3 and abs(averaged - 30.43) <= 0.3)
    verdict = Verdict(claim, holds, f"{number(raw, 2)} dB and {number(averaged, 2)} dB.")
    caption = "All pixels fitted for 1800 iterations. The published numbers are means over nine colour pictures."
    return Section("The published run", [Table("", shown, caption)]), [verdict]


def _timed(rows: Rows) -> Found:
    """One call against the clock."""
    _, frame = _part(rows, "timed")
    if frame.empty:
        return None
    names = ["picture", "size", "network", "PSNR", "network alone", "BM3D", "iterations", "CPU s", "seconds"]
    shown = frame.assign(picture=_short(frame["picture"]))[names]
    gpu = rows.options.device.startswith("cuda")
    if gpu:
        slowest, mean = frame["seconds"].max(), frame["network alone"].mean()
        claim = "One network, stopped by itself, takes at most 4 s after start-up and reaches 30.4 dB."
        verdict = Verdict(claim, bool(slowest <= 4 and mean >= 30.4), f"{number(slowest, 1)} s, {number(mean, 2)} dB.")
    else:
        spent = frame["CPU s"].max()
        claim = "The deep decoder fits a colour picture of 256 x 256 pixels at sigma 25 in 90 s of processor time."
        verdict = Verdict(claim, bool(spent <= 90), f"{number(spent, 0)} s on one core.")
    caption = "One call of fit, its stop included; PSNR is with the residual given back, the network alone beside it."
    return Section("Against the clock", [Table("", shown, caption, {"CPU s": 0, "seconds": 0})]), [verdict]


def _deepinv(rows: Rows) -> Found:
    """Seconds until the same PSNR as deepinv's own fit."""
    _, frame = _part(rows, "deepinv")
    if frame.empty:
        return None
    names = ["picture", "size", "deepinv", "deepinv s", "ours", "ours s", "as good after s", "times faster"]
    shown = frame.assign(picture=_short(frame["picture"]))[names]
    ratio = frame["times faster"].min()
    claim = "At least ten times faster than deepinv's DeepImagePrior to the same PSNR, on the same device."
    verdict = Verdict(claim, bool(ratio >= 10), f"{number(ratio, 1)} times.")
    caption = "deepinv: its default decoder, rate and 2500 iterations, the last output. Ours: everything automatic."
    return Section("Beside deepinv", [Table("", shown, caption)]), [verdict]


def _speed(rows: Rows) -> Found:
    """Iterations per second, and on a GPU the share of the roofline."""
    _, frame = _part(rows, "speed")
    if frame.empty:
        return None
    shown = frame[["network", "size", "iterations per s"]].assign(ms=1000 / frame["iterations per s"])
    verdicts = []
    if rows.options.device.startswith("cuda") and "paper" in set(frame["network"]):
        rate = float(frame.loc[frame["network"] == "paper", "iterations per s"].iloc[0])
        detail = f"{number(rate, 0)} per second, {number(100 * rate / ROOFLINE, 0)} % of the roofline."
        verdicts.append(Verdict("The paper preset runs at 500 iterations per second.", rate >= 500, detail))
    caption = (
        "Colour, with jitter, running average and hold-out; per second of wall time on a GPU, of one core's time else."
    )
    return Section("Speed", [Table("", shown, caption, {"ms": 1, "iterations per s": 1})]), verdicts


def _tables(rows: Rows) -> Found:
    """The network's column of the three published tables beside the direct fit."""
    records = []
    for number_, names in TABLES.items():
        _, frame = _part(rows, f"table {number_}")
        if frame.empty:
            continue
        cast = illustrations(names, rows.options.images)
        averaged = [name for name in ("PSNR", "network alone", "CPU s", "Wiener") if name in frame]
        for _, row in over_seeds(frame, averaged).iterrows():
            records.append({"table": str(number_), **_beside(number_, cast.name(row["picture"]), row)})
    if not records:
        return None
    frame = pd.DataFrame(records)
    frame["difference"] = frame["fit"] - frame["published"]
    bars = {"2": ("Every cell of Table 2 reaches the published network.", 0.0)}
    bars |= {"1": ("The direct fit beats Wiener and then the network in every cell of Table 1.", 0.0)}
    bars |= {"3": ("Every cell of Table 3 beats the published network by 5 dB.", 5.0)}
    verdicts = []
    for name, (claim, bar) in bars.items():
        differences = frame.loc[frame["table"] == name, "difference"]
        if len(differences):
            met = int((differences >= bar).sum())
            detail = f"{met} of {len(differences)}; smallest difference {number(differences.min(), 2)} dB."
            verdicts.append(Verdict(claim, met == len(differences), detail))
    caption = (
        f"PSNR in dB; network alone: without the residual given back. Reduced pictures show their size. Parrots is "
        f"compared with the best Wiener filter on the same data, the published one being another. Published: {SOURCE}."
    )
    return Section(
        "Published tables, the network's column", [Table("", frame, caption, {"size": 0, "noise": 3, "CPU s": 0})]
    ), verdicts


def _beside(table: int, name: str, row: pd.Series) -> dict[str, object]:
    """One fit of a published picture, and what it is measured against."""
    record: dict[str, object] = {"picture": name, "size": pixels(row["size"]), "noise": row["noise"]}
    against = "network"
    if table == 2:
        published = DENOISING[name, row["noise"]][2]
    elif table == 1:
        published = DECONVOLUTION[name, row["noise"]][3]
        if name == "parrots":
            published, against = float(row["Wiener"]), "Wiener, same data"
    else:
        record["N/M"] = compression = next(c for c in COMPRESSIONS if single_pixel(c) == row["operator"])
        published = SINGLE_PIXEL[name, "DIP"][COMPRESSIONS.index(compression)]
    record |= {"against": against, "published": published, "fit": row["PSNR"], "network alone": row["network alone"]}
    return record | {"CPU s": row["CPU s"]}


def _routes(rows: Rows) -> Found:
    """Direct fit, ADMM and HQS beside each other, then the networks."""
    _, frame = _part(rows, "route")
    if frame.empty:
        return None
    frame = over_seeds(frame, ["PSNR", "CPU s"])
    automatic = frame[frame["network"] == "auto"]
    best = automatic.pivot_table(index="operator", columns="solver", values="PSNR", sort=False)
    plain = automatic.groupby("operator", sort=False)["without prior"].first() if "without prior" in automatic else None
    if plain is not None:
        best.insert(0, "without prior", plain)
    verdicts = []
    if set(METHODS) <= set(best.columns):
        best["gain of a solver"] = best[["ADMM", "HQS"]].max(axis=1) - best[FITTED]
        helped = ", ".join(str(name) for name in best.index[best["gain of a solver"] > 0]) or "none"
        claim = "The network works under ADMM and HQS with every operator: better than no prior."
        floor = best["without prior"].fillna(0) if plain is not None else 0
        holds = bool((best["ADMM"] > floor).all() and (best["HQS"] > floor).all())
        verdicts.append(Verdict(claim, holds, f"A solver beats the direct fit for: {helped}."))
    others = frame[frame["solver"] == FITTED].pivot_table(
        index="operator", columns="network", values="PSNR", sort=False
    )
    parts: list[Table | Charts | Comparison] = [Table("", best.reset_index(), "PSNR in dB, sigma given.")]
    if len(others.columns) > 1:
        parts.append(Table("Networks, direct fit", others.dropna().reset_index(), "PSNR in dB."))
    names = ["operator", "solver", "network", "PSNR", "± PSNR", "network alone", "iterations", "status", "CPU s"]
    every = frame[[name for name in names if name in frame]]
    parts.append(Table("All runs", every, digits={"iterations": 0, "CPU s": 0}, folded=True))
    return Section("As the prior of a solver", parts), verdicts


def _part(rows: Rows, name: str) -> tuple[dict[Cell, Outcome], pd.DataFrame]:
    """The cells whose label starts with the part's name, and their rows."""
    found = {cell: outcome for cell, outcome in rows.outcomes.items() if cell.label.startswith(f"{name}, ")}
    return found, table(list(found), found)


def _first(cell: Cell) -> bool:
    return cell.settings()["seed"] == 0


def _curves(outcome: Outcome) -> dict[str, tuple[list[float], list[float]]]:
    return {name: (outcome.curves["iteration"], outcome.curves[name]) for name in ("raw", "averaged")}


def _short(pictures: pd.Series) -> pd.Series:
    return pictures.str.split(":").str[0]


def _text(shown: Table) -> str:
    frame = shown.frame.copy()
    for name in frame.select_dtypes("number"):
        frame[name] = [number(float(value), shown.digits.get(name, 2)) for value in frame[name]]
    return str(frame.to_string(index=False))
