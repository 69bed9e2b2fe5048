"""The priors as plain denoisers: quality, time and memory beside bm3d, scikit-image and OpenCV."""

from __future__ import annotations

import dataclasses
import functools
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

import pnp
from pnp.operators import Blur
from pnp.priors import BM3D, TV

from .denoisers_page import REUSED, TENSORS, THEIRS, page
from .grid import Benchmark, Cell, Options, Outcome, Rows
from .other_denoisers import denoisers
from .pictures import Picture, chosen
from .reconstruction import prior
from .report import Page
from .runner import cores
from .timing import interleaved, medians, peak_bytes, ratio

OURS = ("TV", "NLM", "Wavelet", "BM3D")
SIGMAS = (5, 10, 25, 50, 100)  # of 255
TIMED = 25  # the noise level at which times are taken; they hardly depend on it
GREY = ("camera", "brick", "moon", "coins")
COLOUR = ("astronaut", "coffee", "chelsea")
SAMPLE = 4  # small pictures by which the package is timed: it takes as long for each


def noisy(truth: Tensor, level: float, seed: int) -> Tensor:
    """``truth`` with white noise, drawn on the CPU so that every device gets the same."""
    generator = torch.Generator().manual_seed(seed)
    return truth + level * torch.randn(truth.shape, generator=generator, dtype=torch.float64).to(truth)


@dataclasses.dataclass(frozen=True)
class Comparison(Cell):
    """All denoisers on one noisy picture; ``methods`` names them, so a new package is a new cell.

    With ``rounds`` they take turns for their times, and their memory is measured.
    """

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
        return f"{self.picture.name}, {self.size} pixels, sigma {self.sigma}, seed {self.seed}"

    def run(self) -> Outcome:
        truth = self.picture.tensor(self.size, grey=self.grey).to(self.device)
        level = self.sigma / 255
        v = noisy(truth, level, self.seed)
        calls = {name: functools.partial(self._denoise(name), v, level) for name in self.methods}
        row: dict[str, float | str] = {"noisy PSNR": float(pnp.psnr(v, truth))}
        for name, call in calls.items():
            row[f"PSNR {name}"] = float(pnp.psnr(call().to(truth), truth))
        if self.rounds:
            for name, call in calls.items():
                row[f"memory {name}"] = peak_bytes(call, device=self.device) / (truth.numel() * truth.element_size())
            seconds = interleaved(calls, rounds=self.rounds, device=self.device)
            row |= {f"CPU s {name}": value for name, value in medians(seconds).items()}
        return Outcome(row)

    def _denoise(self, name: str) -> Callable[[Tensor, float], Tensor]:
        if name in OURS:
            return prior(name).denoise
        if name == TENSORS:
            return BM3D(backend="torch").denoise
        if name == REUSED:
            solve = BM3D(rematch_every=1_000_000).fresh()  # the first call, unmeasured, finds the matches
            return lambda noisy, level: solve.prox(noisy, level**2)
        other = denoisers()[name]
        return lambda noisy, level: pnp.to_tensor(other(pnp.to_image(noisy), level))


@dataclasses.dataclass(frozen=True)
class ExactTV(Cell):
    """``min strength TV(x) + |x - v|^2 / 2``: the time to come near the minimiser, beside scikit-image's.

    Near is measured twice, as a distance and as an excess of the objective; scikit-image, in float32 as we are, gets
    the number of iterations that first brings one of the two below ours. Without ``rounds`` only we are asked.
    """

    picture: Picture
    size: int
    rounds: int
    gap: float = 1e-3
    strength: float = 0.1
    sigma: int = 25
    seed: int = 0

    @property
    def label(self) -> str:
        return f"exact TV of {self.picture.name}, {self.size} pixels, gap {self.gap:g}"

    def run(self) -> Outcome:
        from skimage.restoration import denoise_tv_chambolle

        v = noisy(self.picture.tensor(self.size, grey=True), self.sigma / 255, self.seed)
        best = TV(self.strength, gap=1e-7).prox(v.double(), 1.0)
        lowest = self._objective(best, v)

        def theirs(iterations: int) -> Tensor:
            x = denoise_tv_chambolle(
                v[0].numpy(), self.strength, eps=-1.0, max_num_iter=iterations
            )  # never stops early
            return torch.from_numpy(x)[None]

        def measured(x: Tensor) -> tuple[float, float]:
            return float((x - best).square().mean().sqrt()), self._objective(x, v) / lowest - 1

        ours = TV(self.strength, gap=self.gap).fresh()
        reached = measured(ours.prox(v, 1.0))
        row: dict[str, float | int | str] = {
            "gap reached": float(ours.certificate),
            "iterations": int(ours.iterations),
            "distance": reached[0],
            "excess": reached[1],
        }
        needed = 20
        while self.rounds and all(a > b for a, b in zip(measured(theirs(needed)), reached, strict=True)):
            needed += needed // 10
        if not self.rounds:
            return Outcome(row)
        calls = {"ours": lambda: TV(self.strength, gap=self.gap).prox(v, 1.0), "theirs": lambda: theirs(needed)}
        seconds = interleaved(calls, rounds=self.rounds)
        row |= {f"CPU s {name}": value for name, value in medians(seconds).items()}
        return Outcome(row | {"skimage iterations": needed, "times faster": ratio(seconds, "ours", "theirs")})

    def _objective(self, x: Tensor, v: Tensor) -> float:
        x, v = x.double(), v.double()
        return float(self.strength * TV(1.0).variation(x) + (x - v).square().sum() / 2)


class Noted(TV):
    """TV that notes the iterations of every call, warm and from nothing, in ``calls`` of the object the user holds."""

    def __init__(self, weight: float | str) -> None:
        super().__init__(weight)
        self.calls: list[tuple[int, int]] = []

    def prox(self, v: Tensor, tau: float | Tensor) -> Tensor:
        alone = self.fresh()
        TV.prox(alone, v, tau)
        x = super().prox(v, tau)
        self.calls.append((_iterations(self), _iterations(alone)))
        return x


def _iterations(prior: TV) -> int:
    return 0 if prior.iterations is None else int(prior.iterations.max())


@dataclasses.dataclass(frozen=True)
class WarmTV(Cell):
    """The calls of one deblurring solve, each from the last one's dual, and the same calls from nothing.

    ``weight`` is in units of one over the noise level, or "auto", with which every candidate starts from nothing.
    """

    picture: Picture
    size: int
    weight: float | str
    noise: float = 0.02
    seed: int = 0

    @property
    def label(self) -> str:
        return f"warm starts of TV on {self.picture.name}, {self.size} pixels, weight {self.weight}"

    def run(self) -> Outcome:
        truth = self.picture.tensor(self.size, grey=True)
        blur = Blur.gaussian(1.6, (self.size, self.size))
        y = noisy(blur(truth), self.noise, self.seed)
        g = Noted(self.weight if isinstance(self.weight, str) else self.weight / self.noise)
        pnp.reconstruct(y, blur, g, sigma=self.noise, progress=False)
        warm, cold = (sum(column) for column in zip(*g.calls[1:], strict=True))
        return Outcome({"calls": len(g.calls), "warm": warm, "cold": cold, "ratio": warm / cold})


@dataclasses.dataclass(frozen=True)
class Large(Cell):
    """Memory of BM3D on one large colour picture."""

    picture: Picture
    size: int
    backend: str
    sigma: int = TIMED

    @property
    def label(self) -> str:
        return f"memory of BM3D ({self.backend}), {self.size} pixels, colour"

    def run(self) -> Outcome:
        v = noisy(self.picture.tensor(self.size), self.sigma / 255, 0)
        return Outcome({"GB": peak_bytes(lambda: BM3D(backend=self.backend).prox(v, (self.sigma / 255) ** 2)) / 1e9})


@dataclasses.dataclass(frozen=True)
class Small(Cell):
    """Many small pictures in one call, one by one, and through the package."""

    picture: Picture
    count: int
    size: int
    methods: tuple[str, ...]
    rounds: int
    sigma: int = TIMED

    @property
    def label(self) -> str:
        return f"batch of {self.count} pictures, {self.size} pixels"

    def run(self) -> Outcome:
        level, side = self.sigma / 255, self.size
        v = noisy(self.picture.tensor(16 * side, grey=True), level, 0)
        v = v.unfold(-2, side, side).unfold(-2, side, side).reshape(-1, 1, side, side)[: self.count]
        calls: dict[str, Callable[[], Tensor]] = {
            "together": lambda: BM3D().prox(v, level**2),
            "one by one": lambda: torch.stack([BM3D().prox(image, level**2) for image in v]),
        }
        if THEIRS in self.methods:
            package = denoisers()[THEIRS]
            calls["package"] = lambda: torch.stack([pnp.to_tensor(package(pnp.to_image(x), level)) for x in v[:SAMPLE]])
        seconds = medians(interleaved(calls, rounds=self.rounds))
        if "package" in seconds:
            seconds["package"] *= len(v) / SAMPLE
        apart = float((calls["together"]() - calls["one by one"]()).square().mean().sqrt()) / level
        return Outcome({"apart": apart, **{f"CPU s {name}": value for name, value in seconds.items()}})


@dataclasses.dataclass(frozen=True)
class Threads(Cell):
    """Wall time of BM3D on two threads beside one, on the machine as it is or with every core kept busy by others.

    Where the machine is to be idle, a round in which other processes took more than a tenth of a core does not count.
    """

    picture: Picture
    size: int
    rounds: int
    busy: bool
    sigma: int = TIMED

    @property
    def label(self) -> str:
        return f"two threads of BM3D, {self.size} pixels, colour, {'busy' if self.busy else 'idle'}"

    def run(self) -> Outcome:
        v = noisy(self.picture.tensor(self.size), self.sigma / 255, 0)
        others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(self.busy * cores())]
        before = torch.get_num_threads()
        ratios: list[float] = []
        load: list[float] = []
        try:
            for _ in range(self.rounds):
                one, two = (self._wall(v, threads) for threads in (1, 2))
                ratios.append(one[0] / two[0])
                load.append(max(one[1], two[1]))
        finally:
            torch.set_num_threads(before)
            for process in others:
                process.kill()
                process.wait()
        counted = ratios if self.busy else [r for r, cores_taken in zip(ratios, load, strict=True) if cores_taken < 0.1]
        row: dict[str, float | int] = {"rounds counted": len(counted), "cores taken by others": statistics.median(load)}
        return Outcome(row | ({"ratio": statistics.median(counted)} if counted else {}))

    def _wall(self, v: Tensor, threads: int) -> tuple[float, float]:
        """Seconds of a call, and the cores that other processes kept busy meanwhile."""
        torch.set_num_threads(threads)
        start, own, every = time.perf_counter(), time.process_time(), busy_seconds()
        BM3D().prox(v, (self.sigma / 255) ** 2)
        wall = time.perf_counter() - start
        return wall, (busy_seconds() - every - (time.process_time() - own)) / wall


def busy_seconds() -> float:
    """Seconds that all cores together have worked since the machine started; nan where the system does not say."""
    file = Path("/proc/stat")
    if not file.exists():
        return float("nan")
    user, nice, system, _, _, irq, soft, steal = map(int, file.read_text(encoding="ascii").split()[1:9])
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")


def cells(options: Options) -> Iterator[Cell]:
    """Four grey pictures and three in colour, 256 pixels a side; times of the first of each, and of 512 pixels.

    Then what only one prior is asked. The deep image prior has a benchmark of its own.
    """
    size = options.size or (128 if options.quick else 256)
    sigmas = (TIMED,) if options.quick else SIGMAS
    some = slice(1 if options.quick else None)
    grey, colour = (list(chosen(names, options.images).values())[some] for names in (GREY, COLOUR))
    one, other = grey[0], colour[0]
    methods = (*OURS, TENSORS, REUSED, *denoisers())
    for seed in range(options.seeds):
        for picture, is_grey in (*((picture, True) for picture in grey), *((picture, False) for picture in colour)):
            for sigma in sigmas:
                timed = picture in (one, other) and sigma == TIMED and seed == 0
                rounds = (3 if options.quick else 5) if timed else 0
                yield Comparison(picture, sigma, size, is_grey, methods, rounds, seed, options.device)
    full = not options.quick and options.size is None
    if full:
        for picture, is_grey in ((one, True), (other, False)):
            yield Comparison(picture, TIMED, 2 * size, is_grey, methods, 3, 0, options.device)
    if options.device.startswith("cuda"):  # the rest is about the CPU
        return
    for gap, rounds in ((1e-3, 5), (1e-5, 0)):  # scikit-image in float32 does not get as near as the second
        yield ExactTV(one, 2 * size, rounds, gap)
    for weight in (0.05, 0.2, "auto"):
        yield WarmTV(one, size, weight)
    yield Small(one, 64, 32, methods, 3)
    for backend in ("numba", "torch") if full else ():
        yield Large(other, 4 * size, backend)
    for busy in (False, True):
        yield Threads(other, 2 * size, 12, busy)


def summary(rows: Rows) -> Page:
    """One row per method, picture and noise; times as ratios to the nearest equivalent."""
    return page(rows)


BENCHMARK = Benchmark("denoisers", __doc__ or "", cells, summary, timing=True)
