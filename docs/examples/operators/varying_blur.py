r"""
VaryingBlur: a simple lens
==========================

A simple lens is sharp in the middle and blurred towards the corners. ``VaryingBlur`` interpolates between
kernels measured at the nodes of a grid, with weights :math:`w_k` that sum to one at each pixel:

.. math:: A x = \sum_k h_k * (w_k\, x).

No transform diagonalises this operator, so every data step is solved by conjugate gradients;
``effort="fast"`` makes one run instead of several.
"""

import matplotlib.pyplot as plt
import torch
from skimage import data

import pnp
from pnp.operators import VaryingBlur
from pnp.operators.kernels import gaussian
from pnp.priors import TV

truth = pnp.to_tensor(data.page()[:80, 60:140])
widths = torch.tensor([[2.4, 1.6, 2.4], [1.6, 0.8, 1.6], [2.4, 1.6, 2.4]])  # standard deviations in pixels
kernels = torch.zeros(3, 3, 21, 21)
for row in range(3):
    for column in range(3):
        kernel = gaussian(float(widths[row, column]))
        margin = (21 - len(kernel)) // 2
        kernels[row, column, margin : 21 - margin, margin : 21 - margin] = kernel

A = VaryingBlur(kernels, truth.shape[-2:], boundary="reflect")
y = A(truth) + 0.005 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
result = pnp.reconstruct(y, A, TV(), effort="fast", progress=False)
print(A.explain())

# %%

pictures = {
    "original": truth,
    f"data, {pnp.psnr(y, truth):.1f} dB": y,
    f"reconstruction, {pnp.psnr(result.x, truth):.1f} dB": result.x,
}
figure, axes = plt.subplots(1, 3, figsize=(9, 3.3), layout="constrained")
for ax, (title, x) in zip(axes, pictures.items(), strict=True):
    ax.imshow(pnp.to_image(x), cmap="gray", vmin=0, vmax=1)
    ax.set(title=title, xticks=[], yticks=[])
