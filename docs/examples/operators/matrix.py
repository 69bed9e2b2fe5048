r"""
Matrix: a calibrated instrument
===============================

Some instruments have no formula. Behind a frosted glass every pixel of the scene makes its own speckle
pattern; whoever lights one pixel after another and records the detectors has measured the matrix :math:`M` of

.. math:: A x = M\, \mathrm{vec}(x).

Its singular values are computed once and solve every data step exactly. Size is limited: a matrix for 64 x 64
pixels holds 16 million numbers if there are as many detectors.
"""

import matplotlib.pyplot as plt
import torch
from skimage import data
from skimage.transform import resize

import pnp
from pnp.operators import Matrix
from pnp.priors import BM3D

truth = pnp.to_tensor(resize(data.horse().astype(float), (40, 48), anti_aliasing=True)).float()
generator = torch.Generator().manual_seed(0)
speckle = torch.randn(2, 640, truth.numel(), generator=generator).square().sum(dim=0) / 2  # 640 detectors
A = Matrix(speckle / 640**0.5, in_shape=tuple(truth.shape))
y = A(truth) + 0.05 * torch.randn(640, generator=generator)
result = pnp.reconstruct(y, A, BM3D(), sigma=0.05, progress=False)

pictures = {
    "original": truth,
    f"least squares, {pnp.psnr(A.pinv(y), truth):.1f} dB": A.pinv(y),
    f"with BM3D, {pnp.psnr(result.x, truth):.1f} dB": result.x,
}
figure, axes = plt.subplots(1, 4, figsize=(9, 2.6), layout="constrained")
axes[0].imshow(pnp.to_image(speckle[0].reshape(truth.shape[-2:])), cmap="gray")
axes[0].set(title="what one detector sees", xticks=[], yticks=[])
for ax, (title, x) in zip(axes[1:], pictures.items(), strict=True):
    ax.imshow(pnp.to_image(x), cmap="gray", vmin=0, vmax=1)
    ax.set(title=title, xticks=[], yticks=[])
