"""Finished cells on disk, so that an interrupted run continues and a changed grid recomputes only what changed."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import io
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from .grid import Cell, Outcome

ROOT = Path(__file__).resolve().parent.parent


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[io.BufferedWriter]:
    """A file that appears under its name only when it is complete, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def write(path: Path, content: str | bytes) -> None:
    """Replace the file at once: a reader sees the old content or the new, never half of it."""
    with atomic(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def code_version(sources: Iterable[Path], benchmark: Path) -> str:
    """Hash of the code behind a number: comments, docstrings and layout do not count.

    Of the benchmark's own file only the classes and functions above ``summary`` count, without ``cells``, and the
    constants that they name: changing the grid or the report recomputes nothing by itself.
    """
    digest = hashlib.sha256()
    for path in sorted(sources):
        digest.update(f"{path.name}:{_essence(ast.parse(path.read_text(encoding='utf-8')))}\n".encode())
    for node in _behind_cells(ast.parse(benchmark.read_text(encoding="utf-8")).body):
        digest.update(_essence(node).encode())
    return digest.hexdigest()[:12]


def _behind_cells(nodes: list[ast.stmt]) -> list[ast.stmt]:
    """What a cell's number can depend on, of the top level of a benchmark's file."""
    kept: list[ast.stmt] = []
    for node in nodes:
        if isinstance(node, ast.FunctionDef) and node.name == "summary":
            break
        if isinstance(node, ast.ClassDef) or (isinstance(node, ast.FunctionDef) and node.name != "cells"):
            kept.append(node)
    constants = [node for node in nodes if isinstance(node, ast.Assign | ast.AnnAssign)]
    while named := [node for node in constants if _targets(node) & _names(kept)]:  # constants may name constants
        kept += named
        constants = [node for node in constants if node not in named]
    return kept


def _targets(node: ast.stmt) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}


def _names(nodes: list[ast.stmt]) -> set[str]:
    loaded = (part for node in nodes for part in ast.walk(node) if isinstance(part, ast.Name))
    return {part.id for part in loaded if isinstance(part.ctx, ast.Load)}


def _essence(tree: ast.AST) -> str:
    """The syntax tree without docstrings, as text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
    return ast.dump(tree)


def library_sources() -> list[Path]:
    """Every file whose change may change a number: the library and what the harness measures with."""
    library = {path.resolve() for folder in ("pnp", "operators", "priors") for path in (ROOT / folder).rglob("*.py")}
    names = ("equivalents", "other_denoisers", "pictures", "problems", "reconstruction", "timing", "trajectories")
    shared = {ROOT / "benchmarks" / f"{name}.py" for name in names}
    return sorted(path for path in library | shared if "testing" not in path.parts and path.name != "strategies.py")


class Cells:
    """The folder ``results/<name>/cells``: per cell one JSON file, written last, and its arrays beside it.

    A file is named by the cell's settings and the version of the code; with ``any_version`` the newest file of the same
    settings counts, whatever the code was.
    """

    def __init__(self, folder: Path, version: str, *, any_version: bool = False) -> None:
        self.folder, self.version, self.any_version = folder, version, any_version

    def path(self, cell: Cell) -> Path:
        settings = {"cell": type(cell).__qualname__, "module": type(cell).__module__, **cell.settings()}
        key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
        return self.folder / f"{key}-{self.version}.json"

    def load(self, cell: Cell) -> Outcome | None:
        path = self.path(cell)
        if not path.exists() and self.any_version:
            others = sorted(self.folder.glob(f"{path.name.split('-')[0]}-*.json"), key=lambda p: p.stat().st_mtime)
            path = others[-1] if others else path
        if not path.exists():
            return None
        record = json.loads(path.read_text(encoding="utf-8"))
        images = {}
        if record["images"]:
            with np.load(path.with_suffix(".npz")) as arrays:
                images = {name: arrays[name] for name in record["images"]}
        return Outcome({**record["row"], "version": record["version"]}, images, record["curves"])

    def save(self, cell: Cell, outcome: Outcome) -> Outcome:
        """Keep the outcome; what ``load`` will return."""
        path = self.path(cell)
        if outcome.images:
            with atomic(path.with_suffix(".npz")) as file:
                np.savez_compressed(file, **{name: np.asarray(array) for name, array in outcome.images.items()})
        record = {
            "settings": cell.settings(),
            "version": self.version,
            "row": outcome.row,
            "images": sorted(outcome.images),
            "curves": outcome.curves,
        }
        write(path, json.dumps(record))  # inf and nan as Python writes and reads them
        return Outcome({**outcome.row, "version": self.version}, outcome.images, outcome.curves)
