"""Time, memory and growth of every operator, beside the nearest equivalent of other libraries."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch

from .equivalents import Call, equivalents
from .figures import lines
from .grid import Benchmark, Cell, Options, Outcome, Rows
from .other_denoisers import installed
from .problems import operator
from .report import Charts, Page, Section, Table, Verdict, number
from .timing import interleaved, medians, peak_bytes, ratio

NAMES = (
    *("gaussian blur", "motion blur", "random mask", "single pixel", "super-resolution x2", "super-resolution x4"),
    *("demosaicking", "MRI", "tomography"),
)
SIZES = (256, 512, 1024, 2048)
STEPS = ("forward", "adjoint", "data step")
REFERENCE = "two FFTs"  # of the same picture: what n log n costs on this machine, caches included
GROWTH = 0.1  # of the exponent beyond that of the reference: its own scatter between runs on a busy machine
IMAGES = 8.0  # of peak memory
TRANSFORMS = ("gaussian blur", "motion blur", "single pixel", "MRI")  # solved by Fourier or Hadamard transforms
LEAST = 256  # side from which time and memory are judged


@dataclasses.dataclass(frozen=True)
class Timing(Cell):
    """One operator at one size beside its equivalents, all calls taking turns."""

    operator: str
    size: int
    peers: tuple[str, ...] = ()  # further libraries that are installed: another set is another cell
    rounds: int = 7
    limit: float = 60.0
    device: str = "cpu"

    @property
    def label(self) -> str:
        return f"{self.operator}, {self.size}"

    def run(self) -> Outcome:
        A = operator(self.operator, (self.size, self.size)).to(self.device)
        generator = torch.Generator().manual_seed(0)
        x = torch.rand(A.in_shape, generator=generator).to(self.device)
        y = A.forward(x)
        other = torch.rand(A.in_shape, generator=generator).to(self.device)  # far from the data: iterations have work
        rho = 1e-2 * A.norm() ** 2
        calls: dict[str, Call] = {
            REFERENCE: lambda: torch.fft.irfft2(torch.fft.rfft2(x), s=x.shape[-2:]),
            "forward": lambda: A.forward(x),
            "adjoint": lambda: A.adjoint(y),
            "data step": lambda: A.tikhonov(y, rho, other),
        }
        theirs = equivalents(self.operator, A, x)
        for library, table in theirs.items():
            calls |= {f"{step} of {library}": call for step, call in table.items()}
        seconds = interleaved(calls, rounds=self.rounds, limit=self.limit, device=self.device)
        image = x.numel() * x.element_size()
        row: dict[str, float | str] = {"route": A.route(), "peers": ", ".join(theirs)}
        row |= {f"{step} s": value for step, value in medians(seconds).items() if step in STEPS}
        row |= {f"{step} over {REFERENCE}": 1 / ratio(seconds, step, REFERENCE) for step in STEPS}
        for step in STEPS:
            row[f"{step} memory"] = peak_bytes(calls[step], device=self.device) / image
        for library, table in theirs.items():
            row |= {f"{step}: {library} over ours": ratio(seconds, step, f"{step} of {library}") for step in table}
        return Outcome(row)


def cells(options: Options) -> Iterator[Cell]:
    """Small sizes first; 64 is there for the dense matrix of single-pixel patterns."""
    peers = tuple(name for name in ("deepinv", "scico") if installed(name))
    sizes = (64, 128, 256) if options.quick else (64, *SIZES)
    for size in sizes:
        for name in NAMES:
            yield Timing(name, size, peers, 3 if options.quick else 7, 10.0 if options.quick else 60.0, options.device)


def summary(rows: Rows) -> Page:
    """Times, ratios, growth."""
    frame = rows.frame
    clock = "wall" if rows.options.device.startswith("cuda") else "process CPU"
    times = frame[
        ["operator", "size", *(f"{step} s" for step in STEPS), *(f"{step} memory" for step in STEPS), "route"]
    ]
    milliseconds = times.assign(**{f"{step} s": times[f"{step} s"] * 1e3 for step in STEPS})
    milliseconds = milliseconds.rename(columns={f"{step} s": f"{step}, ms" for step in STEPS})
    milliseconds = milliseconds.rename(columns={f"{step} memory": f"{step}, images" for step in STEPS})
    ratios = _ratios(frame)
    growth = _growth(frame)
    caption = (
        f"Medians of interleaved rounds, {clock} time, {rows.options.threads} thread(s), float32. Memory is the peak "
        "beyond what was held before, in images."
    )
    digits = {f"{step}, ms": 3 for step in STEPS} | {f"{step}, images": 1 for step in STEPS} | {"size": 0}
    parts: list[Table | Charts] = [Table("Time and memory", milliseconds, caption, digits)]
    if len(ratios):
        words = "Their time over ours: above one this library is faster. They compute the same map, or nearly."
        parts.append(Table("Against the nearest equivalent", ratios, words, {"size": 0}))
    words = (
        f"The exponent of the number of pixels, from {LEAST} a side up, by which time grows faster than that of "
        f"{REFERENCE} of the same picture, timed in turn: 0 is n log n on this machine."
    )
    parts.append(Table("Growth", growth, words))
    parts.append(Charts("Time against size", [(_chart(frame, step), f"{step} time") for step in STEPS]))
    text = milliseconds.to_string(index=False, float_format=lambda v: f"{v:.3g}")
    if len(ratios):
        text += "\n\n" + ratios.to_string(index=False, float_format=lambda v: f"{v:.2f}")
    text += f"\n\n{growth.to_string(index=False, float_format=lambda v: f'{v:.2f}')}"
    return Page("Operators", __doc__ or "", [Section("Results", parts)], _verdicts(frame, growth), text)


def _verdicts(frame: pd.DataFrame, growth: pd.DataFrame) -> list[Verdict]:
    """Whether time and memory stay within their bounds, where large pictures were measured."""
    verdicts = []
    steps = growth.set_index("operator")[list(STEPS)].stack()
    if steps.notna().any():
        slowest, most = steps.idxmax(), steps.max()
        claim = f"Time grows no faster than n log n, that of {REFERENCE}, to {GROWTH:g} of the exponent."
        detail = f"Largest excess: {number(most, 2)} ({', '.join(slowest)})."
        over = [f"{', '.join(name)} {number(value, 2)}" for name, value in steps.items() if value > GROWTH]
        verdicts.append(Verdict(claim, not over, f"{detail} Beyond: {'; '.join(over)}." if over else detail))
    large = frame[(frame["size"] >= LEAST) & frame["operator"].isin(TRANSFORMS)]
    memory = large.set_index(["operator", "size"])[[f"{step} memory" for step in STEPS]].stack()
    if memory.notna().any():
        claim = f"Operators of Fourier and Hadamard transforms need at most {IMAGES:g} images of memory."
        name, size, step = memory.idxmax()
        detail = f"The most: {number(memory.max(), 1)} ({name}, {size}, {step.removesuffix(' memory')})."
        verdicts.append(Verdict(claim, bool(memory.max() <= IMAGES), detail))
    return verdicts


def _ratios(frame: pd.DataFrame) -> pd.DataFrame:
    """Their time over ours: a row per operator, size and library, a column per step."""
    records: dict[tuple[str, int, str], dict[str, object]] = {}
    for _, row in frame.iterrows():
        for column in [str(c) for c in frame.columns if str(c).endswith(" over ours")]:
            step, library = column.removesuffix(" over ours").split(": ")
            if not pd.isna(row[column]):
                key = (row["operator"], row["size"], library)
                names = dict(zip(("operator", "size", "against"), key, strict=True))
                records.setdefault(key, {**names, **dict.fromkeys(STEPS, math.nan)})[step] = row[column]
    return pd.DataFrame(list(records.values()))


def _growth(frame: pd.DataFrame) -> pd.DataFrame:
    """The exponent of the number of pixels, by least squares on logarithms."""
    records = []
    for name, group in frame.groupby("operator", sort=False):
        large = group[group["size"] >= LEAST]
        record: dict[str, object] = {"operator": name}
        for step in STEPS:
            pixels = np.log(large["size"].to_numpy(float) ** 2)
            ratios = np.log(large[f"{step} over {REFERENCE}"].to_numpy(float))
            record[step] = float(np.polyfit(pixels, ratios, 1)[0]) if len(large) > 1 else math.nan
        records.append(record)
    return pd.DataFrame(records)


def _chart(frame: pd.DataFrame, step: str) -> str:
    series = {
        str(name): (group["size"].tolist(), group[f"{step} s"].tolist())
        for name, group in frame.groupby("operator", sort=False)
    }
    return lines(series, x="side, pixels", y="seconds", title=step, log="xy")


BENCHMARK = Benchmark("operators", __doc__ or "", cells, summary, timing=True)
