"""Reconstructions on a page: pictures beside the original, and how the PSNR grew with iterations and seconds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np

import pnp

from .figures import lines
from .grid import Outcome, Rows
from .published import pixels
from .reconstruction import FITTED, Reconstruction
from .report import Charts, Comparison, Section, Tile, number

Group = Mapping[Reconstruction, Outcome]


def groups(rows: Rows) -> dict[tuple[str, str, float, int | None], Group]:
    """The first seed's outcomes by operator, picture, noise and size where there is an original to show.

    Nothing is given, but sigma to a network that is fitted.
    """
    found: dict[tuple[str, str, float, int | None], dict[Reconstruction, Outcome]] = {}
    for cell, outcome in rows.outcomes.items():
        if isinstance(cell, Reconstruction) and cell.seed == 0 and (cell.solver == FITTED or not cell.sigma_known):
            found.setdefault((cell.operator, cell.picture.name, cell.noise, cell.size), {})[cell] = outcome
    return {key: group for key, group in found.items() if any("truth" in o.images for o in group.values())}


def gallery(rows: Rows) -> list[Section]:
    """One section with pictures and convergence of every group."""
    parts: list[Comparison | Charts] = []
    for (operator, picture, noise, size), group in groups(rows).items():
        title = f"{operator}, {picture}, {pixels(size)} pixels, noise {noise:g}"
        parts += [comparison(title, group), *([charts(group)] if any(o.curves for o in group.values()) else [])]
    return [Section("Pictures and convergence", parts)] if parts else []


def comparison(title: str, group: Group) -> Comparison:
    """Original, baselines, then the priors by their PSNR, best last."""
    kept = (outcome.images["truth"] for outcome in group.values() if "truth" in outcome.images)
    truth = next(kept, None)
    if truth is None:
        truth = pnp.to_image(next(iter(group)).problem().truth)
    order = sorted(group.items(), key=lambda item: (item[0].prior != "none", quality(item[1])))
    tiles = [Tile("original", truth)]
    for cell, outcome in order:
        name = str(outcome.row["what"]) if cell.prior == "none" else cell.prior
        tiles.append(Tile(name, outcome.images["x"], f"{number(quality(outcome), 2)} dB"))
    return Comparison(title, truth, tiles)


def charts(group: Group, name: Callable[[Reconstruction], str] = lambda cell: cell.prior) -> Charts:
    """PSNR against seconds, residual against iterations; the best linear filter as a level."""
    curves = {name(cell): outcome.curves for cell, outcome in group.items() if outcome.curves}
    wiener = [quality(outcome) for cell, outcome in group.items() if cell.solver == "Wiener"]
    speed = {label: (c["seconds"], c["psnr"]) for label, c in curves.items()}
    residual = {label: (counted(c["primal"]), c["primal"]) for label, c in curves.items()}
    levels = {"Wiener": wiener[0]} if wiener else {}
    figures = [
        (lines(speed, x="seconds", y="PSNR, dB", log="x", levels=levels), "PSNR against seconds"),
        (lines(residual, x="iteration", y="residual / s", log="y"), "Residual against iteration"),
    ]
    words = "Left: PSNR of the iterates. Right: rms difference of the two halves of the split, in units of s."
    return Charts("Convergence", figures, words)


def quality(outcome: Outcome) -> float:
    """The PSNR, nan where there is none."""
    return float(outcome.row.get("PSNR") or math.nan)


def counted(values: Iterable[float]) -> list[int]:
    """1, 2, ... beside the values."""
    return (np.arange(len(list(values))) + 1).tolist()
