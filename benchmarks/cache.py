"""Finished cells on disk, so that an interrupted run continues and a changed grid recomputes only what changed."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .grid import Cell, Outcome
from .versions import version_of


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


class Cells:
    """The folders ``results/<name>/cells``: per cell one JSON file, written last, and its arrays beside it.

    A file is named by the cell's settings and the version of the code behind it; with ``any_version`` the newest file
    of the same settings counts, whatever the code was.
    """

    def __init__(self, results: Path, benchmark: str, *, any_version: bool = False) -> None:
        self.results, self.benchmark, self.any_version = results, benchmark, any_version

    def path(self, cell: Cell) -> Path:
        settings = {"cell": type(cell).__qualname__, "module": type(cell).__module__, **cell.settings()}
        key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
        return self.results / (cell.home or self.benchmark) / "cells" / f"{key}-{version_of(type(cell))}.json"

    def load(self, cell: Cell) -> Outcome | None:
        path = self.path(cell)
        if not path.exists() and self.any_version:
            others = sorted(path.parent.glob(f"{path.name.split('-')[0]}-*.json"), key=lambda p: p.stat().st_mtime)
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
            "version": version_of(type(cell)),
            "row": outcome.row,
            "images": sorted(outcome.images),
            "curves": outcome.curves,
        }
        write(path, json.dumps(record))  # inf and nan as Python writes and reads them
        return Outcome({**outcome.row, "version": version_of(type(cell))}, outcome.images, outcome.curves)
