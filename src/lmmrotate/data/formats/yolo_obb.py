"""YOLO-OBB label files (Ultralytics): one text file an image, one object a line, names in a YAML beside.

::

    labels/P0001.txt     0 0.780811 0.743961 0.782371 0.746860 0.777691 0.752174 0.776131 0.749758
    data.yaml            path: /data/dota
                         train: images
                         names: {0: plane, 1: ship}

Class index, then x1 y1 … x4 y4 as shares of the image's width and height; no difficulty. Format:
https://docs.ultralytics.com/datasets/obb/

What an index means is looked up in ``data.yaml``, ``dataset.yaml`` or else the only ``*.yaml`` of the labels
folder, its parent or its grandparent. Only ``names`` is taken from it: no path in it is followed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lmmrotate.data.formats.base import ConversionReport, Format, WriteReport
from lmmrotate.data.formats.objects import SMALLEST_AREA, Bad, Found, label_files, read_pairs, read_text
from lmmrotate.data.jsonl import write_text_atomic
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.records import ImageRecord
from lmmrotate.errors import ConfigError, DataError
from lmmrotate.geometry.quads import clip_quads, min_area_quads, quad_areas

_EXPECTED = "expected 'class_index x1 y1 x2 y2 x3 y3 x4 y4'"
_INDEX = re.compile(r"[0-9]{1,6}")
_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_MARGIN = 0.5
"""Shares this far outside 0 … 1 are still taken for an object that the image's edge cuts."""
_DATA_YAML = ("data.yaml", "dataset.yaml")
_DIGITS = 8


def read_folder(
    image_folder: Path,
    annotations: Path | None,
    *,
    classes: Sequence[str] | None = None,
    left_out: Sequence[str] = (),
    **options: Any,
) -> tuple[Manifest, ConversionReport]:
    """Read images and ``.txt`` files of the same names (see ``formats.objects.read_pairs``).

    Where a YAML gives the names, it alone says what an index means, as the catalog's order of classes need
    not be the files'; its names are then found in ``classes`` whatever their case and separators
    ("storage tank" is "storage-tank"). Without a YAML, ``classes`` are the names of index 0, 1, …

    Raises:
        ConfigError: if there is neither.
        DataError: as ``read_pairs``; also for a YAML that cannot be read.
    """
    names: Mapping[int, str] = {}
    if annotations is not None and annotations.is_dir():  # if it is not, read_pairs says so
        names = _names(annotations, classes, left_out)
        if classes is None:
            classes = tuple(dict.fromkeys(name for name in names.values() if name not in left_out))
    parser = partial(parse, names=names)
    return read_pairs(
        image_folder, annotations, ".txt", parser, classes=classes, left_out=left_out, **options
    )


def parse(path: Path, wh: tuple[int, int], *, names: Mapping[int, str]) -> Iterator[Found | Bad]:
    """What stands in a label file, in pixels of an image of width and height ``wh``."""
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            yield _parse(f"{path}:{number}", line.split(), wh, names)


def _parse(where: str, items: list[str], wh: tuple[int, int], names: Mapping[int, str]) -> Found | Bad:
    if len(items) == 5:
        details = f"{_EXPECTED}, found 5 numbers: an upright box of YOLO detect, without corners or angle"
        return Bad(where, "upright box", details)
    if len(items) != 9:
        return Bad(where, "not nine numbers", f"{_EXPECTED}, found {len(items)} items")
    first = items[0].removesuffix(".0")  # some tools write the index as a float
    odd = [item for item in items[1:] if not _NUMBER.fullmatch(item)]
    if odd or not _INDEX.fullmatch(first):
        return Bad(where, "not a number", f"{_EXPECTED}, found {(odd or items)[0]!r}")
    shares = [float(item) for item in items[1:]]
    far = [share for share in shares if not -_MARGIN <= share <= 1 + _MARGIN]
    if far:
        details = f"coordinates must be shares of the image, 0 to 1, found {far[0]:g}: these look like pixels"
        return Bad(where, "pixels instead of shares of the image", details)
    index = int(first)
    if index not in names:
        valid = ", ".join(f"{number} {name}" for number, name in names.items())
        return Bad(where, "class index out of range", f"no class has index {index}; valid: {valid}")
    return Found(where, names[index], [share * wh[axis % 2] for axis, share in enumerate(shares)])


def _names(folder: Path, classes: Sequence[str] | None, left_out: Sequence[str]) -> Mapping[int, str]:
    """The class of every index."""
    for place in (folder, *folder.absolute().parents[:2]):
        for path in _yaml_files(place):
            if found := _names_in(path):
                return _as_spelled(found, classes, left_out)
    if classes is None:
        raise ConfigError(
            f"{folder}: YOLO labels hold class numbers; give the class names in their order (classes), or a "
            "data.yaml with 'names' in this folder or one of the two above it"
        )
    return dict(enumerate(classes))


def _yaml_files(folder: Path) -> list[Path]:
    named = [folder / name for name in _DATA_YAML if (folder / name).is_file()]
    others = [path for path in folder.glob("*.yaml") if path.name[0] != "."]
    return named or (others if len(others) == 1 else [])


def _names_in(path: Path) -> dict[int, str]:
    """``names`` of a YAML, a list or a mapping from index to name; empty if it has none."""
    try:
        # Everything as text: a class "no" is no boolean, and no tag makes an object.
        content = yaml.load(read_text(path), Loader=yaml.BaseLoader)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise DataError(f"{path}: not YAML that can be read: {' '.join(str(error).split())}") from error
    names = content.get("names") if isinstance(content, dict) else None
    if names is None:
        return {}
    listed = enumerate(names) if isinstance(names, list) else ()
    pairs = list(names.items() if isinstance(names, dict) else listed)
    if not pairs or not all(_INDEX.fullmatch(str(i)) and isinstance(name, str) and name for i, name in pairs):
        raise DataError(f"{path}: 'names' must be a list of names, or a mapping from index (0, 1, …) to name")
    return dict(sorted((int(index), name) for index, name in pairs))


def _as_spelled(
    names: dict[int, str], classes: Sequence[str] | None, left_out: Sequence[str]
) -> Mapping[int, str]:
    """The names as the class list spells them; those it does not have stay as they are."""
    known = (*(classes or ()), *left_out)
    spelled = {}
    for index, name in names.items():
        alike = [other for other in known if _key(other) == _key(name)]
        spelled[index] = alike[0] if len(alike) == 1 and name not in known else name
    return spelled


def _key(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))


def write_folder(manifest: Manifest, out: Path) -> WriteReport:
    """Write ``out/labels/NAME.txt`` for every image and ``out/data.yaml``.

    Ultralytics looks for images beside the labels, in ``out/images``, and refuses coordinates outside 0 … 1:
    objects are cut to the image (see ``clip_quads``), and counted.
    """
    lost: Counter[str] = Counter()
    objects = 0
    for record, path in label_files(manifest, out / "labels", ".txt"):
        lines = _lines(record, manifest.classes, lost)
        write_text_atomic(path, lines)
        objects += len(lines)
    content = {
        "path": str(out.absolute()),
        "train": "images",
        "val": "images",
        "names": dict(enumerate(manifest.classes)),
    }
    write_text_atomic(out / "data.yaml", [yaml.safe_dump(content, sort_keys=False, allow_unicode=True)])
    return WriteReport(out, len(manifest.records), objects, {what: n for what, n in lost.items() if n})


def _lines(record: ImageRecord, classes: Sequence[str], lost: Counter[str]) -> list[str]:
    quads = record.quads
    cut = ((quads < 0) | (quads > record.wh)).any(axis=(1, 2))
    if cut.any():
        quads = clip_quads(quads, record.wh)
    kept = quad_areas(min_area_quads(quads)) >= SMALLEST_AREA
    lost["objects without area in the image"] += int((~kept).sum())
    lost["parts of objects outside the image"] += int((kept & cut).sum())
    lost["difficulty"] += sum(record.difficult[index] != 0 for index in np.flatnonzero(kept))
    shares = np.clip(quads / record.wh, 0, 1).reshape(-1, 8)  # the cut rectangle may reach out by a little
    return [
        f"{classes.index(record.labels[index])} {' '.join(map(_short, shares[index]))}\n"
        for index in np.flatnonzero(kept)
    ]


def _short(share: float) -> str:
    return f"{share:.{_DIGITS}f}".rstrip("0").rstrip(".")


FORMAT = Format("yolo_obb", read_folder, write_folder, layout="dataset")
