"""Parallel-beam projections against closed forms, against scikit-image, and what the solve does with them."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pictures import picture

from pnp.metrics import psnr
from pnp.operators import Radon, radon
from pnp.operators.strips import coverage, strips
from pnp.tikhonov import primal_cg


def disk(side, radius, x0, y0, fine=8):
    """A disk, each pixel the share of it that is covered; ``y0`` upwards from the middle."""
    c = (torch.arange(side * fine, dtype=torch.float64) - (side * fine - 1) / 2) / fine
    inside = (c - x0) ** 2 + (-c[:, None] - y0) ** 2 < radius**2
    return inside.double().reshape(side, fine, side, fine).mean(dim=(1, 3))


def disk_projection(A, radius, x0, y0):
    """Exact strip integrals of the disk: differences of the area of its caps."""
    theta, count = torch.deg2rad(A.angles), A.out_shape[1]
    s = torch.arange(count, dtype=torch.float64) - (count - 1) / 2 - (x0 * theta.cos() + y0 * theta.sin())[:, None]

    def area(t):
        t = t.clamp(-radius, radius)
        return t * (radius**2 - t**2).sqrt() + radius**2 * torch.asin(t / radius)

    return area(s + 0.5) - area(s - 0.5)


@pytest.mark.parametrize("side", [64, 65])
@pytest.mark.parametrize("centre", [(0.0, 0.0), (5.3, -3.1)])
def test_a_disk_projects_to_its_chords(side, centre):
    """Within the staircase of its pixels: 1 % at a radius of 16."""
    A = Radon((side, side), torch.linspace(0, 179, 30, dtype=torch.float64))
    y, exact = A.forward(disk(side, 16.0, *centre)), disk_projection(A, 16.0, *centre)
    assert (y - exact).norm() < 0.012 * exact.norm()


def test_geometry_agrees_with_scikit_image():
    """Same rotation sense, same centre; its linear interpolation differs by a few percent on a detailed picture."""
    skradon = pytest.importorskip("skimage.transform").radon
    x = picture(63)[0]
    angles = np.arange(0, 180, 13.0)
    expected = torch.from_numpy(skradon(x.numpy(), angles, circle=False).T.copy())
    y = Radon((63, 63), torch.from_numpy(angles), detectors=expected.shape[1]).forward(x)
    assert (y - expected).norm() < 0.05 * expected.norm()
    assert (y.flip(-1) - expected).norm() > 0.3 * expected.norm()


@given(st.integers(1, 9), st.integers(1, 9), st.floats(-360, 360), st.integers(0, 99))
def test_every_view_conserves_the_sum(height, width, angle, seed):
    x = torch.rand(height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    y = Radon((height, width), torch.tensor([angle], dtype=torch.float64)).forward(x)
    assert abs(float(y.sum() - x.sum())) < 1e-10 * float(x.sum())


@given(st.floats(0, 90))
def test_a_pixel_shadow_is_a_trapezoid_of_area_one(angle):
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    outer, inner = (cos + sin) / 2, abs(cos - sin) / 2
    u = torch.linspace(-1, 1, 2001, dtype=torch.float64)
    density = coverage(u, outer, inner).diff() / u.diff()
    middle = (u[1:] + u[:-1]) / 2
    expected = ((outer - middle.abs()) / max(outer - inner, 1e-9)).clamp(0, 1) / (outer + inner)
    assert (density - expected).abs().mean() < 2e-3
    assert abs(float(coverage(u[-1:], outer, inner) - coverage(u[:1], outer, inner)) - 1) < 1e-12


def test_along_the_axes_projections_are_sums():
    x = torch.rand(4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = Radon((4, 6), torch.tensor([0.0, 90.0], dtype=torch.float64), detectors=6).forward(x)
    assert torch.allclose(y[0], x.sum(dim=0))
    assert torch.allclose(y[1, 1:5], x.sum(dim=1).flip(0))


def test_a_turn_by_half_a_circle_mirrors_the_view():
    x = torch.rand(7, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    there, back = Radon((7, 5), torch.tensor([33.0, 213.0], dtype=torch.float64)).forward(x)
    assert torch.allclose(there, back.flip(0))


EVEN, ODD = torch.arange(0, 180, 3.0), torch.tensor([0.0, 12.0, 7.5, 31.0])


@pytest.mark.parametrize("shape", [(9, 9), (8, 8), (9, 6)])
@pytest.mark.parametrize("detectors", [5, 12, 15])
@pytest.mark.parametrize("angles", [EVEN, torch.arange(-360, 720, 22.5), ODD, torch.cat([ODD, 180 - ODD, ODD + 180])])
def test_views_of_mirror_images_are_the_views_themselves(shape, detectors, angles):
    """Against the matrix of all strips."""
    A = Radon(shape, angles.double(), detectors=detectors)
    pixels = torch.arange(shape[0] * shape[1])
    matrix = strips(shape, pixels, angles, detectors, torch.float64, torch.device("cpu")).matrix.to_dense()
    g = torch.Generator().manual_seed(0)
    x, y = (torch.rand(2, *size, generator=g, dtype=torch.float64) for size in (A.in_shape, A.out_shape))
    assert torch.allclose(A.forward(x).flatten(1), x.flatten(1) @ matrix.T)
    assert torch.allclose(A.adjoint(y).flatten(1), y.flatten(1) @ matrix)


@pytest.mark.parametrize(("shape", "angles", "kept"), [((8, 8), EVEN, 16), ((8, 6), EVEN, 31), ((8, 8), ODD, 4)])
def test_views_share_the_angles_of_their_mirror_images(shape, angles, kept):
    assert len(Radon(shape, angles)._views().angles) == kept


def test_the_start_is_a_picture():
    """The filtered backprojection of 90 views, no worse than scikit-image's of the same data."""
    iradon = pytest.importorskip("skimage.transform").iradon
    x = picture(64)[0] * disk(64, 31.0, 0, 0)
    A = Radon((64, 64), 90, dtype=torch.float64)
    y = A.forward(x)
    theirs = iradon(y.numpy().T, A.angles.numpy(), circle=False, output_size=64)
    ours = psnr(A.start(y)[None], x[None])
    assert ours > 25
    assert ours > psnr(torch.from_numpy(theirs.copy())[None], x[None])


def test_the_ramp_preconditioner_saves_iterations(monkeypatch):
    """Half at least, at the penalties a reconstruction uses."""
    x = picture(48)[0]
    counts = []
    for kind in (Radon, type("Plain", (Radon,), {"_precondition_primal": lambda self, b, rho: b})):
        A = kind((48, 48), 90, dtype=torch.float64)
        y, rho = A.forward(x), 1e-3 * A.norm() ** 2
        solution = primal_cg(A, A.adjoint(y), rho, None, None, None)
        counts.append(solution.iterations)
    assert 2 * counts[0] <= counts[1]


def test_blocks_of_views_give_the_same_matrix(monkeypatch):
    """What is too large to keep is made anew, some views at a time."""
    A = Radon((9, 7), 11, dtype=torch.float64)
    x = torch.rand(2, 9, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = A.forward(x)
    back = A.adjoint(y)
    monkeypatch.setattr(radon, "MOST_KEPT", 10)
    monkeypatch.setattr(radon, "AT_ONCE", 130)
    B = Radon((9, 7), 11, dtype=torch.float64)
    assert torch.equal(B.forward(x), y)
    assert torch.allclose(B.adjoint(y), back)
    assert not B._kept._entry


def test_angles_that_change_change_the_matrix():
    A, B = Radon((5, 5), [0.0, 20.0]), Radon((5, 5), [0.0, 50.0])
    x = torch.eye(5)
    before = A.forward(x)
    A.load_state_dict(B.state_dict())
    assert torch.equal(A.forward(x), B.forward(x))
    assert not torch.equal(A.forward(x), before)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Radon((4, 4, 4), 3), r"shape \(H, W\)"),
        (lambda: Radon((4, 4), []), "vector of finite angles"),
        (lambda: Radon((4, 4), 0), "vector of finite angles"),
        (lambda: Radon((4, 4), [math.nan]), "vector of finite angles"),
        (lambda: Radon((4, 4), 3, detectors=0), "at least one detector"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
