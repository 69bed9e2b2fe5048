r"""
SinglePixel: a camera of one detector
=====================================

A mirror array shows patterns, one detector adds up the light that each lets through:

.. math:: (A x)_i = \langle p_i, x \rangle, \qquad i = 1 \dots m.

Hadamard patterns with their pixels in random order are the default: orthonormal rows, a fast transform, an
exact solve. Here there are four times fewer measurements than pixels. ``A.prepare`` turns what the detector
read into data.
"""

import matplotlib.pyplot as plt
import torch
from skimage import data

import pnp
from pnp.operators import SinglePixel
from pnp.priors import BM3D

truth = pnp.to_tensor(data.camera()[80:336:2, 100:356:2])
A = SinglePixel(truth.shape[-2:], measurements=truth.numel() // 4, seed=0)
y = A(truth)
y = y + 0.01 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
result = pnp.reconstruct(y, A, BM3D(), progress=False)
print(result)

# %%

pictures = {
    "original": truth,
    f"least squares, {pnp.psnr(A.pinv(y), truth):.1f} dB": A.pinv(y),
    f"with BM3D, {pnp.psnr(result.x, truth):.1f} dB": result.x,
}
figure, axes = plt.subplots(1, 4, figsize=(9, 2.6), layout="constrained")
axes[0].imshow(pnp.to_image(A.pattern(1)), cmap="gray")
axes[0].set(title="one of the patterns", xticks=[], yticks=[])
for ax, (title, x) in zip(axes[1:], pictures.items(), strict=True):
    ax.imshow(pnp.to_image(x), cmap="gray", vmin=0, vmax=1)
    ax.set(title=title, xticks=[], yticks=[])
