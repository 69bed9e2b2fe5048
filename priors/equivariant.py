"""Random symmetries around a prior."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pnp.functional import Functional
from pnp.wrapper import Wrapper

from .checks import image_batch, whole
from .windows import mirrored


class Equivariant(Wrapper):
    """``prox(v)`` is the mean of ``T^-1 prior.prox(T v)`` over ``draws`` random T: flips, right angles and shifts.

    Averages out what a prior does differently to a turned or shifted picture (block grids, network artefacts), which
    steadies plug-and-play loops; there one new draw a call will do, since the iteration averages. The draws run on in
    the copy that ``fresh`` returns to one solve; the object that the user holds always makes the first ones. The inner
    prior keeps no memory from call to call: it would be of another orientation.

    Shapes: those of ``prior``; all act on the last two axes; ``shift`` is the largest shift in pixels,
    into a mirrored border. One draw serves the whole batch.
    Raises: TypeError unless ``prior`` is a Functional, ``shift`` and ``draws`` whole numbers; ValueError for
    ``shift < 0`` and ``draws < 1``.
    Source: Terris, Moreau, Pustelnik & Tachella, *Equivariant Plug-and-Play Image Reconstruction*, CVPR 2024.
    """

    def __init__(self, prior: Functional, seed: int = 0, *, shift: int = 4, draws: int = 1) -> None:
        super().__init__(prior)
        self.seed, self.shift = seed, whole(shift, least=0, who="Equivariant", what="shift")
        self.draws = whole(draws, least=1, who="Equivariant", what="draws")
        self.deterministic = self.directional = False
        self._generator: torch.Generator | None = None  # of a fresh copy

    def prox(self, v: Tensor, tau: float | Tensor) -> Tensor:
        image_batch(v, tau, who=f"{self!r}.prox")
        generator = self._generator if self._generator is not None else torch.Generator().manual_seed(self.seed)
        x = self._moved(v, tau, generator)
        for _ in range(1, self.draws):
            x = x + self._moved(v, tau, generator)
        return x / self.draws

    def _moved(self, v: Tensor, tau: float | Tensor, generator: torch.Generator) -> Tensor:
        flip, down, right = torch.randint(2**30, (3,), generator=generator).tolist()
        top, left = down % (self.shift + 1), right % (self.shift + 1)
        height, width = v.shape[-2] + self.shift, v.shape[-1] + self.shift
        padded = mirrored(v, self.shift)
        window = padded[..., self.shift - top :, self.shift - left :][..., :height, :width]
        x = _turn_back(self.prior.prox(_turn(window, flip % 8), tau), flip % 8)
        return x[..., top : top + v.shape[-2], left : left + v.shape[-1]].contiguous()

    def fresh(self) -> Equivariant:
        private = self.around(self.prior)
        private._generator = torch.Generator().manual_seed(self.seed)
        return private

    def state_dict(self) -> dict[str, Any]:
        return {} if self._generator is None else {"generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self._generator is None:
            return Functional.load_state_dict(self, state)
        if set(state) - {"generator"}:
            raise ValueError(f"{self!r}.load_state_dict: expected the key 'generator', got {sorted(state)}.")
        if "generator" in state:
            self._generator = torch.Generator()
            self._generator.set_state(state["generator"])

    def __repr__(self) -> str:
        return f"Equivariant({self.prior!r}, seed={self.seed}, shift={self.shift}, draws={self.draws})"


def _turn(x: Tensor, symmetry: int) -> Tensor:
    """One of the eight symmetries of the square: 4 flips it, the rest counts quarter turns."""
    return torch.rot90(x.flip(-1) if symmetry & 4 else x, symmetry & 3, (-2, -1))


def _turn_back(x: Tensor, symmetry: int) -> Tensor:
    x = torch.rot90(x, -(symmetry & 3), (-2, -1))
    return x.flip(-1) if symmetry & 4 else x
