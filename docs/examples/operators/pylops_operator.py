r"""
PylopsOperator: a seismic section
=================================

Whatever exists in `pylops <https://pylops.readthedocs.io>`_ works as an operator here. Post-stack modelling
gives the seismic section of a subsurface whose logarithmic impedance is :math:`x`: the source wavelet
:math:`w` convolved with half the derivative over depth,

.. math:: A x = \tfrac12\, w * \partial_z x .
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from pylops.avo.poststack import PoststackLinearModelling
from pylops.utils.wavelets import ricker

import pnp
from pnp.operators import PylopsOperator
from pnp.priors import TV

depth, offset = np.mgrid[:72, :72]
layer = (depth + 6 * np.sin(offset / 12) - 10 * (offset > 42)) // 10  # folded layers, broken by a fault
truth = pnp.to_tensor(np.random.default_rng(3).uniform(-0.4, 0.4, 12)[layer.astype(int)]).float()
truth = truth - truth.mean()

wavelet = ricker(np.arange(11) * 0.004, 25)[0]
model = PoststackLinearModelling(wavelet, nt0=72, spatdims=72)
A = PylopsOperator(model, in_shape=(72, 72), out_shape=(72, 72))
y = A(truth)
y = y + 0.01 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
result = pnp.reconstruct(y, A, TV(), progress=False)

figure, axes = plt.subplots(1, 3, figsize=(9, 3.4), layout="constrained")
axes[0].imshow(pnp.to_image(y), cmap="gray")
axes[0].set(title="data", xticks=[], yticks=[])
for ax, title, x in zip(axes[1:], ("reconstruction", "original"), (result.x, truth), strict=True):
    ax.imshow(pnp.to_image(x), cmap="viridis", vmin=-0.4, vmax=0.4)
    ax.set(title=f"{title}, {pnp.psnr(x, truth):.1f} dB", xticks=[], yticks=[])
