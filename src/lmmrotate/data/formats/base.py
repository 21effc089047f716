"""What every annotation format offers, and the accounts of what was read, written and left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from lmmrotate.data.manifest import Manifest
from lmmrotate.data.records import ImageRecord

OnBad = Literal["error", "skip"]
"""What to do with an annotation or image that cannot be used: stop at the first, or leave out and count."""


@dataclass(frozen=True)
class Skipped:
    """An annotation that was left out."""

    where: str
    """File and line, ``P0001.txt:12``."""
    reason: str
    """Short, so that equal reasons can be counted: "zero area", "unknown class 'barge'", …"""
    details: str = ""
    """What was found and what is valid."""
    image: str = ""
    """Which it belongs to, as it is named in the manifest; empty if it belongs to none."""


@dataclass(frozen=True)
class ConversionReport:
    """What was read from annotation files, what was left out and why."""

    images: int
    objects: Mapping[str, int]
    """How many objects of each class, in the order of the class list; classes without objects are 0."""
    difficult: int
    """How many of them are marked difficult."""
    empty_images: int
    """Images without an object (their label file may be empty or missing)."""
    unlabelled: tuple[str, ...] = ()
    """Images without a label file, kept without objects."""
    orphans: tuple[str, ...] = ()
    """Label files, or what a file lists, without an image, left out."""
    deeper: tuple[str, ...] = ()
    """Images in folders inside the image folder, where they are not read."""
    unreadable: tuple[str, ...] = ()
    """Images left out because they, or their label files, cannot be read: path and fault."""
    skipped: tuple[Skipped, ...] = ()
    """Annotations left out."""
    places: tuple[tuple[str, ...], ...] = ()
    """For every image, where each of its objects stands: file and line."""

    @property
    def object_count(self) -> int:
        return sum(self.objects.values())

    def skipped_reasons(self) -> dict[str, int]:
        """How many annotations were left out for each reason, most frequent first."""
        return dict(Counter(entry.reason for entry in self.skipped).most_common())

    def summary(self) -> str:
        """The account in a few lines of plain text."""
        lines = [
            f"{self.images} images ({self.empty_images} without objects), {self.object_count} objects "
            f"({self.difficult} difficult) of {len(self.objects)} classes"
        ]
        lines += [f"  {count:>8} {name}" for name, count in self.objects.items()]
        if self.unlabelled:
            lines.append(f"{len(self.unlabelled)} images without a label file: {_some(self.unlabelled)}")
        if self.orphans:
            lines.append(f"{len(self.orphans)} annotations without an image, left out: {_some(self.orphans)}")
        if self.deeper:
            lines.append(f"{len(self.deeper)} images in folders below, not read: {_some(self.deeper)}")
        if self.unreadable:
            lines.append(f"{len(self.unreadable)} images left out, unreadable: {_some(self.unreadable)}")
        for reason, count in self.skipped_reasons().items():
            places = [entry.where for entry in self.skipped if entry.reason == reason]
            lines.append(f"{count} objects left out, {reason}: {_some(places)}")
        return "\n".join(lines)


def _some(names: Sequence[str], limit: int = 3) -> str:
    rest = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {rest} more" if rest > 0 else "")


@dataclass
class Account:
    """Collects what a reader comes across; ``report`` makes the frozen account of it."""

    unlabelled: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    deeper: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    places: list[tuple[str, ...]] = field(default_factory=list)

    def report(self, records: Sequence[ImageRecord], classes: Sequence[str]) -> ConversionReport:
        counts = Counter(label for record in records for label in record.labels)
        return ConversionReport(
            images=len(records),
            objects={name: counts[name] for name in classes},
            difficult=sum(flag != 0 for record in records for flag in record.difficult),
            empty_images=sum(not record.labels for record in records),
            unlabelled=tuple(self.unlabelled),
            orphans=tuple(self.orphans),
            deeper=tuple(self.deeper),
            unreadable=tuple(self.unreadable),
            skipped=tuple(self.skipped),
            places=tuple(self.places),
        )


@dataclass(frozen=True)
class WriteReport:
    """What a writer wrote, and what the format could not hold."""

    path: Path
    """The file or folder that was written."""
    images: int
    objects: int
    lost: Mapping[str, int] = field(default_factory=dict)
    """What could not be written, and how often: "difficulty", "corner order", …"""

    def summary(self) -> str:
        """The account in a few lines of plain text."""
        lines = [f"wrote {self.path}: {self.images} images, {self.objects} objects"]
        lines += [f"  lost, as the format has no place for it: {what} ({n})" for what, n in self.lost.items()]
        return "\n".join(lines)


class Writer(Protocol):
    """Writes the annotations of a manifest in one format; images stay where they are."""

    def __call__(self, manifest: Manifest, out: Path) -> WriteReport:
        """
        Args:
            manifest: what to write.
            out: a file or a folder, as the format has it. A folder may exist; files of the same names in
                it are replaced.

        Raises:
            DataError: naming image or class, for what the format cannot hold and a reader would misread.
        """
        ...


Layout = Literal["folder", "file", "dataset"]
"""What is read and written: a folder with one file an image, one file for all, or, written only, a folder
that holds such a folder ``labels`` and what else belongs to a data set."""


@dataclass(frozen=True)
class Format:
    """One way of keeping annotations on disk."""

    name: str
    read: Reader
    write: Writer
    layout: Layout = "folder"
    has_sizes: bool = False
    """Upright boxes may stand as x y width height, which can be mixed up with two corners."""


class Reader(Protocol):
    """Reads images and their annotations in one format."""

    def __call__(
        self,
        image_folder: Path,
        annotations: Path | None,
        *,
        classes: Sequence[str] | None = None,
        left_out: Sequence[str] = (),
        on_bad: OnBad = "error",
        dataset: str = "",
        split: str = "",
        only: Collection[str] | None = None,
    ) -> tuple[Manifest, ConversionReport]:
        """A manifest whose image paths are relative to ``image_folder``, and the account.

        Args:
            image_folder: where the images lie.
            annotations: a folder or a file, as the format has it; None for images without labels.
            classes: the class list; None collects the names that occur, sorted.
            left_out: names that are skipped and counted instead of being unknown.
            on_bad: what to do with an annotation or image that cannot be used.
            dataset: name to write into the manifest.
            split: as well.
            only: names of images, with or without ending; others are not read. None reads all.

        Raises:
            DataError: naming file and line, for what cannot be read.
        """
        ...
