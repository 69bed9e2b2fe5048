"""Denoising of clipped Gaussian noise: Anderson's Table 2, cell by cell."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator

import pandas as pd
import torch

import pnp
from pnp.operators import Identity
from pnp.priors import Clipped

from .display import quality
from .grid import Benchmark, Cell, Options, Outcome, Rows
from .network_fits import STAND_IN_SIZE, NetworkFit, published_fits
from .pictures import Picture, illustrations
from .problems import Problem
from .published import DENOISING, REDUCED, TABLES, counts, pixels, side_by_side
from .reconstruction import prior
from .report import Comparison, Image, Page, Section, Table, Tile, Verdict, number
from .statistics import measured, over_seeds

PRIORS = {
    "NLM": 0,
    "BM3D": 1,
    "DIP": 2,
    "TV": None,
    "Wavelet": None,
    "NLM, clipping corrected": None,
    "BM3D, clipping corrected": None,
}  # and the published column beside which each stands
PUBLISHED = ("NLM", "BM3D / CBM3D", "network")
CORRECTED = ", clipping corrected"
SLACK = 0.15  # dB by which one draw of the noise moves a cell
HEAVY, SEVERAL = 0.5, 2.0  # noise at which clipping biases the picture, and the dB its correction should be worth
SHOWN, SIDE = (0.1, HEAVY), 160  # noise levels of which there are pictures, and their size: the middle of large ones


@dataclasses.dataclass(frozen=True)
class Denoising(Cell):
    """``clip(truth + noise)``, denoised with sigma given; what comes out is clipped, as every picture is."""

    prior: str
    picture: Picture
    noise: float
    size: int | None = None
    seed: int = 0
    device: str = "cpu"

    @property
    def label(self) -> str:
        return f"{self.picture.name}, {self.prior}, noise {self.noise:g}, seed {self.seed}"

    def run(self) -> Outcome:
        p = self.problem()
        cpu, wall = time.process_time(), time.perf_counter()
        x = self._prior().denoise(p.y, self.noise).clamp(0, 1)
        row = {
            "PSNR": float(pnp.psnr(x, p.truth)),
            "SSIM": float(pnp.ssim(x, p.truth)),
            "noisy": float(pnp.psnr(p.y, p.truth)),
        }
        row |= {"CPU s": time.process_time() - cpu, "seconds": time.perf_counter() - wall}
        return Outcome(row, {"x": middle(pnp.to_image(x))} if self.noise in SHOWN else {})

    def problem(self) -> Problem:
        truth = self.picture.tensor(self.size).to(self.device)
        generator = torch.Generator().manual_seed(self.seed)
        noise = torch.randn(truth.shape, generator=generator, dtype=torch.float64) * self.noise
        A = Identity((truth.shape[-2], truth.shape[-1])).to(self.device)
        return Problem(A, truth, (truth + noise.to(truth)).clamp(0, 1))

    def _prior(self) -> pnp.Functional:
        inner = prior(self.prior.removesuffix(CORRECTED), self.seed)
        return Clipped(inner) if self.prior.endswith(CORRECTED) else inner


def middle(image: Image) -> Image:
    """As much of the image as the report shows."""
    top, left = (max(side - SIDE, 0) // 2 for side in image.shape[:2])
    return image[top : top + SIDE, left : left + SIDE]


def cells(options: Options) -> Iterator[Cell]:
    """The papers' pictures in their native size unless ``--size``, for the network reduced ones."""
    cast = illustrations(TABLES[2], options.images)
    size = options.size or (96 if options.quick else None if cast.genuine else STAND_IN_SIZE)
    for kind in PRIORS:
        for name, noise in () if kind == "DIP" else DENOISING:
            for seed in range(options.seeds if name in cast.pictures else 0):
                yield Denoising(kind, cast.pictures[name], noise, size, seed, options.device)
    yield from published_fits(2, options)


def summary(rows: Rows) -> Page:
    """Three published columns, three of ours, and our other priors."""
    cast = illustrations(TABLES[2], rows.options.images)
    frame = over_seeds(rows.frame, [name for name in ("PSNR", "SSIM", "CPU s") if name in rows.frame])
    frame = frame.assign(name=frame["picture"].map(cast.name), size=frame["size"].map(pixels))
    records: list[dict[str, object]] = []
    for (name, noise), published in DENOISING.items():
        for kind, column in PRIORS.items():
            if column is not None:
                chosen = (frame["name"] == name) & (frame["noise"] == noise) & (frame["prior"] == kind)
                for _, row in frame[chosen].iterrows():
                    cell = {"picture": name, "size": row["size"], "noise": noise, "method": PUBLISHED[column]}
                    records.append({**cell, "published": published[column], **measured(row)})
    reduced = bool(rows.options.size or rows.options.quick)
    caption = "Sigma is given to every method. The network is fitted to reduced pictures on a processor."
    if reduced and cast.genuine:
        caption += REDUCED
    table, text = side_by_side(records, "Published and ours, PSNR in dB", caption, cast)
    every = Table(
        "All our priors",
        frame.reindex(columns=["name", "size", "noise", "prior", "PSNR", "SSIM", "CPU s"]),
        digits={"noise": 3, "SSIM": 3},
        folded=True,
    )
    page = f"{text}\n{counts(table.frame)}"
    claims = verdicts(table.frame, frame) if cast.genuine and records and not reduced else []
    sections = [Section("Table 2", [table, every])]
    if shown := gallery(rows):
        sections.append(Section("Pictures", shown))
    return Page("Denoising", counts(table.frame), sections, claims, text=page)


def gallery(rows: Rows) -> list[Comparison]:
    """The middle of each picture at two noise levels, first seed, best last; the reduced ones of the network apart."""
    groups: dict[tuple[str, float, int | None], list[tuple[Denoising | NetworkFit, Outcome]]] = {}
    for cell, outcome in rows.outcomes.items():
        if isinstance(cell, Denoising | NetworkFit) and cell.seed == 0 and cell.noise in SHOWN and outcome.images:
            groups.setdefault((cell.picture.name, cell.noise, cell.size), []).append((cell, outcome))
    parts = []
    for (picture, noise, size), group in groups.items():
        p = group[0][0].problem()
        truth, noisy = (middle(pnp.to_image(image)) for image in (p.truth, p.y))
        tiles = [Tile("original", truth), Tile("noisy", noisy)]
        for cell, outcome in sorted(group, key=lambda pair: quality(pair[1])):
            tiles.append(Tile(cell.prior, middle(outcome.images["x"]), f"{number(quality(outcome), 2)} dB"))
        parts.append(Comparison(f"{picture}, {pixels(size)} pixels, noise {noise:g}", truth, tiles))
    return parts


def verdicts(cells: pd.DataFrame, frame: pd.DataFrame) -> list[Verdict]:
    """Whether the published cells are reached, and what correcting the clipping is worth where it matters."""
    found = []
    for method, slack in ((PUBLISHED[0], 0.0), (PUBLISHED[1], SLACK)):
        difference = cells.loc[cells["method"] == method, "difference"].dropna()
        if len(difference):
            claim = f"{method}: every published cell is " + (f"reached to {slack} dB" if slack else "surpassed")
            holds = (difference >= -slack).all() if slack else (difference > 0).all()
            found.append(
                Verdict(claim, bool(holds), f"worst {number(difference.min(), 2)} dB of {len(difference)} cells")
            )
    heavy = frame[frame["noise"] == HEAVY].pivot_table(index="name", columns="prior", values="PSNR")
    for name in ("NLM", "BM3D"):
        if {name, name + CORRECTED} <= set(heavy):
            gain = (heavy[name + CORRECTED] - heavy[name]).dropna()
            claim = f"correcting the clipping gains {SEVERAL:g} dB or more over {name} at noise {HEAVY:g}"
            found.append(Verdict(claim, bool((gain >= SEVERAL).all()), f"{gain.min():+.2f} to {gain.max():+.2f} dB"))
    return found


BENCHMARK = Benchmark("denoising", __doc__ or "", cells, summary, pictures=TABLES[2])
