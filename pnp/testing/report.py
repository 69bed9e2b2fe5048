"""What the laws found: one finding a law, and the report that prints them as a table."""

from __future__ import annotations

import dataclasses
import math

from torch import Tensor


@dataclasses.dataclass(frozen=True)
class Finding:
    """One law applied to one subject: it holds if ``error <= bound``.

    ``note`` says where and how it broke, or why it was skipped.
    """

    law: str
    error: float = 0.0
    bound: float = 0.0
    note: str = ""
    skipped: bool = False

    @property
    def ok(self) -> bool:
        """Whether the law holds or does not apply; an error of NaN breaks it."""
        return self.skipped or self.error <= self.bound

    def at(self, where: str) -> Finding:
        """The same finding, its note led by the input on which it was made."""
        return dataclasses.replace(self, note=f"{where}: {self.note}" if self.note else where)

    def __str__(self) -> str:
        if self.skipped:
            return f"{self.law}: skipped, {self.note}"
        note = f"; {self.note}" if self.note and not self.ok else ""
        return f"{self.law}: error {self.error:.2e}, allowed {self.bound:.2e}{note}"


@dataclasses.dataclass(frozen=True)
class Report:
    """The findings of ``check_operator`` or ``check_prior``; ``print(report)`` shows the table."""

    subject: str
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether no law is broken."""
        return not self.failures

    @property
    def failures(self) -> tuple[Finding, ...]:
        """The broken laws."""
        return tuple(finding for finding in self.findings if not finding.ok)

    @property
    def skipped(self) -> tuple[Finding, ...]:
        """The laws that do not apply; each note says why."""
        return tuple(finding for finding in self.findings if finding.skipped)

    def raise_failures(self) -> None:
        """Raise an AssertionError that names every broken law with its numbers, or return."""
        if self.failures:
            lines = "\n".join(f"  {finding}" for finding in self.failures)
            raise AssertionError(f"{self.subject} breaks {len(self.failures)} of {len(self.findings)} laws:\n{lines}")

    def __str__(self) -> str:
        width = max((len(finding.law) for finding in self.findings), default=0)
        rows = [
            f"{finding.law:<{width}}  {_verdict(finding):<7}  {_numbers(finding):<19}  {_remark(finding)}".rstrip()
            for finding in self.findings
        ]
        head = f"{self.subject}: {'all laws hold' if self.ok else f'{len(self.failures)} laws broken'}"
        return "\n".join([head, f"{'law':<{width}}  verdict  error    allowed    note", *rows])


def _verdict(finding: Finding) -> str:
    return "skipped" if finding.skipped else "holds" if finding.ok else "BROKEN"


def _numbers(finding: Finding) -> str:
    return "-        -" if finding.skipped else f"{finding.error:.1e}  {finding.bound:.1e}"


def _remark(finding: Finding) -> str:
    return finding.note if finding.skipped or not finding.ok else ""


def broken_by(error: Exception, law: str) -> Finding:
    """The finding of a law that could not be tried because of an exception."""
    return Finding(law, math.nan, 0.0, f"raised {type(error).__name__}: {error}")


def worst(a: float, b: float) -> float:
    """The larger of two errors; NaN is larger than anything."""
    return math.nan if math.isnan(a) or math.isnan(b) else max(a, b)


def relative(difference: Tensor, *scales: Tensor | float) -> float:
    """``||difference||`` over the sum of the scales; 0 where both vanish, inf or NaN where only the scales do."""
    error = float(difference.detach().abs().norm())
    scale = float(sum(abs(s) if isinstance(s, float | int) else float(s.detach().abs().norm()) for s in scales))
    return 0.0 if error == 0 else error / scale if scale else math.inf
