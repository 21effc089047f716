"""From annotations as they stand in files to records: the checks that are the same for every format."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

from lmmrotate.data.formats.base import Account, ConversionReport, OnBad, Skipped
from lmmrotate.data.images import find_images, image_size, images_below
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.records import ImageRecord
from lmmrotate.errors import ConfigError, DataError
from lmmrotate.geometry.quads import Quads, as_quads, min_area_quads, quad_areas

LEFT_OUT = "left-out class"
"""How the reason begins for which objects of such classes are skipped."""

SMALLEST_AREA = 1e-6
"""Square pixels; a quad below it is a line or a point."""

LARGEST_SHARE = 1.5
"""Coordinates that are all below this are shares of the image, not pixels."""

_SMALLEST_SHARE = 1e-12  # of such an image: a millionth of its sides

LARGEST_COORDINATE = 1e9
"""Pixels; beyond it a number is damage, and areas lose their meaning."""

_LONGEST_NAME = 255  # characters; a longer one makes the operating system complain


@dataclass(frozen=True)
class Found:
    """One object as it stands in a file, not yet checked."""

    where: str
    """File and line, ``P0001.txt:12``, or what else leads there."""
    name: str
    quad: Sequence[float]
    """x1 y1 … x4 y4, pixels."""
    difficult: int = 0


@dataclass(frozen=True)
class Bad:
    """One object that cannot be read."""

    where: str
    reason: str
    """Short, so that equal reasons can be counted."""
    details: str
    """What was found and what is valid."""


class FieldError(Exception):
    """Why an object cannot be used: the short reason and the details of a ``Bad``."""

    def __init__(self, reason: str, details: str) -> None:
        self.reason, self.details = reason, details


@dataclass(frozen=True, eq=False)
class Labels:
    """The objects of one image."""

    quads: Quads
    """(N, 4, 2), pixels."""
    names: tuple[str, ...]
    difficult: tuple[int, ...]
    places: tuple[str, ...] = ()
    """Where each stands: file and line."""
    skipped: tuple[Skipped, ...] = ()


def about(
    image: str, stated_wh: tuple[object, object], wh: tuple[int, int], objects: Iterable[Found | Bad]
) -> Iterator[Found | Bad]:
    """The objects of an image, unless the annotations speak of an image of another size.

    Args:
        image: its name.
        stated_wh: (width, height) as the annotations say; None or 0 where they do not.
        wh: of the image.
        objects: as they stand in the annotations.
    """
    agree = not all(stated_wh) or stated_wh == wh
    for item in objects:
        if agree:
            yield item
        else:
            stated, found = (f"{size[0]} x {size[1]}" for size in (stated_wh, wh))
            details = f"the annotations are about {image} of {stated} pixels, the image has {found}"
            yield Bad(item.where, "image of another size", details)


Parser = Callable[[Path, tuple[int, int]], Iterable[Found | Bad]]
"""From a label file and the (width, height) of its image to what stands in it."""

ObjectsOf = Callable[[tuple[int, int]], Iterable[Found | Bad]]
"""From the (width, height) of an image to what stands in the annotations about it."""


def collect(
    objects: Iterable[Found | Bad],
    classes: Collection[str] | None = None,
    *,
    left_out: Collection[str] = (),
    on_bad: OnBad = "error",
) -> Labels:
    """Keep the objects that can be used.

    Args:
        objects: of one image.
        classes: names that may occur; None accepts all.
        left_out: names to skip (and count in ``Labels.skipped``) whatever ``on_bad`` says.
        on_bad: "error" stops at the first object that cannot be used; "skip" leaves such objects out.

    Raises:
        DataError: naming file and line: an object that could not be read, a coordinate that is not finite
            or beyond ``LARGEST_COORDINATE``, no class name, an unknown class, a negative difficulty, a quad
            without area.
        ConfigError: if ``on_bad`` is neither.
    """
    if on_bad not in ("error", "skip"):
        raise ConfigError(f"on_bad must be 'error' or 'skip', got {on_bad!r}")
    kept: list[Found] = []
    skipped: list[Skipped] = []
    for item in objects:
        bad = item if isinstance(item, Bad) else _fault(item, classes, left_out)
        if bad is not None:
            if on_bad == "error":
                raise DataError(f"{bad.where}: {bad.details}")
            skipped.append(Skipped(bad.where, bad.reason, bad.details))
        elif isinstance(item, Found):
            if item.name in left_out:
                skipped.append(Skipped(item.where, f"{LEFT_OUT} {item.name!r}"))
            else:
                kept.append(item)
    return Labels(
        as_quads([item.quad for item in kept]),
        tuple(item.name for item in kept),
        tuple(item.difficult for item in kept),
        tuple(item.where for item in kept),
        tuple(skipped),
    )


def _fault(item: Found, classes: Collection[str] | None, left_out: Collection[str]) -> Bad | None:
    """Why an object cannot be used, if it cannot."""
    odd = [value for value in item.quad if not (math.isfinite(value) and abs(value) <= LARGEST_COORDINATE)]
    if odd:
        return odd_coordinate(item.where, odd[0], odd[0])
    if not item.name:
        return Bad(item.where, "no class name", "the object has no class name")
    if classes is not None and item.name not in classes and item.name not in left_out:
        details = f"unknown class {item.name!r}; valid: {', '.join(classes)}"
        return Bad(item.where, f"unknown class {item.name!r}", details)
    if item.difficult < 0:
        details = f"difficulty must be 0 or more, found {item.difficult}"
        return Bad(item.where, "negative difficulty", details)
    # Of the rectangle around: the lobes of a quad whose sides cross have areas of opposite signs.
    smallest = SMALLEST_AREA if max(map(abs, item.quad)) > LARGEST_SHARE else _SMALLEST_SHARE
    if quad_areas(min_area_quads(as_quads([item.quad])))[0] < smallest:
        corners = " ".join(f"{value:g}" for value in item.quad)
        return Bad(item.where, "zero area", f"{item.name!r} has no area: corners {corners}")
    return None


def odd_coordinate(where: str, value: float, found: object) -> Bad:
    """An object with a coordinate that is not finite or beyond ``LARGEST_COORDINATE``, as it was found."""
    reason = "coordinate out of range" if math.isfinite(value) else "coordinate not finite"
    return Bad(where, reason, f"coordinates must be plain, finite numbers up to 1e9, found {found!r}")


def read_pairs(
    image_folder: Path,
    annotations: Path | None,
    suffix: str,
    parse: Parser,
    *,
    classes: Sequence[str] | None = None,
    left_out: Sequence[str] = (),
    on_bad: OnBad = "error",
    dataset: str = "",
    split: str = "",
    only: Collection[str] | None = None,
) -> tuple[Manifest, ConversionReport]:
    """Read a folder of images and a folder of label files of the same names (see ``formats.base.Reader``).

    Images are taken in order of their names. An image without a label file is kept without objects, a
    label file without an image is left out, images in folders below are not read; all are counted.

    Args:
        image_folder, annotations: the folders.
        suffix: of label files, lower case, ``.txt``.
        parse: reads one of them.
        classes, left_out, on_bad, dataset, split, only: see ``formats.base.Reader``.

    Raises:
        DataError: as ``collect`` and ``image_size``; also for a missing folder, a folder without images,
            two images that share one label file (``P1.png`` and ``P1.tif``), and two label files of one
            name (``P1.txt`` and ``P1.TXT``).
    """
    images = _images_by_stem(image_folder)
    label_files = {} if annotations is None else _label_files(annotations, suffix)
    account = Account(
        orphans=sorted(label_files[stem].name for stem in label_files.keys() - images),
        deeper=images_below(image_folder),
    )
    records = []
    for name in wanted_images([path.name for path in images.values()], only, image_folder):
        stem = Path(name).stem
        image = images[stem]
        objects: ObjectsOf | None = None
        if stem in label_files:
            objects = partial(parse, label_files[stem])
        elif annotations is not None:
            account.unlabelled.append(image.name)
        record = _record(image, image.name, objects, account, classes, left_out, on_bad)
        records += [record] if record else []
    return _manifest(records, account, image_folder, classes, dataset, split)


def read_listed(
    image_folder: Path,
    listed: Mapping[str, ObjectsOf],
    *,
    classes: Sequence[str] | None = None,
    left_out: Sequence[str] = (),
    on_bad: OnBad = "error",
    dataset: str = "",
    split: str = "",
    only: Collection[str] | None = None,
    strays: Iterable[Bad] = (),
    orphans: Iterable[str] = (),
) -> tuple[Manifest, ConversionReport]:
    """The images that one annotation file lists, in its order; other images of the folder are not read.

    Args:
        image_folder: what the listed names are relative to.
        listed: by image name, what gives its objects, called with the image's (width, height). Listed
            images that are not in the folder are left out and counted.
        classes, left_out, on_bad, dataset, split, only: see ``formats.base.Reader``.
        strays: annotations that are wrong before it is known to which image they belong.
        orphans: annotations that belong to no image.

    Raises:
        DataError: as ``collect`` and ``image_size``; also for a missing folder, and if no listed image is
            there.
    """
    if not image_folder.is_dir():
        raise DataError(f"{image_folder}: no such folder; expected the folder of images")
    account = Account(orphans=list(orphans))
    account.skipped.extend(collect(strays, on_bad=on_bad).skipped)
    records = []
    for name in wanted_images(listed, only, image_folder):
        objects = listed[name]
        path = image_folder / name
        if len(path.name) > _LONGEST_NAME or not path.is_file():
            account.orphans.append(name)
            continue
        record = _record(path, name, objects, account, classes, left_out, on_bad)
        records += [record] if record else []
    if listed and not records:
        raise DataError(f"{image_folder}: none of the {len(listed)} listed images is here, such as {name!r}")
    return _manifest(records, account, image_folder, classes, dataset, split)


def wanted_images(images: Iterable[str], only: Collection[str] | None, image_folder: Path) -> list[str]:
    """The images that a list names, in the order in which they are given; without a list all of them.

    Args:
        images: names, perhaps with folders.
        only: names without folder, with or without ending.
        image_folder: for the error.

    Raises:
        DataError: for a name in the list that no image has.
    """
    images = list(images)
    if only is None:
        return images
    names = {image: {PurePosixPath(image).name, PurePosixPath(image).stem} for image in images}
    unknown = set(only).difference(*names.values())
    if unknown:
        raise DataError(
            f"{image_folder}: {len(unknown)} of the {len(only)} images of the list are not here, such as "
            f"{min(unknown)!r}"
        )
    wanted = set(only)
    return [image for image in images if wanted & names[image]]


def _record(
    path: Path,
    name: str,
    objects: ObjectsOf | None,
    account: Account,
    classes: Collection[str] | None,
    left_out: Collection[str],
    on_bad: OnBad,
) -> ImageRecord | None:
    """One image; None if it, or its label file, cannot be read and ``on_bad`` is "skip"."""
    try:
        wh = image_size(path)
        labels = collect(objects(wh) if objects else (), classes, left_out=left_out, on_bad=on_bad)
    except DataError as error:
        if on_bad == "error":
            raise
        account.unreadable.append(str(error))
        return None
    account.skipped.extend(replace(entry, image=name) for entry in labels.skipped)
    account.places.append(labels.places)
    return ImageRecord(name, *wh, labels.quads, labels.names, labels.difficult)


def _manifest(
    records: Sequence[ImageRecord],
    account: Account,
    image_folder: Path,
    classes: Sequence[str] | None,
    dataset: str,
    split: str,
) -> tuple[Manifest, ConversionReport]:
    if classes is None:
        classes = sorted({name for record in records for name in record.labels})
    manifest = Manifest(dataset, split, tuple(classes), tuple(records), image_folder)
    return manifest, account.report(records, classes)


def label_files(manifest: Manifest, out: Path, suffix: str) -> Iterator[tuple[ImageRecord, Path]]:
    """Every image and the label file to write for it, ``out/NAME.suffix``.

    Raises:
        DataError: if two images would share one.
    """
    first: dict[str, str] = {}
    for record in manifest.records:
        stem = PurePosixPath(record.image).stem
        other = first.setdefault(stem, record.image)
        if other != record.image:
            raise DataError(
                f"{other} and {record.image} would share the label file {stem}{suffix}; rename one"
            )
        yield record, out / f"{stem}{suffix}"


def read_text(path: Path) -> str:
    """A text file, UTF-8 with or without byte-order mark.

    Raises:
        DataError: naming the file, if it is missing or not text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text: {error}") from error


def _images_by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected the folder of images")
    return _by_stem(find_images([folder]))


def _by_stem(paths: Iterable[Path]) -> dict[str, Path]:
    by_stem: dict[str, Path] = {}
    for path in paths:
        if path.stem in by_stem:
            raise DataError(
                f"{path}: has the same name but for its ending as {by_stem[path.stem].name}, so that images "
                "and label files cannot be told apart; keep one of them"
            )
        by_stem[path.stem] = path
    return by_stem


def _label_files(folder: Path, suffix: str) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected the folder of label files")
    return _by_stem(p for p in sorted(folder.iterdir()) if p.suffix.lower() == suffix and p.name[0] != ".")
