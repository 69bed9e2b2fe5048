"""Banded matrices along an axis, and the separable operators made of them, against dense ones."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pnp.operators import Blur, Downsample, kernels
from pnp.operators.banded import along_axes, blocks
from pnp.operators.kronecker import Kronecker

float64 = torch.float64


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=float64)


def banded(rows, columns, width, wrap, seed):
    """Random entries within ``width / 2`` of the diagonal, which may go on at the other end."""
    places = torch.arange(rows, dtype=float64)[:, None] * columns / rows - torch.arange(columns)
    distance = torch.minimum(places.abs(), columns - places.abs()) if wrap else places.abs()
    return torch.where(distance <= width / 2, randn(rows, columns, seed=seed), 0)


@given(
    shapes=st.lists(st.tuples(st.integers(1, 90), st.integers(1, 90)), min_size=1, max_size=3),
    lead=st.sampled_from([(), (2,), (2, 1)]),
    width=st.integers(0, 12),
    wrap=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_blocks_are_the_matrix(shapes, lead, width, wrap, seed):
    shapes = [(m % 20 + 1, n % 20 + 1) for m, n in shapes] if len(shapes) == 3 else shapes
    matrices = [banded(m, n, width, wrap, seed) for m, n in shapes]
    x = randn(*lead, *(n for _, n in shapes), seed=seed)
    expected = x
    for axis, matrix in enumerate(matrices, start=-len(matrices)):
        expected = torch.tensordot(expected, matrix, dims=([axis], [1])).movedim(-1, axis)
    torch.testing.assert_close(along_axes([blocks(a) or a for a in matrices], x), expected)


def test_full_matrices_stay_whole_and_narrow_ones_do_not():
    assert blocks(randn(64, 64)) is None
    assert blocks(banded(256, 256, 8, True, 0)).entries.shape == (16, 16, 24)


@pytest.mark.parametrize("shape", [(40, 64), (64, 40), (48, 48)])
@pytest.mark.parametrize("rho", [1e-8, 1e-3, 10.0])
def test_both_sides_of_the_solve_are_exact(shape, rho):
    A = Kronecker([randn(*shape), randn(*shape, seed=1)])
    for gram, solve, n in (
        (lambda w: A.forward(A.adjoint(w)), A._solve_dual, shape[0]),
        (lambda x: A.adjoint(A.forward(x)), A._solve_primal, shape[1]),
    ):
        r = randn(2, n, n)
        w = solve(r, rho)
        assert (gram(w) + rho * w - r).norm() <= 1e-9 * (r.norm() + A.norm() ** 2 * w.norm())


def test_mild_operators_are_solved_on_their_data_and_others_by_singular_values():
    assert Downsample((128, 128), 2).engine._mild()
    assert not Downsample((128, 128), 2, kernels.gaussian(2.0)).engine._mild()
    assert not Kronecker([randn(20, 10)])._mild()  # singular on its data
    assert not Blur.gaussian(1.6, (32, 32), "reflect").engine._matrices()._mild()


@pytest.mark.parametrize("kernel", ["bicubic", kernels.gaussian(2.0, dtype=float64)])
@pytest.mark.parametrize("rho", [1e-8, 1e-4, 1.0])
def test_float32_keeps_its_digits(kernel, rho):
    A = Downsample((128, 96), 2, kernel, dtype=float64)
    y, v = randn(*A.out_shape), randn(*A.in_shape, seed=1)
    exact = A.tikhonov(y, rho, v)
    A = A.float()
    x = A.tikhonov(y.float(), rho, v.float())
    gradient = A.adjoint(A.forward(x) - y.float()) + rho * (x - v.float())
    assert gradient.norm() <= 1e-6 * (y.norm() + x.norm())
    assert isinstance(kernel, torch.Tensor) or (x - exact).norm() <= 1e-5 * exact.norm()
