"""What the benchmark of denoisers shows: quality, times and memory side by side, and what the claims come to."""

from __future__ import annotations

import pandas as pd

from .grid import Rows
from .report import Page, Section, Table, Verdict
from .runner import table

THEIRS = "bm3d package"
TENSORS = "BM3D, torch"  # what BM3D falls back on without Numba
REUSED = "BM3D, matches reused"  # as inside a solve, while the image moves little
NEAREST = {
    "TV": "skimage TV",
    "NLM": "skimage NLM",
    "Wavelet": "skimage wavelet, spun",
    **dict.fromkeys(("BM3D", TENSORS, REUSED), THEIRS),
}
LEAD = (
    "The priors as plain denoisers: quality, time and memory beside those of bm3d, scikit-image, OpenCV, deepinv and "
    "scico that are installed."
)
MEAN_SLACK, WORST_SLACK = 0.03, 0.15  # dB below the package, of the mean and of one picture, sigma 10 to 100
FASTER = (  # method, equivalent, kind of picture, times as fast on one thread
    *(("BM3D", THEIRS, "grey", 25.0), ("BM3D", THEIRS, "colour", 25.0)),
    *((REUSED, THEIRS, "grey", 60.0), (TENSORS, THEIRS, "grey", 5.0)),
    *(
        ("NLM", other, kind, bar)
        for other, bar in (("skimage NLM", 2.0), ("OpenCV NLM", 1.0))
        for kind in ("grey", "colour")
    ),
)
BETTER = ("skimage NLM", "OpenCV NLM")  # which NLM must not fall below, on average at each noise level
GAP, TV_FASTER, TV_GAP = 1e-3, 4.0, 1e-5
WARM = 1 / 3  # of the iterations of calls that start from nothing
LARGEST = 2.0  # GB
TWO_THREADS = 1.6  # times faster than one


def page(rows: Rows) -> Page:
    """One row per method, picture and noise, times beside the nearest equivalent; then what one prior is asked."""
    sections: list[Section] = []
    verdicts: list[Verdict] = []
    texts: list[str] = []
    compared = part(rows, "Comparison")
    if len(compared):
        every = records(compared)
        quality, times = means(every), timed(every)
        licence = "The bm3d package is free for non-commercial use only; it is measured here, used nowhere."
        caption = f"{rows.options.threads} thread(s) for every method; CPU seconds are medians of interleaved rounds."
        digits = {"CPU s": 4, "memory, images": 1, "times faster": 1, "gain, dB": 2}
        sections += [
            Section("PSNR, means over pictures", [Table("", quality, licence)]),
            Section("Time and memory", [Table("", times, caption, digits)]),
            Section("Every picture", [Table("", every, digits=digits)]),
        ]
        texts += [text(quality), text(times)]
        verdicts += quality_verdicts(every) + time_verdicts(compared)
    for kind, (title, columns, judge) in SINGLE.items():
        frame = part(rows, kind)
        if len(frame):
            shown = frame.reindex(columns=columns).assign(picture=frame["picture"].str.split(":").str[0])
            sections.append(Section(title, [Table("", shown, digits=dict.fromkeys(columns, 4))]))
            texts.append(f"{title}\n{text(shown)}")
            verdicts += judge(frame)
    return Page("Denoisers", LEAD, sections, verdicts, text="\n\n".join(texts))


def part(rows: Rows, kind: str) -> pd.DataFrame:
    """The finished cells of this class."""
    found = {cell: outcome for cell, outcome in rows.outcomes.items() if type(cell).__name__ == kind}
    return table(list(found), found)


def text(frame: pd.DataFrame) -> str:
    return frame.to_string(index=False, float_format=lambda v: f"{v:.4g}" if abs(v) < 0.1 else f"{v:.3f}")


def means(every: pd.DataFrame) -> pd.DataFrame:
    """PSNR of each method, a column for each noise level."""
    quality = every.groupby(["kind", "sigma", "method"], sort=False)[["PSNR"]].mean().reset_index()
    quality = quality.pivot_table(index=["kind", "method"], columns="sigma", values="PSNR", sort=False).reset_index()
    quality.columns = [f"sigma {name}" if isinstance(name, int) else str(name) for name in quality.columns]
    return quality


def timed(every: pd.DataFrame) -> pd.DataFrame:
    """The rows with times."""
    columns = ["picture", "kind", "size", "method", "CPU s", "memory, images", "against", "times faster"]
    return every.dropna(subset=["CPU s"])[columns]


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


def quality_verdicts(every: pd.DataFrame) -> list[Verdict]:
    """BM3D beside the package, NLM beside its equivalents."""
    found = []
    for kind, rows in every[(every["method"] == "BM3D") & (every["sigma"] >= 10)].groupby("kind", sort=False):
        gain = rows["gain, dB"].dropna()
        if len(gain):
            mean, worst = gain.mean(), gain.min()
            claim = f"BM3D, {kind}: mean within {MEAN_SLACK} dB of the package, no picture {WORST_SLACK} dB worse"
            holds = bool(mean >= -MEAN_SLACK and worst >= -WORST_SLACK)
            found.append(Verdict(claim, holds, f"mean {mean:+.3f}, worst {worst:+.2f} dB of {len(gain)} pictures"))
    for other in BETTER:
        for kind, rows in every[every["method"].isin(["NLM", other])].groupby("kind", sort=False):
            psnr = rows.pivot_table(index=["picture", "size", "sigma"], columns="method", values="PSNR")
            if {"NLM", other} <= set(psnr):
                gain = (psnr["NLM"] - psnr[other]).dropna()
                mean = gain.groupby("sigma").mean()
                claim = f"NLM, {kind}: mean PSNR not below {other} at any noise level"
                detail = f"means {mean.min():+.2f} to {mean.max():+.2f}, worst picture {gain.min():+.2f} dB"
                found.append(Verdict(claim, bool((mean >= 0).all()), detail))
    return found


def time_verdicts(compared: pd.DataFrame) -> list[Verdict]:
    """Times of one thread, each picture's slowest size counting."""
    found = []
    for method, other, kind, bar in FASTER:
        if {f"CPU s {method}", f"CPU s {other}"} <= set(compared):
            rows = compared[compared["grey"] == (kind == "grey")]
            times = (rows[f"CPU s {other}"] / rows[f"CPU s {method}"]).dropna()
            if len(times):
                claim = f"{method}, {kind}: at least {bar:g} times as fast as {other}"
                detail = f"{times.min():.1f} to {times.max():.1f} times"
                found.append(Verdict(claim, bool(times.min() >= bar), detail))
    return found


def tv_verdicts(frame: pd.DataFrame) -> list[Verdict]:
    """The time to a certified gap beside scikit-image's, and a gap that it cannot reach in float32."""
    found = []
    for gap, rows in frame.groupby("gap"):
        if gap == GAP and "times faster" in rows:
            ratio = rows["times faster"].min()
            claim = f"TV: a gap of {gap:g} in a quarter of the time scikit-image's float32 takes to come as near"
            found.append(Verdict(claim, bool(ratio >= TV_FASTER), f"{ratio:.1f} times as fast"))
        if gap == TV_GAP:
            reached = rows["gap reached"].max()
            found.append(Verdict(f"TV: a gap of {gap:g} in float32", bool(reached <= gap), f"{reached:.1e}"))
    return found


def warm_verdicts(frame: pd.DataFrame) -> list[Verdict]:
    """Calls of a solve for a fixed weight; the automatic one changes the problem from call to call."""
    fixed = frame.loc[frame["weight"].astype(str) != "auto", "ratio"]
    claim = "TV: warm-started calls of a solve of given weight take at most a third of the iterations"
    return [Verdict(claim, bool(fixed.max() <= WARM), f"{fixed.max():.2f}")] if len(fixed) else []


def small_verdicts(frame: pd.DataFrame) -> list[Verdict]:
    """A batch of small pictures is its pictures."""
    count, size, apart = int(frame["count"].max()), int(frame["size"].max()), frame["apart"].max()
    claim = f"BM3D: {count} pictures of {size} x {size} in one call, each as alone"
    return [Verdict(claim, bool(apart <= 1e-3), f"to {apart:.1e} of the noise level")]


def large_verdicts(frame: pd.DataFrame) -> list[Verdict]:
    """The bound on memory, for each backend."""
    return [
        Verdict(
            f"BM3D ({row['backend']}): {row['size']} pixels, colour, within {LARGEST:g} GB",
            row["GB"] < LARGEST,
            f"{row['GB']:.2f} GB",
        )
        for _, row in frame.iterrows()
    ]


def thread_verdicts(frame: pd.DataFrame) -> list[Verdict]:
    """Only where rounds counted: an idle machine cannot be had at will."""
    found = []
    for busy, bar, claim in (
        (False, TWO_THREADS, f"BM3D: two threads at least {TWO_THREADS:g} times as fast as one, idle machine"),
        (True, 1.0, "BM3D: two threads never slower than one, every core busy"),
    ):
        rows = frame[frame["busy"] == busy]
        ratio = rows["ratio"].dropna() if "ratio" in rows else rows["busy"][:0]
        if len(ratio):
            detail = f"{ratio.min():.2f} times, {int(rows['rounds counted'].sum())} rounds"
            found.append(Verdict(claim, bool(ratio.min() >= bar), detail))
    return found


SINGLE = {  # what one prior is asked: its cells, heading, columns and judge
    "ExactTV": (
        "TV to a given gap",
        [
            "picture",
            "size",
            "gap",
            "gap reached",
            "iterations",
            "distance",
            "excess",
            "CPU s ours",
            "CPU s theirs",
            "skimage iterations",
            "times faster",
        ],
        tv_verdicts,
    ),
    "WarmTV": ("TV, warm starts", ["picture", "size", "weight", "calls", "warm", "cold", "ratio"], warm_verdicts),
    "Small": (
        "BM3D of many small pictures",
        ["picture", "count", "size", "apart", "CPU s together", "CPU s one by one", "CPU s package"],
        small_verdicts,
    ),
    "Large": ("BM3D of a large picture", ["picture", "size", "backend", "GB"], large_verdicts),
    "Threads": (
        "BM3D on two threads",
        ["picture", "size", "busy", "rounds counted", "cores taken by others", "ratio"],
        thread_verdicts,
    ),
}
