"""Gaussian deblurring, 5 pixels: Anderson's Table 1, cell by cell."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator

import pnp
from pnp.operators import Identity
from pnp.priors import TV, DeepImagePrior

from .display import gallery
from .grid import Benchmark, Cell, Options, Outcome, Rows
from .network_fits import STAND_IN_SIZE, published_fits
from .pictures import illustrations
from .problems import best_wiener
from .published import DECONVOLUTION, REDUCED, TABLES, counts, side_by_side
from .reconstruction import Reconstruction, curves
from .report import Page, Section, Table
from .statistics import measured, over_seeds

OURS = ("TV", "NLM", "BM3D")
WEIGHTS = {"TV, weight 5e-3": 5e-3, "TV, weight 5e-2": 5e-2}
SYSTEM = "Wiener + network"
PUBLISHED = ("Wiener", *WEIGHTS, SYSTEM)
BESIDE = {"Wiener": "Wiener", **dict(zip(WEIGHTS, WEIGHTS, strict=True)), SYSTEM: SYSTEM, "DIP": SYSTEM}  # ours, theirs


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


@dataclasses.dataclass(frozen=True)
class Cleaned(Reconstruction):
    """The published system: the Wiener filter of the best constant, then an untrained network fitted to its image."""

    limit: int | None = None  # to the iterations of the network

    def run(self) -> Outcome:
        p = self.problem()
        cpu, wall = time.process_time(), time.perf_counter()
        ratio, filtered = best_wiener(p)
        A = Identity(p.A.in_shape).to(self.device)
        network = DeepImagePrior(seed=self.seed, iterations=self.limit)
        result = network.fit(A, filtered, truth=p.truth, progress=False)
        row = self._row(p, result.x, cpu, wall) | {
            "what": f"{self.prior}, best constant ({ratio:.1e})",
            "status": result.status.name,
            "iterations": result.iterations,
            "filtered": float(pnp.psnr(filtered, p.truth)),
            "best": float(result.history.psnr.max()) if result.history is not None else None,
        }
        return Outcome(row, self._images(p, result.x))


def cells(options: Options) -> Iterator[Cell]:
    """The Wiener filter is given the best constant, the network that sees the blur sigma; everything else nothing."""
    cast = illustrations(TABLES[1], options.images)
    size = options.size or (96 if options.quick else None if cast.genuine else STAND_IN_SIZE)
    for name, noise in DECONVOLUTION:
        for seed in range(options.seeds if name in cast.pictures else 0):
            what = (cast.pictures[name], noise, size, True, seed)
            for prior in OURS:
                yield Reconstruction("strong gaussian blur", prior, "auto", *what, device=options.device)
            for prior, weight in WEIGHTS.items():
                yield GivenWeight("strong gaussian blur", prior, "ADMM", *what, device=options.device, weight=weight)
            yield Reconstruction("strong gaussian blur", "none", "Wiener", *what, device=options.device)
            few = 200 if options.quick else None
            yield Cleaned("strong gaussian blur", SYSTEM, "fit", *what, device=options.device, limit=few)
    yield from published_fits(1, options)


def summary(rows: Rows) -> Page:
    """Each published column beside our methods of the same kind; the best of ours last."""
    cast = illustrations(TABLES[1], rows.options.images)
    frame = over_seeds(rows.frame, ["PSNR"])
    frame = frame.assign(name=frame["picture"].map(cast.name))
    records: list[dict[str, object]] = []
    for (name, noise), published in DECONVOLUTION.items():
        part = frame[(frame["name"] == name) & (frame["noise"] == noise)]
        ours = {("Wiener" if row["prior"] == "none" else row["prior"]): measured(row) for _, row in part.iterrows()}
        if not cast.genuine:
            records += [
                {"picture": name, "noise": noise, "prior": kind, "published": math.nan, **own}
                for kind, own in ours.items()
            ]
            continue
        for own, method in BESIDE.items():
            if own in ours:
                records.append(_record(name, noise, method, own, published[PUBLISHED.index(method)], ours[own]))
        if ours:
            best = max(ours, key=lambda kind: ours[kind]["ours"])
            column = max(range(4), key=lambda i: published[i])
            records.append(_record(name, noise, f"best: {PUBLISHED[column]}", best, published[column], ours[best]))
    caption = (
        "Our Wiener filter has the best constant, theirs an unstated one. Wiener + network is the published system; "
        "DIP is the network fitted through the blur, sigma given. The published Parrots is a larger picture than the "
        "256 x 256 one in common use: compare there with the Wiener filter on the same data only."
    )
    if cast.genuine and (rows.options.size or rows.options.quick):
        caption += REDUCED
    table, text = side_by_side(records, "Published and ours, PSNR in dB", caption, cast)
    every = frame[["name", "noise", "prior", "PSNR", "CPU s"]]
    sections = [
        Section("Table 1", [table, Table("All our runs", every, digits={"noise": 3}, folded=True)]),
        *gallery(rows),
    ]
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


BENCHMARK = Benchmark("deconvolution", __doc__ or "", cells, summary, pictures=TABLES[1])
