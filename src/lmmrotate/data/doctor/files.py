"""What the reader came across: lines it could not use, labels without images, images without labels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lmmrotate.data.doctor.findings import Finding
from lmmrotate.data.doctor.pictures import UNREADABLE
from lmmrotate.data.formats.base import ConversionReport
from lmmrotate.data.formats.objects import LEFT_OUT

UNREADABLE_LABELS = "unreadable label file"


def annotation_findings(report: ConversionReport, annotations: Path | None) -> Iterator[Finding]:
    """What the account of reading says; objects that are left out on purpose are no fault."""
    for entry in report.skipped:
        if not entry.reason.startswith(LEFT_OUT):
            yield Finding(_kind(entry.reason), "error", entry.where, entry.reason)
    for name in report.orphans:
        text = "annotations without an image of this name"
        yield Finding("labels without image", "error", str(annotations), f"{name}: {text}")
    for name in report.unlabelled:
        text = "has no label file: it counts as an image without objects"
        yield Finding("image without labels", "warning", name, text, name)
    for fault in report.unreadable:
        where, _, text = fault.partition(": ")
        of_labels = annotations is not None and Path(where).is_relative_to(annotations)
        yield Finding(UNREADABLE_LABELS if of_labels else UNREADABLE, "error", where, text)


def _kind(reason: str) -> str:
    """The reason without the name in it, so that equal faults stand together."""
    return reason.partition(" '")[0]
