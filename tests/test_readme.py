"""Every Python block of the front page and of the documentation runs, page by page, as a reader would paste it."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.M | re.S)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def run(page: Path) -> dict[str, object]:
    """Run the blocks of the page in one namespace and return it; a block with prompts is a doctest."""
    names: dict[str, object] = {"__name__": page.stem}
    text = page.read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        language, code = match.groups()
        if language != "python":
            continue
        line = text[: match.start()].count("\n") + 1
        if ">>>" in code:
            test = doctest.DocTestParser().get_doctest(code, names, page.name, str(page), line)
            runner = doctest.DocTestRunner(optionflags=FLAGS)
            runner.run(test, clear_globs=False)
            assert runner.failures == 0, f"{page.name}, the block at line {line}; see the captured output"
            names.update(test.globs)
        else:
            exec(compile("\n" * line + code, str(page), "exec"), names)  # line numbers in a traceback are the page's
    return names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_runs(page, capsys):
    names = run(page)
    if page.name == "README.md":
        before, after = (float(word) for word in re.findall(r"([\d.]+) dB", capsys.readouterr().out)[:2])
        assert after > before + 4.5
        assert names["larger"].x.shape == names["truth"].shape


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"], ids=lambda page: str(page.relative_to(ROOT))
)
def test_links_and_pictures_exist(page):
    """Relative links lead to files of the repository."""
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_named_make_targets_exist():
    """What the pages tell readers to type is in the Makefile."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        assert set(re.findall(r"\bmake ([a-z]+)\b(?=[`\s]*(?:#|`|$))", page.read_text("utf-8"), re.M)) <= targets


def test_the_front_page_quotes_the_results():
    """Every number of its table stands in the demo's table, so the two cannot part."""
    section = (ROOT / "README.md").read_text("utf-8").split("## What to expect")[1].split("##")[0]
    table = "\n".join(line for line in section.splitlines() if line.startswith("|"))
    quoted = re.findall(r"\b\d+\.\d\d\b", table)
    assert len(quoted) == 15
    assert set(quoted) <= set(re.findall(r"\b\d+\.\d\d\b", (ROOT / "docs/results/demo.md").read_text("utf-8")))


def test_the_table_of_priors_quotes_the_results():
    """Likewise for the page on choosing a prior, whose table is taken from three pages."""
    page = (ROOT / "docs/examples/guide/choosing_a_prior.py").read_text("utf-8")
    rows = re.findall(r"^# (?:TV|Wavelet|NLM|BM3D|network) .*$", page, re.M)
    quoted = re.findall(r"\b\d+\.\d\d+\b", "".join(rows))
    assert len(quoted) == 25
    pages = [(ROOT / f"docs/results/{name}.md").read_text("utf-8") for name in ("denoisers", "demo", "inpainting")]
    assert set(quoted) <= set(re.findall(r"\b\d+\.\d\d+\b", "".join(pages)))


def test_reference_has_every_public_name():
    """The catalogues and the laws list themselves by their ``__all__``; the kernel's names are set out by hand."""
    import pnp

    text = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs/api").glob("*.rst"))
    by_hand = set(re.findall(r":: pnp\.(\w+)$", text, re.M))
    assert set(pnp.__all__) - {"__version__"} <= by_hand
    for name in ("operators", "priors", "testing"):
        assert f".. automodule:: pnp.{name}\n   :members:\n" in text
        assert importlib.import_module(f"pnp.{name}").__all__
