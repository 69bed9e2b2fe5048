"""Gaussian deblurring, 5 pixels: Anderson's Table 1, cell by cell."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator

import pnp
from pnp.priors import TV

from .display import gallery
from .grid import Benchmark, Cell, Options, Outcome, Rows
from .published import DECONVOLUTION, counts, illustration, paper_names, side_by_side
from .reconstruction import Reconstruction, curves
from .report import Page, Section, Table
from .statistics import measured, over_seeds

OURS = ("TV", "NLM", "BM3D", "DIP")
WEIGHTS = {"TV, weight 5e-3": 5e-3, "TV, weight 5e-2": 5e-2}
PUBLISHED = ("Wiener", *WEIGHTS, "Wiener + network")
BESIDE = ("Wiener", *WEIGHTS, "DIP")  # ours, of the same kind


@dataclasses.dataclass(frozen=True)
class GivenWeight(Reconstruction):
    """Total variation as published: the minimiser of ``1/2 ||A x - y||^2 + weight TV(x)``, by ADMM."""

    weight: float = 0.0

    def run(self) -> Outcome:
        p = self.problem()
        cpu, wall = time.process_time(), time.perf_counter()
        result = pnp.reconstruct(p.y, p.A, TV(self.weight), sigma=1.0, truth=p.truth, progress=False)
        row = self._row(p, result.x, cpu, wall) | {"what": self.prior, "status": result.status.name}
        return Outcome(row, self._images(p, result.x), curves(result))


def cells(options: Options) -> Iterator[Cell]:
    """The Wiener filter is given the best constant; everything else nothing."""
    size = options.size or (96 if options.quick else None if options.images else 256)
    for name, noise in DECONVOLUTION:
        picture = illustration(name, options.images)
        for seed in range(options.seeds):
            what = (picture, noise, size, True, seed)
            for prior in OURS[:3] if options.quick else OURS:
                yield Reconstruction("strong gaussian blur", prior, "auto", *what, device=options.device)
            for prior, weight in WEIGHTS.items():
                yield GivenWeight("strong gaussian blur", prior, "ADMM", *what, device=options.device, weight=weight)
            yield Reconstruction("strong gaussian blur", "none", "Wiener", *what, device=options.device)


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
        for method, own, theirs in zip(PUBLISHED, BESIDE, published, strict=True):
            if own in ours:
                records.append(_record(name, noise, method, own, theirs, ours[own]))
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
