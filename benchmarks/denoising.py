"""Denoising of clipped Gaussian noise: Anderson's Table 2, cell by cell."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator

import pandas as pd
import torch

import pnp
from pnp.priors import Clipped

from .grid import Benchmark, Cell, Options, Outcome, Rows
from .pictures import Picture
from .published import DENOISING, counts, illustration, paper_names, side_by_side
from .reconstruction import prior
from .report import Page, Section, Table, Verdict
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
        truth = self.picture.tensor(self.size).to(self.device)
        generator = torch.Generator().manual_seed(self.seed)
        noise = torch.randn(truth.shape, generator=generator, dtype=torch.float64) * self.noise
        noisy = (truth + noise.to(truth)).clamp(0, 1)
        cpu, wall = time.process_time(), time.perf_counter()
        x = self._prior().denoise(noisy, self.noise).clamp(0, 1)
        row = {
            "PSNR": float(pnp.psnr(x, truth)),
            "SSIM": float(pnp.ssim(x, truth)),
            "noisy": float(pnp.psnr(noisy, truth)),
        }
        return Outcome(row | {"CPU s": time.process_time() - cpu, "seconds": time.perf_counter() - wall})

    def _prior(self) -> pnp.Functional:
        inner = prior(self.prior.removesuffix(CORRECTED), self.seed)
        return Clipped(inner) if self.prior.endswith(CORRECTED) else inner


def cells(options: Options) -> Iterator[Cell]:
    """The papers' pictures in their native size unless ``--size``; the quick grid leaves the network out."""
    size = options.size or (96 if options.quick else None if options.images else 256)
    for kind in PRIORS:
        if options.quick and kind == "DIP":
            continue
        for name, noise in DENOISING:
            for seed in range(options.seeds):
                yield Denoising(kind, illustration(name, options.images), noise, size, seed, options.device)


def summary(rows: Rows) -> Page:
    """Three published columns, three of ours, and our other priors."""
    frame = over_seeds(rows.frame, ["PSNR", "SSIM", "CPU s"])
    frame = frame.assign(name=paper_names(frame["picture"], {name for name, _ in DENOISING}))
    records: list[dict[str, object]] = []
    for (name, noise), published in DENOISING.items():
        for kind, column in PRIORS.items():
            if column is not None:
                chosen = (frame["name"] == name) & (frame["noise"] == noise) & (frame["prior"] == kind)
                for _, row in frame[chosen].iterrows():
                    cell = {"picture": name, "noise": noise, "method": PUBLISHED[column]}
                    records.append({**cell, "published": published[column], **measured(row)})
    compared = rows.options.images is not None
    caption = "Sigma is given to every method."
    table, text = side_by_side(records, "Published and ours, PSNR in dB", caption, compared=compared)
    every = Table(
        "All our priors",
        frame[["name", "noise", "prior", "PSNR", "SSIM", "noisy", "CPU s"]],
        digits={"noise": 3, "SSIM": 3},
    )
    page = f"{text}\n{counts(table.frame)}"
    claims = verdicts(table.frame, frame) if compared else []
    return Page("Denoising", counts(table.frame), [Section("Table 2", [table, every])], claims, text=page)


def verdicts(cells: pd.DataFrame, frame: pd.DataFrame) -> list[Verdict]:
    """Whether the published cells are reached, and what correcting the clipping is worth where it matters."""
    found = []
    for method, slack in ((PUBLISHED[0], 0.0), (PUBLISHED[1], SLACK)):
        difference = cells.loc[cells["method"] == method, "difference"].dropna()
        if len(difference):
            claim = f"{method}: every published cell is " + (f"reached to {slack} dB" if slack else "surpassed")
            holds = (difference >= -slack).all() if slack else (difference > 0).all()
            found.append(Verdict(claim, bool(holds), f"worst {difference.min():+.2f} dB of {len(difference)} cells"))
    heavy = frame[frame["noise"] == HEAVY].pivot_table(index="name", columns="prior", values="PSNR")
    for name in ("NLM", "BM3D"):
        if {name, name + CORRECTED} <= set(heavy):
            gain = (heavy[name + CORRECTED] - heavy[name]).dropna()
            claim = f"correcting the clipping gains {SEVERAL:g} dB or more over {name} at noise {HEAVY:g}"
            found.append(Verdict(claim, bool((gain >= SEVERAL).all()), f"{gain.min():+.2f} to {gain.max():+.2f} dB"))
    return found


BENCHMARK = Benchmark("denoising", __doc__ or "", cells, summary)
