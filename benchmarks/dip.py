"""The deep image prior: does it stop near its best moment, what do two networks gain, and does a solver help it?"""

from __future__ import annotations

import dataclasses
import importlib.util
import math
import time
from collections.abc import Iterator

import torch
from torch import Tensor

import pnp
import pnp.priors as catalogue
from pnp.operators import Identity
from pnp.priors.dip import HoldOut, Plateau, View
from pnp.priors.dip.choices import HELD_OUT

from .dip_page import page
from .grid import Benchmark, Cell, Options, Outcome, Rows, Value
from .pictures import Picture, find, pictures
from .problems import best_wiener, problem, trivial
from .published import DECONVOLUTION, DENOISING
from .report import Page
from .trajectories import Watch

SIGMAS = (15, 25, 50)  # of 255
# Defaults were chosen on ihc, motorcycle_left, retina and rocket; these are for reporting.
COLOUR = ("astronaut", "chelsea", "coffee")
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
METHODS = ("direct", "ADMM", "HQS")
COMPARED = ("identity", "gaussian blur", "random mask")  # the operators on which other networks are tried
COMPRESSIONS = (1, 2, 4, 8)
NETWORKS = ("light", "encoder-decoder", "deep-decoder", "conv-decoder")  # beside the automatic choice
PAIRED = ("tapered", "small")  # pairs of these beside those of the automatic choice
SPEEDS = ("tapered", "light", "small", "tiny", "fast", "paper")
PUBLISHED_ITERATIONS = 1800  # Ulyanov et al.'s score: 29.22 dB raw, 30.43 dB averaged, over nine pictures


def clipped(truth: Tensor, sigma: float, seed: int) -> Tensor:
    """``truth`` with Gaussian noise, clipped to [0, 1] as in the published protocol."""
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (truth + sigma * noise.to(truth)).clamp(0, 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Noisy(Cell):
    """A colour picture with clipped noise; ``sigma`` of 255."""

    picture: Picture
    sigma: int
    size: int | None
    seed: int = 0
    device: str = "cpu"

    @property
    def level(self) -> float:
        """The noise in units of the picture."""
        return self.sigma / 255

    def problem(self) -> tuple[Tensor, Tensor, Identity]:
        """The original, the data, and the operator between them."""
        truth = self.picture.tensor(self.size).to(self.device)
        A = Identity((truth.shape[-2], truth.shape[-1])).to(self.device)
        return truth, clipped(truth, self.level, self.seed), A


@dataclasses.dataclass(frozen=True)
class Denoising(Noisy):
    """Raw, averaged, stopped by itself and by the original, one network or two."""

    network: str
    nets: int
    iterations: int | None

    @property
    def label(self) -> str:
        return f"protocol, {self.picture.name}, sigma {self.sigma}, {self.network} x{self.nets}, seed {self.seed}"

    def run(self) -> Outcome:
        truth, noisy, A = self.problem()
        watch = Watch(truth)
        network = catalogue.DeepImagePrior(self.network, seed=self.seed, iterations=self.iterations)
        share = max(HoldOut().fraction, HELD_OUT / A.rows)  # as the automatic rule holds out
        beyond = HoldOut(fraction=share, least=500, share=1.0)  # but for as long again as the best took
        result = network.fit(A, noisy, self.level, stop=beyond, callback=watch, n_nets=self.nets, give_back=False)
        row: dict[str, Value] = {"noisy": float(pnp.psnr(noisy, truth)), **watch.first}
        row["loss"] = str(result.parameters["loss"].value)
        if self.nets > 1:
            row["ensemble"] = float(pnp.psnr(torch.stack(watch.images).mean(0).to(truth), truth))
            row["alone"] = sum(float(pnp.psnr(x.to(truth), truth)) for x in watch.images) / self.nets
        row["BM3D"] = float(pnp.psnr(catalogue.BM3D().denoise(noisy, self.level), truth))
        images = {"truth": truth, "noisy": noisy, "x": watch.images[0].to(truth)}
        return Outcome(row, {name: pnp.to_image(x) for name, x in images.items()}, watch.curves)


@dataclasses.dataclass(frozen=True)
class Timed(Noisy):
    """One call of ``fit`` with everything automatic, against the clock."""

    network: str = "auto"
    n_nets: int = 1

    @property
    def label(self) -> str:
        return f"timed, {self.picture.name}, sigma {self.sigma}, {self.network} x{self.n_nets}"

    def run(self) -> Outcome:
        truth, noisy, A = self.problem()
        network = catalogue.DeepImagePrior(self.network)
        if self.device.startswith("cuda"):  # start-up: kernels chosen, graph captured
            catalogue.DeepImagePrior(self.network, iterations=20).fit(A, noisy, self.level)
        cpu, wall = time.process_time(), time.perf_counter()
        result = network.fit(A, noisy, self.level, n_nets=self.n_nets)
        row: dict[str, Value] = {
            "PSNR": float(pnp.psnr(result.x, truth)),  # reads the image: a GPU has then finished
            "CPU s": time.process_time() - cpu,
            "seconds": time.perf_counter() - wall,
            "network alone": float(pnp.psnr(result.extras.get("network", result.x), truth)),
            "BM3D": float(pnp.psnr(catalogue.BM3D().denoise(noisy, self.level), truth)),
            "iterations": result.iterations,
        }
        return Outcome(row)


@dataclasses.dataclass(frozen=True)
class Published(Noisy):
    """The published denoising run: all pixels fitted for 1800 iterations; the raw output and the running average."""

    @property
    def label(self) -> str:
        return f"published, {self.picture.name}, sigma {self.sigma}, seed {self.seed}"

    def run(self) -> Outcome:
        truth, noisy, A = self.problem()
        last: list[View] = []

        def keep(view: View) -> None:
            last[:] = [dataclasses.replace(view, output=view.output.clone(), average=view.average.clone())]

        network = catalogue.DeepImagePrior("paper", seed=self.seed, iterations=PUBLISHED_ITERATIONS)
        endless = Plateau(window=PUBLISHED_ITERATIONS)
        network.fit(A, noisy, stop=endless, loss="l2", callback=keep, give_back=False)
        raw, averaged = (float(pnp.psnr(x.to(truth), truth)) for x in (last[0].output, last[0].average))
        return Outcome({"raw": raw, "averaged": averaged, "seconds": last[0].seconds})


@dataclasses.dataclass(frozen=True)
class Speed(Cell):
    """Iterations per second of one network on a colour picture, jitter, average and hold-out included."""

    network: str
    size: int
    iterations: int
    device: str = "cpu"

    @property
    def label(self) -> str:
        return f"speed, {self.network}, {self.size}"

    def run(self) -> Outcome:
        y = torch.rand((3, self.size, self.size), generator=torch.Generator().manual_seed(0)).to(self.device)
        A = Identity((self.size, self.size)).to(self.device)
        clock = time.perf_counter if self.device.startswith("cuda") else time.process_time
        looks: list[tuple[int, float]] = []
        warm = self.iterations // 4
        catalogue.DeepImagePrior(self.network, iterations=warm + self.iterations).fit(
            A, y, 0.1, stop=HoldOut(least=10**6), callback=lambda view: looks.append((view.iteration, clock()))
        )
        (first, began), (last, ended) = next(look for look in looks if look[0] >= warm), looks[-1]
        return Outcome({"iterations per s": (last - first) / (ended - began)})


@dataclasses.dataclass(frozen=True)
class Deepinv(Noisy):
    """deepinv's DeepImagePrior with its default decoder, then ours on the same device until it is as good."""

    iterations: int = 2500  # deepinv's own default

    @property
    def label(self) -> str:
        return f"deepinv, {self.picture.name}, sigma {self.sigma}, seed {self.seed}"

    def run(self) -> Outcome:
        import deepinv

        truth, noisy, A = self.problem()
        torch.manual_seed(self.seed)
        decoder = deepinv.models.ConvDecoder(img_size=tuple(truth.shape)).to(self.device)
        theirs = deepinv.models.DeepImagePrior(decoder, img_size=(256, 4, 4), iterations=self.iterations)
        physics = deepinv.physics.Denoising(device=self.device)
        physics.A(noisy[None]).sum().item()  # start-up
        began = time.perf_counter()
        level = float(pnp.psnr(theirs(noisy[None], physics)[0].detach(), truth))
        spent = time.perf_counter() - began
        looks: list[tuple[float, float]] = []

        def look(view: View) -> None:
            looks.append((float(pnp.psnr(view.average.to(truth), truth)), view.seconds))

        ours = catalogue.DeepImagePrior(seed=self.seed).fit(
            A, noisy, self.level, callback=look, give_back=False, progress=False
        )
        until = next((seconds for psnr, seconds in looks if psnr >= level), math.inf)
        return Outcome(
            {
                "deepinv": level,
                "deepinv s": spent,
                "ours": float(pnp.psnr(ours.x, truth)),
                "ours s": looks[-1][1],
                "as good after s": until,
                "times faster": spent / until,
            }
        )


@dataclasses.dataclass(frozen=True)
class Route(Cell):
    """One inverse problem, sigma given: the direct fit, or the same network as the prior of a solver."""

    operator: str
    method: str
    network: str
    picture: Picture
    noise: float
    grey: bool
    size: int | None
    seed: int = 0
    device: str = "cpu"
    part: str = "route"

    @property
    def label(self) -> str:
        what = f"{self.part}, {self.operator}, {self.picture.name}, noise {self.noise:g}"
        return f"{what}, {self.method}, {self.network}, seed {self.seed}"

    def run(self) -> Outcome:
        truth = self.picture.tensor(self.size, grey=self.grey)
        p = problem(self.operator, truth, self.noise, self.seed, self.device)
        if self.operator == "identity":  # a picture is clipped, a measurement is not
            p = dataclasses.replace(p, y=p.y.clamp(0, 1))
        network = catalogue.DeepImagePrior(self.network, seed=self.seed)
        cpu = time.process_time()
        if self.method == "direct":
            result = network.fit(p.A, p.y, self.noise, truth=p.truth)
        else:
            result = pnp.reconstruct(
                p.y, p.A, network, sigma=self.noise, solver=self.method, truth=p.truth, seed=self.seed, progress=False
            )
        row: dict[str, Value] = {
            "PSNR": float(pnp.psnr(result.x, p.truth)),
            "CPU s": time.process_time() - cpu,
            "iterations": result.iterations,
            "status": result.status.name,
        }
        if self.method == "direct":
            row["network alone"] = float(pnp.psnr(result.extras.get("network", result.x), p.truth))
            row["best"] = float(result.history.psnr.max()) if result.history is not None else None
        if self.operator == "strong gaussian blur":
            row["Wiener"] = float(pnp.psnr(best_wiener(p)[1], p.truth))
        plain = trivial(self.operator, p)[1]
        if plain.shape == p.truth.shape:
            row["without prior"] = float(pnp.psnr(plain, p.truth))
        return Outcome(row, {"x": pnp.to_image(result.x), "truth": pnp.to_image(p.truth)})


def cells(options: Options) -> Iterator[Cell]:
    """The protocol at 128 x 128 on a processor and at full size on a GPU; then the clock, then the operators."""
    gpu, device = options.device.startswith("cuda"), options.device
    side = options.size or (64 if options.quick else None if gpu else 128)
    colour = [find(name) for name in COLOUR]
    if options.images is not None:
        colour = [picture for picture in pictures(options.images) if picture.tensor(16).shape[0] == 3]
    if options.quick:
        colour = colour[:1]
    iterations = 300 if options.quick else None
    for sigma in SIGMAS:
        for picture in colour:
            for seed in range(options.seeds):
                nets = 2 if sigma == 25 else 1
                yield Denoising(
                    "auto", nets, iterations, picture=picture, sigma=sigma, size=side, seed=seed, device=device
                )
    for network in () if gpu or options.quick else PAIRED:
        for picture in colour:
            yield Denoising(network, 2, iterations, picture=picture, sigma=25, size=side, device=device)
    if gpu:
        for picture in colour:
            for seed in range(options.seeds):
                yield Published(picture=picture, sigma=25, size=side, seed=seed, device=device)
        if importlib.util.find_spec("deepinv"):
            yield Deepinv(picture=colour[0], sigma=25, size=side, device=device)
    for picture in colour[:1] if not gpu else colour:
        timed = "auto" if gpu else "tapered"
        yield Timed(timed, picture=picture, sigma=25, size=side if gpu or options.quick else 256, device=device)
    for network in SPEEDS[:4] if options.quick else SPEEDS if gpu else SPEEDS[:4]:
        yield Speed(network, 512 if gpu else 64 if options.quick else 256, 1000 if gpu else 20, device)
    if options.images is not None:
        yield from _published(options)
    for operator, (noise, grey) in OPERATORS.items():
        picture = find("camera") if grey else find("chelsea")
        size = options.size or (32 if options.quick else 128)
        for method in METHODS:
            for seed in range(options.seeds):
                yield Route(operator, method, "auto", picture, noise, grey, size, seed, device)
        for network in () if options.quick or operator not in COMPARED else NETWORKS:
            yield Route(operator, "direct", network, picture, noise, grey, size, 0, device)


def _published(options: Options) -> Iterator[Cell]:
    """The network's column of Anderson's three tables; on a processor the pictures are reduced."""
    gpu = options.device.startswith("cuda")

    def route(operator: str, name: str, noise: float, size: int | None, part: str) -> Route:
        grey = name not in ("f16", "baboon")
        picture = find(name, options.images)
        return Route(operator, "direct", "auto", picture, noise, grey, options.size or size, 0, options.device, part)

    for name, noise in DENOISING:  # with little noise the data are better than any published fit, at every size
        reduced = 256 if name == "cameraman" or noise >= 0.05 else 128
        yield route("identity", name, noise, None if gpu else reduced, "table 2")
    for name, noise in DECONVOLUTION:
        yield route("strong gaussian blur", name, noise, None, "table 1")
    for name in ("logo", "barbara"):
        for factor in COMPRESSIONS:
            operator = "single pixel" if factor == 4 else f"single pixel {factor}"
            picture = "stanford_logo" if name == "logo" else "barbara_256"
            yield route(operator, picture, 0.01, 256 if gpu else 128, "table 3")


def summary(rows: Rows) -> Page:
    """The tables of every part that ran, and what they decide."""
    return page(rows)


BENCHMARK = Benchmark("dip", __doc__ or "", cells, summary)
