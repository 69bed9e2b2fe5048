"""Several functionals behind operators of their own, as one functional of the image."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .functional import Functional, proximal, value
from .linear_operator import LinearOperator


class Same(LinearOperator):
    """The identity on images of one shape."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__(shape, shape)

    def _forward(self, x: Tensor) -> Tensor:
        return x

    def _adjoint(self, y: Tensor) -> Tensor:
        return y

    def norm(self) -> float:
        return 1.0


class Terms(Functional):
    """``g(x) = sum_i g_i(K_i x)``; its ``prox`` is that of the sum as a function of ``K x``, not of ``x``.

    ``K x`` stacks ``K_i x / c_i`` as one flat vector, with ``c_i`` such that ``||K||^2 <= bound`` whatever the
    operators' scales, and ``prox`` follows: ``g_i.prox(c_i u_i, c_i^2 tau) / c_i`` for each part.

    Shapes: ``x`` (B, C, H, W); ``K x`` and the argument of ``prox`` (B, M).
    Raises: TypeError for what is no pair of a Functional and a LinearOperator, ValueError if there is none.
    """

    complex_images = True

    def __init__(self, pairs: Sequence[tuple[Functional, LinearOperator]], *, bound: float = 0.98) -> None:
        if not pairs:
            raise ValueError("PDHG: expected at least one pair (g, K), got none.")
        for pair in pairs:
            if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], Functional)):
                raise TypeError(f"PDHG: expected pairs (Functional, LinearOperator), got {pair!r}.")
            if not isinstance(pair[1], LinearOperator):
                raise TypeError(f"PDHG: expected a LinearOperator beside {pair[0]!r}, got {type(pair[1]).__name__}.")
        self.parts = [g for g, _ in pairs]
        self.operators = [K for _, K in pairs]
        self.convex = all(g.convex for g in self.parts)
        self.has_value = all(g.has_value for g in self.parts)
        self.deterministic = all(g.deterministic for g in self.parts)
        self.scales = [self._scale(K.norm(), len(pairs) / bound) for K in self.operators]
        self._shapes: list[tuple[int, ...]] = []

    @staticmethod
    def _scale(norm: float, share: float) -> float:
        return math.sqrt(share) * norm if norm > 0 else 1.0

    def on(self, images: Tensor) -> Terms:
        """The same terms for images of this shape."""
        terms = copy.copy(self)
        terms._shapes = [(*images.shape[1 : images.ndim - len(K.in_shape)], *K.out_shape) for K in self.operators]
        return terms

    def forward(self, x: Tensor) -> Tensor:
        """``K x``. Shapes: (B, C, H, W) to (B, M)."""
        return self._join([K.forward(x) / c for K, c in zip(self.operators, self.scales, strict=True)])

    def adjoint(self, u: Tensor) -> Tensor:
        """``K^H u``. Shapes: (B, M) to (B, C, H, W)."""
        images = [K.adjoint(w) / c for w, K, c in zip(self._split(u), self.operators, self.scales, strict=True)]
        return torch.stack(images).sum(dim=0)

    def prox(self, v: Tensor, tau: float | Tensor) -> Tensor:
        step = torch.as_tensor(tau, dtype=v.real.dtype, device=v.device).flatten()
        parts = []
        for g, w, c in zip(self.parts, self._split(v), self.scales, strict=True):
            parts.append(proximal(g, c * w, c**2 * step.reshape(-1, *(1,) * (w.ndim - 1))) / c)
        return self._join(parts)

    def __call__(self, x: Tensor) -> Tensor:
        values = [value(g, K.forward(x)) for g, K in zip(self.parts, self.operators, strict=True)]
        return torch.stack(values).sum(dim=0)

    def fresh(self) -> Terms:
        terms = copy.copy(self)
        terms.parts = [g.fresh() for g in self.parts]
        return terms

    def take(self, keep: Tensor) -> Terms:
        terms = copy.copy(self)
        terms.parts = [g.take(keep) for g in self.parts]
        terms.operators = [K.take(keep) for K in self.operators]
        return terms

    def state_dict(self) -> dict[str, Any]:
        states = {str(i): g.state_dict() for i, g in enumerate(self.parts)}
        return {name: state for name, state in states.items() if state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for i, g in enumerate(self.parts):
            g.load_state_dict(state.get(str(i), {}))

    def _join(self, parts: list[Tensor]) -> Tensor:
        return torch.cat([part.flatten(1) for part in parts], dim=1)

    def _split(self, u: Tensor) -> list[Tensor]:
        pieces = torch.split(u, [math.prod(shape) for shape in self._shapes], dim=1)
        return [piece.reshape(-1, *shape) for piece, shape in zip(pieces, self._shapes, strict=True)]

    def __repr__(self) -> str:
        return " + ".join(f"{g!r} of {K!r}" for g, K in zip(self.parts, self.operators, strict=True))
