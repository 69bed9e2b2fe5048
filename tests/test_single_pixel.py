"""The single-pixel camera: patterns, orderings, exact solves, raw data."""

import math
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pnp.operators import SinglePixel
from pnp.operators.hadamard import hadamard, next_length, orders

float64 = torch.float64


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=float64)


@given(n=st.integers(1, 3000))
@settings(max_examples=60, deadline=None)
def test_transform_lengths_factor_into_hadamard_orders(n):
    length = next_length(n)
    assert n <= length <= 1 << (n - 1).bit_length()
    assert math.prod(orders(length)) == length


@pytest.mark.parametrize("order", [1, 2, 4, 12, 20, 28, 32, 36, 44, 60, 108, 180])
def test_small_hadamard_matrices(order):
    matrix = hadamard(order)
    assert torch.equal(matrix @ matrix.T, order * torch.eye(order, dtype=float64))
    assert (matrix[0] == 1).all()


@given(shape=st.tuples(st.integers(1, 9), st.integers(1, 9)), count=st.integers(1, 100), seed=st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_hadamard_rows_have_unit_norm_and_begin_with_the_constant(shape, count, seed):
    D = SinglePixel(shape, count, seed=seed, dtype=float64).to_dense()
    n = shape[0] * shape[1]
    torch.testing.assert_close(D.abs(), torch.full_like(D, 1 / math.sqrt(n)))
    assert (D[0] > 0).all()
    length = next_length(n)
    assert len(torch.unique(D[:length], dim=0)) == min(count, length) or length > n


@pytest.mark.parametrize("shape", [(8, 8), (4, 32), (12, 16)])
def test_rows_are_orthonormal_where_the_pixels_have_a_hadamard_matrix(shape):
    A = SinglePixel(shape, shape[0] * shape[1] // 2, dtype=float64)
    D = A.to_dense()
    torch.testing.assert_close(D @ D.T, torch.eye(len(D), dtype=float64))
    assert A.row_gram == 1
    assert A.incoherent
    assert A.route().startswith("exact")


@pytest.mark.parametrize("dtype", [torch.float32, float64])
@pytest.mark.parametrize("count", [1, 20, 49, 60, 200])
@pytest.mark.parametrize("shape", [(7, 7), (8, 8), (5, 9)])
def test_solve_obeys_its_normal_equations(shape, count, dtype):
    A = SinglePixel(shape, count, dtype=dtype)
    y, v = randn(count).to(dtype), randn(*shape, seed=1).to(dtype)
    for rho in (1e-8, 1e-4, 1.0, 1e4):
        x = A.tikhonov(y, rho, v, tol=1e-10)
        gradient = A.adjoint(A.forward(x) - y) + rho * (x - v)
        bound = 1e-9 if dtype == float64 else 1e-5
        assert gradient.norm() <= bound * (A.adjoint(y).norm() + rho * v.norm() + A.norm() ** 2 * x.norm())


def test_random_patterns_have_the_variance_they_promise():
    for patterns in ("gaussian", "rademacher"):
        D = SinglePixel((16, 16), 100, patterns).to_dense()
        assert float(D.square().mean()) == pytest.approx(1 / 100, rel=0.03)
        assert float(D.mean()) == pytest.approx(0, abs=0.002)
    assert set(SinglePixel((16, 16), 100, "binary").to_dense().unique().tolist()) == {0.0, 1.0}
    assert not SinglePixel((4, 4), 5, "binary").incoherent


def test_patterns_are_the_same_in_both_precisions_and_for_one_seed():
    for patterns in ("hadamard", "gaussian", "rademacher", "binary"):
        single, double = (SinglePixel((6, 6), 9, patterns, 3, dtype=d) for d in (torch.float32, float64))
        torch.testing.assert_close(single.to_dense().double(), double.to_dense(), atol=1e-7, rtol=1e-6)
        assert not torch.equal(double.to_dense(), SinglePixel((6, 6), 9, patterns, 4, dtype=float64).to_dense())


def sign_changes(row):
    return int((row[1:] * row[:-1] < 0).sum())


def test_orderings_show_coarse_patterns_first():
    patterns = SinglePixel((8, 8), 64, ordering="sequency").to_dense()
    assert [sign_changes(row) for row in patterns] == list(range(64))
    for ordering in ("cake-cutting", "zig-zag"):
        A = SinglePixel((8, 8), 64, ordering=ordering)
        grids = [A.pattern(i) for i in range(64)]
        along = [(sign_changes(g[:, 0]), sign_changes(g[0])) for g in grids]
        assert len(set(along)) == 64
        size = [(i + 1) * (j + 1) if ordering == "cake-cutting" else i + j for i, j in along]
        assert size == sorted(size)
        assert A.row_gram == 1
        assert not A.incoherent


def test_ordered_patterns_fit_any_picture():
    A = SinglePixel((5, 7), 12, ordering="cake-cutting", dtype=float64)
    assert A.pattern(0).shape == (5, 7)
    assert (A.pattern(0) > 0).all()


@pytest.mark.parametrize("patterns", ["hadamard", "rademacher", "gaussian"])
def test_prepare_removes_dark_light_by_complementary_exposures(patterns):
    A = SinglePixel((4, 4), 10, patterns, dtype=float64)
    x = randn(4, 4).abs()
    shown = A.to_dense() * math.sqrt(16 if patterns == "hadamard" else 10)
    raw = torch.stack([shown.clamp_min(0) @ x.flatten(), (-shown).clamp_min(0) @ x.flatten()]) + 0.37
    torch.testing.assert_close(A.prepare(raw), A.forward(x))


def test_prepare_completes_single_exposures():
    A = SinglePixel((4, 4), 10, dtype=float64)
    x = randn(4, 4).abs()
    shown = (A.to_dense() * 4 + 1) / 2
    torch.testing.assert_close(A.prepare(shown @ x.flatten() + 0.2, dark=0.2), A.forward(x))
    B = SinglePixel((4, 4), 10, "binary", dtype=float64)
    torch.testing.assert_close(B.prepare(B.forward(x) + 0.2, dark=0.2), B.forward(x))
    with pytest.raises(ValueError, match="both exposures"):
        SinglePixel((4, 4), 10, "gaussian", dtype=float64).prepare(randn(10))
    with pytest.raises(ValueError, match="expected"):
        A.prepare(randn(9))


def test_large_pictures_are_fast_and_take_linear_memory():
    A = SinglePixel((512, 512), 65536)
    assert sum(b.numel() for b in A.buffers()) <= 2 * 512 * 512
    x = torch.rand(512, 512)
    A.forward(x)
    seconds = []
    for _ in range(3):
        start = time.process_time()
        A.forward(x)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.05 * max(torch.get_num_threads(), 1)
    huge = SinglePixel((1024, 1024), 1000)
    assert huge.adjoint(huge.forward(torch.ones(1024, 1024))).mean() == pytest.approx(1, rel=1e-4)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="measurement"):
        SinglePixel((4, 4), 0)
    with pytest.raises(ValueError, match="patterns"):
        SinglePixel((4, 4), 3, "walsh")
    with pytest.raises(ValueError, match="ordering"):
        SinglePixel((4, 4), 3, "gaussian", ordering="zig-zag")
