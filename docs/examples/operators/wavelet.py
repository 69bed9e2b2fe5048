r"""
Wavelet: lost coefficients
==========================

A picture sent as wavelet coefficients arrives with some of them lost. With the orthonormal transform
:math:`W`,

.. math:: A x = m \odot W x,

and as the rows stay orthonormal so does the exact solve. Least squares puts zeros where coefficients are
missing; the prior fills them in.
"""

import matplotlib.pyplot as plt
from skimage import data

import pnp
from pnp.operators import Mask, Wavelet
from pnp.priors import TV

truth = pnp.to_tensor(data.rocket()[60:316:2, 180:436:2])
shape = truth.shape[-2:]
received = Mask.random(shape, keep=0.6, seed=1).mask
received[:16, :16] = 1  # the coarsest coefficients are sent with care
A = Mask(received) @ Wavelet(shape)
y = A(truth)
result = pnp.reconstruct(y, A, TV(), sigma=0.005, progress=False)
print(A.explain())

# %%

pictures = {
    f"least squares, {pnp.psnr(A.pinv(y), truth):.1f} dB": A.pinv(y),
    f"reconstruction, {pnp.psnr(result.x, truth):.1f} dB": result.x,
    "original": truth,
}
figure, axes = plt.subplots(1, 3, figsize=(9, 3.3), layout="constrained")
for ax, (title, x) in zip(axes, pictures.items(), strict=True):
    ax.imshow(pnp.to_image(x).clip(0, 1))
    ax.set(title=title, xticks=[], yticks=[])
