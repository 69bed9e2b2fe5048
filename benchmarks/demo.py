"""Three operators, two pictures, four priors, two solvers, nothing tuned; then four more kinds of data."""

from __future__ import annotations

from collections.abc import Iterator

from .demo_page import GALLERY, PRIORS, PROBLEMS, SOLVERS, page
from .grid import Benchmark, Cell, Options, Rows
from .pictures import find, pictures
from .reconstruction import BASELINES, Reconstruction
from .report import Page

PICTURES = ("camera", "astronaut")
NOISE = 0.01


def cells(options: Options) -> Iterator[Cell]:
    """The slowest first, so that all cores stay busy to the end; ``--quick`` leaves the network out."""
    size = options.size or (64 if options.quick else 128)
    chosen = [find(name) for name in PICTURES] if options.images is None else pictures(options.images)[:2]
    methods = [(prior, solver) for prior in reversed(PRIORS[:3] if options.quick else PRIORS) for solver in SOLVERS]
    for prior, solver in [*methods, *(("none", baseline) for baseline in BASELINES)]:
        for problem in PROBLEMS:
            for picture in chosen:
                for seed in range(options.seeds):
                    yield Reconstruction(problem, prior, solver, picture, NOISE, size, seed=seed, device=options.device)
    for problem, entry in GALLERY.items():
        for prior, solver in ((entry.prior, "auto"), *(("none", baseline) for baseline in BASELINES)):
            picture = find(entry.picture)
            yield Reconstruction(
                problem, prior, solver, picture, entry.noise, entry.size or size, entry.grey, device=options.device
            )


def summary(rows: Rows) -> Page:
    """The page with all pictures."""
    return page(rows)


BENCHMARK = Benchmark("demo", __doc__ or "", cells, summary)
