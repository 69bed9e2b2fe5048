"""Pictures become tensors and come back."""

import numpy as np
import pytest
import torch

from pnp import to_image, to_tensor


@pytest.mark.parametrize(("dtype", "top"), [(np.uint8, 255), (np.uint16, 65535)])
def test_integers_are_scaled_by_the_range_of_their_type(dtype, top):
    picture = np.array([[0, top], [top // 5, top]], dtype=dtype)
    tensor = to_tensor(picture)
    assert tensor.shape == (1, 2, 2)
    assert tensor.dtype == torch.float32
    assert np.allclose(to_image(tensor), picture / top, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_round_trip_unchanged(dtype):
    picture = np.random.default_rng(0).normal(size=(5, 7, 3)).astype(dtype)
    tensor = to_tensor(picture)
    assert tensor.shape == (3, 5, 7)
    back = to_image(tensor)
    assert back.dtype == dtype
    assert np.array_equal(back, picture)


def test_grey_pictures_bools_and_halves():
    assert to_image(to_tensor(np.ones((4, 5)))).shape == (4, 5)
    assert to_tensor(np.ones((4, 5), dtype=bool)).dtype == torch.float32
    assert to_tensor(np.ones((4, 5), dtype=np.float16)).dtype == torch.float32
    assert to_image(torch.zeros(1, 1, 4, 5)).shape == (4, 5)


def test_errors():
    with pytest.raises(TypeError, match="complex128"):
        to_tensor(np.ones((4, 5), dtype=complex))
    with pytest.raises(ValueError, match="at most 4 channels"):
        to_tensor(np.ones((4, 5, 6)))
    with pytest.raises(ValueError, match="one image"):
        to_image(torch.zeros(2, 3, 4, 5))
