r"""
Gradient: slopes
================

Wavefront sensors and shape from shading give the slopes of a surface, not its height:

.. math:: (A x)_1 = x_{i+1,\,j} - x_{i,\,j}, \qquad (A x)_2 = x_{i,\,j+1} - x_{i,\,j}.

The solve is exact, by cosine transforms. The mean height leaves no trace in the data and is zero in the
answer.
"""

import matplotlib.pyplot as plt
import torch
from skimage import data

import pnp
from pnp.operators import Gradient
from pnp.priors import TV

truth = pnp.to_tensor(data.coins()[20:148, 40:168])
truth = truth - truth.mean()
A = Gradient(truth.shape[-2:])
y = A(truth)
y = y + 0.02 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
result = pnp.reconstruct(y, A, TV(), progress=False)

pictures = {
    "original": truth,
    f"least squares, {pnp.psnr(A.pinv(y), truth):.1f} dB": A.pinv(y),
    f"with TV, {pnp.psnr(result.x, truth):.1f} dB": result.x,
}
figure, axes = plt.subplots(1, 4, figsize=(9, 2.6), layout="constrained")
axes[0].imshow(pnp.to_image(y[0, 1]), cmap="gray")
axes[0].set(title="data, horizontal slope", xticks=[], yticks=[])
for ax, (title, x) in zip(axes[1:], pictures.items(), strict=True):
    ax.imshow(pnp.to_image(x), cmap="gray", vmin=truth.min(), vmax=truth.max())
    ax.set(title=title, xticks=[], yticks=[])
