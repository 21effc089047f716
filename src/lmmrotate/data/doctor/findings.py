"""What the doctor says about a data set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]
"""Errors spoil training or evaluation; warnings are odd but may be meant."""


@dataclass(frozen=True)
class Finding:
    """One fault and where it stands."""

    kind: str
    """Short name, the same for equal faults: "unknown class", "self-crossing quad", …"""
    severity: Severity
    where: str
    """File and line, or the image."""
    text: str
    """What was found and what is to be done."""
    image: str = ""
    """Path of the image it is about, relative to the image folder; empty if it is about all."""
    index: int | None = None
    """Which of the image's objects, as they were read, it is about; None if it is about all or none."""
    unread: bool = False
    """Whether it is about something that was not read: an object, an image or a label file."""


def by_kind(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    """Findings of each kind, errors first, then by number."""
    kinds: dict[str, list[Finding]] = {}
    for finding in findings:
        kinds.setdefault(finding.kind, []).append(finding)
    return dict(
        sorted(kinds.items(), key=lambda item: (item[1][0].severity != "error", -len(item[1]), item[0]))
    )
