"""What the comparison shows: a table per task, verdicts, the pictures."""

from __future__ import annotations

import math

import pandas as pd

from ..grid import Rows
from ..report import Comparison, Page, Section, Table, Tile, Verdict, number
from ..statistics import over_seeds
from .methods import INVERSE, METHODS, PEERS
from .tasks import TASKS

COLUMNS = ("default PSNR", "tuned PSNR", "PSNR", "gain, dB", "s tuned", "s", "times faster")
CAPTION = (
    "PSNR in dB; ours is reconstruct(y, A, prior) with no parameter. Default: what the other library documents. Tuned: "
    "the best of its grid, which goes on wherever its best lies at an end (inside: it no longer does), chosen with the "
    "original in hand, and told the noise level. Seconds are process CPU time of one run, medians of interleaved "
    "rounds; theirs at the tuned setting, without the search for it. Operators that a library was given agree with "
    "ours to 1e-5."
)


def page(rows: Rows, lead: str) -> Page:
    """The page of the finished rows."""
    frame = rows.frame
    absent = [peer for peer in PEERS if peer.name not in set(frame["peer"])]
    if absent:
        lead += "\n\n" + "".join(f"No row of {p.name} (an interpreter that has it: {p.variable}). " for p in absent)
    if "note" in frame:
        refused = frame[frame["note"].notna()]
        lead += "".join(f"{r['task']}, {r['peer']}: {r['note']}. " for _, r in refused.iterrows())
    if "PSNR" not in frame:
        return Page("Other libraries", lead, [], text=lead)
    measured = over_seeds(frame[frame["PSNR"].notna()], ["default PSNR", "tuned PSNR", "PSNR"])
    measured = measured.assign(**{"gain, dB": measured["PSNR"] - measured["tuned PSNR"]})
    sections, texts = [], [lead.split("\n", 1)[-1].strip()] if absent else []
    for task in TASKS:
        part = measured[measured["task"] == task]
        if len(part):
            table = _table(part)
            comparisons = _comparisons(rows, task)
            sections.append(
                Section(task.capitalize(), [Table("", table, CAPTION, {"s": 3, "s tuned": 3}), *comparisons])
            )
            texts.append(f"{task}\n{table.to_string(index=False, float_format=lambda v: f'{v:.2f}')}")
    sections.append(Section("Settings", [Table("", _settings(measured), folded=True)]))
    return Page("Other libraries", lead, sections, verdicts(measured), "\n\n".join(texts))


def verdicts(frame: pd.DataFrame) -> list[Verdict]:
    """For each inverse problem and prior: not below anybody's best setting with that prior, to 0.01 dB, and faster.

    Filters without a prior are shown, not judged, and so is denoising, which has a benchmark of its own.
    """
    found = []
    judged = frame[(frame["method"] == frame["prior"]) & frame["task"].isin(INVERSE)]
    for (task, prior), part in judged.groupby(["task", "prior"], sort=False):
        means = part.groupby("peer", sort=False)[["gain, dB", "times faster"]].mean()
        gain, ratio = means["gain, dB"].min(), means["times faster"].min()
        claim = f"{str(task).capitalize()}, {prior}: at least as good as the best tuned setting, in less time."
        detail = f"Smallest gain {number(gain, 2)} dB ({means['gain, dB'].idxmin()}); "
        detail += f"smallest ratio of times {number(ratio, 2)} ({means['times faster'].idxmin()})."
        found.append(Verdict(claim, bool(round(gain, 2) >= 0 and ratio > 1), detail))
    return found


def _table(part: pd.DataFrame) -> pd.DataFrame:
    names = part["picture"].str.split(":").str[0]
    methods = part["peer"] + ", " + part["method"]
    intervals = [column for column in part.columns if str(column).startswith("± ")]
    shown = part.assign(picture=names, against=methods)[["prior", "picture", "against", *COLUMNS, *intervals]]
    return shown.reset_index(drop=True)


def _settings(frame: pd.DataFrame) -> pd.DataFrame:
    """Where each default is documented, and the setting that was best."""
    sources = {(m.peer.name, m.name, m.prior): m.source for m in METHODS}
    keys = zip(frame["peer"], frame["method"], frame["prior"], strict=True)
    columns = ["task", "picture", "prior", "peer", "method", "versions", "setting", "inside", "tried", "failed"]
    return frame[columns].assign(default=[sources.get(key, "") for key in keys]).reset_index(drop=True)


def _comparisons(rows: Rows, task: str) -> list[Comparison]:
    """Per picture: ours with each prior once, and everybody's tuned result."""
    found: dict[str, Comparison] = {}
    for cell, outcome in rows.outcomes.items():
        settings = cell.settings()
        if settings["task"] != task or settings["seed"] or "theirs" not in outcome.images:
            continue
        picture, prior = str(settings["picture"]).split(":")[0], str(settings["prior"])
        old = found.get(picture, Comparison(f"{task.capitalize()}: {picture}", outcome.images["truth"], []))
        tiles = list(old.tiles)
        if not any(tile.name == "reconstruct" and tile.group == prior for tile in tiles):
            tiles.append(Tile("reconstruct", outcome.images["ours"], _decibels(outcome.row["PSNR"]), prior))
        name = f"{settings['peer']}, {settings['method']}"
        tiles.append(Tile(name, outcome.images["theirs"], _decibels(outcome.row["tuned PSNR"]), prior))
        found[picture] = Comparison(old.title, old.truth, tiles)
    return list(found.values())


def _decibels(value: object) -> str:
    return f"{number(float(value) if isinstance(value, float) else math.nan, 2)} dB"
