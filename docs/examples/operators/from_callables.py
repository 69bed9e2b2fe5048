r"""
FromCallables: three frames in one exposure
===========================================

Two functions are an operator. In a sensor with a shutter in every pixel, each pixel is open during one of
several frames, so that one exposure holds samples of all of them:

.. math:: A x = \sum_t c_t \odot x_t, \qquad (A^H y)_t = c_t \odot y .

Run ``pnp.testing.check_operator`` once on such an operator: a wrong adjoint makes every answer wrong, silently.
"""

import matplotlib.pyplot as plt
import torch
from skimage import data

import pnp
from pnp import testing
from pnp.operators import FromCallables
from pnp.priors import TV

frames, size = 3, 96
picture = pnp.to_tensor(data.coins())
truth = torch.cat([picture[:, 30 : 30 + size, 40 + 4 * t : 40 + 4 * t + size] for t in range(frames)])  # it moves
generator = torch.Generator().manual_seed(0)
turn = torch.randint(0, frames, (size, size), generator=generator)  # the frame during which a pixel is open
codes = torch.nn.functional.one_hot(turn, frames).permute(2, 0, 1).float()

A = FromCallables(lambda x: (codes * x).sum(dim=0), lambda y: codes * y, truth.shape, (size, size))
testing.check_operator(A)
y = A(truth) + 0.01 * torch.randn(A.out_shape, generator=generator)
result = pnp.reconstruct(y, A, TV(), progress=False)

figure, axes = plt.subplots(1, 4, figsize=(9, 2.6), layout="constrained")
axes[0].imshow(pnp.to_image(y), cmap="gray")
axes[0].set(title="data, one exposure", xticks=[], yticks=[])
for t in range(frames):
    axes[t + 1].imshow(pnp.to_image(result.x[t]), cmap="gray", vmin=0, vmax=1)
    axes[t + 1].set(title=f"frame {t + 1}, {pnp.psnr(result.x[t], truth[t]):.1f} dB", xticks=[], yticks=[])
