"""Which format a file of results has, and reading it."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from lmmrotate.data.formats.json_files import read_json
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.predictions import Predictions, read_predictions
from lmmrotate.errors import ConfigError, DataError
from lmmrotate.evaluation.foreign.json_results import read_by_image, read_coco
from lmmrotate.evaluation.foreign.mmrotate import read_mmrotate
from lmmrotate.evaluation.foreign.tables import read_dota_task1, read_yolo_obb
from lmmrotate.evaluation.foreign.xml_results import read_fair1m

KINDS: Mapping[str, Callable[[Path, Manifest], Predictions]] = {
    "mmrotate": read_mmrotate,
    "dota_task1": read_dota_task1,
    "coco": read_coco,
    "yolo_obb": read_yolo_obb,
    "fair1m": read_fair1m,
    "by_image": read_by_image,
    "oriented_det": read_by_image,
}
"""By name, what reads them."""


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
        path: a file or a folder.
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
    kind = kind or _looks_like(path)
    if kind not in KINDS:
        raise ConfigError(f"{path}: unknown kind of results {kind!r}; valid: {', '.join(KINDS)}")
    return KINDS[kind](path, manifest)


def _looks_like(path: Path) -> str:
    if path.is_dir():
        names = [file.name for file in path.iterdir()]
    elif zipfile.is_zipfile(path) and path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            names = [Path(name).name for name in archive.namelist()]
    elif path.suffix in (".pkl", ".pickle", ".pth", ".pt"):
        return "mmrotate"
    elif path.suffix == ".json":
        return _kind_of_json(path)
    else:
        names = []
    if any(name.startswith("Task1_") and name.endswith(".txt") for name in names):
        return "dota_task1"
    for suffix, kind in ((".xml", "fair1m"), (".txt", "yolo_obb")):
        if any(name.endswith(suffix) for name in names):
            return kind
    raise ConfigError(f"{path}: does not look like results of any kind; valid: {', '.join(KINDS)}")


def _kind_of_json(path: Path) -> str:
    content = read_json(path)
    rows = content.get("annotations") if isinstance(content, dict) else content
    first = rows[0] if isinstance(rows, list) and rows else None
    return "coco" if rows == [] or (isinstance(first, dict) and "image_id" in first) else "by_image"
