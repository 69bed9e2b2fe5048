"""Other people's denoisers, where they are installed, called as their users call them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

Picture = np.ndarray[Any, Any]
Denoise = Callable[[Picture, float], Picture]


def installed(*modules: str) -> bool:
    """Whether all of the packages can be imported."""
    return all(importlib.util.find_spec(name) is not None for name in modules)


def skimage_nlm(noisy: Picture, sigma: float) -> Picture:
    """``skimage.restoration.denoise_nl_means``, fast mode, the strength of its gallery."""
    from skimage.restoration import denoise_nl_means

    axis = 2 if noisy.ndim == 3 else None
    return denoise_nl_means(
        noisy, h=0.6 * sigma, sigma=sigma, patch_size=5, patch_distance=6, fast_mode=True, channel_axis=axis
    )


def skimage_wavelet(noisy: Picture, sigma: float) -> Picture:
    """``skimage.restoration.denoise_wavelet``, BayesShrink."""
    from skimage.restoration import denoise_wavelet

    return denoise_wavelet(noisy, sigma=sigma, channel_axis=2 if noisy.ndim == 3 else None)


def skimage_wavelet_spun(noisy: Picture, sigma: float) -> Picture:
    """The same, averaged over shifts of up to three pixels, as scikit-image's gallery does."""
    from skimage.restoration import cycle_spin, denoise_wavelet

    colour = noisy.ndim == 3
    settings = {"sigma": sigma, "channel_axis": 2 if colour else None, "convert2ycbcr": colour}
    axis = 2 if colour else None
    spun = cycle_spin(noisy, max_shifts=3, func=denoise_wavelet, func_kw=settings, channel_axis=axis)
    return np.asarray(spun)


def skimage_tv(noisy: Picture, sigma: float) -> Picture:
    """``skimage.restoration.denoise_tv_chambolle`` with weight sigma."""
    from skimage.restoration import denoise_tv_chambolle

    return denoise_tv_chambolle(noisy, weight=sigma, channel_axis=2 if noisy.ndim == 3 else None)


def bm3d_package(noisy: Picture, sigma: float) -> Picture:
    """The authors' own BM3D: free for non-commercial use only, never needed by this library."""
    import bm3d

    return np.asarray(bm3d.bm3d_rgb(noisy, sigma) if noisy.ndim == 3 else bm3d.bm3d(noisy, sigma)).reshape(noisy.shape)


def opencv_nlm(noisy: Picture, sigma: float) -> Picture:
    """OpenCV's non-local means, which works on bytes, with patch and window as above and its best strength.

    Colour in one call, by joint distances: 1 to 2 dB better here than its filter in Lab space.
    """
    import cv2

    bytes_ = np.round(np.clip(noisy, 0, 1) * 255).astype(np.uint8)
    return np.asarray(cv2.fastNlMeansDenoising(bytes_, None, 255 * sigma, 5, 13)) / 255


def deepinv_tv(noisy: Picture, sigma: float) -> Picture:
    """``deepinv.models.TVDenoiser`` with its own accuracy, threshold sigma."""
    from deepinv.models import TVDenoiser

    return _as_tensor(TVDenoiser(), noisy, sigma)


def deepinv_wavelet(noisy: Picture, sigma: float) -> Picture:
    """``deepinv.models.WaveletDenoiser``, soft threshold sigma."""
    from deepinv.models import WaveletDenoiser

    return _as_tensor(WaveletDenoiser(), noisy, sigma)


def _as_tensor(model: Any, noisy: Picture, threshold: float) -> Picture:
    """``model`` on a batch of one, channels first."""
    import torch

    picture = torch.from_numpy(np.atleast_3d(noisy)).float().movedim(-1, 0)[None]
    with torch.no_grad():
        return np.asarray(model(picture, threshold)[0].movedim(0, -1)).reshape(noisy.shape)


def scico_tv(noisy: Picture, sigma: float) -> Picture:
    """``scico.functional.IsotropicTVNorm``, whose prox is approximate, of weight sigma."""
    from scico.functional import IsotropicTVNorm

    axes = (0, 1)  # not along the channels
    return np.asarray(IsotropicTVNorm(circular=False, axes=axes).prox(np.float32(noisy), sigma))


def denoisers() -> dict[str, Denoise]:
    """Those whose package is there, by name."""
    table: dict[str, tuple[tuple[str, ...], Denoise]] = {
        "skimage TV": (("skimage",), skimage_tv),
        "skimage NLM": (("skimage",), skimage_nlm),
        "skimage wavelet": (("skimage", "pywt"), skimage_wavelet),
        "skimage wavelet, spun": (("skimage", "pywt"), skimage_wavelet_spun),
        "OpenCV NLM": (("cv2",), opencv_nlm),
        "deepinv TV": (("deepinv",), deepinv_tv),
        "deepinv wavelet": (("deepinv", "ptwt"), deepinv_wavelet),
        "scico TV": (("scico",), scico_tv),
        "bm3d package": (("bm3d",), bm3d_package),
    }
    return {name: denoise for name, (modules, denoise) in table.items() if installed(*modules)}
