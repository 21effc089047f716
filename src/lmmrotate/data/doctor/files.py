"""Files that are missing, damaged, of another kind than their name says, or in two splits at once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from lmmrotate.data.doctor.findings import Finding
from lmmrotate.data.formats.base import ConversionReport
from lmmrotate.data.formats.objects import LEFT_OUT
from lmmrotate.data.images import FORMATS, read_image
from lmmrotate.data.manifest import Manifest
from lmmrotate.errors import DataError

_ENDINGS = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg"),
    "MPO": (".jpg", ".jpeg"),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp",),
    "WEBP": (".webp",),
    "JPEG2000": (".jp2",),
    "GIF": (".gif",),
    "PPM": (".ppm", ".pgm"),
}
"""What Pillow calls a format, and the endings of its files."""


def annotation_findings(report: ConversionReport, annotations: Path | None) -> Iterator[Finding]:
    """What the reader came across: lines it could not use, labels without images, images without labels."""
    for entry in report.skipped:
        if entry.reason.startswith(LEFT_OUT):  # on purpose
            continue
        yield Finding(_kind(entry.reason), "error", entry.where, entry.reason)
    for name in report.orphans:
        text = "annotations without an image of this name"
        yield Finding("labels without image", "error", str(annotations), f"{name}: {text}")
    for name in report.unlabelled:
        text = "has no label file: it counts as an image without objects"
        yield Finding("image without labels", "warning", name, text, name)
    for fault in report.unreadable:
        yield Finding("unreadable image", "error", fault.partition(": ")[0], fault.partition(": ")[2])


def _kind(reason: str) -> str:
    """The reason without the name in it, so that equal faults stand together."""
    return reason.partition(" '")[0]


def image_findings(manifest: Manifest) -> Iterator[Finding]:
    """Images that are truncated, or of another format than their ending says; every one is decoded."""
    for record in manifest.records:
        path = manifest.image_path(record)
        try:
            with Image.open(path, formats=FORMATS) as image:
                kind = image.format or ""
            if path.suffix.lower() not in _ENDINGS.get(kind, (path.suffix.lower(),)):
                text = f"is a {kind} file, which its ending does not say"
                yield Finding("mislabelled image", "warning", str(path), text, record.image)
            pixels = np.asarray(read_image(path))
        except (DataError, OSError) as error:
            yield Finding("unreadable image", "error", str(path), str(error), record.image)
            continue
        if pixels.min() == pixels.max():
            text = f"is of one colour ({', '.join(map(str, pixels[0, 0].tolist()))}) and holds nothing"
            severity = "error" if record.labels else "warning"
            yield Finding("empty picture", severity, str(path), text, record.image)  # type: ignore[arg-type]


def leakage_findings(manifests: Sequence[Manifest]) -> Iterator[Finding]:
    """Images with the same pixels in two manifests, or twice in one, whatever their names and formats."""
    first: dict[bytes, tuple[Manifest, str]] = {}
    for manifest in manifests:
        for record in manifest.records:
            path = manifest.image_path(record)
            try:
                image = read_image(path)
            except DataError:
                continue  # reported by ``image_findings``
            digest = hashlib.sha256(str(image.size).encode() + image.tobytes()).digest()
            other, name = first.setdefault(digest, (manifest, record.image))
            if other is not manifest:
                text = f"is the same picture as {name} of {other.dataset} {other.split}"
                yield Finding("train/test leakage", "error", str(path), text, record.image)
            elif name != record.image:
                text = f"is the same picture as {name}"
                yield Finding("duplicate image", "warning", str(path), text, record.image)
