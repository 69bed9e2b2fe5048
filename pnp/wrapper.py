"""A prior around another one."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

from torch import Tensor

from .functional import Functional

Self = TypeVar("Self", bound="Wrapper")


class Wrapper(Functional):
    """What every prior around another has of it: its facts, its one strength for a solve, and its memory.

    Raises: TypeError unless ``prior`` is a Functional.
    """

    def __init__(self, prior: Functional) -> None:
        if not isinstance(prior, Functional):
            who = type(self).__name__
            raise TypeError(f"{who}: expected a prior, got {type(prior).__name__}; wrap it in pnp.Denoiser.")
        self.prior = prior
        self.deterministic, self.cost = prior.deterministic, prior.cost
        self.calibrated, self.directional = prior.calibrated, prior.directional

    def around(self: Self, prior: Functional) -> Self:
        """The same around another prior."""
        private = copy.copy(self)
        private.prior = prior
        return private

    def fresh(self: Self) -> Self:
        return self.around(self.prior.fresh())

    def anchored(self: Self, level: Tensor) -> Self:
        return self.around(self.prior.anchored(level))

    def reversed(self: Self, axes: tuple[int, ...]) -> Self:
        return self.around(self.prior.reversed(axes))

    def take(self: Self, keep: Tensor) -> Self:
        return self.around(self.prior.take(keep))

    def state_dict(self) -> dict[str, Any]:
        return self.prior.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.prior.load_state_dict(state)
