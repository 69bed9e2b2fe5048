r"""
Decimate: a scanning probe
==========================

A microscope that scans point by point measures the picture on a coarse grid. ``Decimate`` keeps every
:math:`f`-th pixel,

.. math:: (A x)_i = x_{f i},

and a product with a blur says how large the probe is.
"""

import matplotlib.pyplot as plt
import torch
from skimage import data

import pnp
from pnp.operators import Blur, Decimate
from pnp.priors import TV

truth = pnp.to_tensor(data.coins()[20:148, 40:168])
shape = truth.shape[-2:]
A = Decimate(shape, 2) @ Blur.gaussian(1.2, shape)
y = A(truth)
y = y + 0.005 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
result = pnp.reconstruct(y, A, TV(), progress=False)
print(A.explain())

# %%

nearest = y.repeat_interleave(2, -1).repeat_interleave(2, -2)
pictures = {
    "original": truth,
    f"data, {pnp.psnr(nearest, truth):.1f} dB": nearest,
    f"reconstruction, {pnp.psnr(result.x, truth):.1f} dB": result.x,
}
figure, axes = plt.subplots(1, 3, figsize=(9, 3.3), layout="constrained")
for ax, (title, x) in zip(axes, pictures.items(), strict=True):
    ax.imshow(pnp.to_image(x), cmap="gray", vmin=0, vmax=1)
    ax.set(title=title, xticks=[], yticks=[])
