r"""
Downsample: super-resolution
============================

A sensor of larger pixels sees the picture filtered, then every :math:`f`-th value of it:

.. math:: A x = (h * x)\!\downarrow_f .

The default filter is the antialiased bicubic one of picture programs. A camera with a point spread of its own
is the product ``Decimate(shape, 2) @ Blur(kernel, shape)``, or ``Downsample(shape, 2, kernel)``, which knows
the exact solve.
"""

import matplotlib.pyplot as plt
import torch
from skimage import data

import pnp
from pnp.operators import Downsample
from pnp.priors import BM3D

truth = pnp.to_tensor(data.astronaut()[40:168, 160:288])
A = Downsample(truth.shape[-2:], factor=2)
y = A(truth)
y = y + 0.005 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
result = pnp.reconstruct(y, A, BM3D(), progress=False)

pictures = {
    "original": truth,
    f"least squares, {pnp.psnr(A.pinv(y), truth):.1f} dB": A.pinv(y),
    f"reconstruction, {pnp.psnr(result.x, truth):.1f} dB": result.x,
}
figure, axes = plt.subplots(1, 3, figsize=(9, 3.3), layout="constrained")
for ax, (title, x) in zip(axes, pictures.items(), strict=True):
    ax.imshow(pnp.to_image(x).clip(0, 1))
    ax.set(title=title, xticks=[], yticks=[])
