"""The deep image prior fitted directly: does it stop near its best moment, and what do other networks do?"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator

import pnp
import pnp.priors as catalogue

from .figures import lines
from .grid import Benchmark, Cell, Options, Outcome, Rows, Value
from .pictures import Picture, find
from .problems import problem
from .reconstruction import curves
from .report import Charts, Comparison, Page, Section, Table, Tile, number
from .statistics import over_seeds

PROBLEMS = {"identity": 0.1, "random mask": 0.01, "gaussian blur": 0.01, "single pixel": 0.01}
NETWORKS = ("auto", "encoder-decoder", "deep-decoder", "conv-decoder")


@dataclasses.dataclass(frozen=True)
class Fit(Cell):
    """``DeepImagePrior(network).fit(A, y)``, stopped by itself or, as a bound, by the original picture."""

    operator: str
    network: str
    stop: str
    picture: Picture
    noise: float
    size: int
    iterations: int | None
    seed: int = 0
    device: str = "cpu"

    @property
    def label(self) -> str:
        return f"{self.operator}, {self.network}, stop {self.stop}, seed {self.seed}"

    def run(self) -> Outcome:
        truth = self.picture.tensor(self.size, grey=True)
        p = problem(self.operator, truth, self.noise, self.seed, self.device)
        network = catalogue.DeepImagePrior(network=self.network, seed=self.seed, iterations=self.iterations)
        cpu, wall = time.process_time(), time.perf_counter()
        result = network.fit(p.A, p.y, self.noise, truth=p.truth, stop=self.stop)
        row: dict[str, Value] = {
            "PSNR": float(pnp.psnr(result.x, p.truth)),
            "SSIM": float(pnp.ssim(result.x, p.truth)),
            "iterations": result.iterations,
            "status": result.status.name,
            "CPU s": time.process_time() - cpu,
            "seconds": time.perf_counter() - wall,
        }
        return Outcome(row, {"x": pnp.to_image(result.x), "truth": pnp.to_image(p.truth)}, curves(result))


def cells(options: Options) -> Iterator[Cell]:
    """The oracle stop only for the default network."""
    size = options.size or (64 if options.quick else 128)
    iterations = 300 if options.quick else None
    picture = find("camera", options.images)
    for name, noise in PROBLEMS.items():
        for network in NETWORKS[:1] if options.quick else NETWORKS:
            for stop in ("auto", "oracle") if network == "auto" else ("auto",):
                for seed in range(options.seeds):
                    yield Fit(name, network, stop, picture, noise, size, iterations, seed, options.device)


def summary(rows: Rows) -> Page:
    """Automatic stop beside the oracle, and the curves."""
    frame = over_seeds(rows.frame, ["PSNR", "SSIM", "CPU s", "iterations"])
    names = ["operator", "network", "stop", "PSNR", "± PSNR", "SSIM", "iterations", "status", "CPU s"]
    table = frame[[name for name in names if name in frame]]
    parts: list[Table | Charts | Comparison] = [Table("", table, digits={"SSIM": 3, "iterations": 0}, best=())]
    for name in PROBLEMS:
        found = {
            cell: outcome
            for cell, outcome in rows.outcomes.items()
            if isinstance(cell, Fit) and cell.operator == name and cell.seed == 0
        }
        series = {
            f"{cell.network}, {cell.stop}": ([float(i) for i in range(1, len(o.curves["psnr"]) + 1)], o.curves["psnr"])
            for cell, o in found.items()
            if o.curves
        }
        if found:
            truth = next(iter(found.values())).images["truth"]
            tiles = [Tile("original", truth)] + [
                Tile(f"{cell.network}, {cell.stop}", o.images["x"], f"{number(float(o.row['PSNR'] or 0), 2)} dB")
                for cell, o in found.items()
            ]
            parts.append(Comparison(name, truth, tiles))
        if series:
            parts.append(Charts("", [(lines(series, x="recorded iteration", y="PSNR, dB"), f"{name}: PSNR")]))
    return Page("Deep image prior", __doc__ or "", [Section("Results", parts)], text=table.to_string(index=False))


BENCHMARK = Benchmark("dip", __doc__ or "", cells, summary)
