"""
Quick start
===========

Install the library from a clone with ``pip install .``, or let ``make test`` and ``make demo`` make an
environment of their own in ``.venv``. This page can be downloaded as a notebook; the link is at its end.

Pictures and tensors
--------------------

An image is a tensor ``(C, H, W)``; a batch puts more dimensions in front, and a 2-D tensor is one grey image.
``pnp.to_tensor`` turns pictures, 8 or 16 bit or floating, into such tensors and ``pnp.to_image`` turns them
back. Values are nominally in [0, 1], but nothing depends on it: scaling the data scales the answer.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from skimage import data

import pnp
from pnp.operators import Blur, Mask, SinglePixel
from pnp.priors import BM3D, TV

truth = pnp.to_tensor(data.camera()[60:188, 170:298])
shape = truth.shape[-2:]
print(truth.shape, truth.dtype)

# %%
# Three problems, one call
# ------------------------
#
# A linear operator ``A`` says how the instrument sees the image, ``y`` is what it gave, a prior says what
# images look like. No noise level is given, nor any other number.

instruments = (
    Blur.gaussian(1.6, shape),
    Mask.random(shape, keep=0.3, seed=0),
    SinglePixel(shape, measurements=4096, seed=0),
)
figure, axes = plt.subplots(3, 3, figsize=(9, 9.8), layout="constrained")
for A, row in zip(instruments, axes, strict=True):
    y = A(truth)
    y = y + 0.01 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    result = pnp.reconstruct(y, A, BM3D(), progress=False)

    before = y if y.shape == truth.shape else A.pinv(y)  # the camera's data are no picture: least squares
    pictures = {
        type(A).__name__: truth,
        f"before, {pnp.psnr(before, truth):.1f} dB": before,
        f"after, {pnp.psnr(result.x, truth):.1f} dB": result.x,
    }
    for ax, (title, x) in zip(row, pictures.items(), strict=True):
        ax.imshow(pnp.to_image(x), cmap="gray", vmin=0, vmax=1)
        ax.set(title=title, xticks=[], yticks=[])

# %%
# What happened
# -------------
#
# ``result`` is a frozen record: the image ``result.x``, how the run ended, what to do about it, and every
# choice that was made with its reason. A notebook shows it as below, ``print(result)`` says the same in words,
# ``result.plot()`` draws the course of the run. ``result.history`` has a row for each iteration, and
# ``result.to_json()`` keeps everything but the image.

A = Blur.gaussian(1.6, shape)
y = A(truth) + 0.01 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
result = pnp.reconstruct(y, A, TV(), progress=False)
result

# %%
# NumPy in, NumPy out
# -------------------

noisy = data.camera()[::8, ::8] / 255 + 0.1 * np.random.default_rng(0).standard_normal((64, 64))
result = pnp.reconstruct(noisy, Mask(torch.ones(64, 64)), TV(), progress=False)
print(type(result.x), result.x.shape, result.x.dtype)

# %%
# A denoiser by itself
# --------------------
#
# Every prior is a denoiser: ``prior.denoise(v, sigma)`` with the standard deviation of the noise.

noisy = truth + 0.1 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(1))
clean = TV().denoise(noisy, 0.1)
print(f"{pnp.psnr(noisy, truth):.1f} dB became {pnp.psnr(clean, truth):.1f} dB")

# %%
# Long runs
# ---------
#
# ``time_limit`` (seconds) and ``max_prior_calls`` bound the work, Ctrl-C ends it, and each returns the best
# image so far with a status that says so. With ``checkpoint="run.ckpt"`` the run is written as it goes, and
# the same call continues it.

result = pnp.reconstruct(y, A, BM3D(), max_prior_calls=6, progress=False)
print(result.status.name, result.iterations, f"{pnp.psnr(result.x, truth):.1f} dB")

# %%
# Next
# ----
#
# The gallery of operators has one page an instrument. *Choosing a prior* compares priors, *Bring your own* takes
# your operator, prior or network.
