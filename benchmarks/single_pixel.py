"""Single-pixel recovery at compression 1, 2, 4 and 8: Anderson's Table 3, cell by cell."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pandas as pd

from .display import gallery
from .grid import Benchmark, Cell, Options, Rows
from .pictures import Picture, find, pictures
from .published import SINGLE_PIXEL, counts, illustration, paper_names, side_by_side
from .reconstruction import Reconstruction
from .report import Page, Section
from .statistics import measured, over_seeds

COMPRESSIONS = (1, 2, 4, 8)
# Noise, and whether sigma is given. Theirs is not stated; their compression 1 is near 0.01 in our units.
NOISES = ((0.0, False), (0.01, False), (0.01, True))


def cells(options: Options) -> Iterator[Cell]:
    """Scrambled Hadamard rows; compression 4 goes by the name that the demo uses."""
    size = options.size or (64 if options.quick else 256)
    for name, prior in SINGLE_PIXEL:
        if options.quick and prior == "DIP":
            continue
        for compression in COMPRESSIONS:
            operator = _operator(compression)
            for noise, known in NOISES:
                for seed in range(options.seeds):
                    yield Reconstruction(
                        operator, prior, "auto", _find(name, options), noise, size, True, seed, known, options.device
                    )
    for name in dict.fromkeys(name for name, _ in SINGLE_PIXEL):  # beside which the others are shown
        for compression, noise in itertools.product(COMPRESSIONS, dict.fromkeys(noise for noise, _ in NOISES)):
            operator = _operator(compression)
            picture = _find(name, options)
            yield Reconstruction(operator, "none", "trivial", picture, noise, size, True, device=options.device)


def _operator(compression: int) -> str:
    return "single pixel" if compression == 4 else f"single pixel {compression}"


def _find(name: str, options: Options) -> Picture:
    """The picture, of several sizes the one nearest to 256 pixels; ``logo`` may stand anywhere in the name."""
    if options.images is None:
        return illustration(name, None)
    if name == "barbara":
        exact = [p for p in pictures(options.images) if p.name.lower().startswith("barbara")]
        return next((p for p in exact if "256" in p.name), exact[0]) if exact else find(name, options.images)
    logos = [p for p in pictures(options.images) if "logo" in p.name.lower()]
    return logos[0] if logos else find(name, options.images)


def summary(rows: Rows) -> Page:
    """One table per noise level and knowledge of it."""
    frame = over_seeds(rows.frame, ["PSNR"])
    compared = rows.options.images is not None
    names = paper_names(frame["picture"], {name for name, _ in SINGLE_PIXEL})
    frame = frame.assign(name=names.mask(frame["picture"].str.contains("logo", case=False), "logo"))
    parts, texts = [], []
    for noise, known in NOISES:
        records = _records(frame[(frame["noise"] == noise) & (frame["sigma_known"] == known)])
        if records:
            title = f"Noise {noise:g}, {'sigma given' if known else 'nothing given'}, PSNR in dB"
            caption = "Size, patterns and noise of the published experiment are not stated, nor is the logo's file."
            table, text = side_by_side(records, title, caption, compared=compared)
            parts.append(table)
            texts.append(f"{title}\n{text}\n{counts(table.frame)}")
    return Page(
        "Single-pixel camera", __doc__ or "", [Section("Table 3", parts), *gallery(rows)], text="\n\n".join(texts)
    )


def _records(frame: pd.DataFrame) -> list[dict[str, object]]:
    records: list[dict[str, object]] = []
    for (name, prior), published in SINGLE_PIXEL.items():
        for compression, theirs in zip(COMPRESSIONS, published, strict=True):
            operator = _operator(compression)
            chosen = (frame["name"] == name) & (frame["prior"] == prior) & (frame["operator"] == operator)
            for _, row in frame[chosen].iterrows():
                cell = {"picture": name, "prior": prior, "compression": compression}
                records.append({**cell, "published": theirs, **measured(row)})
    return records


BENCHMARK = Benchmark("single-pixel", __doc__ or "", cells, summary)
