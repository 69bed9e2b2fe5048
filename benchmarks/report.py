"""A page in one file: tables, pictures side by side, curves; nothing is loaded from anywhere else."""

from __future__ import annotations

import base64
import dataclasses
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import markupsafe
import numpy as np
import pandas as pd

TEMPLATES = Path(__file__).resolve().parent / "page"
Image = np.ndarray[Any, Any]
SMALLEST_WITH_DETAIL = 64  # pixels; a smaller picture is shown whole anyway
MINUS, NONE, INFINITE, THIN = "\N{MINUS SIGN}", "\N{EN DASH}", "\N{INFINITY}", "\N{THIN SPACE}"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A claim that the run decides."""

    claim: str
    holds: bool
    detail: str = ""


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows to sort. ``digits`` names the decimals of a column; others get two."""

    title: str
    frame: pd.DataFrame
    caption: str = ""
    digits: Mapping[str, int] = dataclasses.field(default_factory=dict)
    best: Sequence[str] = ()  # columns whose largest number is set in bold
    folded: bool = False
    template = "table.html.j2"

    def cells(self) -> list[list[tuple[str, str, str]]]:
        """Per row and column: the text, the value to sort by, the CSS class."""
        top = {name: self.frame[name].max() for name in self.best}
        rows = []
        for _, row in self.frame.iterrows():
            cells = []
            for name in self.frame.columns:
                value = row[name]
                if isinstance(value, float | int | np.number) and not isinstance(value, bool | np.bool_):
                    text = number(float(value), self.digits.get(name, 0 if isinstance(value, int | np.integer) else 2))
                    cells.append((text, repr(float(value)), "number best" if top.get(name) == value else "number"))
                else:
                    cells.append((str(value), str(value).lower(), ""))
            rows.append(cells)
        return rows


@dataclasses.dataclass(frozen=True)
class Tile:
    """One picture of a comparison; ``group`` is the row that it stands in."""

    name: str
    image: Image
    note: str = ""
    group: str = ""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Pictures side by side with the original: zoomed together, as differences, flipped against the original."""

    title: str
    truth: Image
    tiles: Sequence[Tile]
    caption: str = ""
    template = "comparison.html.j2"

    def detail(self) -> tuple[slice, slice] | None:
        """The rectangle, a third of the picture wide, where the pictures differ most; None for small pictures."""
        height, width = self.truth.shape[:2]
        if min(height, width) < SMALLEST_WITH_DETAIL:
            return None
        alike = [tile.image for tile in self.tiles if tile.image.shape == self.truth.shape]
        error = sum(np.square(np.asarray(image, dtype=np.float64) - self.truth) for image in alike)
        flat = np.nan_to_num(np.asarray(error).reshape(height, width, -1).sum(axis=2))
        h, w = height // 6, width // 3
        sums = np.pad(flat, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
        inside = sums[h:, w:] - sums[:-h, w:] - sums[h:, :-w] + sums[:-h, :-w]
        top, left = np.unravel_index(int(inside.argmax()), inside.shape)
        return slice(int(top), int(top) + h), slice(int(left), int(left) + w)

    def groups(self) -> list[tuple[str, list[Tile]]]:
        names = list(dict.fromkeys(tile.group for tile in self.tiles))
        return [(name, [tile for tile in self.tiles if tile.group == name]) for name in names]


@dataclasses.dataclass(frozen=True)
class Charts:
    """Figures as SVG texts, each with the words that replace it."""

    title: str
    figures: Sequence[tuple[str, str]]
    caption: str = ""
    template = "charts.html.j2"


@dataclasses.dataclass(frozen=True)
class Section:
    """Parts under one heading."""

    title: str
    parts: Sequence[Table | Comparison | Charts]
    lead: str = ""


@dataclasses.dataclass(frozen=True)
class Page:
    """A report: verdicts first, then sections."""

    title: str
    lead: str
    sections: Sequence[Section]
    verdicts: Sequence[Verdict] = ()
    text: str = ""  # what the terminal prints


def number(value: float, digits: int) -> str:
    """The number as shown: a minus sign that is one, a dash where there is none."""
    if math.isnan(value):
        return NONE
    if math.isinf(value):
        return INFINITE if value > 0 else MINUS + INFINITE
    return f"{value:,.{digits}f}".replace("-", MINUS).replace(",", THIN)


def png(image: Image) -> bytes:
    """A picture (H, W) or (H, W, 3) of floats, clipped to [0, 1], as PNG."""
    from PIL import Image as Pillow

    pixels = np.round(np.clip(np.nan_to_num(np.asarray(image, dtype=np.float64)), 0, 1) * 255).astype(np.uint8)
    buffer = io.BytesIO()
    Pillow.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def difference(image: Image, truth: Image, *, full: float = 0.2) -> Image:
    """``image - truth``, averaged over channels, blue below zero and red above, saturated at ``full``."""
    from matplotlib import colormaps

    error = np.asarray(image, dtype=np.float64) - np.asarray(truth, dtype=np.float64)
    grey = error.mean(axis=2) if error.ndim == 3 else error
    return np.asarray(colormaps["RdBu_r"](np.clip(grey / full, -1, 1) * 0.5 + 0.5))[:, :, :3]


def markdown(page: Page, environment: Mapping[str, str]) -> str:
    """The words and tables of a page as Markdown, for the documentation."""
    parts = [f"# {page.title}", page.lead]
    parts.append(
        "\n".join(f"* {'Holds' if v.holds else 'Fails'}: {v.claim} {v.detail}".rstrip() for v in page.verdicts)
    )
    for section in page.sections:
        tables = [part for part in section.parts if isinstance(part, Table)]
        if tables:
            parts += [f"## {section.title}" if section.title else "", section.lead]
        for table in tables:
            numbers = [any("number" in row[i][2] for row in table.cells()) for i in range(len(table.frame.columns))]
            rows = [
                [str(name) for name in table.frame.columns],
                ["--:" if right else "---" for right in numbers],
                *([f"**{text}**" if "best" in css else text for text, _, css in row] for row in table.cells()),
            ]
            lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
            parts += [f"### {table.title}" if table.title else "", "\n".join(lines), table.caption]
    parts.append("Made with: " + ", ".join(f"{name} {value}" for name, value in environment.items()) + ".")
    return "\n\n".join(part for part in parts if part) + "\n"


def data_uri(content: bytes, kind: str) -> markupsafe.Markup:
    """The content inside an address."""
    return markupsafe.Markup(f"data:{kind};base64,{base64.b64encode(content).decode()}")


def render(page: Page, environment: Mapping[str, str]) -> str:
    """The page as one HTML text."""
    engine = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    engine.globals.update(
        picture=lambda image: data_uri(png(image), "image/png"),
        difference=difference,
        figure=lambda svg: data_uri(svg.encode(), "image/svg+xml"),
        style=markupsafe.Markup((TEMPLATES / "page.css").read_text(encoding="utf-8")),
        script=markupsafe.Markup((TEMPLATES / "page.js").read_text(encoding="utf-8")),
    )
    return engine.get_template("page.html.j2").render(page=page, environment=environment)
