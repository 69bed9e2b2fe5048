"""Single-pixel recovery at compression 1, 2, 4 and 8: Anderson's Table 3, cell by cell."""

from __future__ import annotations

from collections.abc import Iterator

from .grid import Benchmark, Cell, Options, Rows
from .pictures import Picture, find, pictures
from .published import SINGLE_PIXEL, counts, side_by_side
from .reconstruction import Reconstruction
from .report import Page, Section
from .statistics import over_seeds

COMPRESSIONS = (1, 2, 4, 8)
NOISES = (0.0, 0.01)  # theirs is not stated; their column 1 is near 0.01 in our units


def cells(options: Options) -> Iterator[Cell]:
    """Scrambled Hadamard rows; compression 4 goes by the name that the demo uses."""
    size = options.size or (64 if options.quick else 256)
    for name, prior in SINGLE_PIXEL:
        if options.quick and prior == "DIP":
            continue
        for compression in COMPRESSIONS:
            operator = "single pixel" if compression == 4 else f"single pixel {compression}"
            for noise in NOISES:
                for seed in range(options.seeds):
                    yield Reconstruction(
                        operator, prior, "auto", _find(name, options), noise, size, True, seed, device=options.device
                    )


def _find(name: str, options: Options) -> Picture:
    """The picture, of several sizes the one nearest to 256 pixels; ``logo`` may stand anywhere in the name."""
    if name == "barbara":
        exact = [p for p in pictures(options.images) if p.name.lower().startswith("barbara")]
        return next((p for p in exact if "256" in p.name), exact[0]) if exact else find(name, options.images)
    logos = [p for p in pictures(options.images) if "logo" in p.name.lower()]
    return logos[0] if logos else find(name, options.images)


def summary(rows: Rows) -> Page:
    """One table per noise level."""
    frame = over_seeds(rows.frame, ["PSNR"])
    frame = frame.assign(name=["logo" if "logo" in p else "barbara" for p in frame["picture"].str.lower()])
    parts, texts = [], []
    for noise in NOISES:
        records: list[dict[str, object]] = []
        for (name, prior), published in SINGLE_PIXEL.items():
            for compression, number in zip(COMPRESSIONS, published, strict=True):
                operator = "single pixel" if compression == 4 else f"single pixel {compression}"
                chosen = (frame["name"] == name) & (frame["prior"] == prior) & (frame["operator"] == operator)
                for ours in frame.loc[chosen & (frame["noise"] == noise), "PSNR"]:
                    records.append(
                        {"picture": name, "prior": prior, "compression": compression, "published": number, "ours": ours}
                    )
        if records:
            caption = (
                "Size, kind of patterns and noise of the published experiment are not stated, nor is the logo's file."
            )
            table, text = side_by_side(records, f"Noise {noise:g}, PSNR in dB", caption)
            parts.append(table)
            texts.append(f"noise {noise:g}\n{text}\n{counts(table.frame)}")
    return Page("Single-pixel camera", __doc__ or "", [Section("Table 3", parts)], text="\n\n".join(texts))


BENCHMARK = Benchmark("single-pixel", __doc__ or "", cells, summary, needs_images=True)
