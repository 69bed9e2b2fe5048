"""The small transforms of BM3D as matrices: 8-point bior1.5 and DCT, channel decorrelation, Kaiser window."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]

BLOCK = 8  # side of a block; the compiled kernels are written for it

# Analysis low-pass filter of the biorthogonal spline wavelet 1.5 in units of sqrt(2) / 256; its high-pass is Haar's.
# Cohen, Daubechies & Feauveau, Biorthogonal Bases of Compactly Supported Wavelets, 1992, table 6.2.
_BIOR15_LOWPASS = (3, -3, -22, 22, 128, 128, 22, -22, -3, 3)


def biorthogonal() -> Matrix:
    """Periodised three-level bior1.5 analysis of 8 samples, rows scaled to unit norm (so white noise keeps its level).

    Shapes: (8, 8), the mean first; the synthesis is its inverse.
    Source: Dabov et al., *Image Denoising by Sparse 3-D Transform-Domain Collaborative Filtering*, 2007, table I.
    """
    matrix = np.eye(BLOCK)
    length = BLOCK
    while length > 1:
        step = np.zeros((length, length))
        for i in range(length // 2):
            for k, tap in enumerate(_BIOR15_LOWPASS):
                step[i, (2 * i + k - 4) % length] += math.sqrt(2) / 256 * tap
            step[length // 2 + i, 2 * i : 2 * i + 2] = -math.sqrt(0.5), math.sqrt(0.5)
        matrix[:length] = step @ matrix[:length]
        length //= 2
    return np.asarray(matrix / np.linalg.norm(matrix, axis=1, keepdims=True))


def cosine(length: int = BLOCK) -> Matrix:
    """Orthonormal DCT-II, (length, length), the mean first."""
    k, i = np.arange(length)[:, None], np.arange(length)
    matrix = np.asarray(math.sqrt(2 / length) * np.cos(math.pi / length * (i + 0.5) * k))
    matrix[0] = math.sqrt(1 / length)
    return matrix


def kaiser(beta: float = 2.0) -> Matrix:
    """Kaiser window of 8 samples (beta 2: Dabov et al. 2007, table I); the window of a block is its outer product."""
    return np.kaiser(BLOCK, beta)


def haar(length: int) -> Matrix:
    """Orthonormal Haar transform of ``length`` = 1, 2, 4, ... samples, the mean first."""
    matrix = np.ones((1, 1))
    while len(matrix) < length:
        finer = np.kron(np.eye(len(matrix)), [1, -1])
        matrix = np.concatenate([np.kron(matrix, [1, 1]), finer]) * math.sqrt(0.5)
    return matrix


def synthesis(analysis: Matrix, window: Matrix) -> Matrix:
    """The inverse of ``analysis`` with the aggregation window folded in: row k is multiplied by ``window[k]``."""
    return np.asarray(window[:, None] * np.linalg.inv(analysis))


def autocorrelation(analysis: Matrix) -> Matrix:
    """Correlation of the same coefficient of two blocks (dy, dx) apart that see the same white noise.

    Shapes: (8, 8, 64), indexed by the distances dy, dx and the coefficient 8 u + v; (0, 0) is all ones.
    """
    shifts = np.stack([(analysis[:, d:] * analysis[:, : BLOCK - d]).sum(axis=1) for d in range(BLOCK)])
    return np.asarray(np.einsum("yu,xv->yxuv", shifts, shifts).reshape(BLOCK, BLOCK, BLOCK * BLOCK))
