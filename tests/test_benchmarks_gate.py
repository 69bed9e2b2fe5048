"""What the gate lets through and what it stops."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

pytest.importorskip("joblib")
pytest.importorskip("jinja2")

from benchmarks import gate
from benchmarks.gate import CLOSE, SLOWER, Measured, cells, compared, compiled


def reference(**numbers: tuple[float, float]) -> dict[str, object]:
    return {"compiled": compiled(), "cells": {name: {"psnr": p, "ratio": r} for name, (p, r) in numbers.items()}}


@pytest.mark.parametrize(
    ("psnr", "ratio", "stopped"),
    [
        (30.0, 2.0, False),
        (30.0 - 0.99 * CLOSE, 2.0, False),
        (30.0 - 1.01 * CLOSE, 2.0, True),
        (math.nan, 2.0, True),
        (30.0, 1.99 * SLOWER, False),
        (30.0, 2.01 * SLOWER, True),
        (35.0, 0.1, False),
    ],
)
def test_a_lower_psnr_or_a_slower_run_is_stopped(psnr: float, ratio: float, stopped: bool) -> None:
    worse, notes = compared(reference(a=(30.0, 2.0)), {"a": Measured(psnr, ratio)})
    assert bool(worse) is stopped
    assert any("--update" in note for note in notes) is (psnr == 35.0)


def test_times_count_only_beside_the_same_back_ends() -> None:
    other = reference(a=(30.0, 2.0)) | {"compiled": not compiled()}
    worse, notes = compared(other, {"a": Measured(30.0, 100.0)})
    assert not worse
    assert len(notes) == 1
    worse, _ = compared(other, {"a": Measured(29.0, 2.0)})
    assert len(worse) == 1


def test_block_matching_counts_only_beside_the_same_back_ends() -> None:
    """Compiled and plain BM3D match other blocks here and there: 0.1 dB on a small picture."""
    numbers = {"blur, BM3D": (30.0, 2.0)}
    found = {"blur, BM3D": Measured(29.9, 2.0)}
    assert compared(reference(**numbers), found)[0]
    assert not compared(reference(**numbers) | {"compiled": not compiled()}, found)[0]


def test_what_is_measured_is_what_the_reference_holds() -> None:
    worse, _ = compared(reference(a=(30.0, 2.0), b=(1.0, 1.0)), {"a": Measured(30.0, 2.0), "c": Measured(1.0, 1.0)})
    assert sorted(line.split(":")[0] for line in worse) == ["b", "c"]
    committed = json.loads(gate.REFERENCE.read_text(encoding="utf-8"))
    assert set(committed["cells"]) == {cell.label for cell in cells()}


def test_an_update_is_the_next_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "reference.json"
    found = {"a": Measured(30.0, 2.0)}
    monkeypatch.setattr(gate, "measure", lambda: found)
    assert gate.gate(renew=True, path=path)[0] == 0
    assert gate.gate(path=path)[0] == 0
    found["a"] = Measured(29.9, 2.0)
    status, text = gate.gate(path=path)
    assert status == 1
    assert "WORSE: a: 29.90 dB, was 30.00" in text
