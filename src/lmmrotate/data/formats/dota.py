"""DOTA label files (labelTxt): one text file an image, one object a line.

::

    imagesource:GoogleEarth
    gsd:0.146343590398
    2753 2408 2861 2385 2888 2468 2805 2502 plane 0

Eight numbers x1 y1 … x4 y4 in pixels (DOTA gives the corners clockwise, the object's head first), the
class name, and a difficulty (0 counts, 1 is hard, 2 marks objects cut by a tile's edge in split data).
The two header lines and the difficulty may be missing. A class name may hold spaces: it is everything
between the eighth number and the final whole number. Format: https://captain-whu.github.io/DOTA/dataset.html
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from lmmrotate.data.formats.base import Account, ConversionReport, OnBad, Skipped
from lmmrotate.data.images import find_images, image_size
from lmmrotate.data.jsonl import write_text_atomic
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.records import ImageRecord
from lmmrotate.errors import ConfigError, DataError
from lmmrotate.geometry.quads import Quads, as_quads, quad_areas

SMALLEST_AREA = 1e-6
"""Square pixels; a quad below it is a line or a point."""

LARGEST_COORDINATE = 1e9
"""Pixels; beyond it a number is damage, and areas lose their meaning."""

_HEADER = re.compile(r"\s*(imagesource|gsd)\s*:", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_WHOLE = re.compile(r"[-+]?[0-9]{1,9}")


@dataclass(frozen=True, eq=False)
class Labels:
    """The objects of one label file."""

    quads: Quads
    """(N, 4, 2), pixels."""
    names: tuple[str, ...]
    difficult: tuple[int, ...]
    skipped: tuple[Skipped, ...] = ()


class _BadLineError(Exception):
    """Why a line cannot be used: the short reason and the details."""

    def __init__(self, reason: str, details: str) -> None:
        self.reason, self.details = reason, details


def read_labels(
    path: Path,
    classes: Collection[str] | None = None,
    *,
    left_out: Collection[str] = (),
    on_bad: OnBad = "error",
) -> Labels:
    """Read one label file; an empty file has no objects.

    Args:
        path: the file, UTF-8, with or without byte-order mark, any line ends.
        classes: names that may occur; None accepts all.
        left_out: names to skip (and count in ``Labels.skipped``) whatever ``on_bad`` says.
        on_bad: "error" stops at the first line that cannot be used; "skip" leaves such lines out.

    Raises:
        DataError: naming file and line: fewer than eight numbers, a number that is none or not finite,
            no class name, an unknown class, a negative difficulty, a quad without area. Also if the file
            is missing or not text.
        ConfigError: if ``on_bad`` is neither.
    """
    if on_bad not in ("error", "skip"):
        raise ConfigError(f"on_bad must be 'error' or 'skip', got {on_bad!r}")
    quads: list[list[float]] = []
    names: list[str] = []
    difficult: list[int] = []
    skipped: list[Skipped] = []
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip() or _HEADER.match(line):
            continue
        where = f"{path}:{number}"
        try:
            quad, name, flag = _parse(line, classes, left_out)
        except _BadLineError as bad:
            if on_bad == "error":
                raise DataError(f"{where}: {bad.details}") from None
            skipped.append(Skipped(where, bad.reason))
            continue
        if name in left_out:
            skipped.append(Skipped(where, f"left-out class {name!r}"))
            continue
        quads.append(quad)
        names.append(name)
        difficult.append(flag)
    return Labels(as_quads(quads), tuple(names), tuple(difficult), tuple(skipped))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text: {error}") from error


def _parse(
    line: str, classes: Collection[str] | None, left_out: Collection[str]
) -> tuple[list[float], str, int]:
    items = line.split()
    quad = [_number(item, items) for item in items[:8]]
    if len(quad) < 8:
        raise _too_short(items)
    name, difficulty = _name_and_difficulty(items[8:], classes)
    if not name:
        raise _BadLineError("no class name", f"no class name after the eight numbers: {line.strip()!r}")
    if classes is not None and name not in classes and name not in left_out:
        raise _BadLineError(f"unknown class {name!r}", f"unknown class {name!r}; valid: {', '.join(classes)}")
    if difficulty < 0:
        raise _BadLineError("negative difficulty", f"difficulty must be 0 or more, found {difficulty}")
    if quad_areas(as_quads([quad]))[0] < SMALLEST_AREA:
        raise _BadLineError("zero area", f"{name!r} has no area: corners {' '.join(items[:8])}")
    return quad, name, difficulty


def _number(item: str, items: list[str]) -> float:
    if _NUMBER.fullmatch(item):
        value = float(item)
        if abs(value) <= LARGEST_COORDINATE:
            return value
    try:
        float(item)
    except ValueError:
        raise _too_short(items) from None
    raise _BadLineError(
        "coordinate not finite", f"coordinates must be plain, finite numbers up to 1e9, found {item!r}"
    )


def _too_short(items: list[str]) -> _BadLineError:
    numbers = next((i for i, item in enumerate(items) if not _NUMBER.fullmatch(item)), len(items))
    return _BadLineError(
        "fewer than eight numbers",
        f"expected 'x1 y1 x2 y2 x3 y3 x4 y4 class [difficulty]', found {numbers} numbers "
        f"before {' '.join(items[numbers : numbers + 2])!r}",
    )


def _name_and_difficulty(rest: list[str], classes: Collection[str] | None) -> tuple[str, int]:
    whole = " ".join(rest)
    if not rest or not _WHOLE.fullmatch(rest[-1]):
        return whole, 0
    name = " ".join(rest[:-1])
    if classes is not None and name not in classes and whole in classes:
        return whole, 0  # a class such as "Boeing 737", and no difficulty
    return name, int(rest[-1])


def read_folder(
    image_folder: Path,
    annotations: Path | None,
    *,
    classes: Sequence[str] | None = None,
    left_out: Sequence[str] = (),
    on_bad: OnBad = "error",
    dataset: str = "",
    split: str = "",
) -> tuple[Manifest, ConversionReport]:
    """Read a folder of images and a folder of label files of the same names (see ``formats.base.Reader``).

    Images are taken in order of their names. An image without a label file is kept without objects, a
    label file without an image is left out; both are counted.

    Raises:
        DataError: as ``read_labels`` and ``image_size``; also for a missing folder, a folder without
            images, and two images that share one label file (``P1.png`` and ``P1.tif``).
    """
    images = _images_by_stem(image_folder)
    label_files = {} if annotations is None else _label_files(annotations)
    account = Account(orphans=sorted(label_files[stem].name for stem in label_files.keys() - images))
    records = []
    for stem, image in images.items():
        labels = Labels(as_quads([]), (), ())
        if stem in label_files:
            labels = read_labels(label_files[stem], classes, left_out=left_out, on_bad=on_bad)
            account.skipped.extend(labels.skipped)
        elif annotations is not None:
            account.unlabelled.append(image.name)
        width, height = image_size(image)
        records.append(ImageRecord(image.name, width, height, labels.quads, labels.names, labels.difficult))
    if classes is None:
        classes = sorted({name for record in records for name in record.labels})
    manifest = Manifest(dataset, split, tuple(classes), tuple(records), image_folder)
    return manifest, account.report(records, classes)


def _images_by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected the folder of images")
    by_stem: dict[str, Path] = {}
    for path in find_images([folder]):
        if path.stem in by_stem:
            raise DataError(f"{path}: shares its label file with {by_stem[path.stem].name}; keep one of them")
        by_stem[path.stem] = path
    return by_stem


def _label_files(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected the folder of label files")
    return {
        path.stem: path for path in folder.iterdir() if path.suffix.lower() == ".txt" and path.name[0] != "."
    }


def write_labels(
    path: Path,
    quads: Quads,
    names: Sequence[str],
    difficult: Sequence[int],
    *,
    header: Sequence[str] = (),
    digits: int = 3,
) -> None:
    """Write one label file, atomically.

    Args:
        path: the file; missing folders are made.
        quads: (N, 4, 2), pixels.
        names: N class names.
        difficult: N difficulties, 0 or more.
        header: lines such as ``gsd:0.15`` to put first.
        digits: decimals to keep; trailing zeros are dropped.

    Raises:
        DataError: for a class name that could not be read back (empty, or with odd white space), or if
            the file cannot be written.
        ValueError: if the three lengths differ or a coordinate is not finite.
    """
    for name in names:
        if not name or name != " ".join(name.split()):
            raise DataError(f"{path}: class name {name!r} cannot be written to a DOTA label file")
    lines = (
        f"{' '.join(_short(value, digits) for value in quad.reshape(8))} {name} {flag:d}\n"
        for quad, name, flag in zip(as_quads(quads), names, difficult, strict=True)
    )
    write_text_atomic(path, [*(f"{line}\n" for line in header), *lines])


def _short(value: float, digits: int) -> str:
    text = f"{round(float(value), digits) + 0.0:.{digits}f}"  # + 0.0: no "-0"
    return text.rstrip("0").rstrip(".") if "." in text else text
