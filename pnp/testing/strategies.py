"""Hypothesis strategies for property tests: random images, and random compositions of operators.

hypothesis is imported only when a strategy is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pnp.algebra import Stack
from pnp.linear_operator import LinearOperator

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

KINDS = ("noise", "constant", "impulse", "step", "zero")
FACTORS = (-1.0, 0.5, 2.0, 1e-3)


def images(
    shape: tuple[int, ...] | None = None,
    *,
    batch: Sequence[int] = (0, 1, 2),
    channels: Sequence[int] = (1, 3),
    max_side: int = 9,
    dtype: torch.dtype = torch.float64,
) -> SearchStrategy[Tensor]:
    """Random images: noise, constants, impulses, steps and zeros, odd and one-pixel sides, dark and bright.

    Shapes: ``shape`` if given, else (C, H, W), or (B, C, H, W) where a batch size above 0 is drawn.

    >>> from hypothesis import given
    >>> from pnp import testing
    >>> @given(x=testing.images(max_side=4))
    ... def test_a_mirror_image_has_the_same_mean(x):
    ...     assert abs(float(x.flip(-1).mean() - x.mean())) <= 1e-12 * float(x.abs().max())
    >>> test_a_mirror_image_has_the_same_mean()
    """
    from hypothesis import strategies as st

    side = st.integers(1, max_side)
    lead = st.sampled_from(list(batch)).map(lambda b: (b,) if b else ())
    trailing = st.tuples(st.sampled_from(list(channels)), side, side)
    shapes = st.tuples(lead, trailing).map(lambda parts: parts[0] + parts[1]) if shape is None else st.just(shape)
    scale = st.sampled_from([1.0, 1e-3, 255.0])
    return st.builds(_image, shapes, st.sampled_from(KINDS), scale, st.integers(0, 99), st.just(dtype))


def compositions(
    atoms: SearchStrategy[LinearOperator] | Sequence[LinearOperator], depth: int = 3
) -> SearchStrategy[LinearOperator]:
    """Random products, sums, multiples, adjoints and stacks of ``atoms``, nested to at most ``depth``.

    ``atoms`` is a strategy or a list of operators that act on images of one shape, so that they fit together; where two
    do not (their data differ, or one is complex), ``A^H A``-like products and stacks are formed instead.

    >>> import torch
    >>> from hypothesis import given, settings
    >>> from pnp import operators, testing
    >>> blur, mask = operators.Blur(torch.rand(3, 3), (4, 4)), operators.Mask.random((4, 4), 0.5)
    >>> @given(A=testing.compositions([blur, mask, operators.Identity((4, 4))], depth=2))
    ... @settings(max_examples=3, deadline=None)
    ... def test_mine_obeys_the_laws_among_others(A):
    ...     testing.check_operator(A)
    >>> test_mine_obeys_the_laws_among_others()
    """
    from hypothesis import strategies as st

    leaves = atoms if isinstance(atoms, st.SearchStrategy) else st.sampled_from(list(atoms))
    tree = leaves
    for _ in range(depth):
        pairs = st.tuples(tree, leaves, st.integers(0, 99), st.sampled_from(FACTORS))
        tree = st.one_of(leaves, pairs.map(lambda drawn: _combine(*drawn)))
    return tree


def _combine(A: LinearOperator, B: LinearOperator, choice: int, factor: float) -> LinearOperator:
    """One of the combinations that ``A`` and ``B`` allow."""
    fields = (A.complex_in, A.complex_out), (B.complex_in, B.complex_out)
    ways: list[Callable[[], LinearOperator]] = [lambda: factor * A, lambda: A.H, lambda: A.H @ A, lambda: A.T]
    if A.lead and B.lead and A.lead != B.lead:  # built for other batches
        return ways[choice % len(ways)]()
    if A.in_shape == B.out_shape and (A.complex_in or not A.complex_out or not B.complex_out):
        ways.append(lambda: A @ B)
    if A.in_shape == B.in_shape and fields[0] == fields[1] and A.ndim == B.ndim:
        ways.append(lambda: Stack([A, B]))
        if A.out_shape == B.out_shape:
            ways += [lambda: A + B, lambda: A - factor * B]
    return ways[choice % len(ways)]()


def _image(shape: tuple[int, ...], kind: str, scale: float, seed: int, dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.zeros(shape, dtype=torch.float64)
    if kind == "noise":
        x = torch.rand(shape, generator=generator, dtype=torch.float64)
    elif kind == "constant":
        x = x + torch.rand(1, generator=generator, dtype=torch.float64)
    elif kind == "impulse":
        x.view(-1)[seed % x.numel()] = 1.0
    elif kind == "step":
        x[..., shape[-1] // 2 :] = 1.0
    return (scale * x).to(dtype)
