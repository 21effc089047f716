"""DOTA label files (labelTxt): one text file an image, one object a line.

::

    imagesource:GoogleEarth
    gsd:0.146343590398
    2753 2408 2861 2385 2888 2468 2805 2502 plane 0

Eight numbers x1 y1 … x4 y4 in pixels (DOTA gives the corners clockwise, the object's head first), the
class name, and a difficulty (0 counts, 1 is hard, 2 marks objects cut by a tile's edge in split data).
The two header lines and the difficulty may be missing. A class name may hold spaces: it is everything
between the eighth number and the final whole number. Such a number of two digits or more, which is no
difficulty, belongs to the name ("Boeing 737"), unless the class list says otherwise.
Format: https://captain-whu.github.io/DOTA/dataset.html
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lmmrotate.data.formats.base import ConversionReport, Format, OnBad, WriteReport
from lmmrotate.data.formats.objects import (
    LARGEST_COORDINATE,
    Bad,
    Found,
    Labels,
    collect,
    label_files,
    odd_coordinate,
    read_pairs,
    read_text,
)
from lmmrotate.data.jsonl import write_text_atomic
from lmmrotate.data.manifest import Manifest
from lmmrotate.errors import DataError
from lmmrotate.geometry.quads import Quads, as_quads

_HEADER = re.compile(r"\s*(imagesource|gsd)\s*:", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_WHOLE = re.compile(r"[-+]?[0-9]{1,9}")

_FRACTION = re.compile(r" [-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$")

MOST_DIFFICULT = 9
"""A larger difficulty could not be told from a class name that ends in a number."""


def read_labels(
    path: Path,
    classes: Collection[str] | None = None,
    *,
    left_out: Collection[str] = (),
    on_bad: OnBad = "error",
) -> Labels:
    """Read one label file, UTF-8 with any line ends; an empty file has no objects.

    Args:
        path: the file.
        classes, left_out, on_bad: see ``formats.objects.collect``.

    Raises:
        DataError: as ``collect``; naming file and line, also for fewer than eight numbers. Also if the file
            is missing or not text.
        ConfigError: if ``on_bad`` is neither.
    """
    return collect(parse(path, classes=classes), classes, left_out=left_out, on_bad=on_bad)


def parse(
    path: Path, wh: tuple[int, int] | None = None, *, classes: Collection[str] | None = None
) -> Iterator[Found | Bad]:
    """What stands in a label file; ``classes`` tell names that end in a number from difficulties."""
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip() and not _HEADER.match(line):
            yield _parse(f"{path}:{number}", line.split(), classes)


def _parse(where: str, items: list[str], classes: Collection[str] | None) -> Found | Bad:
    quad = []
    for item in items[:8]:
        if not _NUMBER.fullmatch(item) or abs(float(item)) > LARGEST_COORDINATE:
            return _no_number(where, item, items)
        quad.append(float(item))
    if len(quad) < 8:
        return _too_short(where, items)
    name, difficulty = _name_and_difficulty(items[8:], classes)
    rest = " ".join(items[8:])
    if rest not in (classes or ()) and _FRACTION.search(rest):
        details = f"expected a class and a whole number, the difficulty, found {rest!r}"
        return Bad(where, "fraction for a difficulty", f"{details}: are these detections with scores?")
    if not name:
        return Bad(where, "no class name", f"no class name after the eight numbers: {' '.join(items)!r}")
    return Found(where, name, quad, difficulty)


def _no_number(where: str, item: str, items: list[str]) -> Bad:
    try:
        return odd_coordinate(where, float(item), item)
    except ValueError:
        return _too_short(where, items)


def _too_short(where: str, items: list[str]) -> Bad:
    numbers = next((i for i, item in enumerate(items) if not _NUMBER.fullmatch(item)), len(items))
    return Bad(
        where,
        "fewer than eight numbers",
        f"expected 'x1 y1 x2 y2 x3 y3 x4 y4 class [difficulty]', found {numbers} numbers "
        f"before {' '.join(items[numbers : numbers + 2])!r}",
    )


def _name_and_difficulty(rest: list[str], classes: Collection[str] | None) -> tuple[str, int]:
    whole = " ".join(rest)
    if not rest or not _WHOLE.fullmatch(rest[-1]):
        return whole, 0
    name = " ".join(rest[:-1])
    known, difficulty = classes or (), int(rest[-1])
    if name not in known and (whole in known or difficulty > MOST_DIFFICULT):
        return whole, 0  # a class such as "Boeing 737", and no difficulty
    return name, difficulty


def read_folder(
    image_folder: Path,
    annotations: Path | None,
    *,
    classes: Sequence[str] | None = None,
    **options: Any,
) -> tuple[Manifest, ConversionReport]:
    """Read images and ``.txt`` files of the same names (see ``formats.objects.read_pairs``)."""
    return read_pairs(
        image_folder, annotations, ".txt", partial(parse, classes=classes), classes=classes, **options
    )


def write_folder(manifest: Manifest, out: Path) -> WriteReport:
    """Write ``out/NAME.txt`` for every image; coordinates to a thousandth of a pixel."""
    for record, path in label_files(manifest, out, ".txt"):
        write_labels(path, record.quads, record.labels, record.difficult)
    return WriteReport(out, len(manifest.records), sum(len(r.labels) for r in manifest.records))


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
        DataError: for a class name or difficulty that could not be read back (empty, with odd white space;
            more than ``MOST_DIFFICULT``), or if the file cannot be written.
        ValueError: if the three lengths differ or a coordinate is not finite.
    """
    for name in names:
        if not name or name != " ".join(name.split()):
            raise DataError(f"{path}: class name {name!r} cannot be written to a DOTA label file")
    for flag in difficult:
        if not 0 <= flag <= MOST_DIFFICULT:
            raise DataError(f"{path}: a difficulty must be from 0 to {MOST_DIFFICULT}, got {flag}")
    lines = (
        f"{' '.join(_short(value, digits) for value in quad.reshape(8))} {name} {flag:d}\n"
        for quad, name, flag in zip(as_quads(quads), names, difficult, strict=True)
    )
    write_text_atomic(path, [*(f"{line}\n" for line in header), *lines])


def _short(value: float, digits: int) -> str:
    text = f"{round(float(value), digits) + 0.0:.{digits}f}"  # + 0.0: no "-0"
    return text.rstrip("0").rstrip(".") if "." in text else text


FORMAT = Format("dota", read_folder, write_folder)
