"""
Choosing a prior
================

A prior says what images look like, and nothing about the instrument: any prior goes with any operator. All
that it must be able to do is denoise. Here is what each takes images to be, and when to choose it:

* ``TV()``: piecewise constant. For a first look, cartoons, tomography; ``TV(weight=...)`` where the minimiser of
  a convex problem is wanted.
* ``Wavelet()``: sparse in wavelets. For smooth pictures, and when time is short.
* ``NLM()``: made of patches that repeat. For texture.
* ``BM3D()``: the same, in a transform domain. When in doubt: the best of these on most pictures.
* ``DeepImagePrior()``: what an untrained network draws first. Where hand-made models fail and minutes do not matter.
* ``Tikhonov()``, ``Box()``: small; within bounds. As baselines and constraints.
* ``Denoiser(D)``: whatever ``D`` was made or trained for, a network or a filter of your own.

``Tiled(prior)`` bounds the memory that a prior takes, ``Equivariant(prior)`` applies it in a random
orientation at each call.

The same data, four priors
--------------------------

Half of the pixels are missing, the rest carries noise. Nothing is tuned for any prior. (The deep image prior
takes minutes: the results below have it.)
"""

import time

import matplotlib.pyplot as plt
import torch
from skimage import data

import pnp
from pnp.operators import Mask
from pnp.priors import BM3D, NLM, TV, Wavelet

truth = pnp.to_tensor(data.camera()[60:156, 180:276])
A = Mask.random(truth.shape[-2:], keep=0.5, seed=0)
y = A(truth + 0.05 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0)))

pictures = {"original": truth, f"data, {pnp.psnr(y, truth):.1f} dB": y}
for prior in (TV(), Wavelet(), NLM(), BM3D()):
    prior.denoise(truth[:, :16, :16], 0.05)  # so that what has to be compiled is
    begin = time.perf_counter()
    result = pnp.reconstruct(y, A, prior, progress=False)
    seconds = time.perf_counter() - begin
    name = type(prior).__name__
    print(f"{name:8}{pnp.psnr(result.x, truth):5.1f} dB {seconds:5.1f} s")
    pictures[f"{name}, {pnp.psnr(result.x, truth):.1f} dB"] = result.x

figure, axes = plt.subplots(2, 3, figsize=(9, 6.3), layout="constrained")
for ax, (title, x) in zip(axes.flat, pictures.items(), strict=True):
    ax.imshow(pnp.to_image(x), cmap="gray", vmin=0, vmax=1)
    ax.set(title=title, xticks=[], yticks=[])

# %%
# Speed and quality, measured
# ---------------------------
#
# One small picture proves nothing, and the seconds above are those of the machine that built this page. The
# harness measured these, PSNR in dB; commands, machines and what is behind each number
# are on the pages that the columns name:
#
# ============  =============  ===============  ===========  ==========  ============  ============
# prior         denoise, grey  denoise, colour  CPU seconds  deblurring  half missing  single pixel
# ============  =============  ===============  ===========  ==========  ============  ============
# TV            29.87          29.15            0.011        28.79       27.49         31.90
# Wavelet       30.71          30.79            0.019                    28.92
# NLM           30.74          29.98            0.013        29.27       28.77         33.61
# BM3D          32.30          31.71            0.122        29.17       30.21         34.71
# network                                                    27.58       26.52         26.50
# ============  =============  ===============  ===========  ==========  ============  ============
#
# * :doc:`/results/denoisers`: as plain denoisers, sigma 25/255, means over four grey and three coloured pictures;
#   CPU seconds of one call for 256 x 256 pixels.
# * :doc:`/results/demo`: deblurring and single pixel, camera, 128 x 128; :doc:`/results/inpainting`: half of the
#   pixels missing, cameraman, 256 x 256.
#
# ``DeepImagePrior.fit`` fits a network through the operator, which is better than alternating with a solver, and
# takes minutes (:doc:`/results/dip`).
