"""Images that are damaged, empty, of another kind than their name says, or in two splits at once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from lmmrotate.data.doctor.findings import Finding
from lmmrotate.data.images import FORMATS, read_image
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.progress import progress_bar
from lmmrotate.data.rasters import WINDOWED_FROM
from lmmrotate.data.records import ImageRecord
from lmmrotate.data.workers import core_count
from lmmrotate.errors import DataError

UNREADABLE = "unreadable image"
MISLABELLED = "mislabelled image"
TWICE = "duplicate image"
TWICE_OTHERWISE = "duplicate image, other objects"
LEAKAGE = "train/test leakage"

ENDINGS = {
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
"""What Pillow calls a format, and the endings of its files, the usual one first."""


@dataclass(frozen=True)
class Picture:
    """What an image file is."""

    findings: tuple[Finding, ...]
    digest: bytes | None
    """Of its pixels, the same whatever the file's format; None if they cannot be read."""


def look_at_all(manifests: Sequence[Manifest], *, progress: bool = False) -> list[list[Picture]]:
    """Decode every image of every manifest, in their order."""
    paths = [(manifest.image_path(r), r) for manifest in manifests for r in manifest.records]
    with ThreadPoolExecutor(core_count()) as pool:  # Pillow and hashing let go of the interpreter
        with progress_bar("images", progress) as bar:
            looked = pool.map(_look_at, paths)
            seen = iter(list(bar.track(looked, total=len(paths), description="looking at images")))
    return [[next(seen) for _ in manifest.records] for manifest in manifests]


def kind_of(path: Path) -> str:
    """Pillow's name of an image file's format.

    Raises:
        OSError: if it is no image that can be read.
    """
    with Image.open(path, formats=FORMATS) as image:
        return image.format or ""


def _look_at(item: tuple[Path, ImageRecord]) -> Picture:
    path, record = item
    findings = []
    try:
        kind = kind_of(path)
        if path.suffix.lower() not in ENDINGS.get(kind, (path.suffix.lower(),)):
            text = f"is a {kind} file, which its ending does not say"
            findings.append(Finding(MISLABELLED, "warning", str(path), text, record.image))
        if record.width * record.height > WINDOWED_FROM:  # a scene that is never read as a whole
            with path.open("rb") as file:
                return Picture(tuple(findings), hashlib.file_digest(file, "sha256").digest())
        pixels = np.asarray(read_image(path))
    except (DataError, OSError) as error:
        text = str(error).removeprefix(f"{path}: ")
        return Picture((Finding(UNREADABLE, "error", str(path), text, record.image),), None)
    if pixels.min() == pixels.max():
        text = f"is of one colour ({', '.join(map(str, pixels[0, 0].tolist()))}) and holds nothing"
        findings.append(
            Finding("empty picture", "error" if record.labels else "warning", str(path), text, record.image)
        )
    digest = hashlib.sha256(str(pixels.shape).encode())
    digest.update(pixels.tobytes())
    return Picture(tuple(findings), digest.digest())


def twins(
    manifests: Sequence[Manifest], pictures: Sequence[Sequence[Picture]]
) -> Iterator[tuple[int, Finding]]:
    """Images with the same pixels as an earlier one of their manifest, or as one of a later manifest.

    Yields:
        The place of the manifest to which the finding belongs, and the finding.
    """
    first: dict[bytes, tuple[int, ImageRecord]] = {}
    for place in reversed(range(len(manifests))):
        manifest = manifests[place]
        # Labelled ones first: of two equal pictures the one without labels is the one too many.
        pairs = sorted(
            zip(manifest.records, pictures[place], strict=True), key=lambda pair: not pair[0].labels
        )
        for record, picture in pairs:
            if picture.digest is None:
                continue
            other, earlier = first.setdefault(picture.digest, (place, record))
            name = earlier.image
            where = str(manifest.image_path(record))
            if other != place:
                split = f"{manifests[other].dataset} {manifests[other].split}".strip()
                text = f"is the same picture as {name} of {split}"
                yield place, Finding(LEAKAGE, "error", where, text, record.image)
            elif name != record.image:
                text = f"is the same picture as {name}"
                if record.labels and not _same_objects(record, earlier):
                    text += ", with other objects"
                    yield place, Finding(TWICE_OTHERWISE, "error", where, text, record.image)
                else:
                    yield place, Finding(TWICE, "warning", where, text, record.image)


def _same_objects(one: ImageRecord, other: ImageRecord) -> bool:
    return one.labels == other.labels and np.allclose(one.quads, other.quads, atol=0.5)
