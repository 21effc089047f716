"""Class names: unknown ones, and two spellings of one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from rapidfuzz import fuzz, process

from lmmrotate.data.doctor.findings import Finding
from lmmrotate.data.formats.base import ConversionReport
from lmmrotate.data.manifest import Manifest

MISSPELLED = "misspelled class"
UNKNOWN = "unknown class"

_ALIKE = 85
"""Similarity from 0 to 100 (rapidfuzz ratio) from which on one name is taken for a misspelling of another."""
_RARE = 20
"""A name must be this many times rarer than one it resembles to be taken for its misspelling."""


def name_findings(
    manifest: Manifest, report: ConversionReport, known: Sequence[str] | None
) -> Iterator[Finding]:
    """Labels that are not in ``known``; without a list, labels that look like another spelling of one."""
    better = suggestions(manifest, known)
    for record, places in zip(manifest.records, report.places, strict=True):
        for index, (label, where) in enumerate(zip(record.labels, places, strict=True)):
            if label not in better:
                continue
            if known is None or better[label]:
                kind, text = MISSPELLED, f"class {label!r} looks like another spelling of {better[label]!r}"
            else:
                kind, text = UNKNOWN, f"unknown class {label!r}; valid: {', '.join(known)}"
            yield Finding(kind, "error", where, text, record.image, index)


def suggestions(manifest: Manifest, known: Sequence[str] | None) -> dict[str, str | None]:
    """By doubtful label, the name that was probably meant, if any."""
    counts = Counter(label for record in manifest.records for label in record.labels)
    if known is not None:
        return {label: meant(label, known) for label in counts if label not in known}
    doubtful: dict[str, str | None] = {}
    for label, count in counts.items():
        others = [
            other for other in counts if counts[other] > count or (counts[other] == count and other < label)
        ]
        same = [other for other in others if _plain(other) == _plain(label)]
        frequent = [other for other in others if counts[other] >= _RARE * count]
        better = same[0] if same else meant(label, frequent)
        if better:
            doubtful[label] = better
    return doubtful


def meant(label: str, names: Sequence[str]) -> str | None:
    """Which of ``names`` a label is a misspelling of, if any; digits must agree (Boeing737, Boeing747)."""
    digits = _digits(label)
    fitting = {name: _plain(name) for name in names if _digits(name) == digits}
    found = process.extractOne(_plain(label), fitting, scorer=fuzz.ratio, score_cutoff=_ALIKE)
    return str(found[2]) if found else None


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))


def _digits(name: str) -> str:
    return "".join(filter(str.isdigit, name))
