"""Every Python block of the front page and of the documentation runs, page by page, as a reader would paste it."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_runs(page, capsys):
    names = run(page)
    if page.name == "README.md":
        before, after = (float(word) for word in re.findall(r"([\d.]+) dB", capsys.readouterr().out)[:2])
        assert after > before + 4.5
        assert names["larger"].x.shape == names["truth"].shape


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
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


def test_reference_has_every_public_name():
    """The catalogues list themselves; the kernel's names are set out by hand."""
    import pnp

    text = (ROOT / "docs/api/kernel.rst").read_text(encoding="utf-8")
    assert set(pnp.__all__) - {"__version__", "testing"} <= set(re.findall(r":: pnp\.(\w+)$", text, re.M))
