r"""
Stack: two exposures
====================

Two photographs of one scene, shaken in different directions, destroy different frequencies. Their data stand
one after the other,

.. math:: A x = \begin{pmatrix} A_1 x \\ A_2 x \end{pmatrix},

and where both are diagonal in Fourier space so is the solve of the pair.
"""

import matplotlib.pyplot as plt
import torch
from skimage import data

import pnp
from pnp.operators import Blur, Stack
from pnp.priors import TV

truth = pnp.to_tensor(data.camera()[60:188, 170:298])
shape = truth.shape[-2:]
first, second = Blur.motion(15, 20.0, shape), Blur.motion(15, 110.0, shape)
A = Stack([first, second])
y = A(truth)
y = y + 0.02 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
result = pnp.reconstruct(y, A, TV(), progress=False)
print(A.explain())

# %%

one, two = y.reshape(2, 1, *shape)
alone = pnp.reconstruct(one, first, TV(), progress=False)
pictures = {"first": one, "second": two, "from the first": alone.x, "from both": result.x}
figure, axes = plt.subplots(1, 4, figsize=(9, 2.7), layout="constrained")
for ax, (title, x) in zip(axes, pictures.items(), strict=True):
    ax.imshow(pnp.to_image(x), cmap="gray", vmin=0, vmax=1)
    ax.set(title=f"{title}, {pnp.psnr(x, truth):.1f} dB", xticks=[], yticks=[])
