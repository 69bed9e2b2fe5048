"""The founding papers whole: every benchmark of theirs in one run and on one page."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from .cache import write
from .environment import environment
from .grid import Benchmark, Options
from .report import Page, Section, Table, markdown, render
from .runner import Finished, cores

NAMES = (
    *("deconvolution", "denoising", "single-pixel", "inpainting"),  # Anderson, tables 1 to 3 and future work
    *("regularization", "structural-bias", "compressive-sensing", "spectral-bias"),  # Anderson; Heckel, Soltanolkotabi
)
LEAD = (
    "Anderson, Regularization and Applications of a Network Structure Deep Image Prior; Heckel and Soltanolkotabi, "
    "Denoising and Regularization via Exploiting the Structural Bias of Convolutional Generators, and Compressive "
    "Sensing with Un-trained Neural Networks. Each part is a benchmark of its own, with its own report and table."
)


def chosen(benchmarks: tuple[Benchmark, ...]) -> tuple[Benchmark, ...]:
    """The papers' benchmarks, in the order of the page."""
    by = {benchmark.name: benchmark for benchmark in benchmarks}
    return tuple(by[name] for name in NAMES if name in by)


def together(finished: Mapping[str, Finished | None], options: Options) -> Path:
    """``results/papers/index.html`` from the finished parts; None for a part that has nothing to show."""
    sections = [Section("Overview", [Table("", overview(finished), digits={"CPU minutes": 1})])]
    verdicts = []
    for part in finished.values():
        if part is not None:
            page = part.page
            titled = [
                dataclasses.replace(section, title=f"{page.title}: {section.title}" if section.title else page.title)
                for section in page.sections
            ]
            sections += [dataclasses.replace(titled[0], lead=page.lead), *titled[1:]]
            verdicts += [dataclasses.replace(v, claim=f"{page.title}: {v.claim}") for v in page.verdicts]
    page = Page("The founding papers", LEAD, sections, verdicts)
    versions = {v for part in finished.values() if part is not None for v in part.version.split(", ")}
    record = environment(
        jobs=options.jobs or cores(),
        threads=options.threads,
        device=options.device,
        version=", ".join(sorted(versions)),
    )
    folder = options.out / "papers"
    write(folder / "index.html", render(page, record))
    write(folder / "tables.md", markdown(page, record))
    write(
        folder / "results.json",
        json.dumps({"environment": record, "parts": overview(finished).to_dict("records")}, indent=1),
    )
    return folder / "index.html"


def overview(finished: Mapping[str, Finished | None]) -> pd.DataFrame:
    """One row a part: what was computed, what failed, what it cost."""
    return pd.DataFrame(
        [
            {
                "part": name,
                "cells": 0 if part is None else len(part.rows.outcomes),
                "failed": "all" if part is None else len(part.failures),
                "claims that hold": "" if part is None else _share(part.page),
                "CPU minutes": 0.0 if part is None else float(part.rows.frame["cell CPU seconds"].sum() / 60),
            }
            for name, part in finished.items()
        ]
    )


def _share(page: Page) -> str:
    return f"{sum(v.holds for v in page.verdicts)} of {len(page.verdicts)}" if page.verdicts else ""
