"""What is kept of a fit that has ended, and the record of a batch made from it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pnp.result import Choice, History, Status, empty_history


class Look(NamedTuple):
    """What was measured of the average at one look; NaN where there is nothing to measure it by."""

    iteration: float
    misfit: float
    held_out: float
    distance: float
    psnr: float
    seconds: float


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One network's best image and how it came about: no weights, so that a batch costs what one image does.

    ``image`` (C, H, W) is None where nothing was ever scored.
    """

    status: Status
    image: Tensor | None
    best_iteration: int
    iterations: int
    seconds: float
    losses: Tensor
    looks: tuple[Look, ...]

    def state_dict(self) -> dict[str, Any]:
        """Everything, for a checkpoint."""
        return {
            "status": self.status.name,
            "image": self.image,
            "best_iteration": self.best_iteration,
            "iterations": self.iterations,
            "seconds": self.seconds,
            "losses": self.losses,
            "looks": looks_as_tensor(self.looks),
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Outcome:
        """The outcome that ``state_dict`` described."""
        return cls(**{**state, "status": Status[state["status"]], "looks": tuple(looks_of(state["looks"]))})


def looks_as_tensor(looks: Sequence[Look]) -> Tensor:
    """One row a look."""
    return torch.tensor(looks, dtype=torch.float64).reshape(-1, len(Look._fields))


def looks_of(rows: Tensor) -> list[Look]:
    """The looks that ``looks_as_tensor`` wrote down."""
    return [Look(*numbers) for numbers in rows.tolist()]


def history(networks: Sequence[Sequence[Outcome]], images: int) -> History:
    """The curves of the first network of every image begun, out of ``images``; the seconds of all networks together."""
    iterations = max(image[0].iterations for image in networks)
    columns = empty_history(iterations, images)
    for index, image in enumerate(networks):
        outcome = image[0]
        columns["objective"][: outcome.iterations, index] = outcome.losses.double().cpu()
        before = 0
        for look in outcome.looks:  # what is measured every few iterations holds until the next look
            at = int(look.iteration)
            columns["misfit"][before:at, index] = math.sqrt(max(look.misfit, 0.0))
            columns["psnr"][before:at, index] = look.psnr
            before = at
        if outcome.iterations:
            seconds = sum(one.seconds for one in image)
            columns["prior_seconds"][: outcome.iterations] += seconds / outcome.iterations
    return History(**columns)


def merged(choices: Sequence[Mapping[str, Choice]]) -> dict[str, Choice]:
    """The choices made for the images of a batch: one where all agree, else a list, one entry an image."""
    together: dict[str, Choice] = {}
    for name in dict.fromkeys(name for made in choices for name in made):
        each = [made.get(name, Choice(None, "not for this image")) for made in choices]
        if all(choice == each[0] for choice in each):
            together[name] = each[0]
        else:
            reasons = dict.fromkeys(choice.reason for choice in each)
            together[name] = Choice([choice.value for choice in each], "one an image: " + "; ".join(reasons))
    return together
