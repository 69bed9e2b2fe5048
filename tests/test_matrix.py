"""Dense matrices, real and complex."""

import pytest
import torch

from pnp.operators import Matrix

float64 = torch.float64


def randn(*shape, seed=0, dtype=float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("rho", [1e-8, 1e-4, 1.0, 1e4])
@pytest.mark.parametrize("rows", [7, 12, 40])
def test_solve_is_exact_for_wide_square_and_tall(rows, rho):
    tensor = randn(rows, 12)
    A = Matrix(tensor, (3, 4))
    y, v = randn(rows, seed=1), randn(12, seed=2)
    expected = torch.linalg.solve(
        tensor.T @ tensor + rho * torch.eye(12, dtype=float64), tensor.T @ y + rho * v
    ).reshape(3, 4)
    x = A.tikhonov(y, rho, v.reshape(3, 4))
    gradient = A.adjoint(A.forward(x) - y) + rho * (x - v.reshape(3, 4))
    assert gradient.norm() <= 1e-9 * (A.adjoint(y).norm() + rho * v.norm() + x.norm())
    if rho >= 1e-4:
        torch.testing.assert_close(x, expected, atol=1e-8, rtol=1e-8)
    assert A.route().startswith("exact")


@pytest.mark.parametrize("rows", [20, 60])
def test_float32_is_accurate_down_to_tiny_penalties_even_when_ill_conditioned(rows):
    """Singular values from 1 to 1e-6, data in the range: the float32 answer is that of float64."""
    left, right = torch.linalg.qr(randn(rows, rows)).Q, torch.linalg.qr(randn(40, 40, seed=1)).Q
    k = min(rows, 40)
    s = torch.logspace(0, -6, k, dtype=float64)
    tensor = left[:, :k] * s @ right[:, :k].T
    truth = randn(40, seed=2)
    y = tensor @ truth
    for rho in (1e-8, 1e-6, 1e-3):
        exact = Matrix(tensor, (5, 8)).tikhonov(y, rho)
        single = Matrix(tensor.float(), (5, 8)).tikhonov(y.float(), rho)
        assert (single - exact).norm() <= 2e-3 * exact.norm()


def test_complex_matrices_keep_their_imaginary_part_in_conversions():
    tensor = randn(5, 6, dtype=torch.complex64)
    A = Matrix(tensor, (2, 3)).double()
    x = randn(2, 3, dtype=torch.complex128)
    torch.testing.assert_close(A.forward(x), tensor.to(torch.complex128) @ x.flatten())


def test_decomposition_follows_the_entries():
    A, B = Matrix(randn(4, 6), (2, 3)), Matrix(randn(4, 6, seed=9), (2, 3))
    y = randn(4)
    A.tikhonov(y, 0.1)  # fills the cache
    A.load_state_dict(B.state_dict())
    torch.testing.assert_close(A.tikhonov(y, 0.1), B.tikhonov(y, 0.1))


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="columns"):
        Matrix(torch.ones(3, 5), (2, 3))
    with pytest.raises(ValueError, match="finite"):
        Matrix(torch.full((3, 6), float("nan")), (2, 3))
