"""What a run found of a paper's claim: confirmed or refuted, either of which is a result and no failure."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pandas as pd

from .report import Section, Table


@dataclasses.dataclass(frozen=True)
class Finding:
    """A claim of others that the run decides; a ``Verdict`` is one of ours, and must hold."""

    claim: str
    confirmed: bool
    detail: str

    @property
    def outcome(self) -> str:
        return "confirmed" if self.confirmed else "refuted"


def section(findings: Sequence[Finding]) -> list[Section]:
    """The findings as the first section of a page; none without findings."""
    if not findings:
        return []
    frame = pd.DataFrame([{"claim": f.claim, "outcome": f.outcome, "numbers": f.detail} for f in findings])
    return [Section("Findings", [Table("", frame)])]


def words(findings: Sequence[Finding]) -> str:
    """The findings for the terminal, one a line."""
    return "\n".join(f"{f.outcome}: {f.claim} {f.detail}" for f in findings)
