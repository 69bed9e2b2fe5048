"""On the same data, do we match the best setting that other libraries have, in less time and without a setting?"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import statistics
import time
from collections.abc import Iterator

import numpy as np
import torch

import pnp

from ..grid import Benchmark, Cell, Options, Outcome, Rows, Value
from ..pictures import Picture, find
from ..problems import Problem
from ..reconstruction import prepared
from ..report import Page
from .methods import METHODS, Method
from .page import page
from .process import WORKERS, Answer, Failed, Settings, Worker
from .search import search
from .tasks import measure, written

PICTURES = ("coffee", "astronaut")  # the rules of `reconstruct` were chosen on other pictures
SAME = 1e-5  # relative difference, in float32, below which two operators are one


@dataclasses.dataclass(frozen=True)
class Duel(Cell):
    """Ours with nothing but data, operator and prior, beside one method of another library: defaults, then the grid."""

    task: str
    prior: str
    peer: str
    method: str
    picture: Picture
    size: int
    versions: str
    code: str  # of the task, the worker and its settings: other code is another cell
    seed: int = 0
    rounds: int = 3
    limit: float = 60.0  # seconds, after which no further round of timing begins

    @property
    def label(self) -> str:
        return f"{self.task}, {self.picture.name}, {self.prior} beside {self.peer}, {self.method}, seed {self.seed}"

    def run(self) -> Outcome:
        p = measure(self.task, self.picture.tensor(self.size, grey=True), self.seed)
        task, data = written(self.task, p)
        method = next(m for m in METHODS if (m.peer.name, m.name, m.prior) == (self.peer, self.method, self.prior))
        with Worker(WORKERS / method.peer.script, method.peer.python, threads=torch.get_num_threads()) as worker:
            worker.give(task)
            if method.checked and (error := _difference(worker.ask("forward", {}).x, data)) > SAME:
                return Outcome({"note": f"another operator: relative difference {error:.1e}"})
            return self._compare(p, method, worker)

    def _compare(self, p: Problem, method: Method, worker: Worker) -> Outcome:
        grid = method.grid(self.task)
        default = _judged(worker, method.default_name or method.name, method.default, p)
        scores, inside = search(grid, lambda point: _judged(worker, method.name, grid.at(point), p)[0])
        tried = [
            ((method.default_name or method.name, method.default), default[0]),
            *(((method.name, grid.at(point)), score) for point, score in scores.items()),
        ]
        valid = [(chosen, score) for chosen, score in tried if not math.isnan(score)]
        if not valid:
            raise Failed(f"{self.label}: every setting failed; the first with\n{default[1]}")
        (name, settings), tuned = max(valid, key=lambda pair: pair[1])
        x, ours, theirs, answer = self._race(p, worker, name, settings)
        row: dict[str, Value] = {
            "default PSNR": default[0],
            "tuned PSNR": tuned,
            "PSNR": float(pnp.psnr(x, p.truth)),
            "s tuned": statistics.median(theirs),
            "s": statistics.median(ours),
            "times faster": statistics.median(b / a for a, b in zip(ours, theirs, strict=True)),
            "setting": json.dumps(dict(settings)),
            "inside": inside,
            "tried": len(tried),
            "failed": len(tried) - len(valid),
        }
        images = {"truth": pnp.to_image(p.truth), "ours": pnp.to_image(x), "theirs": answer.x}
        return Outcome(row, images, {"PSNR of the settings": [score for _, score in tried]})

    def _race(
        self, p: Problem, worker: Worker, name: str, settings: Settings
    ) -> tuple[torch.Tensor, list[float], list[float], Answer]:
        """Process CPU seconds of both, taking turns. Both have run before: what is compiled once is compiled."""
        g = prepared(self.prior, p, self.seed)
        x = pnp.reconstruct(p.y, p.A, g, progress=False).x
        ours: list[float] = []
        theirs: list[float] = []
        started = time.perf_counter()
        while len(ours) < self.rounds and (not ours or time.perf_counter() - started < self.limit):
            begin = time.process_time()
            pnp.reconstruct(p.y, p.A, g, progress=False)
            ours.append(time.process_time() - begin)
            answer = worker.ask(name, settings)
            theirs.append(answer.cpu)
        return x, ours, theirs, answer


def _judged(worker: Worker, name: str, settings: Settings, p: Problem) -> tuple[float, str]:
    """PSNR; nan and the reason where the library fails, or its picture is not finite."""
    try:
        x = torch.from_numpy(worker.ask(name, settings).x).to(p.truth).reshape(p.truth.shape)
    except Failed as error:
        return math.nan, str(error)
    return (float(pnp.psnr(x, p.truth)), "") if bool(x.isfinite().all()) else (math.nan, "a picture that is not finite")


def _difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)) if ours.shape == theirs.shape else math.inf


def _code(method: Method, task: str) -> str:
    paths = (WORKERS.parent / "tasks.py", WORKERS / "protocol.py", WORKERS / method.peer.script)
    texts = [path.read_text(encoding="utf-8") for path in paths]
    settings = json.dumps([dict(method.default), *map(dict, method.grid(task))])
    return hashlib.sha256("\n".join([*texts, settings]).encode()).hexdigest()[:8]


def cells(options: Options) -> Iterator[Cell]:
    """The quick methods first. A library that its interpreter does not have is left out."""
    size = options.size or (64 if options.quick else 256)
    chosen = [find(name, options.images) for name in (PICTURES[:1] if options.quick else PICTURES)]
    for prior in ("TV", "NLM") if options.quick else ("TV", "NLM", "BM3D"):
        for picture in chosen:
            for method in METHODS:
                versions = method.peer.versions()
                if method.prior != prior or versions is None:
                    continue
                for task in method.tasks:
                    for seed in range(options.seeds):
                        yield Duel(
                            *(task, prior, method.peer.name, method.name, picture, size, versions),
                            code=_code(method, task),
                            seed=seed,
                        )


def summary(rows: Rows) -> Page:
    """Quality and time side by side, and who was absent."""
    return page(rows, __doc__ or "")


BENCHMARK = Benchmark("peers", __doc__ or "", cells, summary, timing=True)
