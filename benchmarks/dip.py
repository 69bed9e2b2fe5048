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
from .network_fits import published_fits, routes
from .pictures import Picture, find, illustrations, pictures
from .published import TABLES
from .report import Page
from .trajectories import Watch

SIGMAS = (15, 25, 50)  # of 255
# Defaults were chosen on ihc, motorcycle_left, retina and rocket; these are for reporting.
COLOUR = ("astronaut", "chelsea", "coffee")
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


def cells(options: Options) -> Iterator[Cell]:
    """The protocol at 128 x 128 on a processor and at full size on a GPU; then the clock, then the operators."""
    gpu, device = options.device.startswith("cuda"), options.device
    side = options.size or (64 if options.quick else None if gpu else 128)
    colour = [find(name) for name in COLOUR]
    if options.images is not None:
        colour = [picture for picture in pictures(options.images) if picture.tensor(16).shape[0] == 3] or colour
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
    for table, names in TABLES.items():
        if illustrations(names, options.images).genuine:
            yield from published_fits(table, options)
    yield from routes(options)


def summary(rows: Rows) -> Page:
    """The tables of every part that ran, and what they decide."""
    return page(rows)


BENCHMARK = Benchmark(
    "dip", __doc__ or "", cells, summary, pictures=tuple(name for names in TABLES.values() for name in names)
)
