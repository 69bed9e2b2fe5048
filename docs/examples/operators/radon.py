r"""
Radon: tomography
=================

X-rays are weakened by all that lies on their way: each number of the data is an integral along a beam,

.. math:: (A x)(\theta, s) = \int x(s \cos\theta - t \sin\theta,\; s \sin\theta + t \cos\theta)\, dt .

Beams are strips of the pixels' width and the weights exact areas, so the adjoint is exact. Here there are 30
views, far fewer than filtered backprojection asks for.
"""

import matplotlib.pyplot as plt
import torch
from skimage import data
from skimage.transform import resize

import pnp
from pnp.operators import Radon
from pnp.priors import TV

truth = pnp.to_tensor(resize(data.shepp_logan_phantom(), (72, 72), anti_aliasing=True)).float()
A = Radon(truth.shape[-2:], angles=30)
y = A(truth)
y = y + 0.3 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
result = pnp.reconstruct(y, A, TV(), progress=False)

pictures = {
    f"backprojection, {pnp.psnr(A.start(y), truth):.1f} dB": A.start(y),
    f"reconstruction, {pnp.psnr(result.x, truth):.1f} dB": result.x,
    "original": truth,
}
figure, axes = plt.subplots(1, 4, figsize=(9, 2.6), layout="constrained")
axes[0].imshow(pnp.to_image(y[0]), cmap="gray", aspect="auto")
axes[0].set(title="data, one row a view", xticks=[], yticks=[])
for ax, (title, x) in zip(axes[1:], pictures.items(), strict=True):
    ax.imshow(pnp.to_image(x), cmap="gray", vmin=0, vmax=1)
    ax.set(title=title, xticks=[], yticks=[])
