"""pylops and SciPy: operators handed over in both directions."""

import importlib.util
import pickle
import sys

import numpy as np
import pylops
import pytest
import scipy.sparse.linalg
import torch

from pnp.operators import (
    Blur,
    Fourier,
    FromCallables,
    Identity,
    Mask,
    Matrix,
    PylopsOperator,
    SinglePixel,
    pylops_operator,
)

float64 = torch.float64


def randn(*shape, seed=0, dtype=float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


SHAPE = (4, 6)
MADE = [
    Identity((4, 5)),
    Blur(randn(3, 3), (6, 5)),
    Blur(randn(3, 3), (6, 5), "valid"),
    Mask.random((5, 4), 0.5, dtype=float64),
    SinglePixel((4, 4), 9, dtype=float64),
    Matrix(randn(7, 6), (2, 3)),
    Matrix(randn(7, 6, dtype=torch.complex128), (2, 3)),
    Fourier(SHAPE, Mask.random(SHAPE, 0.6, dtype=float64).mask, real=True),
    Fourier(SHAPE, sensitivities=randn(2, *SHAPE, dtype=torch.complex128), real=True),
    Matrix(randn(7, 6, dtype=torch.complex128), (2, 3)).T,
    Fourier(SHAPE, Mask.random(SHAPE, 0.6, dtype=float64).mask).T,
]


@pytest.mark.parametrize("A", MADE, ids=repr)
def test_our_operators_pass_pylops_dottest(A):
    op = A.to_pylops()
    flag = 3 if A.complex_out else 0
    assert pylops.utils.dottest(op, *op.shape, complexflag=flag, rtol=1e-10)
    assert op.dims == A.in_shape


def test_scipy_solves_and_decomposes_with_our_operators():
    A = Blur(randn(3, 3), (6, 5), "valid")
    D = A.to_dense().numpy()
    y = randn(A.rows).numpy()
    x = scipy.sparse.linalg.lsqr(A.to_scipy(), y, damp=0.1, atol=1e-13, btol=1e-13)[0]
    np.testing.assert_allclose(x, A.tikhonov(torch.from_numpy(y).reshape(A.out_shape), 0.01).flatten(), atol=1e-8)
    s = scipy.sparse.linalg.svds(A.to_scipy(), k=3, return_singular_vectors=False)
    np.testing.assert_allclose(sorted(s), sorted(np.linalg.svd(D)[1])[-3:], rtol=1e-8)


@pytest.mark.parametrize("A", MADE, ids=repr)
def test_scipy_sees_the_dense_matrix_and_its_singular_values(A):
    D, op = A.to_dense().resolve_conj().numpy(), A.to_scipy()
    np.testing.assert_allclose(op @ np.eye(A.columns), D, atol=1e-12)
    np.testing.assert_allclose(op.H @ np.eye(len(D)), D.conj().T, atol=1e-12)
    first = np.random.default_rng(0).normal(size=min(D.shape))
    values = scipy.sparse.linalg.svds(op, k=2, return_singular_vectors=False, v0=first)
    np.testing.assert_allclose(sorted(values), sorted(np.linalg.svd(D)[1])[-2:], rtol=1e-8)


def second_derivative():
    return pylops.Laplacian((6, 7), dtype="float64")


@pytest.mark.parametrize("op", [second_derivative(), pylops.MatrixMult(np.random.default_rng(0).normal(size=(50, 42)))])
def test_pylops_operators_become_ours(op):
    out = (6, 7) if op.shape[0] == 42 else (50,)
    A = PylopsOperator(op, (6, 7), out)
    x = randn(2, 3, 6, 7)
    expected = np.stack([op.matvec(item) for item in x.reshape(6, -1).numpy()]).reshape(2, 3, *out)
    np.testing.assert_allclose(A.forward(x), expected)
    assert A.dtype == float64
    torch.testing.assert_close(pickle.loads(pickle.dumps(A)).forward(x), A.forward(x))


class Looks:
    """A pylops operator, as far as we use one, that notes where its vectors lie."""

    shape, dtype = (6, 6), np.dtype("float64")

    def __init__(self):
        self.seen = []

    def matvec(self, x):
        self.seen += [x.ctypes.data]
        result = 2 * x
        self.seen += [result.ctypes.data]
        return result

    rmatvec = matvec


@pytest.mark.parametrize("host", [False, True])
def test_one_item_is_never_copied_on_the_cpu(host):
    op, x = Looks(), randn(2, 3)
    y = PylopsOperator(op, (2, 3), (6,), host=host).forward(x)
    assert op.seen == [x.data_ptr(), y.data_ptr()]
    torch.testing.assert_close(y, 2 * x.flatten())


def test_on_a_gpu_tensors_and_cupy_arrays_share_their_memory(monkeypatch):
    """NumPy in the place of CuPy: it speaks the same protocol."""
    monkeypatch.setitem(sys.modules, "cupy", np)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "cupy" or None)
    there, back = pylops_operator._sharing(torch.device("cuda"))
    x = randn(5)
    assert there is np.from_dlpack
    assert there(x).ctypes.data == x.data_ptr() == back(there(x)).data_ptr()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert pylops_operator._sharing(torch.device("cuda"))[0] is pylops_operator._on_host


def test_the_gradient_is_the_adjoint_and_the_second_one_the_forward_map():
    A = PylopsOperator(second_derivative(), (6, 7), (6, 7))
    x, y = randn(2, 6, 7).requires_grad_(), randn(2, 6, 7, seed=1)
    (gradient,) = torch.autograd.grad(A.forward(x), x, y)
    torch.testing.assert_close(gradient, A.adjoint(y))
    assert torch.autograd.gradgradcheck(A.forward, (x,), (y.clone().requires_grad_(),))


def test_single_precision_stays_single():
    A = PylopsOperator(second_derivative(), (6, 7), (6, 7))
    assert A.forward(torch.ones(6, 7)).dtype == torch.float32


@pytest.mark.parametrize("rho", [1e-8, 1e-2, 1e4])
def test_a_tall_pylops_operator_is_solved_by_conjugate_gradients(rho):
    op = pylops.MatrixMult(np.random.default_rng(0).normal(size=(50, 42)))
    A = PylopsOperator(op, (6, 7), (50,))
    assert "CG" in A.explain()
    y, v = randn(50), randn(6, 7, seed=1)
    x = A.tikhonov(y, rho, v, tol=1e-10)
    gradient = A.adjoint(A.forward(x) - y) + rho * (x - v)
    assert gradient.norm() <= 1e-9 * (A.adjoint(y).norm() + rho * v.norm() + x.norm())


def test_shapes_must_match():
    with pytest.raises(ValueError, match="shape"):
        PylopsOperator(second_derivative(), (6, 8), (6, 7))


def test_lazily_conjugated_tensors_are_resolved():
    A = PylopsOperator(second_derivative(), (6, 7), (6, 7))
    z = torch.complex(randn(6, 7), randn(6, 7, seed=1))
    torch.testing.assert_close(A.forward(z.conj()), A.forward(z).conj())


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, "float32", float])
def test_precisions_that_are_none_are_refused(dtype):
    with pytest.raises(
        TypeError, match=r"^FromCallables: expected dtype as a real or complex torch.dtype, got .*; call"
    ):
        FromCallables(abs, abs, (4,), (4,), dtype=dtype)
