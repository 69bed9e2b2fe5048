"""Curves and contact sheets, drawn with matplotlib."""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .cache import write

Image = np.ndarray[Any, Any]
Curve = tuple[Sequence[float], Sequence[float]]
COLOURS = {"TV": "#2458b3", "NLM": "#c77700", "BM3D": "#1d7a46", "DIP": "#a5308f", "Wavelet": "#6b7280"}
LEGEND = 84  # letters that fit into one line under a figure
FALLBACK = ("#2458b3", "#c77700", "#1d7a46", "#a5308f", "#6b7280", "#b3261e", "#0e7490")


@dataclasses.dataclass(frozen=True)
class Panel:
    """Curves by name on one pair of axes.

    A name's first word picks its colour, "HQS" in it dashes the line, "auto" dots it. ``log`` names the logarithmic
    axes; ``levels`` are horizontal reference lines; ``dashed`` curves have the colours of ``series`` in turn.
    """

    series: Mapping[str, Curve]
    x: str
    y: str
    title: str = ""
    log: str = ""
    levels: Mapping[str, float] = dataclasses.field(default_factory=dict)
    dashed: Mapping[str, Curve] = dataclasses.field(default_factory=dict)

    def draw(self, axes: Any) -> None:
        """Everything but the legend."""
        for index, (name, (horizontal, vertical)) in enumerate(self.series.items()):
            colour = COLOURS.get(name.split()[0], FALLBACK[index % len(FALLBACK)])
            style = "--" if "HQS" in name else ":" if "auto" in name else "-"
            marker = "o" if len(vertical) < 12 else ""
            axes.plot(horizontal, vertical, style, color=colour, marker=marker, markersize=3, linewidth=1.6, label=name)
        for index, (name, (horizontal, vertical)) in enumerate(self.dashed.items()):
            colour = FALLBACK[index % len(FALLBACK)]
            axes.plot(horizontal, vertical, "--", color=colour, linewidth=1.2, label=name)
        for name, level in self.levels.items():
            if math.isfinite(level):
                axes.axhline(level, color="#5b6476", linewidth=1, linestyle="-.", label=name)
        axes.set_xscale("log" if "x" in self.log else "linear")
        axes.set_yscale("log" if "y" in self.log else "linear")
        if "x" not in self.log and all(float(at).is_integer() for across, _ in self.series.values() for at in across):
            axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_xlabel(self.x)
        axes.set_ylabel(self.y)
        axes.set_title(self.title, fontsize=11, loc="left")
        axes.grid(color="#e0e4eb", linewidth=0.7)
        axes.spines[["top", "right"]].set_visible(False)


def lines(
    series: Mapping[str, Curve],
    *,
    x: str,
    y: str,
    title: str = "",
    log: str = "",
    levels: Mapping[str, float] | None = None,
    dashed: Mapping[str, Curve] | None = None,
) -> str:
    """One ``Panel`` as SVG text."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10}):
        figure = Figure(figsize=(5.6, 4.1), layout="constrained")
        Panel(series, x, y, title, log, levels or {}, dashed or {}).draw(figure.add_subplot())
        _legend(figure, LEGEND)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Type": None, "Format": None})
    return buffer.getvalue()


def panels(row: Sequence[Panel], path: Path) -> None:
    """Panels side by side as one PNG, small enough for a document; no file without panels."""
    if not row:
        return
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"font.family": "sans-serif", "font.size": 9}):
        figure = Figure(figsize=(3.4 * len(row), 3.1), dpi=100, facecolor="white", layout="constrained")
        for panel, axes in zip(row, figure.subplots(1, len(row), squeeze=False)[0], strict=True):
            panel.draw(axes)
        _legend(figure, LEGEND * len(row) * 3 // 5)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
    write(path, _small(buffer.getvalue()))


def _legend(figure: Any, letters: int) -> None:
    """Every name once, in as few lines as ``letters`` a line allow."""
    named: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            named.setdefault(label, handle)
    if named:
        columns = max(1, min(5, len(named), letters // (max(map(len, named)) + 4)))
        figure.legend(
            list(named.values()), list(named), fontsize=8, frameon=False, ncols=columns, loc="outside lower center"
        )


def contact_sheet(rows: Sequence[tuple[str, Sequence[tuple[str, Image]]]], path: Path, *, inch: float = 1.45) -> None:
    """Rows of named pictures as one PNG."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    columns = max(len(pictures) for _, pictures in rows)
    with rc_context({"font.family": "sans-serif", "font.size": 9}):
        figure = Figure(figsize=(inch * columns, (inch + 0.28) * len(rows)), dpi=110, facecolor="white")
        grid = figure.subplots(len(rows), columns, squeeze=False)
        for (label, pictures), axes_row in zip(rows, grid, strict=True):
            for axes in axes_row:
                axes.set_axis_off()
            axes_row[0].text(-0.06, 0.5, label, rotation=90, ha="right", va="center", transform=axes_row[0].transAxes)
            for axes, (name, image) in zip(axes_row, pictures, strict=False):
                axes.imshow(np.clip(image, 0, 1), cmap="gray", vmin=0, vmax=1, interpolation="lanczos")
                axes.set_title(name, fontsize=9, pad=3)
        figure.subplots_adjust(left=0.035, right=0.998, top=0.965, bottom=0.005, wspace=0.03, hspace=0.17)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
    write(path, _small(buffer.getvalue()))


def _small(png: bytes) -> bytes:
    """The same picture with a palette of 256 colours: a third of the bytes, for a README."""
    from PIL import Image as Pillow

    buffer = io.BytesIO()
    Pillow.open(io.BytesIO(png)).convert("RGB").quantize(256).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
