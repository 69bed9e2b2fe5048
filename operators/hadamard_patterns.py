"""Rows of a Hadamard matrix as the patterns of a single-pixel camera."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pnp.tikhonov import largest_singular_value

from .cache import Cache
from .direct import Direct
from .hadamard import hadamard, orders, transform

MOST_DARK = 64  # places without a pixel for which a matrix of that order is decomposed
MOST_WORK = 1 << 25  # of places times dark places: about a second, once
REDUNDANT = 1e-13  # of the largest eigenvalue: A^T ignores these, and 1 / rho would only amplify their rounding


class HadamardPatterns(Direct):
    """``A = S Q P``: place the n pixels on a grid of L places, Hadamard transform, keep some rows; unit-norm rows.

    With ``Q`` orthonormal of order L and ``S``, ``P`` selections, ``A A^T = L/n S Q P P^T Q^T S^T``. For L = n that is
    the identity. For L - n = d places left dark it is ``L/n (I - U U^T)`` with ``U`` the d columns of ``S Q`` that no
    pixel uses, so that Woodbury's identity solves it with one matrix of order d. Rows measured more than once leave
    ``A^T A`` diagonal in the Hadamard domain.

    Shapes: ``order`` (m,) rows of the Hadamard matrix; ``position`` (n,) the place of each pixel;
    ``x`` (..., *shape), ``A x`` (..., m).
    Source: Woodbury, *Inverting modified matrices*, 1950.
    """

    def __init__(
        self, shape: tuple[int, ...], length: int, order: Tensor, position: Tensor, *, random: bool, dtype: torch.dtype
    ) -> None:
        super().__init__(shape, (len(order),))
        self.length, self.random = length, random
        self.register_buffer("order", order)
        self.register_buffer("position", position)
        # The precision to work in and nothing else: a number rounded to float32 would stay so in double().
        self.register_buffer("precision", torch.zeros((), dtype=dtype), persistent=False)
        self.order: Tensor
        self.position: Tensor
        self.precision: Tensor
        self.scale = 1 / math.sqrt(self.columns)
        self.repeats = len(order) > length or int(torch.bincount(order).max()) > 1
        self._matrices: Cache[list[Tensor]] = Cache()
        self._places: Cache[Tensor] = Cache()
        self._dark: Cache[tuple[Tensor, Tensor, Tensor]] = Cache()
        self._counts: Cache[Tensor] = Cache()

    def _forward(self, x: Tensor) -> Tensor:
        return self._keep(self._place(x.flatten(-len(self.in_shape)))) * self.scale

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._image(self._spread(y * self.scale).index_select(-1, self.position))

    def _tikhonov(
        self, y: Tensor, rho: float | Tensor, v: Tensor | None, tol: float | None, start: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        solve = super()._tikhonov if self.solves_dual else super(Direct, self)._tikhonov
        return solve(y, rho, v, tol, start)

    def _regularised_inverse(self, r: Tensor, rho: float | Tensor) -> Tensor:
        return self._adjoint(self._woodbury(r, rho, REDUNDANT))

    def _solve_dual(self, r: Tensor, rho: float | Tensor) -> Tensor:
        return self._woodbury(r, rho, -1.0)

    def _woodbury(self, r: Tensor, rho: float | Tensor, redundant: float) -> Tensor:
        """``(A A^T + rho I)^-1 r``, less the part in combinations of rows that vanish: gaps up to ``redundant``."""
        c = self.length / self.columns
        if self.length == self.columns:
            return r / (c + rho)
        # (c I - c U U^T + rho I)^-1 = 1/(c+rho) (I + U ((c+rho)/c I - U^T U)^-1 U^T), U^T U = W diag(e) W^T
        places, gaps, vectors = self._unused()
        root = 1 / math.sqrt(self.length)
        inner = (self._spread(r).index_select(-1, places) * root) @ vectors
        inner = torch.where(gaps > redundant, inner / (rho / c + gaps), 0) @ vectors.mT
        lifted = torch.zeros(*r.shape[:-1], self.length, dtype=r.dtype, device=r.device)
        lifted = lifted.index_copy(-1, places, inner * root)
        return (r + self._keep(lifted)) / (c + rho)

    def _solve_primal(self, b: Tensor, rho: float | Tensor) -> Tensor:
        counts = self._counts.get([self.order, self.precision], self._count)
        spectral = transform(self._transforms(), self._place(b.flatten(-len(self.in_shape))))
        rho = rho.reshape(*rho.shape[: max(rho.ndim - len(self.in_shape), 0)], 1) if isinstance(rho, Tensor) else rho
        x = transform([a.mT for a in self._transforms()], spectral / (counts + rho)) / self.length
        return self._image(x.index_select(-1, self.position))

    @property
    def solves_dual(self) -> bool:
        dark = self.length - self.columns
        return not self.repeats and dark <= MOST_DARK and dark * self.length <= MOST_WORK

    @property
    def solves_primal(self) -> bool:
        return self.length == self.columns

    @property
    def row_gram(self) -> float | None:
        return 1.0 if self.length == self.columns and not self.repeats else None

    @property
    def column_gram(self) -> float | None:
        return 1.0 if self.row_gram and self.rows == self.columns else None

    @property
    def incoherent(self) -> bool:
        return self.random and not self.repeats

    @property
    def constant_row(self) -> int | None:
        return 0

    def norm(self) -> float:
        if self.row_gram is not None:
            return 1.0
        if self.length == self.columns:
            return math.sqrt(float(torch.bincount(self.order).max()))
        if self.solves_dual:
            _, gaps, _ = (
                self._unused()
            )  # ascending; the smallest are eigenvalues of A A^T n/L, the others, if any, are 1
            largest = 1.0 if self.rows > len(gaps) else float(gaps[self.rows - 1])
            return math.sqrt(largest * self.length / self.columns)
        return largest_singular_value(self)

    def route(self) -> str:
        if self.row_gram is None and self.length == self.columns:
            return "exact: diagonal in the Hadamard domain"
        if self.row_gram is None and self.solves_dual:
            return (
                f"exact: a Hadamard transform with {self.length - self.columns} places left dark, Woodbury's identity"
            )
        return super().route()

    def start(self, y: Tensor) -> Tensor:
        return self._tikhonov(y, 1e-2, None, None, None)[0]

    def _keep(self, z: Tensor) -> Tensor:
        return transform(self._transforms(), z).index_select(-1, self.order)

    def _spread(self, y: Tensor) -> Tensor:
        """The transpose of ``_keep``."""
        z = torch.zeros(*y.shape[:-1], self.length, dtype=y.dtype, device=y.device)
        z = z.index_add(-1, self.order, y) if self.repeats else z.index_copy(-1, self.order, y)
        return transform([a.mT for a in self._transforms()], z)

    def _place(self, pixels: Tensor) -> Tensor:
        """Pixels on their places; a gather, which is faster than the scatter it equals."""
        places = self._places.get([self.position], self._inverse)
        if self.length > self.columns:
            pixels = torch.nn.functional.pad(pixels, (0, 1))
        return pixels.index_select(-1, places)

    def _inverse(self) -> Tensor:
        places = torch.full((self.length,), self.columns, dtype=torch.long, device=self.position.device)
        places[self.position] = torch.arange(self.columns, device=self.position.device)
        return places

    def _transforms(self) -> list[Tensor]:
        return self._matrices.get(
            [self.precision], lambda: [hadamard(n).to(self.precision) for n in orders(self.length) or (self.length,)]
        )

    def _count(self) -> Tensor:
        """How often each row was measured, times its squared norm."""
        return torch.bincount(self.order, minlength=self.length).to(self.precision) * (self.length / self.columns)

    def _unused(self) -> tuple[Tensor, Tensor, Tensor]:
        """The places without a pixel, the eigenvalues of ``I - U^T U`` and their eigenvectors."""
        return self._dark.get([self.position, self.order, self.precision], self._decompose)

    def _image(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:-1], *self.in_shape)

    def _decompose(self) -> tuple[Tensor, Tensor, Tensor]:
        dark = torch.ones(self.length, dtype=torch.bool, device=self.position.device)
        dark[self.position] = False
        places = dark.nonzero().flatten()
        gram = torch.empty(len(places), len(places), dtype=torch.float64, device=places.device)
        matrices = [a.double() for a in self._transforms()]
        for column, place in enumerate(places):
            z = torch.zeros(self.length, dtype=torch.float64, device=places.device)
            z[place] = 1 / self.length
            kept = torch.zeros_like(z)
            kept[self.order] = transform(matrices, z)[self.order]
            gram[:, column] = transform([a.mT for a in matrices], kept)[places]
        values, vectors = torch.linalg.eigh(gram)
        return places, (1 - values).flip(0).clamp(0, 1).to(self.precision), vectors.flip(1).to(self.precision)
