"""A prior applied to one tile at a time."""

from __future__ import annotations

import itertools
import re
from typing import Any

import torch
from torch import Tensor

from pnp.functional import Functional
from pnp.wrapper import Wrapper

from .checks import image_batch, whole

Corner = tuple[int, int]


class Tiled(Wrapper):
    """``prior.prox`` of overlapping tiles, of which only the inner parts are kept: bounds the memory a prior needs.

    Where a pixel's result depends on nothing farther away than ``halo`` (NLM of a given strength: half of window and
    patch, and ``spread``) the result is that of the whole picture; otherwise it differs a little near the seams, and
    statistics of the whole picture (the automatic strength of TV and NLM) become those of a tile. In a ``fresh`` copy
    every tile has its own.

    Shapes: those of ``prior``, tiles along the last two axes; ``tile`` is the side of the part kept. BM3D wants
    ``tile`` and ``halo`` divisible by its step of 3.
    Raises: TypeError unless ``prior`` is a Functional, ``tile`` and ``halo`` whole numbers; ValueError unless
    ``tile >= 1`` and ``halo >= 0``.
    """

    def __init__(self, prior: Functional, tile: int = 256, halo: int = 32) -> None:
        super().__init__(prior)
        self.tile = whole(tile, least=1, who="Tiled", what="tile")
        self.halo = whole(halo, least=0, who="Tiled", what="halo")
        self._copies: dict[Corner, Functional] | None = None  # of a fresh copy: one prior a tile, made as it is needed

    def prox(self, v: Tensor, tau: float | Tensor) -> Tensor:
        image_batch(v, tau, who=f"{self!r}.prox")
        x = torch.empty_like(v)
        for top, left in itertools.product(*(range(0, length, self.tile) for length in v.shape[-2:])):
            up, before = max(0, top - self.halo), max(0, left - self.halo)
            region = v[..., up : top + self.tile + self.halo, before : left + self.tile + self.halo]
            clean = self._prior_of((top, left)).prox(region, tau)[..., top - up :, left - before :]
            kept = x[..., top : top + self.tile, left : left + self.tile]
            kept.copy_(clean[..., : kept.shape[-2], : kept.shape[-1]])
        return x

    def fresh(self) -> Tiled:
        private = self.around(self.prior)
        private._copies = {}
        return private

    def reversed(self, axes: tuple[int, ...]) -> Tiled:
        return self.fresh()  # the tiles of the reversed picture are others

    def take(self, keep: Tensor) -> Tiled:
        private = self.around(self.prior.take(keep))
        if self._copies is not None:
            private._copies = {corner: prior.take(keep) for corner, prior in self._copies.items()}
        return private

    def state_dict(self) -> dict[str, Any]:
        return {f"{top},{left}": prior.state_dict() for (top, left), prior in (self._copies or {}).items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self._copies is None:
            return Functional.load_state_dict(self, state)
        strange = [key for key in state if not re.fullmatch(r"\d+,\d+", key)]
        if strange:
            raise ValueError(f"{self!r}.load_state_dict: expected keys 'top,left' of tiles, got {strange}.")
        self._copies = {}
        for corner, memory in state.items():
            top, left = map(int, corner.split(","))
            self._prior_of((top, left)).load_state_dict(memory)

    def _prior_of(self, corner: Corner) -> Functional:
        if self._copies is None:
            return self.prior
        if corner not in self._copies:
            self._copies[corner] = self.prior.fresh()
        return self._copies[corner]

    def __repr__(self) -> str:
        return f"Tiled({self.prior!r}, tile={self.tile}, halo={self.halo})"
