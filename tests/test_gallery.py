"""The gallery: every operator has a page whose code runs and gains something; the quick start as a notebook."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import matplotlib.pyplot as plt
import nbclient
import nbformat
import pytest
from sphinx_gallery.notebook import python_to_jupyter_cli

import pnp
import pnp.operators

EXAMPLES = Path(__file__).resolve().parent.parent / "docs" / "examples"
PAGES = sorted((EXAMPLES / "operators").glob("*.py"))


@pytest.fixture(autouse=True)
def drawn_nowhere():
    """Figures belong to no window and are closed at the end."""
    plt.switch_backend("Agg")
    yield
    plt.close("all")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_shows_is_a_reconstruction(page):
    """It is nearer to the original than the operator's first guess and than least squares, and it is drawn."""
    names = runpy.run_path(str(page))
    A, y, truth, result = (names[name] for name in ("A", "y", "truth", "result"))
    exact = A.solves_dual or A.solves_primal  # else the pseudo-inverse of an ill-conditioned operator takes minutes
    for guess in (A.start(y), A.pinv(y)) if exact else (A.start(y),):
        assert pnp.psnr(result.x, truth) > pnp.psnr(guess.reshape(truth.shape), truth) + 1
    assert plt.get_fignums()


def test_every_operator_has_a_page():
    used = {name for page in PAGES for name in re.findall(r"\b[A-Z]\w+\b", page.read_text("utf-8"))}
    assert set(pnp.operators.__all__) <= used
    for page in PAGES:
        assert page.stem in {re.sub(r"(?<!^)(?=[A-Z])", "_", n).lower() for n in pnp.operators.__all__} | {"blur_valid"}


def test_choosing_a_prior_runs():
    names = runpy.run_path(str(EXAMPLES / "guide/choosing_a_prior.py"))
    levels = [float(word) for title in names["pictures"] for word in re.findall(r"([\d.]+) dB", title)]
    assert len(levels) == 5
    assert min(levels[1:]) > levels[0] + 10


def test_the_quick_start_runs_as_a_notebook(tmp_path):
    """As the documentation offers it for download, by a kernel of its own."""
    script = tmp_path / "quick_start.py"
    script.write_text((EXAMPLES / "guide/quick_start.py").read_text("utf-8"), "utf-8")
    python_to_jupyter_cli([str(script)])
    notebook = nbformat.read(tmp_path / "quick_start.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(EXAMPLES)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 1
    printed = "".join(output.get("text", "") for output in outputs)
    before, after = (float(word) for word in re.findall(r"([\d.]+) dB became ([\d.]+) dB", printed)[0])
    assert after > before + 4
