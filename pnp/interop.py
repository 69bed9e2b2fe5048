"""Operators handed to pylops and SciPy: flat NumPy vectors of one item in, flat NumPy vectors out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    import pylops
    import scipy.sparse.linalg

    from .linear_operator import LinearOperator

Vector = np.ndarray[Any, Any]


def _on_vectors(A: LinearOperator, f: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> Callable[[Vector], Vector]:
    def apply(vector: Vector) -> Vector:
        tensor = torch.as_tensor(vector.reshape(shape))
        real = A.dtype.to_real() if A._anchor() is not None else tensor.dtype.to_real()
        tensor = tensor.to(A.device, real.to_complex() if tensor.is_complex() else real)
        with torch.no_grad():
            return f(tensor).resolve_conj().resolve_neg().flatten().cpu().numpy()

    return apply


def _numpy_dtype(A: LinearOperator) -> np.dtype[Any]:
    double = A._anchor() is None or A.dtype in (torch.float64, torch.complex128)
    if A.complex_in or A.complex_out:
        return np.dtype(np.complex128 if double else np.complex64)
    return np.dtype(np.float64 if double else np.float32)


def to_scipy(A: LinearOperator) -> scipy.sparse.linalg.LinearOperator:
    """``A`` as a ``scipy.sparse.linalg.LinearOperator`` of shape (M, N), the matrix of ``to_dense()``.

    With real images and complex data it acts on complex images, as that matrix does.
    """
    from scipy.sparse.linalg import LinearOperator as ScipyOperator

    forward, adjoint = _maps(A)
    return ScipyOperator(
        shape=(math.prod(A.out_shape), math.prod(A.in_shape)),
        matvec=_on_vectors(A, forward, A.in_shape),
        rmatvec=_on_vectors(A, adjoint, A.out_shape),
        dtype=_numpy_dtype(A),
    )


def _maps(A: LinearOperator) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """Both maps of the matrix ``to_dense()``, over complex images even where ``A`` takes real ones to complex data."""
    if A.complex_in or not A.complex_out:
        return A.forward, A.adjoint

    def forward(x: Tensor) -> Tensor:
        return A.forward(x.real) + 1j * A.forward(x.imag) if x.is_complex() else A.forward(x)

    def adjoint(y: Tensor) -> Tensor:
        return torch.complex(A.adjoint(y), A.adjoint(-1j * y))  # Im z = Re(-i z)

    return forward, adjoint


def to_pylops(A: LinearOperator) -> pylops.LinearOperator:
    """``A`` as a ``pylops.LinearOperator`` with its dims set, the same matrix as `to_scipy`."""
    import pylops

    forward, adjoint = _maps(A)

    class FromTorch(pylops.LinearOperator):  # type: ignore[misc]  # pylops is untyped
        def __init__(self) -> None:
            super().__init__(dtype=_numpy_dtype(A), dims=A.in_shape, dimsd=A.out_shape, name=type(A).__name__)

        def _matvec(self, x: Vector) -> Vector:
            return _on_vectors(A, forward, A.in_shape)(x)

        def _rmatvec(self, y: Vector) -> Vector:
            return _on_vectors(A, adjoint, A.out_shape)(y)

    return FromTorch()
