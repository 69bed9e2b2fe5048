"""Small test pictures, from scikit-image."""

import functools

import torch
from torch import Tensor


@functools.cache
def picture(size: int = 64, *, name: str = "camera", dtype: torch.dtype = torch.float64) -> Tensor:
    """A picture of scikit-image as (C, size, size), anti-aliased, in [0, 1]."""
    import skimage.data
    from skimage.transform import resize

    from pnp import to_tensor

    image = getattr(skimage.data, name)()
    small = resize(image, (size, size, *image.shape[2:]), anti_aliasing=True)
    return to_tensor(small).to(dtype)


def noise(shape: tuple[int, ...], seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """White Gaussian noise of level one."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)
