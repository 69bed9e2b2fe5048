"""Figures and HTML of results: everything that is known is shown, nothing breaks where little is known."""

import base64
import dataclasses
import io
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from pnp import ADMM, LeastSquares, Result, Status
from pnp.operators import Identity
from pnp.plot import autocorrelation
from pnp.priors import Tikhonov
from pnp.result import Choice
from tests.pictures import noise, picture


@pytest.fixture(scope="module")
def result():
    truth = picture(32, name="astronaut")
    y = truth + 0.03 * noise((3, 32, 32))
    f = LeastSquares(Identity((32, 32)), y, 0.03)
    found = ADMM(max_iter=10).solve(f, Tikhonov(1.0), truth=truth, progress=False)
    choices = {"sigma": Choice(0.1, "estimated <b>somehow</b>")}
    return dataclasses.replace(found, parameters=choices, extras={"residual": found.x - y})


def decoded(page):
    import matplotlib.image

    uri = re.search(r'src="data:image/png;base64,([^"]*)"', page)
    return matplotlib.image.imread(io.BytesIO(base64.b64decode(uri[1])))


def test_a_figure_shows_what_is_known(result):
    figure = result.plot()
    panels = [axis for axis in figure.axes if axis.get_title()]
    assert len(panels) == 4
    assert result.status.name in panels[0].get_title()
    assert np.allclose(panels[0].images[0].get_array(), result.x.permute(1, 2, 0).clamp(0, 1))
    labels = [text.get_text() for text in panels[1].get_legend().get_texts()]
    assert labels == ["primal residual / s", "dual residual / s", "s"]
    values = panels[1].lines[0].get_ydata()
    assert np.allclose(values, result.history.primal[:, 0])
    assert any("PSNR" in axis.get_ylabel() for axis in figure.axes)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    assert len(file.getvalue()) > 5000


def test_a_figure_of_little(result):
    bare = Result(result.x, Status.CONVERGED, 1)
    assert len(bare.plot().axes) == 1
    blind = dataclasses.replace(result, extras={}, history=dataclasses.replace(
        result.history, psnr=torch.full_like(result.history.psnr, torch.nan)))  # fmt: skip
    assert not any("PSNR" in axis.get_ylabel() for axis in blind.plot().axes)


@pytest.mark.parametrize("shape", [(8, 8), (1, 8, 8), (3, 8, 8), (2, 3, 8, 8), (5, 1, 8, 8), (2, 8, 8)])
@pytest.mark.parametrize("kind", ["float32", "float64", "complex", "numpy", "nan"])
def test_every_image_can_be_shown(shape, kind):
    x = noise(shape).to(torch.float32 if kind == "float32" else torch.float64)
    if kind == "complex":
        x = torch.complex(x, x)
    if kind == "nan":
        x[..., 0, 0] = torch.nan
    result = Result(x.numpy() if kind == "numpy" else x, Status.NON_FINITE, 3)
    result.plot().canvas.draw()
    assert decoded(result._repr_html_()).shape[:2] == (8, 8)


def test_html_is_self_contained_and_exact(result):
    page = result._repr_html_()
    assert "CONVERGED" in page or "MAX_ITER" in page
    assert "sigma" in page
    assert "estimated &lt;b&gt;somehow" in page
    assert "http" not in page
    shown = decoded(page)
    assert np.abs(shown[..., :3] - result.x.permute(1, 2, 0).clamp(0, 1).numpy()).max() <= 0.5 / 255 + 1e-6


def test_html_of_a_large_picture_is_small():
    page = Result(picture(16).repeat(1, 125, 125), Status.CONVERGED, 1)._repr_html_()
    assert max(decoded(page).shape[:2]) <= 480


def test_autocorrelation():
    """One at the centre; nearly nothing elsewhere for white noise, the kernel's own for filtered noise."""
    white = autocorrelation(noise((1, 64, 64)))
    assert white.shape == (64, 64)
    assert white[32, 32] == pytest.approx(1)
    white[32, 32] = 0
    assert white.abs().max() < 5 / 64
    r = noise((64, 64))
    filtered = autocorrelation(r + r.roll(1, dims=1))
    assert filtered[32, 33] == pytest.approx(0.5, abs=0.05)
    assert filtered[32, 31] == pytest.approx(float(filtered[32, 33]))
    assert (autocorrelation(torch.ones(4, 4)) == 0).all()


def test_no_matplotlib_without_a_figure():
    code = "import pnp, torch, sys; pnp.Result(torch.ones(4, 4), pnp.Status.CONVERGED, 1)._repr_html_(); "
    subprocess.run([sys.executable, "-c", code + "assert 'matplotlib' not in sys.modules"], check=True)
