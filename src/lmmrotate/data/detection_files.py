"""Detections in the formats that other programs read.

* **geojson**: ``IMAGE.geojson``, polygons in the raster's own system, which is named in the member ``crs`` as
  QGIS and GDAL read it (GeoJSON 2008; RFC 7946 knows WGS 84 only), with class, score, heading in degrees
  clockwise from true north, and length and width in metres. Of an image without a place on Earth: pixels,
  with y upwards from the image's upper edge (so negative), as QGIS shows such an image.
* **gpkg**: ``IMAGE.gpkg``, the same as a layer ``detections`` (https://www.geopackage.org/spec131/).
* **dota**: ``Task1_CLASS.txt``, lines ``image score x1 y1 … x4 y4`` (https://captain-whu.github.io/DOTA/tasks.html).
* **yolo_obb**: ``labels/IMAGE.txt``, lines ``class x1 y1 … x4 y4 score``, shares of the image, as Ultralytics
  writes with ``save_txt=True save_conf=True``.
* **coco**: ``coco.json``, a list of ``{"file_name", "category_id" from 1, "bbox", "segmentation", "score"}``.

``IMAGE`` is the image's name without folder and ending.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from lmmrotate.data.georeference import Georeference
from lmmrotate.data.images import quiet
from lmmrotate.data.jsonl import write_text_atomic
from lmmrotate.data.predictions import Predictions
from lmmrotate.data.records import Prediction
from lmmrotate.errors import ConfigError, DataError
from lmmrotate.geometry.quads import Quads

KINDS = ("geojson", "gpkg", "dota", "yolo_obb", "coco")
Places = Mapping[str, Georeference]
"""By the image's name in the predictions."""


def write_detections(
    predictions: Predictions, folder: Path, kinds: Sequence[str], places: Places | None = None
) -> list[Path]:
    """Write the detections in some formats; see above.

    Args:
        places: of the images that have a place on Earth.

    Returns:
        The files written.

    Raises:
        ConfigError: for an unknown kind, or if one needs a library that is not installed.
        DataError: for two images of one name, a class that is no file name, or a file that cannot be written.
    """
    writers: Mapping[str, Callable[[Predictions, Path, Places], Iterator[Path]]] = {
        "geojson": _write_geojson,
        "gpkg": _write_gpkg,
        "dota": _write_dota,
        "yolo_obb": _write_yolo,
        "coco": _write_coco,
    }
    if unknown := [kind for kind in kinds if kind not in writers]:
        raise ConfigError(f"format of detections is {unknown[0]!r}; valid: {', '.join(writers)}")
    stems(predictions)
    return [path for kind in kinds for path in writers[kind](predictions, folder, places or {})]


def stems(predictions: Predictions) -> dict[str, Prediction]:
    """The predictions by their images' names without folder and ending.

    Raises:
        DataError: for two images of one such name.
    """
    found: dict[str, Prediction] = {}
    for prediction in predictions.images:
        stem = PurePosixPath(prediction.image).stem
        if stem in found:
            raise DataError(f"{prediction.image} and {found[stem].image} would both be called {stem}")
        found[stem] = prediction
    return found


def feature_collection(prediction: Prediction, place: Georeference | None) -> dict[str, Any]:
    """The detections of an image as GeoJSON."""
    corners, crs = _corners(prediction, place)
    rings = np.concatenate([corners, corners[:, :1]], axis=1)
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": {name: column[i] for name, column in fields.items()},
        }
        for fields in [_fields(prediction, place)]
        for i, ring in enumerate(_turned(rings).tolist())
    ]
    named: dict[str, Any] = {}
    if crs:
        named = {"crs": {"type": "name", "properties": {"name": crs}}}
    return {"type": "FeatureCollection", "name": "detections"} | named | {"features": features}


def task1_lines(images: Mapping[str, Prediction], label: str, score: Callable[[float], str]) -> Iterator[str]:
    """The lines of DOTA's ``Task1_CLASS.txt`` for a class; ``score`` writes a score.

    Args:
        images: by the name that the lines give them.
    """
    for name, prediction in images.items():
        for mine, quad, value in zip(prediction.labels, prediction.quads, prediction.scores, strict=True):
            if mine == label:
                yield f"{name} {score(value)} {' '.join(f'{v:.2f}' for v in quad.reshape(8))}\n"


def task1_name(label: str) -> str:
    """The file for a class. Raises DataError for a class that is no file name."""
    if PurePosixPath(label).name != label:
        raise DataError(f"class {label!r} cannot be part of a file's name")
    return f"Task1_{label}.txt"


def shortest(value: float) -> str:
    """With as many digits as tell all float32 numbers apart."""
    return f"{value:.9g}"


def _write_geojson(predictions: Predictions, folder: Path, places: Places) -> Iterator[Path]:
    for stem, prediction in stems(predictions).items():
        collection = feature_collection(prediction, places.get(prediction.image))
        path = folder / f"{stem}.geojson"
        write_text_atomic(path, [json.dumps(collection, ensure_ascii=False) + "\n"])
        yield path


def _write_gpkg(predictions: Predictions, folder: Path, places: Places) -> Iterator[Path]:
    if find_spec("pyogrio") is None:
        raise ConfigError("GeoPackage needs pyogrio: pip install 'lmmrotate[geo]'")
    from pyogrio import raw

    folder.mkdir(parents=True, exist_ok=True)
    for stem, prediction in stems(predictions).items():
        place = places.get(prediction.image)
        corners = place.to_world(prediction.quads) if place else _corners(prediction, None)[0]
        rings = _turned(np.concatenate([corners, corners[:, :1]], axis=1))
        fields = _fields(prediction, place)
        path = folder / f"{stem}.gpkg"
        temporary = folder / f".{stem}.tmp.gpkg"
        temporary.unlink(missing_ok=True)
        with quiet():  # about an image without a place on Earth
            raw.write(
                temporary,
                geometry=np.array([_wkb(ring) for ring in rings], dtype=object),
                field_data=[_column(name, values) for name, values in fields.items()],
                fields=list(fields),
                layer="detections",
                driver="GPKG",
                geometry_type="Polygon",
                crs=place.crs_wkt if place else None,
            )
        temporary.replace(path)
        yield path


def _write_dota(predictions: Predictions, folder: Path, _: Places) -> Iterator[Path]:
    images = stems(predictions)
    for label in predictions.header.classes:
        path = folder / task1_name(label)
        write_text_atomic(path, task1_lines(images, label, shortest))
        yield path


def _write_yolo(predictions: Predictions, folder: Path, _: Places) -> Iterator[Path]:
    index = {label: number for number, label in enumerate(predictions.header.classes)}
    for stem, prediction in stems(predictions).items():
        shares = (prediction.quads / (prediction.width, prediction.height)).reshape(-1, 8)
        lines = (
            f"{index[label]} {' '.join(f'{v:.9g}' for v in share)} {shortest(score)}\n"
            for label, share, score in zip(prediction.labels, shares, prediction.scores, strict=True)
        )
        path = folder / "labels" / f"{stem}.txt"
        write_text_atomic(path, lines)
        yield path


def _write_coco(predictions: Predictions, folder: Path, _: Places) -> Iterator[Path]:
    number = {label: place for place, label in enumerate(predictions.header.classes, 1)}
    rows = [
        {
            "image_id": image_id,
            "file_name": prediction.image,
            "category_id": number[label],
            "bbox": [*quad.min(axis=0).tolist(), *np.ptp(quad, axis=0).tolist()],
            "segmentation": [quad.reshape(8).tolist()],
            "score": score,
        }
        for image_id, prediction in enumerate(predictions.images, 1)
        for label, quad, score in zip(prediction.labels, prediction.quads, prediction.scores, strict=True)
    ]
    path = folder / "coco.json"
    write_text_atomic(path, [json.dumps(rows, ensure_ascii=False) + "\n"])
    yield path


def _fields(prediction: Prediction, place: Georeference | None) -> dict[str, list[Any]]:
    """Properties by name, N values each."""
    fields: dict[str, list[Any]] = {"class": list(prediction.labels), "score": list(prediction.scores)}
    if place is not None:
        names = ("heading_deg", "length_m", "width_m")
        measured = zip(names, place.measures(prediction.quads), strict=True)
        fields |= {name: np.round(values, 3).tolist() for name, values in measured}
        fields["heading_deg"] = [heading % 180 for heading in fields["heading_deg"]]  # 179.9996 is 0
    return fields


def _column(name: str, values: list[Any]) -> Any:
    return np.array(values, dtype=object if name == "class" else np.float64)


def _corners(prediction: Prediction, place: Georeference | None) -> tuple[Quads, str]:
    """Corners (N, 4, 2) as GeoJSON has them, and the name of their system; empty for pixels and WGS 84."""
    if place is None:
        return prediction.quads * (1.0, -1.0), ""
    code = place.epsg
    if code is None or code == 4326:
        return place.to_lon_lat(prediction.quads), ""
    return place.to_world(prediction.quads), f"urn:ogc:def:crs:EPSG::{code}"


def _turned(rings: Quads) -> Quads:
    """Rings (N, 5, 2) counterclockwise, as RFC 7946 asks."""
    x, y = rings[..., 0], rings[..., 1]
    doubled = (x[:, :-1] * y[:, 1:] - x[:, 1:] * y[:, :-1]).sum(axis=1)
    return np.where(doubled[:, None, None] < 0, rings[:, ::-1], rings)


def _wkb(ring: Quads) -> bytes:
    """A polygon of one ring (5, 2) as well-known binary (OGC 06-103r4): little endian, type 3, one ring."""
    head = b"\x01" + np.array([3, 1, len(ring)], dtype="<u4").tobytes()
    return head + ring.astype("<f8").tobytes()
