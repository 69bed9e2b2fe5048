"""The noise level of measured data, where it can be told from signal."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .data_terms import DataTerm
from .images import ArrayLike
from .linear_operator import LinearOperator

PATCH = 8  # side of the patches
MAX_PATCHES = 1 << 17  # of a picture; more do not change the estimate
FLAT, FLATTEST = 0.005, 128  # share of the patches that are taken for flat, and how many at least
HIGHEST = 11  # from this sum of row and column frequency on (of at most 14) a patch is taken for noise
CLIPPED = 0.1  # share of a patch's pixels at the picture's extremes from which it is taken for saturated
ROUNDS = 4  # of choosing flat blocks by the last estimate; more do not change it


def estimate_noise(y: ArrayLike, A: LinearOperator) -> Tensor:
    """Standard deviation of white Gaussian noise in the data ``y`` of ``A``, one number per image; NaN where unknown.

    The operator says what it can: a blur reads the frequencies that it destroys, operators whose data are a picture
    use the highest frequencies of flat patches, masks how samples miss a local plane. Where rows are random,
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
    """Noise level of pictures from the highest frequencies of their flattest patches.

    White noise is alike at all frequencies of a patch, and independent between them; structure is strongest at the low
    ones. So the patches of least energy at low frequencies are flat without being quiet by chance at high ones, and
    there the median power of the highest frequencies is that of the noise. Patches with saturated pixels are left out.

    Shapes: (..., H, W) to (...); NaN for pictures smaller than a patch.
    Source: Colom & Buades, *Analysis and Extension of the Ponomarenko et al. Method*, IPOL 2013, sec. 2; only the
    highest of its high frequencies are used, which fine texture reaches last.
    """
    lead, (height, width) = image.shape[:-2], image.shape[-2:]
    if min(height, width) < 2 * PATCH:
        return image.new_full(lead, math.nan)
    stride = math.ceil(math.sqrt(height * width / MAX_PATCHES))
    transform, low, high = _frequencies(image.device)
    levels = []
    for picture in image.reshape(-1, 1, height, width).double():
        patches = torch.nn.functional.unfold(picture[None], PATCH, stride=stride)[0]  # (PATCH^2, count)
        clipped = ((patches == picture.min()) | (patches == picture.max())).double().mean(dim=0) > CLIPPED
        if int((~clipped).sum()) >= FLATTEST:
            patches = patches[:, ~clipped]
        power = (transform @ patches).square()
        count = min(max(FLATTEST, int(FLAT * patches.shape[1])), patches.shape[1])
        flattest = power[low].sum(dim=0).topk(count, largest=False).indices
        levels.append(power[high][:, flattest].mean(dim=1).median().sqrt())
    return torch.stack(levels).reshape(lead).to(image.dtype)


def _frequencies(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """The cosine transform of a patch, (PATCH^2, PATCH^2), and which of its rows are low and high frequencies."""
    k = torch.arange(PATCH, dtype=torch.float64, device=device)
    cosine = torch.cos(math.pi / PATCH * k[:, None] * (k + 0.5)) * math.sqrt(2 / PATCH)
    cosine[0] /= math.sqrt(2)
    frequency = (k[:, None] + k).flatten()
    return torch.kron(cosine, cosine), (frequency > 0) & (frequency <= PATCH), frequency >= HIGHEST


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
