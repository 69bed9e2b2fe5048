"""The noise level of measured data, where it can be told from signal."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .data_terms import DataTerm
from .images import ArrayLike
from .linear_operator import LinearOperator

PATCH = 8  # side of the patches; 64 eigenvalues leave enough of them to noise
MAX_PATCHES = 1 << 16  # more do not change the covariance
MIN_PATCHES = 8  # per dimension of a patch, below which the covariance itself is too noisy
ROUNDS = 4  # of choosing flat patches by the last estimate; more do not change it


def estimate_noise(y: ArrayLike, A: LinearOperator) -> Tensor:
    """Standard deviation of white Gaussian noise in the data ``y`` of ``A``, one number per image; NaN where unknown.

    The operator says what it can: a blur reads the frequencies that it destroys, operators whose data are a picture
    use the smallest eigenvalues of the patch covariance, masks how samples miss a local plane. Where rows are random,
    noise and signal cannot be separated, and the answer is NaN. The estimate is for independent noise; correlated
    noise is not recognised.

    Shapes: ``y`` (..., *A.out_shape) of one image to a scalar, of a batch to (B,).
    Units: those of ``y``; for complex data, of each part.
    Raises: ValueError and TypeError as for any data of ``A``.
    """
    term = DataTerm(A, y)
    if term.data.is_complex() and not A.complex_out:  # a real operator sees two pictures of one level
        parts = torch.stack([estimate_noise(term.data.real, A), estimate_noise(term.data.imag, A)])
        levels = parts.square().mean(dim=0).sqrt()
        return levels if len(term.shape) > A.ndim + 1 else levels[0]
    per_item = A.noise_level(term.data)
    if per_item is None:
        levels = torch.full(term.data.shape[:1], math.nan, dtype=term.data.real.dtype, device=term.data.device)
    else:  # channels share one level: the root of the mean variance
        levels = per_item.reshape(term.data.shape[0], -1).square().mean(dim=1).sqrt()
    batch = len(term.shape) > A.ndim + 1
    return levels if batch else levels[0]


@torch.no_grad()
def patch_noise(image: Tensor) -> Tensor:
    """Noise level of pictures from the spread of their patches: the eigenvalues that only noise fills.

    Clean patches live near a subspace, so the smallest eigenvalues of the patch covariance all equal the noise
    variance; the largest ones are dropped until mean and median of the rest agree. Patches as flat as the estimated
    noise are chosen and the estimate repeated on them, because texture fills more dimensions than its strength tells.

    Shapes: (..., H, W) to (...); NaN for pictures with fewer patches than eigenvalues.
    Source: Chen, Zhu & Heng, *An Efficient Statistical Method for Image Noise Level Estimation*, 2015, alg. 1; the
    choice of flat patches: Liu, Tanaka & Okutomi, *Single-Image Noise Level Estimation for Blind Denoising*, 2013.
    """
    lead, (height, width) = image.shape[:-2], image.shape[-2:]
    pictures = image.reshape(-1, 1, height, width).double()
    side = PATCH if min(height, width) >= 8 * PATCH else PATCH // 2
    count = (height - side + 1) * (width - side + 1)
    if min(height, width) < side or count < MIN_PATCHES * side**2:
        return image.new_full(lead, math.nan)
    levels = []
    for picture in pictures:
        patches = torch.nn.functional.unfold(picture[None], side)[0]  # (side^2, count)
        patches = patches[:, :: max(1, count // MAX_PATCHES)]
        variances = patches.var(dim=0)
        level = _smallest_eigenvalues(patches)
        for _ in range(ROUNDS):  # in flat patches noise fills more of the eigenvalues
            flat = variances <= level**2 * (1 + 3 * math.sqrt(2 / side**2))
            if int(flat.sum()) < MIN_PATCHES * side**2:
                break
            level = _smallest_eigenvalues(patches[:, flat])
        levels.append(level)
    return torch.stack(levels).reshape(lead).to(image.dtype)


def _smallest_eigenvalues(patches: Tensor) -> Tensor:
    """Root mean of the smallest eigenvalues, as many of them as have their mean at their median."""
    eigenvalues = torch.linalg.eigvalsh(torch.cov(patches)).clamp_min(0)  # ascending
    ranks = torch.arange(1, len(eigenvalues) + 1, device=patches.device)
    means = eigenvalues.cumsum(0) / ranks
    medians = torch.stack([eigenvalues[:n].median() for n in ranks.tolist()])
    agree = (means <= medians * (1 + 1e-12)).nonzero().flatten()
    level: Tensor = means[agree[-1]].sqrt()
    return level


@torch.no_grad()
def scattered_noise(y: Tensor, weight: Tensor) -> Tensor:
    """Noise level of scattered samples ``y = weight * picture + noise`` from how they miss a plane in small blocks.

    Blocks as flat as the estimated noise are chosen and the estimate repeated, as in ``patch_noise``.

    Shapes: ``y`` (..., H, W) to (...), ``weight`` (H, W), zero where nothing was sampled; NaN with too few samples.
    """
    height, width = weight.shape
    lead = y.shape[:-2]
    rows, cols = (torch.linspace(-1, 1, PATCH, dtype=torch.float64, device=y.device) for _ in range(2))
    if min(height, width) < PATCH:
        return y.new_full(lead, math.nan)

    def blocks(t: Tensor) -> Tensor:  # (..., H, W) to (n, blocks, PATCH^2)
        flat = t.double().reshape(-1, 1, *t.shape[-2:])
        return torch.nn.functional.unfold(flat, PATCH, stride=PATCH // 2).transpose(1, 2)

    w, samples = blocks(weight)[0], blocks(torch.where(weight != 0, y, 0))
    freedom = (w != 0).sum(dim=1) - 3
    usable = freedom >= PATCH // 2
    if int(usable.sum()) < PATCH:
        return y.new_full(lead, math.nan)
    w, samples, freedom = w[usable], samples[:, usable], freedom[usable].double()
    plane = torch.stack([torch.ones(PATCH, PATCH).to(rows), *torch.meshgrid(rows, cols, indexing="ij")]).reshape(3, -1)
    design = w[:, :, None] * plane.T  # (blocks, PATCH^2, 3)
    basis = torch.linalg.qr(design).Q
    missed = samples - torch.einsum("bpk,bqk,nbq->nbp", basis, basis, samples)
    variances = missed.square().sum(dim=2) / freedom
    allowance = 1 + 3 * (2 / freedom).sqrt()
    levels = []
    for variance in variances:
        level = variance.median()
        for _ in range(2 * ROUNDS):
            flat = variance <= level * allowance
            level = (variance[flat] * freedom[flat]).sum() / freedom[flat].sum()
        levels.append(level.sqrt())
    return torch.stack(levels).reshape(lead).to(y.dtype)
