"""From a data set as it is published to one manifest.jsonl."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lmmrotate.data.catalog import dataset_spec, is_known
from lmmrotate.data.formats import annotation_format as format_named
from lmmrotate.data.formats.base import ConversionReport, OnBad
from lmmrotate.data.manifest import Manifest
from lmmrotate.errors import ConfigError


@dataclass(frozen=True, eq=False)
class Conversion:
    """A manifest that was written, and the account of what went into it."""

    manifest: Manifest
    report: ConversionReport
    path: Path
    classes_from: str
    """Where the class list comes from: "given", "catalog" or "files"."""

    def summary(self) -> str:
        """What was done, in a few lines of plain text."""
        lines = [self.report.summary(), f"class list: {self.classes_from}", f"wrote {self.path}"]
        if self.manifest.image_folder != self.path.parent:
            lines.append(f"image paths are relative to {self.manifest.image_folder}: name it when reading")
        return "\n".join(lines)


def convert(
    image_folder: Path,
    annotations: Path | None,
    out: Path,
    *,
    dataset: str = "custom",
    split: str = "all",
    annotation_format: str | None = None,
    classes: Sequence[str] | None = None,
    on_bad: OnBad = "error",
) -> Conversion:
    """Read a data set in one of the formats of ``lmmrotate.data.formats`` and write its manifest.

    Image paths are written relative to the manifest's folder where the images lie below it, so that the
    manifest can be read without further options; otherwise relative to ``image_folder``.

    Args:
        image_folder: the images.
        annotations: folder or file, as the format has it; None for images without labels.
        out: the manifest to write (``….jsonl``), atomically.
        dataset: a name or alias of the catalog, which then gives class list and format, or any other name.
        split: name of the split, for the record.
        annotation_format: default: the catalog's for this data set, else "dota".
        classes: default: the catalog's, else the names found in the annotation files, sorted.
        on_bad: "error" stops at the first annotation that cannot be used; "skip" leaves it out and counts.

    Raises:
        ConfigError: for a format without a reader, a wrong ``on_bad``, or no class list at all.
        DataError: naming file and line, for what cannot be read or written.
    """
    spec = dataset_spec(dataset) if is_known(dataset) else None
    source = "given" if classes is not None else f"catalog ({spec.name})" if spec else "annotation files"
    if classes is None and spec is not None:
        classes = spec.classes
    elif classes is not None and (not classes or "" in classes or len(set(classes)) != len(classes)):
        raise ConfigError(f"classes must be distinct, non-empty names, got {list(classes)!r}")
    source_format = format_named(annotation_format or (spec.annotation_format if spec else "dota"))
    manifest, report = source_format.read(
        image_folder,
        annotations,
        classes=classes,
        left_out=spec.left_out if spec and tuple(classes or ()) == spec.classes else (),
        on_bad=on_bad,
        dataset=spec.name if spec else dataset,
        split=split,
    )
    if not manifest.classes:
        raise ConfigError(f"{image_folder}: no objects to take class names from; give classes or a data set")
    manifest = _relative_to(manifest, out.parent)
    manifest.write(out)
    return Conversion(manifest, report, out, source)


def _relative_to(manifest: Manifest, folder: Path) -> Manifest:
    """The manifest with image paths relative to ``folder``, if its images lie in or below that."""
    # abspath, not resolve: a folder of links to images elsewhere is still a folder of images here
    images, base = Path(os.path.abspath(manifest.image_folder)), Path(os.path.abspath(folder))
    if not images.is_relative_to(base):
        return manifest
    prefix = images.relative_to(base)
    records = tuple(replace(r, image=(prefix / r.image).as_posix()) for r in manifest.records)
    return replace(manifest, records=records, image_folder=folder)
