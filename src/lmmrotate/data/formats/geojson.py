"""GeoJSON polygons over georeferenced images (GeoTIFF); needs the extra ``geo``.

::

    {"type": "FeatureCollection", "features": [
      {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [[[lon, lat], … five points]]},
       "properties": {"label": "ship", "difficult": 0, "image": "port.tif"}}]}

Coordinates are longitude and latitude in WGS 84 (https://www.rfc-editor.org/rfc/rfc7946), or in the system
that an older file names in its ``crs`` member. The class is the property ``label``, or the first there is of
``class``, ``class_name``, ``category``, ``type`` and ``name``. A feature belongs to the image that its
property ``image`` names, else to every image that holds its centre. Polygons of four corners are taken as
they are, others as the smallest rectangle around them; every part of a MultiPolygon is an object.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from lmmrotate.data.formats.base import ConversionReport, Format, WriteReport
from lmmrotate.data.formats.json_files import read_json
from lmmrotate.data.formats.objects import Bad, Found, read_listed
from lmmrotate.data.images import find_images
from lmmrotate.data.jsonl import dump_line, write_text_atomic
from lmmrotate.data.manifest import Manifest
from lmmrotate.errors import ConfigError, DataError
from lmmrotate.geometry.quads import enclosing_rectangles

Points = npt.NDArray[np.float64]

CLASS_PROPERTIES = ("label", "class", "class_name", "category", "type", "name")
WGS84 = "EPSG:4326"
_DIGITS = 9  # decimals of a degree: a tenth of a millimetre


@dataclass(frozen=True)
class _Place:
    """Where an image lies on earth."""

    crs: Any
    to_crs: Any
    """Affine map from pixels to the coordinates of ``crs``."""

    def pixels(self, points: Points, crs: Any) -> Points:
        """Points (N, 2) in ``crs`` as pixels of the image."""
        from rasterio.warp import transform

        xs, ys = transform(crs, self.crs, points[:, 0].tolist(), points[:, 1].tolist())
        inverse = ~self.to_crs
        return np.array([_moved(inverse, x, y) for x, y in zip(xs, ys, strict=True)])

    def degrees(self, points: Points) -> Points:
        """Pixels (N, 2) as longitude and latitude."""
        from rasterio.warp import transform

        moved = np.array([_moved(self.to_crs, x, y) for x, y in points.tolist()])
        return np.array(transform(self.crs, WGS84, moved[:, 0].tolist(), moved[:, 1].tolist())).T


def read_file(
    image_folder: Path,
    annotations: Path | None,
    *,
    classes: Sequence[str] | None = None,
    **options: Any,
) -> tuple[Manifest, ConversionReport]:
    """Read a GeoJSON file over a folder of georeferenced images (see ``formats.base.Reader``).

    Raises:
        DataError: as ``formats.objects.read_listed``; also for an image without a place on earth.
        ConfigError: where rasterio is not installed, or without a file.
    """
    _require_rasterio()
    if annotations is None:
        raise ConfigError("geojson: annotations must name the GeoJSON file")
    content = read_json(annotations)
    features = content.get("features") if isinstance(content, dict) else None
    if not isinstance(features, list):
        raise DataError(f"{annotations}: expected a FeatureCollection with a list of features")
    crs = _crs_of(content, annotations)
    listed = {
        path.name: partial(_objects, _place(path), path.name, features, crs, annotations)
        for path in find_images([image_folder])
    }
    return read_listed(image_folder, listed, classes=classes, **options)


def _crs_of(content: dict[str, Any], path: Path) -> Any:
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    named = content.get("crs") or {}
    inner = named.get("properties") if isinstance(named, dict) else None
    name = inner.get("name") if isinstance(inner, dict) else None if isinstance(named, dict) else named
    try:
        return CRS.from_user_input(name or WGS84)
    except CRSError as error:
        raise DataError(f"{path}: unknown coordinate system {name!r}: {error}") from error


def _objects(
    place: _Place, image: str, features: list[Any], crs: Any, path: Path, wh: tuple[int, int]
) -> Iterator[Found | Bad]:
    """What a file says about one image."""
    for number, feature in enumerate(features):
        where = f"{path}: features[{number}]"
        properties = feature.get("properties") if isinstance(feature, dict) else None
        properties = properties if isinstance(properties, dict) else {}
        named = properties.get("image")
        if named is not None and PurePosixPath(str(named)).name != image:
            continue
        rings = _rings(feature)
        if rings is None:
            yield Bad(where, "no polygon", f"{where}: expected a Polygon or MultiPolygon of numbers")
            continue
        for ring in rings:
            quad = _quad(place.pixels(ring, crs))
            x, y = quad.mean(axis=0)
            if named is not None or (0 <= x < wh[0] and 0 <= y < wh[1]):
                yield _found(where, properties, quad)


def _found(where: str, properties: dict[str, Any], quad: Points) -> Found | Bad:
    name = next((properties[key] for key in CLASS_PROPERTIES if properties.get(key)), None)
    if name is None:
        known = ", ".join(properties) or "none"
        return Bad(where, "no class name", f"needs a property {' or '.join(CLASS_PROPERTIES)}, has {known}")
    flag = properties.get("difficult") or 0
    if not isinstance(flag, int):
        return Bad(where, "difficulty is no number", f"difficult must be a whole number, found {flag!r}")
    return Found(where, str(name), quad.reshape(8).tolist(), int(flag))


def _rings(feature: Any) -> list[Points] | None:
    """The outer rings of a feature without their closing points; None if it has no polygon."""
    geometry = feature.get("geometry") if isinstance(feature, dict) else None
    kind, parts = (
        (geometry.get("type"), geometry.get("coordinates")) if isinstance(geometry, dict) else (None, None)
    )
    if kind not in ("Polygon", "MultiPolygon") or not isinstance(parts, list):
        return None
    rings = []
    try:
        for polygon in parts if kind == "MultiPolygon" else [parts]:
            ring = np.array([point[:2] for point in polygon[0]], dtype=np.float64)
            if ring.ndim != 2 or ring.shape[1] != 2 or not np.isfinite(ring).all():
                return None
            rings.append(ring[:-1] if (ring[0] == ring[-1]).all() else ring)
    except (TypeError, ValueError, LookupError):
        return None
    return rings if all(len(ring) >= 3 for ring in rings) else None


def _quad(points: Points) -> Points:
    return points if len(points) == 4 else np.asarray(enclosing_rectangles(points[None])[0])


def write_file(manifest: Manifest, out: Path) -> WriteReport:
    """Write one FeatureCollection in WGS 84; images must be georeferenced.

    Raises:
        DataError: naming an image without a place on earth.
        ConfigError: where rasterio is not installed.
    """
    _require_rasterio()
    features = []
    for record in manifest.records:
        if not len(record.quads):
            continue
        place = _place(manifest.image_path(record))
        for quad, label, flag in zip(record.quads, record.labels, record.difficult, strict=True):
            corners = np.round(place.degrees(quad), _DIGITS).tolist()
            features.append(
                {
                    "type": "Feature",
                    "geometry": {"type": "Polygon", "coordinates": [[*corners, corners[0]]]},
                    "properties": {"label": label, "difficult": flag, "image": record.image},
                }
            )
    head = '{"type": "FeatureCollection", "features": [\n'
    write_text_atomic(out, [head, ",\n".join(dump_line(feature).rstrip() for feature in features), "\n]}\n"])
    empty = sum(not record.labels for record in manifest.records)
    lost = {"images without objects": empty} if empty else {}
    return WriteReport(out, len(manifest.records), len(features), lost)


def _place(path: Path) -> _Place:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as file:
                crs, to_crs = file.crs, file.transform
    except RasterioError as error:
        raise DataError(f"{path}: cannot be read as a georeferenced image: {error}") from error
    if crs is None or to_crs.is_identity:
        raise DataError(f"{path}: has no place on earth (no coordinate system or no transform)")
    return _Place(crs, to_crs)


def _moved(affine: Any, x: float, y: float) -> tuple[float, float]:
    a, b, c, d, e, f = affine[:6]
    return a * x + b * y + c, d * x + e * y + f


def _require_rasterio() -> None:
    try:
        import rasterio  # noqa: F401, the extra is there
    except ImportError:
        raise ConfigError("geojson needs rasterio: pip install 'lmmrotate[geo]'") from None


FORMAT = Format("geojson", read_file, write_file, layout="file")
