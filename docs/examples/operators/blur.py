r"""
Blur: deconvolution
===================

Out of focus, or seen through turbulent air, every pixel of the data is a weighted mean of its neighbours:

.. math:: (A x)_{ij} = \sum_{k,l} h_{kl}\, x_{i-k,\, j-l}.

With a periodic border the Fourier transform diagonalises :math:`A`, and each data step is a division.
``Blur.gaussian``, ``Blur.motion`` and ``Blur.disk`` make common kernels :math:`h`; ``Blur(kernel, shape)``
takes yours.
"""

import matplotlib.pyplot as plt
import torch
from skimage import data

import pnp
from pnp.operators import Blur
from pnp.priors import BM3D

truth = pnp.to_tensor(data.camera()[60:188, 170:298])
A = Blur.gaussian(1.6, truth.shape[-2:])
y = A(truth) + 0.01 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
result = pnp.reconstruct(y, A, BM3D(), progress=False)
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
