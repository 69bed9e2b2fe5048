r"""
Demosaic: a colour sensor
=========================

Behind the colour filters of a camera's sensor each pixel sees one of three colours,

.. math:: (A x)_{ij} = x_{c(i,j),\, i,\, j},

where :math:`c` repeats a Bayer or an X-Trans cell. The data are one grey picture of the sensor's size.
"""

import matplotlib.pyplot as plt
import torch
from skimage import data

import pnp
from pnp.operators import Demosaic
from pnp.priors import BM3D

truth = pnp.to_tensor(data.chelsea()[60:188, 190:318])
A = Demosaic(truth.shape[-2:], pattern="RGGB")
y = A(truth)
y = y + 0.01 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
result = pnp.reconstruct(y, A, BM3D(), progress=False)

pictures = {
    f"bilinear, {pnp.psnr(A.start(y), truth):.1f} dB": A.start(y),
    f"reconstruction, {pnp.psnr(result.x, truth):.1f} dB": result.x,
    "original": truth,
}
figure, axes = plt.subplots(1, 4, figsize=(9, 2.6), layout="constrained")
axes[0].imshow(pnp.to_image(y), cmap="gray")
axes[0].set(title="data", xticks=[], yticks=[])
for ax, (title, x) in zip(axes[1:], pictures.items(), strict=True):
    ax.imshow(pnp.to_image(x).clip(0, 1))
    ax.set(title=title, xticks=[], yticks=[])
