"""What a solve returns: the image, how it went, and every choice made on the way."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from .images import ArrayLike

if TYPE_CHECKING:
    import matplotlib.figure


class Status(enum.Enum):
    """How a run ended; the text says what happened and what to do about it."""

    CONVERGED = "the iterates settled within the tolerance, measured against the noise level; nothing to do"
    STAGNATED = (
        "the residuals stopped falling above the tolerance, as they do with priors that are no proximal map; the image "
        "is usable, and more iterations would not change it"
    )
    MAX_ITER = (
        "all iterations were made as set; the image is usable; raise max_iter if the residuals were still falling"
    )
    TIME_LIMIT = "time_limit was reached; the best image so far is returned, and a checkpoint lets the run go on"
    DIVERGED = "the residuals grew; the best image so far is returned; use a larger s, or a prior that is a denoiser"
    NON_FINITE = (
        "NaN or inf appeared in an iterate; the last finite image is returned; check the operator and the prior"
    )
    INTERRUPTED = (
        "stopped by the user or a callback; the best image so far is returned, a checkpoint lets the run go on"
    )

    def __str__(self) -> str:
        return f"{self.name}: {self.value}"

    def __repr__(self) -> str:
        return f"Status.{self.name}"


class Choice(NamedTuple):
    """A value that was chosen automatically, and why."""

    value: Any
    reason: str


@dataclasses.dataclass(frozen=True)
class History:
    """One row per iteration, one column per image; NaN where an image had already finished or nothing is known.

    ``primal`` is rms(x - z) and ``dual`` rms(z - z_previous), both in units of the internal noise level ``s``;
    ``misfit`` is rms(A z - y) over the noise level of the data, in data units where that is 0; ``objective`` is
    f(z) + g(z) where both have a value; ``psnr`` is known when the truth is. ``data_seconds`` and ``prior_seconds`` are
    one number per iteration.
    """

    s: Tensor
    primal: Tensor
    dual: Tensor
    misfit: Tensor
    objective: Tensor
    psnr: Tensor
    data_seconds: Tensor
    prior_seconds: Tensor


@dataclasses.dataclass(frozen=True)
class Result:
    """The outcome of a reconstruction or a direct fit; a frozen record.

    ``status`` is the worst of ``statuses``, one per image. ``parameters`` holds every automatic choice with its reason,
    ``extras`` further images (an error map, a variant). ``expected_psnr`` (dB, peak 1, one an image) is an honest
    prediction where one can be made, else None with the reason in ``parameters``. ``prior_calls`` counts the calls of
    one run; what candidates and probes cost together is among the ``parameters``.
    """

    x: ArrayLike
    status: Status
    iterations: int
    history: History | None = None
    parameters: Mapping[str, Choice] = dataclasses.field(default_factory=dict)
    statuses: tuple[Status, ...] = ()
    extras: Mapping[str, ArrayLike] = dataclasses.field(default_factory=dict)
    expected_psnr: Tensor | None = None
    prior_calls: int = 0

    @property
    def seconds(self) -> float:
        """Seconds spent in data and prior steps."""
        if self.history is None:
            return math.nan
        return float(self.history.data_seconds.sum() + self.history.prior_seconds.sum())

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.x.shape))
        return f"Result({shape}, {self.status.name} after {self.iterations} iterations, {self.seconds:.2f} s)"

    def __str__(self) -> str:
        lines = [repr(self), f"  {self.status}"]
        if self.expected_psnr is not None:
            lines.append(f"  expected PSNR: {', '.join(f'{p:.2f}' for p in self.expected_psnr.tolist())} dB")
        lines += [f"  {name} = {_brief(choice.value)}: {choice.reason}" for name, choice in self.parameters.items()]
        return "\n".join(lines)

    def to_json(self) -> str:
        """Everything but the images as JSON text."""
        history = None
        if self.history is not None:
            history = {field.name: _plain(getattr(self.history, field.name)) for field in dataclasses.fields(History)}
        record = {
            "status": self.status.name,
            "statuses": [status.name for status in self.statuses],
            "iterations": self.iterations,
            "prior_calls": self.prior_calls,
            "seconds": None if math.isnan(self.seconds) else self.seconds,
            "expected_psnr": _plain(self.expected_psnr),
            "parameters": {
                name: {"value": _plain(choice.value), "reason": choice.reason}
                for name, choice in self.parameters.items()
            },
            "history": history,
        }
        return json.dumps(record, allow_nan=False)

    def plot(self) -> matplotlib.figure.Figure:
        """The first image and its convergence, as a matplotlib figure."""
        from .plot import plot_result

        return plot_result(self)

    def _repr_html_(self) -> str:
        from .plot import html_result

        return html_result(self)


def _brief(value: Any) -> str:
    if isinstance(value, Tensor):
        numbers = value.flatten().tolist()
        return (
            f"{numbers[0]:.4g}"
            if len(numbers) == 1
            else f"[{', '.join(f'{n:.4g}' for n in numbers[:4])}{', ...' * (len(numbers) > 4)}]"
        )
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    """A JSON value: tensors as lists, NaN and inf as None, anything else unknown as text."""
    if isinstance(value, Tensor):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def worst(statuses: list[Status]) -> Status:
    """The status to report for a batch: the one that most needs attention."""
    order = list(Status)
    severity = [order.index(s) for s in statuses]
    return order[max(severity)] if severity else Status.CONVERGED


def empty_history(iterations: int, images: int) -> dict[str, Tensor]:
    """NaN-filled columns of a ``History``."""
    columns = {
        name: torch.full((iterations, images), math.nan, dtype=torch.float64)
        for name in ("s", "primal", "dual", "misfit", "objective", "psnr")
    }
    seconds = {name: torch.zeros(iterations, dtype=torch.float64) for name in ("data_seconds", "prior_seconds")}
    return columns | seconds
