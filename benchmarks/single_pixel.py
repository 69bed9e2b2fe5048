"""Single-pixel recovery at compression 1, 2, 4 and 8: Anderson's Table 3, cell by cell."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pandas as pd

from .display import gallery
from .grid import Benchmark, Cell, Options, Rows
from .network_fits import published_fits
from .pictures import illustrations
from .problems import single_pixel
from .published import COMPRESSIONS, SINGLE_PIXEL, TABLES, counts, pixels, side_by_side
from .reconstruction import Reconstruction
from .report import Page, Section
from .statistics import measured, over_seeds

# Noise, and whether sigma is given. Theirs is not stated; their compression 1 is near 0.01 in our units.
NOISES = ((0.0, False), (0.01, False), (0.01, True))


def cells(options: Options) -> Iterator[Cell]:
    """Scrambled Hadamard rows; compression 4 goes by the name that the demo uses."""
    size = options.size or (64 if options.quick else 256)
    cast = illustrations(TABLES[3], options.images).pictures
    for (name, prior), compression in itertools.product(SINGLE_PIXEL, COMPRESSIONS):
        if name not in cast or prior == "DIP":  # which is fitted through the patterns
            continue
        for noise, known in NOISES:
            for seed in range(options.seeds):
                what = (cast[name], noise, size, True, seed, known, options.device)
                yield Reconstruction(single_pixel(compression), prior, "auto", *what)
    for picture, compression in itertools.product(cast.values(), COMPRESSIONS):  # beside which the others are shown
        for noise in dict.fromkeys(noise for noise, _ in NOISES):
            what = (picture, noise, size, True)
            yield Reconstruction(single_pixel(compression), "none", "trivial", *what, device=options.device)
    yield from published_fits(3, options)


def summary(rows: Rows) -> Page:
    """One table per noise level and knowledge of it."""
    frame = over_seeds(rows.frame, ["PSNR"])
    cast = illustrations(TABLES[3], rows.options.images)
    frame = frame.assign(name=frame["picture"].map(cast.name))
    parts, texts = [], []
    for noise, known in NOISES:
        records = _records(frame[(frame["noise"] == noise) & (frame["sigma_known"] == known)])
        if records:
            title = f"Noise {noise:g}, {'sigma given' if known else 'nothing given'}, PSNR in dB"
            caption = (
                "Size, patterns and noise of the published experiment are not stated, nor is the logo's file. DIP is "
                "fitted through the patterns."
            )
            table, text = side_by_side(records, title, caption, cast)
            parts.append(table)
            texts.append(f"{title}\n{text}\n{counts(table.frame)}")
    return Page(
        "Single-pixel camera", __doc__ or "", [Section("Table 3", parts), *gallery(rows)], text="\n\n".join(texts)
    )


def _records(frame: pd.DataFrame) -> list[dict[str, object]]:
    records: list[dict[str, object]] = []
    for (name, prior), published in SINGLE_PIXEL.items():
        for compression, theirs in zip(COMPRESSIONS, published, strict=True):
            operator = single_pixel(compression)
            chosen = (frame["name"] == name) & (frame["prior"] == prior) & (frame["operator"] == operator)
            for _, row in frame[chosen].iterrows():
                cell = {"picture": name, "size": pixels(row["size"]), "prior": prior, "compression": compression}
                records.append({**cell, "published": theirs, **measured(row)})
    return records


BENCHMARK = Benchmark("single-pixel", __doc__ or "", cells, summary, pictures=TABLES[3])
