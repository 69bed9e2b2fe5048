"""Differences and wavelets: closed forms against dense algebra, borders, and the transforms' own identities."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pnp.daubechies import inner_roots, low_pass
from pnp.operators import Blur, Gradient, Wavelet


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_differences_look_forward():
    x = torch.tensor([[0.0, 1.0, 3.0], [10.0, 10.0, 10.0]])
    neumann, periodic = Gradient((2, 3)).forward(x), Gradient((2, 3), boundary="periodic").forward(x)
    assert torch.equal(neumann[1], torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 0.0]]))
    assert torch.equal(neumann[0], torch.tensor([[10.0, 9.0, 7.0], [0.0, 0.0, 0.0]]))
    assert torch.equal(periodic[1], torch.tensor([[1.0, 2.0, -3.0], [0.0, 0.0, 0.0]]))


@given(
    st.sampled_from(["neumann", "periodic"]),
    st.lists(st.integers(1, 5), min_size=2, max_size=3).map(tuple),
    st.floats(-8, 4),
)
def test_the_solve_is_that_of_the_matrix(boundary, shape, exponent):
    A, rho = Gradient(shape, boundary=boundary), 10.0**exponent
    b = randn(*shape)
    D = A.double().to_dense().double()
    expected = torch.linalg.solve(D.T @ D + rho * torch.eye(b.numel(), dtype=torch.float64), b.flatten())
    assert torch.allclose(A._solve_primal(b, rho).flatten(), expected, rtol=1e-6, atol=1e-9 * float(expected.norm()))
    assert math.isclose(A.norm(), float(torch.linalg.matrix_norm(D, 2)), rel_tol=1e-6, abs_tol=1e-7)


def test_the_solve_is_exact():
    assert "exact" in Gradient((4, 4)).route()
    assert "exact" in Gradient((4, 4, 4), boundary="periodic").route()


@given(st.integers(1, 10))
def test_daubechies_filters_are_orthonormal_and_kill_polynomials(moments):
    h = torch.from_numpy(low_pass(moments, inner_roots(moments)))
    shifts = [float((h[2 * k :] * h[: len(h) - 2 * k]).sum()) for k in range(moments)]
    assert torch.allclose(torch.tensor(shifts), torch.eye(moments)[0], atol=1e-6)
    signs = 1 - 2 * (torch.arange(len(h)) % 2)
    powers = (torch.arange(len(h), dtype=torch.float64) / len(h))[:, None] ** torch.arange(moments)
    assert ((signs * h.flip(0))[:, None] * powers).sum(dim=0).abs().max() < 1e-7


def test_haar_by_hand():
    x = torch.tensor([[1.0, 3.0], [5.0, 7.0]])
    y = Wavelet((2, 2), moments=1).forward(x)
    assert torch.allclose(y, torch.tensor([[8.0, -2.0], [-4.0, 0.0]]), atol=1e-5)


def test_wavelets_agree_with_pywavelets():
    pywt = pytest.importorskip("pywt")
    x = randn(32, 64)
    low, (rows, columns, both) = pywt.dwt2(x.numpy(), "db3", mode="periodization")
    ours = Wavelet((32, 64), moments=3, levels=1, dtype=torch.float64).forward(x)
    for band, part in (
        (low, ours[:16, :32]),
        (rows, ours[16:, :32]),
        (columns, ours[:16, 32:]),
        (both, ours[16:, 32:]),
    ):
        sizes = [t.abs().flatten().sort().values for t in (torch.from_numpy(band.copy()), part)]
        assert torch.allclose(*sizes, atol=1e-10)  # up to a shift and a sign


def test_details_of_a_smooth_picture_are_small():
    rows = torch.linspace(0, 2 * math.pi, 65, dtype=torch.float64)[:-1]
    y = Wavelet((64, 64), moments=4, dtype=torch.float64).forward(rows.sin()[:, None] * rows.cos())
    assert y[:4, :4].norm() > 0.9 * y.norm()
    assert y[32:].abs().max() < 1e-3


def test_synthesis_keeps_an_exact_solve_exact():
    W = Wavelet((8, 8), dtype=torch.float64)
    A = Blur(randn(3, 3), (8, 8)) @ W.H
    assert "exact" in A.route()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Gradient((4,)), r"shape \(H, W\) or \(D, H, W\)"),
        (lambda: Gradient((4, 4), boundary="mirror"), "'neumann' or 'periodic', got 'mirror'"),
        (lambda: Wavelet((6, 8), levels=2), "allow 0 to 1 levels"),
        (lambda: Wavelet((8, 8), moments=0), "1 to 10 vanishing moments"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
