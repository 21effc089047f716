"""From one annotation format to another: most often from a data set as it is published to a manifest."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lmmrotate.data.catalog import dataset_spec, is_known, published_splits
from lmmrotate.data.formats import FORMATS
from lmmrotate.data.formats import annotation_format as format_named
from lmmrotate.data.formats.base import ConversionReport, Format, OnBad, WriteReport
from lmmrotate.data.manifest import Manifest
from lmmrotate.errors import ConfigError


@dataclass(frozen=True, eq=False)
class Conversion:
    """Annotations that were written, and the account of what went into them."""

    manifest: Manifest
    """What was read, and is written."""
    report: ConversionReport
    written: WriteReport
    classes_from: str
    """Where the class list comes from: "given", "catalog" or "files"."""
    published: tuple[str, str] | None = None
    """For a known data set, the splits that train and evaluate as published (``published_splits``)."""

    @property
    def path(self) -> Path:
        """The file or folder that was written."""
        return self.written.path

    def summary(self) -> str:
        """What was done, in a few lines of plain text."""
        lines = [self.report.summary(), f"class list: {self.classes_from}", self.written.summary()]
        if self.published:
            lines.append("as published, {} trains and {} evaluates".format(*self.published))
        if self.path.suffix == ".jsonl" and self.manifest.image_folder != self.path.parent:
            lines.append(f"image paths are relative to {self.manifest.image_folder}: name it when reading")
        return "\n".join(lines)


def convert(
    image_folder: Path,
    annotations: Path | None,
    out: Path,
    *,
    dataset: str = "",
    split: str = "",
    annotation_format: str | None = None,
    to: str = "manifest",
    classes: Sequence[str] | None = None,
    only: Collection[str] | None = None,
    on_bad: OnBad = "error",
    formats: Mapping[str, Format] = FORMATS,
) -> Conversion:
    """Read a data set in one of the formats of ``lmmrotate.data.formats`` and write it in another.

    Image paths in a manifest are written relative to its folder where the images lie below it, so that it
    can be read without further options; otherwise, and in other formats, relative to ``image_folder``.

    Args:
        image_folder: the images.
        annotations: folder or file, as the format has it; None for images without labels.
        out: the file or folder to write, as the format has it; every file atomically.
        dataset: a name or alias of the catalog, which then gives class list and format, or any other name;
            default: the one that a manifest states, else "custom".
        split: name of the split, for the record; default: the one that a manifest states, else "all".
        annotation_format: of what is read; default: the catalog's for this data set, else "dota".
        to: format of what is written.
        classes: default: the catalog's, else the names found in the annotation files, sorted.
        only: names of images, with or without ending, that make up the split; others are not read.
        on_bad: "error" stops at the first annotation that cannot be used; "skip" leaves it out and counts.
        formats: by name, the formats to choose from.

    Raises:
        ConfigError: for an unknown format, a wrong ``on_bad``, no class list at all, or an output that is the
            input.
        DataError: naming file and line, for what cannot be read or written.
    """
    if (out.suffix == ".jsonl") != (to == "manifest"):
        raise ConfigError(
            f"{out}: manifests, and nothing else, end in .jsonl, by which they are told; this is to be {to}"
        )
    if annotations is not None and os.path.abspath(out) == os.path.abspath(annotations):
        raise ConfigError(f"{out}: is what is read, too; choose another output")
    spec = dataset_spec(dataset) if is_known(dataset) else None
    source = "given" if classes is not None else f"catalog ({spec.name})" if spec else "annotation files"
    if classes is None and spec is not None:
        classes = spec.classes
    elif classes is not None and (not classes or "" in classes or len(set(classes)) != len(classes)):
        raise ConfigError(f"classes must be distinct, non-empty names, got {list(classes)!r}")
    source_format, wanted = (
        format_named(name, formats)
        for name in (annotation_format or (spec.annotation_format if spec else "dota"), to)
    )
    manifest, report = source_format.read(
        image_folder,
        annotations,
        classes=classes,
        left_out=spec.left_out if spec and tuple(classes or ()) == spec.classes else (),
        on_bad=on_bad,
        dataset=spec.name if spec else dataset,
        split=split,
        only=only,
    )
    if not manifest.classes:
        raise ConfigError(f"{image_folder}: no objects to take class names from; give classes or a data set")
    manifest = replace(manifest, dataset=manifest.dataset or "custom", split=manifest.split or "all")
    if to == "manifest":
        manifest = relative_to(manifest, out.parent)
    published = published_splits(dataset) if spec else None
    return Conversion(manifest, report, wanted.write(manifest, out), source, published)


def relative_to(manifest: Manifest, folder: Path) -> Manifest:
    """The manifest with image paths relative to ``folder``, if its images lie in or below that."""
    # abspath, not resolve: a folder of links to images elsewhere is still a folder of images here
    images, base = Path(os.path.abspath(manifest.image_folder)), Path(os.path.abspath(folder))
    if not images.is_relative_to(base):
        return manifest
    prefix = images.relative_to(base)
    records = tuple(replace(r, image=(prefix / r.image).as_posix()) for r in manifest.records)
    return replace(manifest, records=records, image_folder=folder)
