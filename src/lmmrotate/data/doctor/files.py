"""What the reader came across: lines it could not use, labels without images, images without labels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lmmrotate.data.doctor.findings import Finding, Severity
from lmmrotate.data.doctor.pictures import UNREADABLE
from lmmrotate.data.formats.base import ConversionReport
from lmmrotate.data.formats.objects import LEFT_OUT
from lmmrotate.data.images import EXTENSIONS

UNREADABLE_LABELS = "unreadable label file"


def annotation_findings(report: ConversionReport, annotations: Path | None) -> Iterator[Finding]:
    """What the account of reading says; objects that are left out on purpose are no fault."""
    for entry in report.skipped:
        if not entry.reason.startswith(LEFT_OUT):
            text = entry.details.removeprefix(f"{entry.where}: ")
            yield Finding(_kind(entry.reason), "error", entry.where, text, entry.image, unread=True)
    for name in report.orphans:
        text = f"{name}: annotations without an image"
        yield Finding("labels without image", "error", str(annotations), text, unread=True)
    for name in report.deeper:
        text = "lies in a folder inside the image folder, where it is not read"
        yield Finding("image in a folder below", "warning", name, text, name, unread=True)
    for name in report.unlabelled:
        text = "has no label file: it counts as an image without objects"
        yield Finding("image without labels", "warning", name, text, name)
    for fault in report.unreadable:
        where, _, text = fault.partition(": ")
        of_image = Path(where).suffix.lower() in EXTENSIONS
        yield Finding(UNREADABLE if of_image else UNREADABLE_LABELS, "error", where, text, unread=True)
    if not report.images:
        yield Finding("no images", "error", str(annotations), "names no image that can be read")
    elif not report.object_count:
        severity: Severity = "error" if annotations else "warning"  # a test set has images alone
        text = "no image has an object that can be read: is the format another one (--from)?"
        yield Finding("no objects", severity, str(annotations or "annotations"), text)


def _kind(reason: str) -> str:
    """The reason without the name in it, so that equal faults stand together."""
    return reason.partition(" '")[0]
