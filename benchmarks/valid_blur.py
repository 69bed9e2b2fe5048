"""Deblurring a photograph, whose border was blurred with what lies outside: the valid model against circular ones."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

import pnp
import pnp.operators as catalogue
from pnp.operators import kernels

from .grid import Benchmark, Cell, Options, Outcome, Rows
from .pictures import Picture, chosen
from .reconstruction import prior
from .report import Comparison, Page, Section, Table, Tile, Verdict, number
from .statistics import over_seeds

MODELS = ("valid", "circular data", "naive circular")
NOISES = (0.003, 0.01, 0.03)
NOISE = 0.01  # the one at which several kernels are tried
PRIORS = ("TV", "BM3D")
CHOSEN, ALIKE = "chosen", "alike"  # noise level and schedule: found by `reconstruct`, or the same for all models
WITHIN = 0.3  # dB that an unknown border may cost
LOSS = 10.0  # dB that the wrong border costs at least at `NOISE`


@dataclasses.dataclass(frozen=True)
class Photograph(Cell):
    """A crop of a blurred picture; "circular data" is the impossible reference, blurred as the circular model says.

    ``tuning`` "alike" gives every model the true noise level and one schedule: what then differs is the data's doing.
    """

    model: str
    prior: str
    picture: Picture
    kernel: str
    digest: str  # of the kernel's values
    noise: float
    size: int
    tuning: str = CHOSEN
    seed: int = 0
    device: str = "cpu"
    path: Path | None = dataclasses.field(default=None, compare=False)

    @property
    def label(self) -> str:
        words = [self.model, self.prior, self.picture.name, self.kernel, f"noise {self.noise:g}", f"seed {self.seed}"]
        return ", ".join([*words, "settings alike"] if self.tuning == ALIKE else words)

    def run(self) -> Outcome:
        kernel = load_kernels(self.path)[self.kernel].to(self.device)
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
        sigma, solver = (self.noise, "ADMM") if self.tuning == ALIKE else ("auto", "auto")
        g = prior(self.prior, self.seed)
        result = pnp.reconstruct(y, A, g, sigma=sigma, solver=solver, progress=False, seed=self.seed)
        x = result.x[(..., *window)] if self.model == "valid" else result.x
        inside = (..., *(slice(n, self.size - n) for n in (h, w)))  # further from the border than the kernel reaches
        row = {
            "PSNR": float(pnp.psnr(x, truth)),
            "PSNR inside": float(pnp.psnr(x[inside], truth[inside])) if self.size > 2 * max(h, w) else None,
            "SSIM": float(pnp.ssim(x, truth)),
            "data PSNR": float(pnp.psnr(y, truth)),
            "CPU s": time.process_time() - cpu,
            "seconds": time.perf_counter() - wall,
        }
        return Outcome(row, {"x": pnp.to_image(x), "truth": pnp.to_image(truth), "y": pnp.to_image(y)})


def load_kernels(path: Path | None) -> dict[str, Tensor]:
    """The kernels of a ``.npy`` array, an ``.npz`` archive or a picture, by name; without a file one of motion.

    Raises: ValueError if one is not two-dimensional or sums to nothing.
    """
    if path is None:
        return {"motion": kernels.motion(15, 30.0)}
    if path.suffix == ".npz":
        with np.load(path) as archive:
            return {name: _kernel(archive[name], f"{path}: {name}") for name in archive.files}
    if path.suffix == ".npy":
        return {path.stem: _kernel(np.load(path), str(path))}
    import skimage.color
    import skimage.io

    picture = skimage.io.imread(path)
    grey = skimage.color.rgb2gray(picture[:, :, :3]) if picture.ndim == 3 else picture
    return {path.stem: _kernel(grey, str(path))}


def _kernel(array: np.ndarray[tuple[int, ...], np.dtype[np.floating]], who: str) -> Tensor:
    """Cropped to odd sides and scaled to sum one."""
    if array.ndim != 2 or not array.sum() > 0:
        raise ValueError(f"{who}: expected a two-dimensional kernel with a positive sum, got shape {array.shape}.")
    rows, columns = (n - 1 + n % 2 for n in array.shape)
    array = array[:rows, :columns].astype(np.float64)
    return torch.from_numpy(array / array.sum()).float()


def cells(options: Options) -> Iterator[Cell]:
    """Three models of the same picture, kernel and noise; two of them with the settings alike."""
    found = load_kernels(options.kernel)
    size = options.size or (96 if options.quick else 192)
    picture = chosen(["camera"], options.images)["camera"]
    for noise in NOISES if len(found) == 1 and not options.quick else (NOISE,):
        for kind in PRIORS[:1] if options.quick else PRIORS:
            for name, kernel in found.items():
                digest = hashlib.sha256(kernel.numpy().tobytes()).hexdigest()[:8]
                runs = [(model, CHOSEN) for model in MODELS]
                runs += [(model, ALIKE) for model in MODELS[:2]] if noise == NOISE else []
                for model, tuning in runs:
                    for seed in range(options.seeds):
                        yield Photograph(
                            *(model, kind, picture, name, digest, noise, size, tuning, seed),
                            *(options.device, options.kernel),
                        )


def summary(rows: Rows) -> Page:
    """Models side by side."""
    frame = over_seeds(rows.frame, ["PSNR", "PSNR inside", "SSIM", "data PSNR", "CPU s"])
    chosen, alike = (frame[frame["tuning"] == tuning] for tuning in (CHOSEN, ALIKE))
    table, inside = _beside(chosen, "PSNR"), _beside(chosen, "PSNR inside")
    verdicts = []
    if set(MODELS) <= set(table.columns):
        claim = f"An unknown border costs at most {WITHIN:g} dB, on average over the kernels, against circular data."
        verdicts.append(_cost(table, claim))
        if set(MODELS) <= set(inside.columns):  # the picture is larger than two kernels
            verdicts.append(_cost(inside, f"{claim[:-1]}, further from the border than the kernel reaches."))
        gain = table["valid"] - table["naive circular"]
        claim = "The valid model is better than the naive circular one everywhere."
        verdicts.append(Verdict(claim, bool((gain > 0).all()), f"Smallest gain: {number(gain.min(), 2)} dB."))
        loss = (table["circular data"] - table["naive circular"])[table["noise"] == NOISE]
        claim = f"At noise {NOISE:g} the naive circular model loses {LOSS:g} dB."
        verdicts.append(Verdict(claim, bool((loss >= LOSS).all()), f"Smallest loss: {number(loss.min(), 2)} dB."))
    tables = {
        "PSNR on the observed area, dB": table,
        "PSNR further from the border than the kernel reaches, dB": inside,
        "Settings alike: PSNR on the observed area, dB": _beside(alike, "PSNR"),
        "Settings alike: PSNR further from the border than the kernel reaches, dB": _beside(alike, "PSNR inside"),
    }
    tables = {title: t for title, t in tables.items() if len(t)}
    parts: list[Table | Comparison] = [Table(title, t, digits={"noise": 3}) for title, t in tables.items()]
    shown: dict[tuple[str, str, float], dict[str, Outcome]] = {}
    for cell, outcome in rows.outcomes.items():
        if isinstance(cell, Photograph) and cell.seed == 0 and cell.tuning == CHOSEN:
            shown.setdefault((cell.prior, cell.kernel, cell.noise), {})[cell.model] = outcome
    for (kind, name, noise), models in shown.items():
        first = next(iter(models.values()))
        tiles = [Tile("original", first.images["truth"])]
        tiles += [Tile("data", models["valid"].images["y"])] if "valid" in models else []
        tiles += [
            Tile(model, o.images["x"], f"{number(float(o.row['PSNR'] or 0), 2)} dB") for model, o in models.items()
        ]
        parts.append(Comparison(f"{kind}, {name}, noise {noise:g}", first.images["truth"], tiles))
    text = "\n\n".join(f"{title}\n{t.to_string(index=False)}" for title, t in tables.items())
    return Page("Borders", __doc__ or "", [Section("Results", parts)], verdicts, text)


def _beside(frame: pd.DataFrame, value: str) -> pd.DataFrame:
    """One row a kernel, prior and noise level, one column a model, and the PSNR of the photograph itself."""
    keys = ["noise", "prior", "kernel"]
    if frame.empty:
        return frame
    table = frame.pivot_table(index=keys, columns="model", values=value, sort=False).reset_index()
    table.columns.name = None
    if value == "PSNR":
        photographs = frame[frame["model"] != "circular data"].groupby(keys, sort=False)["data PSNR"].first()
        table["data"] = photographs.reindex(pd.MultiIndex.from_frame(table[keys])).to_numpy()
    return table


def _cost(table: pd.DataFrame, claim: str) -> Verdict:
    """The claim, decided by the largest mean over the kernels of what the unknown border costs."""
    missing = table["circular data"] - table["valid"]
    worst = missing.groupby([table["noise"], table["prior"]]).mean().max()
    detail = f"Largest mean: {number(worst, 2)} dB; largest of all: {number(missing.max(), 2)} dB."
    return Verdict(claim, bool(worst <= WITHIN), detail)


BENCHMARK = Benchmark("valid-blur", __doc__ or "", cells, summary)
