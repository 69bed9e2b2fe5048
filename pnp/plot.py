"""Results as a figure and as a small HTML page."""

from __future__ import annotations

import base64
import html
import math
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .images import ArrayLike, to_image
from .result import Result, _brief

if TYPE_CHECKING:
    import matplotlib.figure

LAGS = 8  # pixels of shift shown of an autocorrelation
WIDEST = 480  # pixels of a picture in a notebook: larger ones are thinned out
Picture = np.ndarray[Any, np.dtype[Any]]


def plot_result(result: Result) -> matplotlib.figure.Figure:
    """The first image, its convergence and, where ``result.extras`` holds a ``"residual"``, the whiteness of that.

    Convergence: the residuals and the level ``s`` on a logarithmic axis, the misfit, and the PSNR where the truth was
    known. Whiteness: the autocorrelation of the residual image ``A x - y``; white noise shows a single dot.

    The figure belongs to no window: ``figure.savefig(path)`` writes it, a notebook shows it.
    """
    from matplotlib.figure import Figure

    residual = result.extras.get("residual")
    curves = result.history is not None and len(result.history.s) > 1
    panels = ["image"] + ["residuals", "quality"] * curves + ["whiteness"] * (residual is not None)
    figure = Figure(figsize=(4.2 * len(panels), 4), layout="constrained")
    axes = dict(zip(panels, figure.subplots(1, len(panels), squeeze=False)[0], strict=True))
    _show(axes["image"], _picture(result.x))
    axes["image"].set_title(
        f"{result.status.name}, {result.iterations} iterations, {result.seconds:.3g} s", fontsize=10
    )
    if curves:
        _residuals(axes["residuals"], result)
        _quality(axes["quality"], result)
    if residual is not None:
        _whiteness(axes["whiteness"], _first(residual))
    return figure


def html_result(result: Result) -> str:
    """The first image, the status and every automatic choice as self-contained HTML, for notebooks."""
    size = " &times; ".join(map(str, result.x.shape))
    rows = "".join(
        f"<tr><td><b>{html.escape(name)}</b></td><td>{html.escape(_brief(choice.value))}</td>"
        f"<td>{html.escape(choice.reason)}</td></tr>"
        for name, choice in result.parameters.items()
    )
    expected = ""
    if result.expected_psnr is not None:
        expected = f"<p>Expected PSNR: {', '.join(f'{p:.2f}' for p in result.expected_psnr.tolist())} dB</p>"
    name, _, meaning = str(result.status).partition(": ")
    return (
        '<div style="display:flex;gap:1em;align-items:flex-start">'
        f'<img alt="reconstruction" src="{_data_uri(_thumbnail(_picture(result.x)))}">'
        f"<div><p><b>{name}</b>: {html.escape(meaning)}</p>"
        f"<p>{size}, {result.iterations} iterations, {result.seconds:.3g} s</p>{expected}"
        f'<table style="text-align:left">{rows}</table></div></div>'
    )


# ---------------------------------------------------------------------- panels
def _show(axis: Any, picture: Picture) -> None:
    axis.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axis.set_axis_off()


def _residuals(axis: Any, result: Result) -> None:
    history = result.history
    if history is None:
        return
    iterations = np.arange(1, len(history.s) + 1)
    for name, label in (("primal", "primal residual / s"), ("dual", "dual residual / s"), ("s", "s")):
        values = getattr(history, name)[:, 0].numpy()
        known = np.isfinite(values) & (values > 0)
        style = {"color": "0.6", "linestyle": "--"} if name == "s" else {}
        axis.semilogy(iterations[known], values[known], label=label, **style)
    axis.set_xlabel("iteration")
    axis.legend(frameon=False, fontsize=8)
    axis.set_title("convergence", fontsize=10)


def _quality(axis: Any, result: Result) -> None:
    history = result.history
    if history is None:
        return
    iterations = np.arange(1, len(history.s) + 1)
    axis.plot(iterations, history.misfit[:, 0].numpy(), color="C2", label="misfit")
    axis.set_xlabel("iteration")
    axis.set_ylabel("misfit / noise level", color="C2")
    axis.set_ylim(bottom=0)
    axis.set_title("agreement with the data", fontsize=10)
    quality = history.psnr[:, 0].numpy()
    if np.isfinite(quality).any():
        right = axis.twinx()
        right.plot(iterations, quality, color="C3")
        right.set_ylabel("PSNR (dB)", color="C3")
        axis.set_title("agreement with data and truth", fontsize=10)


def _whiteness(axis: Any, residual: Tensor) -> None:
    correlation = autocorrelation(residual)
    lags = [min(LAGS, n // 2) for n in correlation.shape]
    middle = [n // 2 for n in correlation.shape]
    rows, columns = (slice(m - k, m + k + 1) for m, k in zip(middle, lags, strict=True))
    extent = (-lags[1] - 0.5, lags[1] + 0.5, lags[0] + 0.5, -lags[0] - 0.5)
    shown = axis.imshow(correlation[rows, columns].numpy(), cmap="RdBu_r", vmin=-1, vmax=1, extent=extent)
    axis.figure.colorbar(shown, ax=axis, shrink=0.7)
    others = correlation.clone()
    others[middle[0], middle[1]] = 0
    axis.set_title(f"residual's autocorrelation, {others.abs().max():.2f} off centre", fontsize=10)
    axis.set_xlabel("shift (pixels)")


def autocorrelation(residual: Tensor) -> Tensor:
    """Normalised periodic autocorrelation of a picture of residuals, zero shift at the centre, mean of the channels.

    Shapes: (C, H, W) or (H, W) to (H, W). Values: 1 at the centre, near 0 elsewhere for white noise.
    """
    r = torch.nan_to_num(residual.detach().cpu())
    r = (r.abs() if r.is_complex() else r).double()
    r = r - r.mean(dim=(-2, -1), keepdim=True)
    power = torch.fft.fft2(r).abs().square()
    correlation = torch.fft.ifft2(power).real.reshape(-1, *r.shape[-2:]).sum(dim=0)
    energy = correlation[0, 0]
    centred: Tensor = torch.fft.fftshift(correlation / torch.where(energy > 0, energy, 1))
    return centred


# ---------------------------------------------------------------------- pictures
def _first(x: ArrayLike) -> Tensor:
    """The first image of a batch: (C, H, W) or (H, W)."""
    image = torch.as_tensor(x).detach().cpu()
    while image.ndim > 3:
        image = image[0]
    return image


def _picture(x: ArrayLike) -> Picture:
    """The first image as values in [0, 1], stretched from its least to its largest where it leaves that range."""
    image = _first(x)
    image = (image.abs() if image.is_complex() else image).double()
    image = torch.nan_to_num(image, nan=0.0, posinf=0.0, neginf=0.0)
    if image.ndim == 3 and image.shape[0] not in (1, 3):
        image = image[:1]  # no colours: the first channel stands for all
    low, high = float(image.min()), float(image.max())
    slack = 0.25  # over- and undershoot of an image that is meant to lie in [0, 1]
    if low < -slack or high > 1 + slack or high - low < 0.05:
        image = (image - low) / (high - low if high > low else 1.0)
    return to_image(image.clamp(0, 1))


def _thumbnail(picture: Picture) -> Picture:
    step = math.ceil(max(picture.shape[:2]) / WIDEST)
    return picture[::step, ::step]


def _data_uri(picture: Picture) -> str:
    """A picture in [0, 1] as a PNG inside a URI. Source: *Portable Network Graphics Specification*, 2003, sec. 5, 9."""
    pixels = np.ascontiguousarray((picture * 255).round().astype(np.uint8))
    height, width = pixels.shape[:2]
    lines = np.zeros((height, 1 + pixels[0].size), dtype=np.uint8)  # each line begins with its filter: none
    lines[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if pixels.ndim == 3 else 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b"")]
    png = b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in chunks)
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
