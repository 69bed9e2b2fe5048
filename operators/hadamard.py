"""Hadamard transforms of almost any length, as products of small Hadamard matrices."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

LARGEST_SYLVESTER = 32  # factors of two are gathered up to this order: small matrix products beat butterfly passes
LARGEST_PALEY = 256


def orders(n: int) -> tuple[int, ...] | None:
    """Orders of small Hadamard matrices whose Kronecker product has order ``n``; None if Paley's do not suffice."""
    odd, power = n, 0
    while odd % 2 == 0:
        odd, power = odd // 2, power + 1
    split = _odd_orders(odd, power)
    if split is None:
        return None
    odd_orders, rest = split
    count = -(-rest // (LARGEST_SYLVESTER.bit_length() - 1))
    exponents = [rest // count + (i < rest % count) for i in range(count)] if count else []
    return tuple(sorted([*odd_orders, *(2**e for e in exponents)], reverse=True)) or (1,)


def next_length(n: int) -> int:
    """The smallest length of at least ``n`` that has a Hadamard transform here."""
    while orders(n) is None:
        n += 1
    return n


def hadamard(order: int) -> Tensor:
    """A Hadamard matrix of +-1 in float64 whose first row is constant: Sylvester's, or Paley's first or second kind.

    Source: Paley, *On orthogonal matrices*, 1933.
    """
    if order & (order - 1) == 0:
        matrix = torch.ones(1, 1, dtype=torch.float64)
        while len(matrix) < order:
            matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
        return matrix
    if _is_prime(order - 1):
        matrix = _paley_core(order - 1) + torch.eye(order, dtype=torch.float64)
    else:
        core = _paley_core(order // 2 - 1)
        two = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
        hollow = torch.tensor([[1.0, -1.0], [-1.0, -1.0]], dtype=torch.float64)
        matrix = torch.kron(core, two) + torch.kron(torch.eye(order // 2, dtype=torch.float64), hollow)
    return matrix * matrix[:1]


def transform(matrices: Sequence[Tensor], x: Tensor) -> Tensor:
    """The Kronecker product of ``matrices`` applied to the last dimension of ``x``."""
    shape, after = x.shape, 1
    for matrix in reversed(matrices):
        n = len(matrix)
        x = x.reshape(-1, n) @ matrix.mT if after == 1 else matrix @ x.reshape(-1, n, after)
        after *= n
    return x.reshape(shape)


def sequency(order: int) -> Tensor:
    """For each number of sign changes, the row of Sylvester's matrix that has it. Shapes: (order,)."""
    matrix = hadamard(order)
    return (matrix[:, 1:] != matrix[:, :-1]).sum(dim=1).argsort()


def _odd_orders(odd: int, power: int) -> tuple[tuple[int, ...], int] | None:
    """Paley orders whose odd parts multiply to ``odd``, and the powers of two left; the fewest powers spent."""
    if odd == 1:
        return (), power
    best: tuple[tuple[int, ...], int] | None = None
    for part in range(3, min(odd, LARGEST_PALEY // 4) + 1, 2):
        if odd % part:
            continue
        for twos in range(2, power + 1):
            if part << twos > LARGEST_PALEY:
                break
            if not _has_paley(part << twos):
                continue
            rest = _odd_orders(odd // part, power - twos)
            if rest is not None and (best is None or rest[1] > best[1]):
                best = ((part << twos, *rest[0]), rest[1])
            break
    return best


def _has_paley(order: int) -> bool:
    half = order // 2 - 1
    return order % 4 == 0 and (_is_prime(order - 1) or _is_prime(half) and half % 4 == 1)


def _is_prime(n: int) -> bool:
    return n > 1 and all(n % k for k in range(2, int(n**0.5) + 1))


def _paley_core(prime: int) -> Tensor:
    """Conference matrix of order ``prime + 1`` from the quadratic residues; antisymmetric if ``prime % 4 == 3``."""
    residues = {k * k % prime for k in range(1, prime)}
    character = torch.tensor(
        [0.0 if k == 0 else 1.0 if k in residues else -1.0 for k in range(prime)], dtype=torch.float64
    )
    index = torch.arange(prime)
    core = torch.ones(prime + 1, prime + 1, dtype=torch.float64)
    core[1:, 1:] = character[(index[None, :] - index[:, None]) % prime]
    core[0, 0] = 0.0
    if prime % 4 == 3:
        core[1:, 0] = -1.0
    return core
