r"""
Blur: a photograph
==================

A real scene does not wrap around: near the border of a photograph light arrives from what lies outside. With
``boundary="valid"`` the unknown picture is larger than the data by the kernel less one pixel,

.. math:: y = (h * x)\big|_{\text{pixels whose whole neighbourhood is in } x},

and nothing is assumed about the outside. ``Blur.for_data`` builds this operator from the photograph's size.
"""

import matplotlib.pyplot as plt
import torch
from skimage import data

import pnp
from pnp.operators import Blur
from pnp.operators.kernels import motion
from pnp.priors import TV

kernel = motion(13, 30.0)  # length in pixels, angle in degrees
scene = pnp.to_tensor(data.astronaut()[20:132, 170:282])
camera = Blur(kernel, scene.shape[-2:], boundary="valid")
y = camera(scene)
y = y + 0.01 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))

A = Blur.for_data(kernel, y.shape)
result = pnp.reconstruct(y, A, TV(), progress=False)
wrapped = pnp.reconstruct(y, Blur(kernel, y.shape[-2:]), TV(), progress=False)
print(f"data {tuple(y.shape)}, unknown picture {tuple(result.x.shape)}")

# %%
# The part that the photograph shows; the middle picture wrongly assumes a periodic border.

truth = scene
top, left = kernel.shape[-2] // 2, kernel.shape[-1] // 2
shown = (..., slice(top, top + y.shape[-2]), slice(left, left + y.shape[-1]))
figure, axes = plt.subplots(1, 3, figsize=(9, 3.4), layout="constrained")
pictures = {"data": y, "periodic border": wrapped.x, "border unknown": result.x[shown]}
for ax, (title, x) in zip(axes, pictures.items(), strict=True):
    ax.imshow(pnp.to_image(x).clip(0, 1))
    ax.set(title=f"{title}, {pnp.psnr(x, scene[shown]):.1f} dB", xticks=[], yticks=[])
