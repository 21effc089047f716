"""``--fix``: a corrected copy of a data set, images and annotations, in the format it came in.

The copy holds ``images/`` and, as the format has it, ``labels/``, ``annotations.json`` or ``manifest.jsonl``;
what it is a copy of stands in ``fixed.json``. The original is only read.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from lmmrotate.data.convert import relative_to
from lmmrotate.data.doctor.boxes import OUTSIDE
from lmmrotate.data.doctor.checkup import Examined
from lmmrotate.data.doctor.corrections import Correction, correct
from lmmrotate.data.doctor.names import UNKNOWN
from lmmrotate.data.doctor.pictures import ENDINGS, kind_of
from lmmrotate.data.formats.base import WriteReport
from lmmrotate.data.formats.objects import LEFT_OUT
from lmmrotate.data.formats.rbox_fields import DEGREES
from lmmrotate.data.jsonl import read_note, replacing, write_text_atomic
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.progress import progress_bar
from lmmrotate.data.records import ImageRecord
from lmmrotate.errors import ConfigError, DataError

_MOST_LOST = 0.1
"""With more than this share of the objects to be left out the fault is one of the whole set."""
_FEW_LOST = 3
"""So few may always be left out."""


@dataclass(frozen=True, eq=False)
class Fixed:
    """A corrected copy and what makes it differ."""

    folder: Path
    image_folder: Path
    annotations: Path
    """Where a reader finds images and annotations."""
    correction: Correction
    written: WriteReport

    def summary(self) -> str:
        """The account in a few lines of plain text."""
        parts = (("corrected", self.correction.corrected), ("left out", self.correction.left_out))
        lines = [f"corrected copy: {self.folder}"]
        lines += [f"  {what}: {kind} ({n})" for what, counts in parts for kind, n in counts.items()]
        left = {finding.kind for finding in self.correction.remaining}
        if left:
            lines.append(f"  left as it is, for you to decide: {', '.join(sorted(left))}")
        return "\n".join([*lines, self.written.summary()])


def write_fixed(
    part: Examined, out: Path, *, classes: Sequence[str] | None = None, progress: bool = False
) -> Fixed:
    """Correct what can be corrected (see ``corrections.correct``) and write a copy of everything else.

    An interrupted copy goes on where it stopped: images that are there already stay.

    Args:
        part: a source as it was examined.
        out: a new folder, or one left by an earlier call.
        classes: the class list with which it was examined.
        progress: show a bar on stderr while images are copied.

    Raises:
        ConfigError: if ``out`` holds something else, or more than a tenth of the objects (and more than
            three) could not be read, are of unknown classes or lie outside their images: then the whole set
            is in another format, unit or size, which only its owner can tell.
        DataError: naming the file, for what cannot be read or written.
    """
    _refuse_loss(part)
    _claim(out, part)
    correction = correct(part, classes)
    fixed = replace(
        correction.manifest,
        records=_copied(part.manifest, correction.manifest.records, out / "images", progress),
        image_folder=out / "images",
    )
    kind = part.source.format
    annotations = out / ("annotations.json" if kind.layout == "file" else "labels")
    if kind.name == "manifest":
        annotations = out / "manifest.jsonl"
        fixed = relative_to(fixed, out)  # so that nobody has to name the image folder
    elif kind.layout != "file" and annotations.exists():
        shutil.rmtree(annotations)  # of an earlier call, perhaps with labels of images that are no more
    written = kind.write(fixed, out if kind.layout == "dataset" else annotations)
    return Fixed(out, fixed.image_folder, annotations, correction, written)


def _refuse_loss(part: Examined) -> None:
    unread = [entry for entry in part.report.skipped if not entry.reason.startswith(LEFT_OUT)]
    total = part.report.object_count + len(unread)
    lost = [(entry.where, entry.reason) for entry in unread]
    lost += [(finding.where, finding.kind) for finding in part.content if finding.kind in (UNKNOWN, OUTSIDE)]
    # Angles in degrees that are small enough for radians have been read, and wrongly.
    in_degrees = any(entry.reason == DEGREES for entry in unread)
    if len(lost) > max(_FEW_LOST, _MOST_LOST * total) or in_degrees:
        reasons = ", ".join(sorted({reason for _, reason in lost}))
        raise ConfigError(
            f"fix: {len(lost)} of {total} objects would be left out ({reasons}), such as {lost[0][0]}; a "
            "copy without them would be no correction. Mend format, units or the class list first"
        )


def _claim(out: Path, part: Examined) -> None:
    """Note in the folder what it is a copy of; refuse one that holds anything else."""
    note = out / "fixed.json"
    source = part.source
    ours = {"images": os.path.abspath(source.image_folder), "format": source.format.name}
    ours["annotations"] = os.path.abspath(source.annotations) if source.annotations else ""
    found = read_note(note)
    if found not in (None, ours):
        raise ConfigError(f"{out}: holds the corrected copy of something else; choose another folder")
    if found is None and out.exists() and any(out.iterdir()):
        raise ConfigError(f"{out}: is not empty; choose a new folder for the corrected copy")
    write_text_atomic(note, [json.dumps(ours, indent=2) + "\n"])


def _copied(
    manifest: Manifest, records: Sequence[ImageRecord], folder: Path, progress: bool
) -> tuple[ImageRecord, ...]:
    """Copy the images, each under an ending that says what it is; the records with their new names."""
    copied = []
    names = {record.image for record in records}
    with progress_bar("images", progress) as bar:
        for record in bar.track(records, description="copying"):
            path = manifest.image_path(record)
            name = PurePosixPath(record.image)
            endings = ENDINGS.get(kind_of(path), (name.suffix.lower(),))
            if name.suffix.lower() not in endings:
                renamed = name.with_suffix(endings[0])
                if renamed.as_posix() in names:
                    raise DataError(
                        f"{path}: should be called {renamed.name}, which another image is; rename it"
                    )
                name = renamed
            _copy(path, folder / name)
            copied.append(replace(record, image=name.as_posix()))
    wanted = {folder / record.image for record in copied}
    for path in folder.rglob("*"):  # of an earlier call: images that are no more, copies cut off
        if path.is_file() and path not in wanted:
            path.unlink()
    return tuple(copied)


def _copy(path: Path, target: Path) -> None:
    """Copy a file with its time, unless the same is there."""
    about = path.stat()
    if target.exists():
        there = target.stat()
        if (there.st_size, there.st_mtime_ns) == (about.st_size, about.st_mtime_ns):
            return
    try:
        with path.open("rb") as source, replacing(target) as file:
            shutil.copyfileobj(source, file)
        shutil.copystat(path, target)
    except OSError as error:
        raise DataError(f"{path}: cannot be copied to {target}: {error}") from error
