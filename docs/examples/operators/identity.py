"""
Identity: denoising
===================

The simplest instrument shows the picture itself, with noise:

.. math:: y = x + n.

``reconstruct`` reads the noise level off the data, calls the prior at three strengths and mixes the answers so
that Stein's estimate of the error is least.
"""

import matplotlib.pyplot as plt
import torch
from skimage import data

import pnp
from pnp.operators import Identity
from pnp.priors import BM3D

truth = pnp.to_tensor(data.chelsea()[20:276:2, 120:376:2])
A = Identity(truth.shape[-2:])
y = truth + 0.1 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
result = pnp.reconstruct(y, A, BM3D(), progress=False)
print(result)

# %%

pictures = {
    "original": truth,
    f"data, {pnp.psnr(y, truth):.1f} dB": y,
    f"reconstruction, {pnp.psnr(result.x, truth):.1f} dB": result.x,
}
figure, axes = plt.subplots(1, 3, figsize=(9, 3.3), layout="constrained")
for ax, (title, x) in zip(axes, pictures.items(), strict=True):
    ax.imshow(pnp.to_image(x).clip(0, 1))
    ax.set(title=title, xticks=[], yticks=[])
