"""Denoising of clipped Gaussian noise: Anderson's Table 2, cell by cell."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator

import torch

import pnp

from .grid import Benchmark, Cell, Options, Outcome, Rows
from .pictures import Picture, find
from .published import DENOISING, counts, side_by_side
from .reconstruction import prior
from .report import Page, Section
from .statistics import over_seeds

PRIORS = {
    "NLM": 0,
    "BM3D": 1,
    "DIP": 2,
    "TV": None,
    "Wavelet": None,
}  # and the published column beside which each stands
PUBLISHED = ("NLM", "BM3D / CBM3D", "network")


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
        x = prior(self.prior, self.seed).denoise(noisy, self.noise).clamp(0, 1)
        row = {
            "PSNR": float(pnp.psnr(x, truth)),
            "SSIM": float(pnp.ssim(x, truth)),
            "noisy": float(pnp.psnr(noisy, truth)),
        }
        return Outcome(row | {"CPU s": time.process_time() - cpu, "seconds": time.perf_counter() - wall})


def cells(options: Options) -> Iterator[Cell]:
    """Native size unless ``--size``; the quick grid leaves the network out."""
    for kind in PRIORS:
        if options.quick and kind == "DIP":
            continue
        for name, noise in DENOISING:
            for seed in range(options.seeds):
                yield Denoising(kind, find(name, options.images), noise, options.size, seed, options.device)


def summary(rows: Rows) -> Page:
    """Three published columns, three of ours, and our other priors."""
    frame = over_seeds(rows.frame, ["PSNR", "SSIM", "CPU s"])
    frame = frame.assign(name=frame["picture"].str.split("[:_]").str[0].str.lower())
    records: list[dict[str, object]] = []
    for (name, noise), published in DENOISING.items():
        for kind, column in PRIORS.items():
            if column is not None:
                for ours in frame.loc[
                    (frame["name"] == name) & (frame["noise"] == noise) & (frame["prior"] == kind), "PSNR"
                ]:
                    their = PUBLISHED[column]
                    records.append(
                        {"picture": name, "noise": noise, "method": their, "published": published[column], "ours": ours}
                    )
    table, text = side_by_side(records, "Published and ours, PSNR in dB", "Sigma is given to every method.")
    from .report import Table

    every = Table(
        "All our priors",
        frame[["name", "noise", "prior", "PSNR", "SSIM", "noisy", "CPU s"]],
        digits={"noise": 3, "SSIM": 3},
    )
    page = f"{text}\n{counts(table.frame)}"
    return Page("Denoising", counts(table.frame), [Section("Table 2", [table, every])], text=page)


BENCHMARK = Benchmark("denoising", __doc__ or "", cells, summary, needs_images=True)
