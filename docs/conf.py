"""Sphinx settings, and the reading of docstrings: plain text with ``code``, *titles* and the house's labelled lines."""

from __future__ import annotations

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from pnp.version import __version__

torch.set_num_threads(1)  # small pictures: more threads would only wait for each other

project = "pnp-imaging"
author = "pnp-imaging developers"
copyright = author
release = version = __version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.mathjax", "myst_parser", "sphinx_gallery.gen_gallery"]
myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "examples", "images/SOURCES.md"]
sphinx_gallery_conf = {
    "examples_dirs": ["examples/guide", "examples/operators"],
    "gallery_dirs": ["gallery/guide", "gallery/operators"],  # made at each build from the scripts that changed
    "filename_pattern": "",  # every script is run
    "within_subsection_order": "FileNameSortKey",
    "reference_url": {"pnp": None},  # names in the code lead to the reference
    "matplotlib_animations": False,
    "write_computation_times": False,
    "show_signature": False,
    "thumbnail_size": (400, 150),  # the pictures are in rows of three or four
    "min_reported_time": 3600,  # seconds on a machine that built a page say little
    "abort_on_example_error": True,
}
html_theme = "furo"
html_title = f"pnp-imaging {release}"
html_static_path = ["_static"]
html_css_files = ["gallery.css"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
add_module_names = False

LABEL = re.compile(r"(Shapes|Units|Raises|Source|Sources): ")
# Kept as markup: ``literals``, `names` and *titles*; every other mark of reStructuredText is an ordinary character.
MARKUP = re.compile(r"(``.+?``|`[\w.]+`|(?<![\w*])\*[A-Z][^*]*[\w.)?!]\*(?![\w*]))")


def escaped(text: str) -> str:
    """The text with only the house's kinds of markup; names are set as literals."""
    pieces = MARKUP.split(text)
    pieces[1::2] = [re.sub(r"^`([\w.]+)`$", r"``\1``", piece) for piece in pieces[1::2]]
    pieces[::2] = [re.sub(r"([*|`_\\])", r"\\\1", piece) for piece in pieces[::2]]
    return "".join(pieces)


def paragraphs(lines: list[str]) -> list[list[str]]:
    """Runs of lines, split at blank lines and before each label."""
    found: list[list[str]] = [[]]
    for line in lines:
        if not line.strip() or LABEL.match(line):
            found.append([])
        if line.strip():
            found[-1].append(line)
    return [paragraph for paragraph in found if paragraph]


def read_docstring(app: object, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Labelled lines become a field list, examples stay as they are, all else is plain text."""
    written: list[str] = []
    for paragraph in paragraphs(lines):
        first = paragraph[0]
        if first.startswith((">>>", " ")):
            if first.startswith(" ") and not (written and written[-2].endswith("::")):
                written += ["::", ""]
            written += [*paragraph, ""]
        elif first.startswith("* "):
            written += [escaped(first[2:]).join(("* ", "")), *(escaped(line) for line in paragraph[1:]), ""]
        elif label := LABEL.match(first):
            text = " ".join([first[label.end() :], *(line.strip() for line in paragraph[1:])])
            field = f":{label.group(1)}: {escaped(text)}"
            if len(written) > 1 and written[-2].startswith(":"):
                written.pop()
            written += [field, ""]
        else:
            written += [escaped(" ".join(line.strip() for line in paragraph)), ""]
    lines[:] = written


def setup(app: object) -> None:
    app.connect("autodoc-process-docstring", read_docstring)  # type: ignore[attr-defined]
