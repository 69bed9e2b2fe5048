r"""
Mask: inpainting
================

Dead pixels, scratches, a scan that skips points: the data are the pixels that were seen,

.. math:: (A x)_i = m_i\, x_i,

on the picture's own grid. Where :math:`m_i = 0` the data may hold anything, even NaN, and are counted
nowhere.
"""

import matplotlib.pyplot as plt
import torch
from skimage import data

import pnp
from pnp.operators import Mask
from pnp.priors import BM3D

truth = pnp.to_tensor(data.coffee()[60:316:2, 180:436:2])
A = Mask.random(truth.shape[-2:], keep=0.3, seed=0)
y = A(truth + 0.01 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0)))
result = pnp.reconstruct(y, A, BM3D(), progress=False)

pictures = {
    "original": truth,
    f"data, {pnp.psnr(y, truth):.1f} dB": y,
    f"reconstruction, {pnp.psnr(result.x, truth):.1f} dB": result.x,
}
figure, axes = plt.subplots(1, 3, figsize=(9, 3.3), layout="constrained")
for ax, (title, x) in zip(axes, pictures.items(), strict=True):
    ax.imshow(pnp.to_image(x).clip(0, 1))
    ax.set(title=title, xticks=[], yticks=[])
