r"""
Fourier: magnetic resonance
===========================

A scanner measures spatial frequencies of the picture, line by line, and skips most lines to save time:

.. math:: A x = m \odot F x, \qquad \text{with several coils} \quad (A x)_c = m \odot F (s_c\, x).

:math:`F` is the orthonormal Fourier transform. ``real=True`` is for pictures without a phase; ``lines``,
``radial``, ``variable_density`` and ``random`` draw masks.
"""

import matplotlib.pyplot as plt
import torch
from skimage import data
from skimage.transform import resize

import pnp
from pnp.operators import Fourier
from pnp.priors import BM3D

truth = pnp.to_tensor(resize(data.shepp_logan_phantom(), (128, 128), anti_aliasing=True)).float()
A = Fourier.lines(truth.shape[-2:], keep=0.3, seed=0, real=True)
noise = 0.01 * torch.randn((2, *truth.shape), generator=torch.Generator().manual_seed(0))
y = A(truth) + A.engine.mask * torch.complex(noise[0], noise[1])
result = pnp.reconstruct(y, A, BM3D(), progress=False)

pictures = {
    f"missing = 0, {pnp.psnr(A.adjoint(y), truth):.1f} dB": A.adjoint(y),
    f"reconstruction, {pnp.psnr(result.x, truth):.1f} dB": result.x,
    "original": truth,
}
figure, axes = plt.subplots(1, 4, figsize=(9, 2.6), layout="constrained")
axes[0].imshow(pnp.to_image(torch.fft.fftshift(y[0].abs().clamp_min(1e-3).log())), cmap="gray")
axes[0].set(title="data, log magnitude", xticks=[], yticks=[])
for ax, (title, x) in zip(axes[1:], pictures.items(), strict=True):
    ax.imshow(pnp.to_image(x), cmap="gray", vmin=0, vmax=1)
    ax.set(title=title, xticks=[], yticks=[])
