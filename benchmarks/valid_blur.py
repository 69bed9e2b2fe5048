"""Deblurring a photograph, whose border was blurred with what lies outside: the valid model against circular ones."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import pnp
import pnp.operators as catalogue

from .grid import Benchmark, Cell, Options, Outcome, Rows
from .pictures import Picture, find
from .reconstruction import prior
from .report import Comparison, Page, Section, Table, Tile, Verdict, number
from .statistics import over_seeds

MODELS = ("valid", "circular data", "naive circular")
NOISES = (0.003, 0.01, 0.03)
PRIORS = ("TV", "BM3D")


@dataclasses.dataclass(frozen=True)
class Photograph(Cell):
    """A crop of a blurred picture; "circular data" is the impossible reference, blurred as the circular model says."""

    model: str
    prior: str
    picture: Picture
    kernel: str  # digest of the file
    noise: float
    size: int
    seed: int = 0
    device: str = "cpu"
    path: Path = dataclasses.field(default=Path(), compare=False)

    @property
    def label(self) -> str:
        return f"{self.model}, {self.prior}, {self.picture.name}, noise {self.noise:g}, seed {self.seed}"

    def run(self) -> Outcome:
        kernel = load_kernel(self.path).to(self.device)
        h, w = kernel.shape
        scene = self.picture.tensor(self.size + max(h, w) - 1, grey=True).to(self.device)
        scene = scene[..., : self.size + h - 1, : self.size + w - 1]
        valid = catalogue.Blur.for_data(kernel, (self.size, self.size))
        window = (slice(h // 2, h // 2 + self.size), slice(w // 2, w // 2 + self.size))
        truth = scene[(..., *window)]
        circular = catalogue.Blur(kernel, (self.size, self.size))
        generator = torch.Generator().manual_seed(self.seed)
        noise = torch.randn(truth.shape, generator=generator, dtype=torch.float64).to(truth) * self.noise
        y = (circular.forward(truth) if self.model == "circular data" else valid.forward(scene)) + noise
        A = valid if self.model == "valid" else circular
        cpu, wall = time.process_time(), time.perf_counter()
        result = pnp.reconstruct(y, A, prior(self.prior, self.seed), progress=False, seed=self.seed)
        x = result.x[(..., *window)] if self.model == "valid" else result.x
        row = {
            "PSNR": float(pnp.psnr(x, truth)),
            "SSIM": float(pnp.ssim(x, truth)),
            "data PSNR": float(pnp.psnr(y, truth)),
            "CPU s": time.process_time() - cpu,
            "seconds": time.perf_counter() - wall,
        }
        return Outcome(row, {"x": pnp.to_image(x), "truth": pnp.to_image(truth), "y": pnp.to_image(y)})


def load_kernel(path: Path) -> Tensor:
    """The kernel of a ``.npy`` array or a picture, cropped to odd sides and scaled to sum one.

    Raises: ValueError if it is not two-dimensional or sums to nothing.
    """
    import skimage.color
    import skimage.io

    array = np.load(path) if path.suffix == ".npy" else skimage.io.imread(path)
    if array.ndim == 3:
        array = skimage.color.rgb2gray(array[:, :, :3])
    if array.ndim != 2 or not array.sum() > 0:
        raise ValueError(f"{path}: expected a two-dimensional kernel with a positive sum, got shape {array.shape}.")
    rows, columns = (n - 1 + n % 2 for n in array.shape)
    array = array[:rows, :columns].astype(np.float64)
    return torch.from_numpy(array / array.sum()).float()


def cells(options: Options) -> Iterator[Cell]:
    """Three models of the same picture, kernel and noise."""
    if options.kernel is None:
        raise ValueError("valid-blur needs --kernel FILE.")
    digest = hashlib.sha256(options.kernel.read_bytes()).hexdigest()[:8]
    size = options.size or (96 if options.quick else 192)
    picture = find("camera", options.images)
    for noise in NOISES[1:2] if options.quick else NOISES:
        for kind in PRIORS[:1] if options.quick else PRIORS:
            for model in MODELS:
                for seed in range(options.seeds):
                    yield Photograph(model, kind, picture, digest, noise, size, seed, options.device, options.kernel)


def summary(rows: Rows) -> Page:
    """Models side by side."""
    frame = over_seeds(rows.frame, ["PSNR", "SSIM", "CPU s"])
    table = frame.pivot_table(index=["noise", "prior"], columns="model", values="PSNR", sort=False).reset_index()
    table.columns.name = None
    table["data"] = frame.groupby(["noise", "prior"], sort=False)["data PSNR"].last().to_numpy()
    verdicts = []
    if {"valid", "naive circular"} <= set(table.columns):
        gain = (table["valid"] - table["naive circular"]).min()
        claim = "The valid model is better than the naive circular one everywhere."
        verdicts.append(Verdict(claim, bool(gain > 0), f"Smallest gain: {number(gain, 2)} dB."))
    parts: list[Table | Comparison] = [Table("PSNR on the observed area, dB", table, digits={"noise": 3})]
    shown: dict[tuple[str, float], dict[str, Outcome]] = {}
    for cell, outcome in rows.outcomes.items():
        if isinstance(cell, Photograph) and cell.seed == 0:
            shown.setdefault((cell.prior, cell.noise), {})[cell.model] = outcome
    for (kind, noise), models in shown.items():
        first = next(iter(models.values()))
        tiles = [Tile("original", first.images["truth"])]
        tiles += [Tile("data", models["valid"].images["y"])] if "valid" in models else []
        tiles += [
            Tile(model, o.images["x"], f"{number(float(o.row['PSNR'] or 0), 2)} dB") for model, o in models.items()
        ]
        parts.append(Comparison(f"{kind}, noise {noise:g}", first.images["truth"], tiles))
    return Page("Borders", __doc__ or "", [Section("Results", parts)], verdicts, table.to_string(index=False))


BENCHMARK = Benchmark("valid-blur", __doc__ or "", cells, summary, needs_kernel=True)
