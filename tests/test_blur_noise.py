"""The noise of blurred pictures that do not wrap."""

import pytest
import torch
from pictures import noise, picture

from pnp import estimate_noise
from pnp.noise import patch_noise
from pnp.operators import Blur, kernels


@pytest.mark.parametrize("boundary", ["valid", "zero", "symmetric"])
@pytest.mark.parametrize("kernel", [kernels.motion(15, 30.0), kernels.disk(5.0), kernels.gaussian(1.6)])
@pytest.mark.parametrize("sigma", [0.003, 0.03])
def test_noise_is_read_where_the_kernel_destroys_whatever_the_border(boundary, kernel, sigma):
    """The jump from one border to the opposite one must not pass for noise, nor texture for its absence."""
    A = Blur(kernel, (144, 150), boundary)
    y = A.forward(picture(150, dtype=torch.float32)[..., :144, :])
    levels = estimate_noise(y + sigma * noise((3, *y.shape), dtype=torch.float32), A)
    assert torch.allclose(levels, torch.tensor(sigma), rtol=0.12)


def test_where_a_kernel_destroys_nothing_flat_patches_tell_the_noise():
    A = Blur(torch.tensor([[0.0, 0.1, 0.9]]), (96, 96), "zero")
    y = A.forward(picture(96, dtype=torch.float32)) + 0.05 * noise((1, 96, 96), dtype=torch.float32)
    assert torch.equal(estimate_noise(y, A), patch_noise(y).reshape(1)[0])
