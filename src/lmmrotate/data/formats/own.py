"""This project's own ``manifest.jsonl`` (see ``lmmrotate.data.manifest``) as one format among the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from lmmrotate.data.formats.base import ConversionReport, Format, WriteReport
from lmmrotate.data.formats.objects import Bad, Found, about, read_listed
from lmmrotate.data.manifest import Manifest, read_manifest
from lmmrotate.data.records import ImageRecord
from lmmrotate.errors import ConfigError


def read(
    image_folder: Path,
    annotations: Path | None,
    *,
    classes: Sequence[str] | None = None,
    dataset: str = "",
    split: str = "",
    **options: Any,
) -> tuple[Manifest, ConversionReport]:
    """Read a manifest file (see ``formats.base.Reader``); it keeps what is not given of its header."""
    if annotations is None:
        raise ConfigError("a manifest is read from a file: give it as annotations")
    manifest = read_manifest(annotations, image_folder)
    listed = {
        record.image: partial(_found, record, f"{annotations}: {record.image}") for record in manifest.records
    }
    scenes = {record.image: record.scene for record in manifest.records}
    read_again, report = read_listed(
        image_folder,
        listed,
        classes=classes or manifest.classes,
        dataset=dataset or manifest.dataset,
        split=split or manifest.split,
        **options,
    )
    records = tuple(replace(record, scene=scenes[record.image]) for record in read_again.records)
    return replace(read_again, records=records), report


def _found(record: ImageRecord, where: str, wh: tuple[int, int]) -> Iterator[Found | Bad]:
    rows = zip(record.labels, record.quads, record.difficult, strict=True)
    found = (Found(where, label, quad.reshape(8).tolist(), difficult) for label, quad, difficult in rows)
    return about(record.image, record.wh, wh, found)


def write(manifest: Manifest, out: Path) -> WriteReport:
    """Write the manifest; image paths stay relative to its image folder."""
    manifest.write(out)
    return WriteReport(out, len(manifest.records), sum(len(record.labels) for record in manifest.records))


FORMAT = Format("manifest", read, write, layout="file")
