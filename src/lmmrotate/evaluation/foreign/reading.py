"""Which format a file of results has, and reading it."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from lmmrotate.data.manifest import Manifest
from lmmrotate.data.predictions import Predictions, read_predictions
from lmmrotate.errors import ConfigError, DataError
from lmmrotate.evaluation.foreign.files import names_of
from lmmrotate.evaluation.foreign.json_results import read_by_image, read_coco, read_json_results
from lmmrotate.evaluation.foreign.mmrotate import read_mmrotate
from lmmrotate.evaluation.foreign.tables import read_dota_task1, read_yolo_obb
from lmmrotate.evaluation.foreign.xml_results import read_fair1m

Reader = Callable[[Path, Manifest], Predictions]

KINDS: Mapping[str, Reader] = {
    "mmrotate": read_mmrotate,
    "dota_task1": read_dota_task1,
    "coco": read_coco,
    "yolo_obb": read_yolo_obb,
    "fair1m": read_fair1m,
    "by_image": read_by_image,
    "oriented_det": read_by_image,
}
"""By name, what reads them."""

_START_OF_PICKLE = b"\x80"  # since protocol 2
_START_OF_ZIP = b"PK"


def read_any(path: Path, manifest: Manifest, *, kind: str | None = None) -> Predictions:
    """Our own predictions.jsonl, or another detector's results.

    Raises:
        DataError, ConfigError: as ``read_predictions`` and ``read_foreign``.
    """
    if kind is None and path.suffix == ".jsonl":
        return read_predictions(path)
    return read_foreign(path, manifest, kind=kind)


def read_foreign(path: Path, manifest: Manifest, *, kind: str | None = None) -> Predictions:
    """Another detector's results, with the manifest's names of images and classes.

    Images are joined by path, else by file name, else by name without ending; classes by name, whatever
    case and separators, or by their place in the list, as the format has it.

    Args:
        path: a file, a folder or a zip of one.
        manifest: what was detected in.
        kind: one of ``KINDS``; default: what the file looks like.

    Returns:
        One prediction for every image that the results speak of, in the manifest's order.

    Raises:
        ConfigError: for an unknown kind, or where it cannot be told.
        DataError: naming file and place, for what cannot be read, and for images or classes that the
            manifest does not have.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    if kind is not None and kind not in KINDS:
        raise ConfigError(f"{path}: unknown kind of results {kind!r}; valid: {', '.join(KINDS)}")
    read = _reader_for(path) if kind is None else KINDS[kind]
    return read(path, manifest)


def _reader_for(path: Path) -> Reader:
    """By what a file begins with, or what a folder or zip holds."""
    start = b"" if path.is_dir() else _start_of(path)
    if start.startswith(_START_OF_PICKLE) or path.suffix == ".pkl":
        return read_mmrotate
    if start.startswith((b"[", b"{")):
        return read_json_results
    names = names_of(path) if path.is_dir() or start.startswith(_START_OF_ZIP) else []
    for pattern, reader in (
        ("data.pkl", read_mmrotate),
        ("Task1_*.txt", read_dota_task1),
        ("*.xml", read_fair1m),
        ("*.txt", read_yolo_obb),
    ):
        if any(fnmatchcase(name, pattern) for name in names):
            return reader
    raise ConfigError(f"{path}: does not look like results of any kind; valid: {', '.join(KINDS)}")


def _start_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(100).removeprefix(codecs.BOM_UTF8).lstrip()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
