"""The priors as plain denoisers: quality, time and memory beside bm3d, scikit-image and OpenCV."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator

import pandas as pd
import torch

import pnp

from .grid import Benchmark, Cell, Options, Outcome, Rows
from .peers import denoisers
from .pictures import Picture, find
from .reconstruction import prior
from .report import Page, Section, Table
from .timing import interleaved, medians, peak_bytes

OURS = ("TV", "NLM", "Wavelet", "BM3D")
SIGMAS = (5, 10, 25, 50, 100)  # of 255
NEAREST = {"TV": "skimage TV", "NLM": "skimage NLM", "Wavelet": "skimage wavelet, spun", "BM3D": "bm3d package"}


@dataclasses.dataclass(frozen=True)
class Comparison(Cell):
    """All denoisers on one noisy picture, taking turns; ``methods`` names them, so a new package is a new cell."""

    picture: Picture
    sigma: int
    size: int
    grey: bool
    methods: tuple[str, ...]
    rounds: int
    seed: int = 0
    device: str = "cpu"

    @property
    def label(self) -> str:
        return f"{self.picture.name}, sigma {self.sigma}, seed {self.seed}"

    def run(self) -> Outcome:
        truth = self.picture.tensor(self.size, grey=self.grey).to(self.device)
        level = self.sigma / 255
        generator = torch.Generator().manual_seed(self.seed)
        noisy = truth + level * torch.randn(truth.shape, generator=generator, dtype=torch.float64).to(truth)
        calls = {name: functools.partial(self._denoise(name), noisy, level) for name in self.methods}
        row: dict[str, float | str] = {"noisy PSNR": float(pnp.psnr(noisy, truth))}
        for name, call in calls.items():
            row[f"PSNR {name}"] = float(pnp.psnr(call().to(truth), truth))
            row[f"memory {name}"] = peak_bytes(call, device=self.device) / (truth.numel() * truth.element_size())
        seconds = interleaved(calls, rounds=self.rounds, device=self.device)
        return Outcome(row | {f"CPU s {name}": value for name, value in medians(seconds).items()})

    def _denoise(self, name: str) -> Callable[[torch.Tensor, float], torch.Tensor]:
        if name in OURS:
            return prior(name).denoise
        peer = denoisers()[name]
        return lambda noisy, level: pnp.to_tensor(peer(pnp.to_image(noisy), level))


def cells(options: Options) -> Iterator[Cell]:
    """Grey and colour; the deep image prior has a benchmark of its own."""
    size = options.size or (128 if options.quick else 256)
    sigmas = SIGMAS[2:3] if options.quick else SIGMAS
    names = (
        (("camera", True), ("astronaut", False))
        if options.quick
        else (*(("camera", True), ("brick", True), ("moon", True)), *(("astronaut", False), ("coffee", False)))
    )
    for name, grey in names:
        for sigma in sigmas:
            for seed in range(options.seeds):
                yield Comparison(
                    find(name, options.images),
                    sigma,
                    size,
                    grey,
                    (*OURS, *denoisers()),
                    3 if options.quick else 5,
                    seed,
                    options.device,
                )


def summary(rows: Rows) -> Page:
    """One row per method, picture and noise; times as ratios to the nearest equivalent."""
    frame = rows.frame
    records: list[dict[str, object]] = []
    for _, row in frame.iterrows():
        for column in [c for c in frame.columns if c.startswith("PSNR ")]:
            name = column.removeprefix("PSNR ")
            if pd.isna(row[column]):
                continue
            record: dict[str, object] = {
                "picture": row["picture"].split(":")[0],
                "kind": "grey" if row["grey"] else "colour",
                "sigma": row["sigma"],
                "method": name,
                "PSNR": row[column],
                "CPU s": row[f"CPU s {name}"],
                "memory, images": row[f"memory {name}"],
            }
            other = NEAREST.get(name, "")
            if f"CPU s {other}" in frame:
                record |= {"against": other, "gain, dB": row[column] - row[f"PSNR {other}"]}
                record["times faster"] = row[f"CPU s {other}"] / row[f"CPU s {name}"]
            records.append(record)
    table = pd.DataFrame(records)
    grouped = table.groupby(["kind", "sigma", "method"], sort=False)
    means = grouped[["PSNR", "CPU s", "memory, images", "gain, dB", "times faster"]].mean().reset_index()
    caption = (
        f"Means over pictures; {rows.options.threads} thread(s) for every method; CPU seconds are medians of "
        "interleaved rounds. The bm3d package is free for non-commercial use only; it is measured here, used nowhere."
    )
    digits = {"CPU s": 3, "memory, images": 1, "times faster": 1, "gain, dB": 2}
    sections = [
        Section("Means", [Table("", means, caption, digits)]),
        Section("Every picture", [Table("", table, digits=digits)]),
    ]
    return Page(
        "Denoisers", __doc__ or "", sections, text=means.to_string(index=False, float_format=lambda v: f"{v:.3f}")
    )


BENCHMARK = Benchmark("denoisers", __doc__ or "", cells, summary, timing=True)
