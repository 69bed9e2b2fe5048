"""The deep image prior on inverse problems: fitted through the operator, or the prior of a solver."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator

import pnp
from pnp.priors import DeepImagePrior

from .grid import Options, Outcome
from .pictures import find, illustrations
from .problems import Problem, best_wiener, problem, single_pixel, trivial
from .published import COMPRESSIONS, DECONVOLUTION, DENOISING, TABLES
from .reconstruction import FITTED, Reconstruction

METHODS = (FITTED, "ADMM", "HQS")
OPERATORS = {  # of the demo, and two that are harder; noise in data units, grey or colour
    "identity": (0.1, True),
    "gaussian blur": (0.01, True),
    "strong gaussian blur": (0.01, True),
    "motion blur": (0.01, True),
    "random mask": (0.01, True),
    "single pixel": (0.01, True),
    "super-resolution x4": (0.005, True),
    "demosaicking": (0.01, False),
    "MRI": (0.01, True),
    "tomography": (0.3, True),
}
COMPARED = ("identity", "gaussian blur", "random mask")  # the operators on which other networks are tried
NETWORKS = ("light", "encoder-decoder", "deep-decoder", "conv-decoder")  # beside the automatic choice
STAND_IN_SIZE = 256  # of pictures that are not the papers', whose own sizes count
QUICK = {1: 96, 2: 48, 3: 64}  # pixels a side of the published tables' pictures


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkFit(Reconstruction):
    """One inverse problem, sigma given: the ``solver`` "direct" fits the network, any other has it as its prior."""

    home = "dip"

    prior: str = "DIP"
    solver: str = FITTED
    sigma_known: bool = True
    network: str = "auto"
    part: str = "route"

    @property
    def label(self) -> str:
        what = f"{self.part}, {self.operator}, {self.picture.name}, noise {self.noise:g}"
        return f"{what}, {self.solver}, {self.network}, seed {self.seed}"

    def problem(self) -> Problem:
        truth = self.picture.tensor(self.size, grey=self.grey)
        p = problem(self.operator, truth, self.noise, self.seed, self.device)
        clipped = self.operator == "identity"  # a picture is clipped, a measurement is not
        return dataclasses.replace(p, y=p.y.clamp(0, 1)) if clipped else p

    def run(self) -> Outcome:
        p = self.problem()
        network = DeepImagePrior(self.network, seed=self.seed)
        cpu, wall = time.process_time(), time.perf_counter()
        if self.solver == FITTED:
            result = network.fit(p.A, p.y, self.noise, truth=p.truth, progress=False)
        else:
            result = pnp.reconstruct(
                p.y, p.A, network, sigma=self.noise, solver=self.solver, truth=p.truth, seed=self.seed, progress=False
            )
        row = self._row(p, result.x, cpu, wall) | {"iterations": result.iterations, "status": result.status.name}
        if self.solver == FITTED:
            row["network alone"] = float(pnp.psnr(result.extras.get("network", result.x), p.truth))
            row["best"] = float(result.history.psnr.max()) if result.history is not None else None
        if self.operator == "strong gaussian blur":
            row["Wiener"] = float(pnp.psnr(best_wiener(p)[1], p.truth))
        plain = trivial(self.operator, p)[1]
        if plain.shape == p.truth.shape:
            row["without prior"] = float(pnp.psnr(plain, p.truth))
        return Outcome(row, {"x": pnp.to_image(result.x), "truth": pnp.to_image(p.truth)})


def published_fits(table: int, options: Options) -> Iterator[NetworkFit]:
    """The network's column of one of Anderson's three tables, for the pictures that there are.

    On a processor the pictures of tables 2 and 3 are reduced: with little noise the data are better than any published
    fit, at every size.
    """
    gpu = options.device.startswith("cuda")
    cast = illustrations(TABLES[table], options.images)
    runs: list[tuple[str, str, float, int | None]]
    if table == 1:
        runs = [(name, "strong gaussian blur", noise, None) for name, noise in DECONVOLUTION]
    elif table == 2:
        reduced = {key: 256 if key[0] == "cameraman" or key[1] >= 0.05 else 128 for key in DENOISING}
        runs = [(name, "identity", noise, None if gpu else side) for (name, noise), side in reduced.items()]
    else:
        cameras = [single_pixel(compression) for compression in COMPRESSIONS]
        side = 256 if gpu else 128
        runs = [(name, camera, 0.01, side) for name in TABLES[3] for camera in cameras]
    whole = None if cast.genuine else STAND_IN_SIZE
    for name, operator, noise, size in runs:
        for seed in range(options.seeds if name in cast.pictures else 0):
            yield NetworkFit(
                operator,
                cast.pictures[name],
                noise,
                options.size or (QUICK[table] if options.quick else size or whole),
                grey=table != 2,
                seed=seed,
                device=options.device,
                part=f"table {table}",
            )


def routes(options: Options) -> Iterator[NetworkFit]:
    """The direct fit and two solvers with every operator; other networks with some."""
    size = options.size or (32 if options.quick else 128)
    for operator, (noise, grey) in OPERATORS.items():
        picture = find("camera" if grey else "chelsea")
        first = NetworkFit(operator, picture, noise, size, grey=grey, device=options.device)
        for solver in METHODS:
            for seed in range(options.seeds):
                yield dataclasses.replace(first, solver=solver, seed=seed)
        for network in () if options.quick or operator not in COMPARED else NETWORKS:
            yield dataclasses.replace(first, network=network)
