"""Mask: missing pixels, weights, interpolation."""

import functools
import math

import numpy as np
import pytest
import scipy.interpolate
import torch
from pictures import picture

from pnp.operators import Demosaic, Fourier, Mask

float64 = torch.float64


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=float64)


def rms(x):
    return float(x.square().mean().sqrt())


def test_unobserved_entries_may_be_nan_and_count_nowhere():
    weight = torch.tensor([[1.0, 0.0, -2.0], [0.0, 0.5, 1.0]], dtype=float64)
    A = Mask(weight)
    y = A.forward(randn(2, 3))
    hole = torch.where(weight == 0, math.nan, y)
    assert A.rows == 4
    torch.testing.assert_close(A.adjoint(hole), A.adjoint(y))
    torch.testing.assert_close(A.tikhonov(hole, 0.1, randn(2, 3)), A.tikhonov(y, 0.1, randn(2, 3)))
    assert torch.isfinite(A.start(hole)).all()


@pytest.mark.parametrize("complex_data", [False, True])
def test_dead_entries_get_no_gradient_and_give_none(complex_data):
    """First and second derivatives agree with differences, and NaN in dead data stays out of them."""
    weight = torch.tensor([[1.0, 0.0, -2.0], [0.0, 0.5, 1.0]], dtype=float64)
    A = Fourier((2, 3), weight) if complex_data else Mask(weight)
    y = randn(2, 2, 3, 2)
    y = (torch.view_as_complex(y) if complex_data else y[..., 0].contiguous()).requires_grad_()
    assert torch.autograd.gradcheck(A.adjoint, y)
    assert torch.autograd.gradgradcheck(A.adjoint, y)
    step = functools.partial(A.tikhonov, rho=0.1, v=torch.ones(2, 2, 3, dtype=y.dtype))
    assert torch.autograd.gradcheck(step, y)
    holes = torch.where(weight == 0, math.nan, y.detach()).requires_grad_()
    for f in (A.adjoint, step):
        (expected,) = torch.autograd.grad(f(y).abs().square().sum(), y)
        (gradient,) = torch.autograd.grad(f(holes).abs().square().sum(), holes)
        torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, float64])
def test_dead_entries_are_cleared_in_every_precision(dtype):
    mask = torch.tensor([[1.0, 0.0, 1.0]], dtype=dtype)
    y = torch.tensor([[0.5, math.inf, -0.25]], dtype=dtype)
    assert Mask(mask).adjoint(y).tolist() == [[0.5, 0.0, -0.25]]
    assert math.isnan(Mask(mask).adjoint(y * math.nan)[0, 0])  # what counts is not hidden


def test_count_follows_the_mask_when_another_is_loaded():
    A, B = Mask.random((8, 8), 0.5), Mask.random((8, 8), 0.25)
    assert A.rows == 32
    A.load_state_dict(B.state_dict())
    assert A.rows == 16


@pytest.mark.parametrize("keep", [1e-6, 0.2, 0.5, 1.0])
def test_random_keeps_the_share_it_promises(keep):
    mask = Mask.random((20, 30), keep, seed=3).mask
    assert int(mask.sum()) == max(round(keep * 600), 1)
    assert torch.equal(mask, Mask.random((20, 30), keep, seed=3).mask)


def test_lines_and_blocks():
    lines = Mask.lines((10, 7), 0.3, seed=1).mask
    assert torch.equal(lines, lines[:, :1].expand(10, 7))
    assert int(lines[:, 0].sum()) == 3
    blocks = Mask.blocks((10, 9), 0.5, seed=1, size=4).mask
    assert torch.equal(blocks[:4, :4], blocks[:1, :1].expand(4, 4))
    assert blocks.shape == (10, 9)


@pytest.mark.parametrize("keep", [0.1, 0.3, 0.7])
def test_start_interpolates_as_well_as_a_triangulation(keep):
    image = picture(64)[0, :, :48]
    A = Mask.random((64, 48), keep, dtype=float64)
    seen = A.mask.numpy() > 0
    places = np.argwhere(seen)
    values = image.numpy()[seen]
    grid = tuple(np.mgrid[:64, :48])
    linear = scipy.interpolate.griddata(places, values, grid, method="linear")
    nearest = scipy.interpolate.griddata(places, values, grid, method="nearest")
    expected = torch.from_numpy(np.where(np.isnan(linear), nearest, linear))
    assert rms(A.start(A.forward(image)) - image) < 1.03 * rms(expected - image)


def test_start_keeps_constants_and_known_pixels():
    for A in (Mask.random((1, 9), 0.3, dtype=float64), Mask.blocks((13, 8), 0.3, size=3, dtype=float64)):
        start = A.start(A.forward(torch.full(A.in_shape, 0.7, dtype=float64)))
        torch.testing.assert_close(start, torch.full_like(start, 0.7))
        y = A.forward(randn(*A.in_shape))
        torch.testing.assert_close(A.forward(A.start(y)), y)


CELLS = {name: [name[:2], name[2:]] for name in ("RGGB", "BGGR", "GRBG", "GBRG")}
CELLS["X-Trans"] = ["GBGGRG", "RGRBGB", "GBGGRG", "GRGGBG", "BGBRGR", "GRGGBG"]  # as Fujifilm's patents print it


@pytest.mark.parametrize("pattern", [*CELLS, ["RGB", "GBR"]], ids=str)
def test_demosaic_keeps_one_colour_a_pixel(pattern):
    A = Demosaic((12, 18), pattern)
    cell = CELLS[pattern] if isinstance(pattern, str) else pattern
    x = torch.stack([torch.full((12, 18), float(k)) for k in range(3)])
    y = A.forward(x)
    for i, row in enumerate(y[: len(cell), : len(cell[0])].long().tolist()):
        assert "".join("RGB"[k] for k in row) == cell[i]
    torch.testing.assert_close(y, y.roll((len(cell), len(cell[0])), (0, 1)))
    torch.testing.assert_close(A.start(y), x)  # bilinear interpolation keeps constants


def test_demosaic_interpolates_planes_exactly_inside():
    y, x = torch.meshgrid(torch.arange(10.0), torch.arange(12.0), indexing="ij")
    image = torch.stack([x + 2 * y, 3 * x - y, 5 - x])
    start = Demosaic((10, 12)).start(Demosaic((10, 12)).forward(image))
    torch.testing.assert_close(start[:, 1:-1, 1:-1], image[:, 1:-1, 1:-1])


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="zero"):
        Mask(torch.zeros(3, 3))
    with pytest.raises(ValueError, match="keep"):
        Mask.random((3, 3), 1.5)
    with pytest.raises(ValueError, match="X-Trans"):
        Demosaic((4, 4), "RGBG")
