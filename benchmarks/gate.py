"""The regression gate: a few dozen small reconstructions, nothing given, against the committed reference.json."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import statistics
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from .cache import write
from .environment import environment
from .pictures import find
from .reconstruction import Reconstruction

REFERENCE = Path(__file__).resolve().parent / "reference.json"
CLOSE = 0.05  # dB that a PSNR may fall: other processors round otherwise
SLOWER = 3.0  # times the reference's ratio of seconds: caches and vector units differ from machine to machine
SIZE = 48  # pixels
# Rounding decides which blocks BM3D matches: the smaller the picture, the more its PSNR depends on the processor.
MATCHING_SIZE = 96
# Every family of operators with every deterministic prior that suits it; a network's fit differs between processors.
PAIRS = {
    "identity": ("TV", "NLM", "BM3D", "Wavelet"),
    "gaussian blur": ("TV", "NLM", "BM3D", "Wavelet"),
    "motion blur": ("TV", "Wavelet"),
    "sparse mask": ("TV", "NLM", "BM3D", "Wavelet"),
    "single pixel": ("TV", "BM3D", "Wavelet"),
    "super-resolution x2": ("TV", "BM3D"),
    "MRI": ("TV", "BM3D"),
    "tomography": ("TV", "Wavelet"),
    "demosaicking": ("TV", "BM3D"),
}


@dataclasses.dataclass(frozen=True)
class Measured:
    """The PSNR in dB, and CPU seconds as multiples of the yardstick's in the same run."""

    psnr: float
    ratio: float


def cells() -> Iterator[Reconstruction]:
    """What is rerun."""
    for operator, priors in PAIRS.items():
        for prior in priors:
            colour = operator == "demosaicking"
            picture = find("chelsea" if colour else "camera")
            noise = 0.1 if operator == "tomography" else 0.02
            size = MATCHING_SIZE if prior == "BM3D" else SIZE
            yield Reconstruction(operator, prior, "auto", picture, noise, size, not colour)


def yardstick() -> float:
    """CPU seconds of a fixed mixture of what reconstructions spend time on: transforms, sorting, sums."""
    x = torch.rand((4, 128, 128), generator=torch.Generator().manual_seed(0))
    begin = time.process_time()
    for _ in range(20):
        x = torch.fft.irfft2(torch.fft.rfft2(x) * 0.9)
        x = x + 0.1 * x.sort(dim=-1).values.roll(1, dims=-2)
        x = x / x.abs().mean(dim=(-2, -1), keepdim=True)
    return time.process_time() - begin


def measure() -> dict[str, Measured]:
    """Every cell beside the yardstick, one after the other on one thread."""
    torch.set_num_threads(1)
    yardstick()
    found = {}
    for cell in tqdm(list(cells()), desc="gate", unit="cell"):
        before = [yardstick() for _ in range(3)]
        first = cell.run().row
        second = cell.run().row  # the first may have compiled code
        unit = statistics.median([*before, *(yardstick() for _ in range(3))])
        seconds = min(float(first["CPU s"] or 0), float(second["CPU s"] or 0))
        found[cell.label] = Measured(float(first["PSNR"] or 0), seconds / unit)
    return found


def compared(reference: Mapping[str, Any], found: Mapping[str, Measured]) -> tuple[list[str], list[str]]:
    """What has become worse, and what else is to be said."""
    worse, notes = [], []
    known = {label: Measured(**numbers) for label, numbers in reference["cells"].items()}
    alike = reference["compiled"] == compiled()
    if not alike:
        notes.append("numba is installed only here, or only where the reference was made: neither times nor BM3D count")
    for label in found.keys() ^ known.keys():
        worse.append(f"{label}: {'not in the reference' if label in found else 'no longer measured'}; run --update")
    for label in [label for label in found if label in known]:
        now, then = found[label], known[label]
        change = now.psnr - then.psnr
        if not alike and "BM3D" in label:
            continue
        if not change >= -CLOSE:
            worse.append(f"{label}: {now.psnr:.2f} dB, was {then.psnr:.2f}")
        elif change > CLOSE:
            notes.append(f"{label}: {now.psnr:.2f} dB, was {then.psnr:.2f}; better: --update holds it")
        if alike and now.ratio > SLOWER * then.ratio:
            worse.append(f"{label}: takes {now.ratio:.1f} yardsticks, took {then.ratio:.1f}")
    return worse, notes


def compiled() -> bool:
    """Whether the compiled back ends are there, beside which the others are slow."""
    return importlib.util.find_spec("numba") is not None


def update(found: Mapping[str, Measured], path: Path = REFERENCE) -> None:
    """Make what was found the reference."""
    record = environment(jobs=1, threads=1, device="cpu", version="")
    kept = {name: record[name] for name in ("processor", "system", "python", "torch", "numpy") if name in record}
    rounded = {label: {"psnr": round(m.psnr, 3), "ratio": round(m.ratio, 1)} for label, m in found.items()}
    write(path, json.dumps({"environment": kept, "compiled": compiled(), "cells": rounded}, indent=1) + "\n")


def gate(*, renew: bool = False, path: Path = REFERENCE) -> tuple[int, str]:
    """The exit status and what to print."""
    begin = time.perf_counter()
    found = measure()
    if renew:
        update(found, path)
        return 0, f"{len(found)} reconstructions are the new reference in {path.name}"
    worse, notes = compared(json.loads(path.read_text(encoding="utf-8")), found)
    end = f"{len(found)} reconstructions in {time.perf_counter() - begin:.0f} s, {len(worse)} worse than the reference"
    return int(bool(worse)), "\n".join([*(f"note: {n}" for n in notes), *(f"WORSE: {w}" for w in worse), end])
