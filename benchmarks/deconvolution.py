"""Gaussian deblurring, 5 pixels: Anderson's Table 1, cell by cell."""

from __future__ import annotations

import math
from collections.abc import Iterator

from .display import gallery
from .grid import Benchmark, Cell, Options, Rows
from .published import DECONVOLUTION, counts, illustration, paper_names, side_by_side
from .reconstruction import Reconstruction
from .report import Page, Section, Table
from .statistics import measured, over_seeds

OURS = {"TV": 1, "NLM": None, "BM3D": None, "DIP": 3}  # our prior: the published column it stands beside
PUBLISHED = ("Wiener", "TV, weight 5e-3", "TV, weight 5e-2", "Wiener + network")


def cells(options: Options) -> Iterator[Cell]:
    """The Wiener filter is given the best constant; everything else nothing."""
    size = options.size or (96 if options.quick else None if options.images else 256)
    for name, noise in DECONVOLUTION:
        picture = illustration(name, options.images)
        for seed in range(options.seeds):
            for prior in ("TV", "NLM", "BM3D") if options.quick else OURS:
                yield Reconstruction(
                    "strong gaussian blur",
                    prior,
                    "auto",
                    picture,
                    noise,
                    size,
                    True,
                    seed,
                    device=options.device,
                )
            yield Reconstruction(
                "strong gaussian blur",
                "none",
                "Wiener",
                picture,
                noise,
                size,
                True,
                seed,
                device=options.device,
            )


def summary(rows: Rows) -> Page:
    """Each published column beside our method of the same kind; the best of ours last."""
    frame = over_seeds(rows.frame, ["PSNR"])
    frame = frame.assign(name=paper_names(frame["picture"], {name for name, _ in DECONVOLUTION}))
    compared = rows.options.images is not None
    records: list[dict[str, object]] = []
    for (name, noise), published in DECONVOLUTION.items():
        part = frame[(frame["name"] == name) & (frame["noise"] == noise)]
        ours = {("Wiener" if row["prior"] == "none" else row["prior"]): measured(row) for _, row in part.iterrows()}
        if not compared:
            records += [
                {"picture": name, "noise": noise, "prior": kind, "published": math.nan, **own}
                for kind, own in ours.items()
            ]
            continue
        for index, method in enumerate(PUBLISHED):
            own = next((kind for kind, column in OURS.items() if column == index), "TV" if index == 2 else "Wiener")
            if own in ours:
                records.append(_record(name, noise, method, own, published[index], ours[own]))
        if ours:
            best = max(ours, key=lambda kind: ours[kind]["ours"])
            column = max(range(4), key=lambda i: published[i])
            records.append(_record(name, noise, f"best: {PUBLISHED[column]}", best, published[column], ours[best]))
    caption = (
        "Our Wiener filter has the best constant, theirs an unstated one. The published Parrots is a larger picture "
        "than the 256 x 256 one in common use: compare there with the Wiener filter on the same data only."
    )
    table, text = side_by_side(records, "Published and ours, PSNR in dB", caption, compared=compared)
    every = frame[["name", "noise", "prior", "PSNR", "CPU s"]]
    sections = [Section("Table 1", [table, Table("All our runs", every, digits={"noise": 3})]), *gallery(rows)]
    return Page("Deconvolution", counts(table.frame), sections, text=f"{text}\n{counts(table.frame)}")


def _record(
    name: str, noise: float, method: str, own: str, published: float, ours: dict[str, float]
) -> dict[str, object]:
    return {
        "picture": name,
        "noise": noise,
        "their method": method,
        "our prior": own,
        "published": published,
        **ours,
    }


BENCHMARK = Benchmark("deconvolution", __doc__ or "", cells, summary)
