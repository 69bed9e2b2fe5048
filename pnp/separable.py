"""Data terms that are a sum over measurements, with the proximal map of any such term."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from .data_terms import EXACT_FLOOR, ITERATIVE_FLOOR, DataTerm
from .functional import Functional
from .images import ArrayLike
from .linear_operator import LinearOperator

RELAXATION = 1.6  # over-relaxation of the inner splitting; 1.5 to 1.8 is the usual advice (Boyd et al., sec. 3.4.3)
BALANCE, BALANCE_STEP = 2.0, 2.0  # residual ratio that moves the penalty, and by how much
BALANCE_EVERY, BALANCE_UNTIL = 2, 200  # iterations; a penalty that settles keeps the convergence theorem
SAFETY = 0.25  # from the last step of the splitting to its distance from the limit, up to four times as large
MAX_ITER = 2000


class Separable(DataTerm):
    """``f(x) = sum_i phi_i((A x)_i)`` for convex ``phi_i`` whose own proximal maps are known.

    Where ``A`` is diagonal (an identity, a mask) the prox of ``f`` is exact, entry by entry. Elsewhere it is found by
    an inner alternating direction method on ``w = A x``, whose steps are the operator's regularised solve and the prox
    of ``phi``; it stops when the root mean square distance to the exact prox is about ``tol sqrt(tau)``, a share
    ``tol`` of the noise level at which a prior would be asked to denoise. A ``fresh`` copy starts where its last call
    ended.

    A subclass writes ``_terms``, ``_prox_terms`` and ``_curvature``; ``_slopes`` where ``phi`` is smooth; and lists
    what it knows an entry or an image in ``_known``.

    Source: Figueiredo & Bioucas-Dias, *Restoration of Poissonian Images Using Alternating Direction Optimization*,
    2010, sec. III; Boyd et al., *Distributed Optimization ... via ADMM*, 2011, sec. 3.4.1 and 3.4.3.
    """

    convex = True
    has_value = True
    _known: tuple[str, ...] = ()  # names of tensors that broadcast against the data

    def __init__(
        self, operator: LinearOperator, data: ArrayLike, sigma: float | Tensor = 0.0, *, tol: float = 1e-3
    ) -> None:
        super().__init__(operator, data, sigma)
        if not tol > 0:
            raise ValueError(f"{type(self).__name__}: expected tol > 0, got {tol!r}.")
        self.tol = tol
        self._diagonal = diagonal(operator)
        self._power = max(operator.norm() ** 2, torch.finfo(self.data.real.dtype).tiny)
        self._remembers = False
        self._memory: dict[str, Tensor] = {}

    # What a subclass writes
    def _terms(self, w: Tensor) -> Tensor:
        """``phi_i(w_i)``."""
        raise NotImplementedError

    def _prox_terms(self, w: Tensor, step: Tensor) -> Tensor:
        """``argmin_u phi_i(u) + 1/(2 step) |u - w_i|^2``."""
        raise NotImplementedError

    def _slopes(self, w: Tensor) -> Tensor:
        """``phi_i'(w_i)``."""
        raise NotImplementedError(f"{self!r} is not smooth: use a solver that calls prox (ADMM, HQS).")

    def _curvature(self, w: Tensor) -> Tensor:
        """Typical second derivative of ``phi`` near ``w``, one an image: where the inner penalty starts."""
        raise NotImplementedError

    # The functional
    def __call__(self, x: Tensor) -> Tensor:
        return self._seen(self._terms(self.operator.forward(x))).flatten(1).sum(dim=1)

    def gradient(self, x: Tensor) -> Tensor:
        return self.operator.adjoint(self._seen(self._slopes(self.operator.forward(x))))

    def prox(self, v: Tensor, tau: float | Tensor) -> Tensor:
        step = torch.as_tensor(tau, dtype=v.real.dtype, device=v.device)
        step = step.expand(v.shape[0], *(1,) * (v.ndim - 1)) if step.ndim == 0 else step
        with torch.no_grad():
            return self._split(v, step) if self._diagonal is None else self._entrywise(v, step, self._diagonal)

    def _entrywise(self, v: Tensor, tau: Tensor, d: Tensor) -> Tensor:
        seen = d != 0 if self.observed is None else (d != 0) & self.observed
        safe = torch.where(seen, d, 1)
        w = safe * v
        return torch.where(seen, v + (self._prox_terms(w, tau * safe.square()) - w) / safe, v)

    def _split(self, v: Tensor, tau: Tensor) -> Tensor:
        A, state = self.operator, self._recall(v)
        v_seen = A.forward(v)
        axes = (-1, *(1,) * (self.data.ndim - 1))
        if state:
            w, p, rho, start = state["w"], state["p"], state["rho"], state.get("solve")
        else:
            rho = torch.maximum(self._curvature(v_seen), 1 / (tau.flatten() * self._power)).reshape(axes)
            w, p, start = self._proximal(v_seen, 1 / rho), torch.zeros_like(v_seen), None
        floor = self._power * (EXACT_FLOOR if A.solves_dual or A.solves_primal else ITERATIVE_FLOOR)
        rho = torch.minimum(rho, 1 / (floor * tau.reshape(axes)))
        allowed = SAFETY * self.tol * v[0].numel() ** 0.5
        active = torch.ones_like(rho, dtype=torch.bool)
        x = v
        for iteration in range(1, MAX_ITER + 1):
            data_weight = 1 / (tau * rho.reshape(-1, *(1,) * (v.ndim - 1)))
            change, start = A._tikhonov(w - p / rho - v_seen, data_weight, None, None, start)
            seen = RELAXATION * (v_seen + A.forward(change)) + (1 - RELAXATION) * w
            w_new = self._proximal(seen + p / rho, 1 / rho)
            p_new = p + rho * (seen - w_new)

            x = torch.where(active.reshape(-1, *(1,) * (v.ndim - 1)), v + change, x)
            dual, primal = rho.sqrt() * _norm(w_new - w), _norm(p_new - p) / rho.sqrt()
            w, p = torch.where(active, w_new, w), torch.where(active, p_new, p)  # a finished image stays as it is
            active = active & ((dual.square() + primal.square()).sqrt() > allowed)
            if iteration % BALANCE_EVERY == 0:
                if not active.any():
                    break
                if iteration <= BALANCE_UNTIL:
                    rho = torch.where(active, _balanced(rho, primal, dual), rho)
        if self._remembers:
            self._memory = {"w": w, "p": p, "rho": rho} | ({} if start is None else {"solve": start})
        return x

    def _proximal(self, w: Tensor, step: Tensor) -> Tensor:
        """The prox of ``phi``; the identity where nothing was observed."""
        u = self._prox_terms(w, step)
        return u if self.observed is None else torch.where(self.observed, u, w)

    def _seen(self, values: Tensor) -> Tensor:
        return values if self.observed is None else torch.where(self.observed, values, 0)

    # Memory and identity
    def fresh(self) -> Separable:
        term = copy.copy(self)
        term._remembers, term._memory = True, {}
        return term

    def take(self, keep: Tensor) -> Functional:
        part = super().take(keep)
        images = self.data.shape[0]
        for name in self._known:
            value = getattr(self, name)
            setattr(part, name, value[keep] if value.shape[0] == images else value)
        if isinstance(part, Separable):
            part._memory = {name: value[keep] for name, value in self._memory.items()}
            if self.operator.lead:  # each item has its own diagonal
                part._diagonal = None if self._diagonal is None else diagonal(part.operator)
        return part

    def state_dict(self) -> dict[str, Any]:
        return dict(self._memory)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if set(state) - {"w", "p", "rho", "solve"}:
            raise ValueError(
                f"{self!r}.load_state_dict: expected the keys 'w', 'p', 'rho', 'solve', got {sorted(state)}."
            )
        self._memory = dict(state)

    def identity(self) -> list[Any]:
        return [*super().identity(), self.tol, *(getattr(self, name) for name in self._known)]

    def _recall(self, v: Tensor) -> dict[str, Tensor]:
        remembered = self._memory if self._remembers else {}
        return remembered if remembered and remembered["rho"].shape[0] == v.shape[0] else {}

    def _broadcast(self, value: float | Tensor, what: str, *, positive: bool) -> Tensor:
        """A number, one an image or one a measurement, as a tensor that broadcasts against the data."""
        who, data = type(self).__name__, self.data
        number = torch.as_tensor(value, dtype=data.real.dtype, device=data.device)
        if not torch.isfinite(number).all() or not (number > 0 if positive else number >= 0).all():
            raise ValueError(f"{who}: expected {what} finite and {'> 0' if positive else '>= 0'}, got {value!r}.")
        if number.numel() == 1:
            return number.reshape((1,) * data.ndim)
        if number.numel() == data.shape[0] == number.shape[0]:
            return number.reshape(-1, *(1,) * (data.ndim - 1))
        try:
            number.expand(data.shape)
        except RuntimeError:
            raise ValueError(
                f"{who}: {what} of shape {tuple(number.shape)} does not broadcast against data {tuple(data.shape)}."
            ) from None
        return number.reshape(*(1,) * (data.ndim - number.ndim), *number.shape)


def diagonal(operator: LinearOperator) -> Tensor | None:
    """``d`` if ``A x = d * x`` with real ``d`` up to rounding, else None.

    ``A r = (A 1) * r`` for one random ``r`` implies it with probability one.
    """
    if operator.in_shape != operator.out_shape or operator.complex_in or operator.complex_out:
        return None
    generator = torch.Generator().manual_seed(0)
    r = 1 + torch.rand((*operator.lead, *operator.in_shape), generator=generator, dtype=torch.float64)
    r = r.to(operator.device, operator.dtype)
    with torch.no_grad():
        d = operator.forward(torch.ones_like(r))
        error = (operator.forward(r) - d * r).abs().max()
    return d if bool(error <= 64 * torch.finfo(r.dtype).eps * d.abs().max()) else None


def _norm(w: Tensor) -> Tensor:
    """Euclidean norm of each item, in the shape (B, 1, ..., 1)."""
    return w.abs().square().flatten(1).sum(dim=1).sqrt().reshape(-1, *(1,) * (w.ndim - 1))


def _balanced(rho: Tensor, primal: Tensor, dual: Tensor) -> Tensor:
    larger, smaller = primal > BALANCE * dual, dual > BALANCE * primal
    return torch.where(larger, rho * BALANCE_STEP, torch.where(smaller, rho / BALANCE_STEP, rho))
