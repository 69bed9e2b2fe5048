"""The single-pixel camera: patterns, orderings, exact solves, raw data."""

import math
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pnp.operators import Radon, SinglePixel
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


def exposures(A, x):
    """What the detector reads of the positive and of the negative part of every pattern, without any offset."""
    weight = {"hadamard": A.columns, "binary": 1}.get(A.patterns, A.rows)
    shown = A.to_dense() * math.sqrt(weight)
    return tuple(x.flatten(-2) @ part.clamp_min(0).mT for part in (shown, -shown))


@pytest.mark.parametrize("items", [(), (2,), (3, 2)])
@pytest.mark.parametrize("patterns", ["hadamard", "rademacher", "gaussian", "binary"])
def test_the_difference_of_complementary_exposures_is_free_of_offsets(patterns, items):
    """Whatever the offset, whatever is said about it; two items are no pair."""
    A = SinglePixel((4, 4), 10, patterns, dtype=float64)
    x = randn(*items, 4, 4).abs()
    first, second = exposures(A, x)
    for offset, dark in ((0.0, 0.0), (0.37, 0.0), (0.37, 0.37), (0.37, randn(10)), (randn(*items, 1), 0.2)):
        torch.testing.assert_close(A.prepare(first + offset, second + offset, dark=dark), A.forward(x))


@pytest.mark.parametrize("items", [(), (2,), (3, 2)])
@pytest.mark.parametrize("patterns", ["hadamard", "binary"])
def test_single_exposures_are_completed_and_their_dark_light_subtracted(patterns, items):
    A = SinglePixel((4, 4), 10, patterns, dtype=float64)
    x = randn(*items, 4, 4).abs()
    raw, _ = exposures(A, x)
    for dark in (0.0, 0.2, randn(10), randn(*items, 1)):
        torch.testing.assert_close(A.prepare(raw + dark, dark=dark), A.forward(x))


def test_counts_become_data_of_the_operators_precision():
    A = SinglePixel((4, 4), 10, "binary")
    counts = torch.arange(10, dtype=torch.int32)
    assert A.prepare(counts, dark=1.0).dtype == torch.float32
    assert A.prepare(counts, counts, dark=torch.ones(10, dtype=float64)).dtype == torch.float32
    assert A.prepare(counts).tolist() == list(range(10))


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (([1.0] * 10,), TypeError, "expected raw as a real torch.Tensor, got list; torch.as_tensor"),
        ((torch.ones(10, dtype=torch.complex64),), TypeError, "got torch.complex64"),
        ((torch.ones(10), [1.0] * 10), TypeError, "expected complement as a real torch.Tensor, got list"),
        ((torch.ones(9),), ValueError, r"expected raw of shape \(..., 10\), one reading a pattern, got \(9,\); two"),
        ((torch.ones(()),), ValueError, r"got \(\)"),
        ((torch.ones(0, 10),), ValueError, r"got \(0, 10\)"),
        ((torch.ones(10), torch.ones(9)), ValueError, "expected complement of shape"),
        ((torch.ones(2, 10), torch.ones(10)), ValueError, r"shape of raw, \(2, 10\), got \(10,\); give both"),
    ],
)
def test_readings_that_do_not_fit_are_refused(arguments, kind, message):
    A = SinglePixel((4, 4), 10)
    with pytest.raises(kind, match=rf"^SinglePixel\(4x4 -> 10\).prepare: .*{message}"):
        A.prepare(*arguments)


@pytest.mark.parametrize(
    ("dark", "kind", "message"),
    [
        (torch.ones(3), ValueError, r"broadcasts against that of raw, \(2, 10\), got \(3,\); one number a reading"),
        (torch.ones(4, 2, 10), ValueError, r"got \(4, 2, 10\)"),
        ([0.1], TypeError, "expected dark as a number or a real torch.Tensor, got list; 0"),
        (None, TypeError, "got NoneType"),
        (torch.ones(10, dtype=torch.complex64), TypeError, "got torch.complex64"),
    ],
)
def test_dark_light_that_does_not_fit_is_refused(dark, kind, message):
    A = SinglePixel((4, 4), 10)
    with pytest.raises(kind, match=rf"prepare: .*{message}"):
        A.prepare(torch.ones(2, 10), dark=dark)


@pytest.mark.parametrize("patterns", ["gaussian", "rademacher"])
def test_one_exposure_of_signed_patterns_is_refused(patterns):
    with pytest.raises(ValueError, match=rf"both exposures of {patterns} patterns, got one; call prepare"):
        SinglePixel((4, 4), 10, patterns).prepare(torch.ones(2, 10))


def test_patterns_are_asked_for_one_at_a_time():
    A = SinglePixel((4, 4), 10, dtype=float64)
    rows = A.to_dense().reshape(10, 4, 4)
    for index in (0, 9, -1, -10, np.int64(3), torch.tensor(3)):
        torch.testing.assert_close(A.pattern(index), rows[int(index)])
    for index in (slice(2), [1, 2], None, 1.5, True, torch.ones(1, dtype=torch.long)):
        with pytest.raises(TypeError, match=r"^SinglePixel\(4x4 -> 10\).pattern: expected the number of one pattern"):
            A.pattern(index)
    for index in (10, 20, -11):
        with pytest.raises(ValueError, match=rf"expected one of the 10 patterns, 0 to 9, got {index}; build"):
            A.pattern(index)


@pytest.mark.parametrize("make", [lambda d: SinglePixel((4, 4), 3, dtype=d), lambda d: Radon((4, 4), 3, dtype=d)])
@pytest.mark.parametrize("dtype", [torch.int64, torch.complex64, torch.bool, "float32", float])
def test_precisions_that_are_none_are_refused(make, dtype):
    with pytest.raises(TypeError, match=r"^(SinglePixel|Radon): expected dtype .*, got .*; call \w+\(.*, dtype=torch"):
        make(dtype)


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
