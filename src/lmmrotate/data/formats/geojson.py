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

    wh: tuple[int, int]

    def pixels(self, points: Points) -> Points:
        """Points (N, 2) in ``crs`` as pixels of the image."""
        return _moved(~self.to_crs, points)

    def on_earth(self, points: Points) -> Points:
        """Pixels (N, 2) as coordinates of ``crs``."""
        return _moved(self.to_crs, points)


def _transformed(points: Points, crs: Any, into: Any) -> Points:
    """Points (N, 2) of one coordinate system in another."""
    from rasterio.warp import transform

    return np.array(transform(crs, into, points[:, 0].tolist(), points[:, 1].tolist())).T


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
    shapes, strays = _shapes(features, _crs_of(content, annotations), annotations)
    owned: set[str] = set()
    listed = {}
    for path in find_images([image_folder]):
        mine = shapes.of_image(path.name, _place(path))
        owned.update(shapes.features[i].where for i in mine)
        listed[path.name] = partial(_objects, [(shapes.features[i], quad) for i, quad in mine.items()])
    lonely = [feature.where for feature in shapes.features if feature.where not in owned]
    return read_listed(
        image_folder, listed, classes=classes, strays=strays, orphans=dict.fromkeys(lonely), **options
    )


@dataclass(frozen=True)
class _Feature:
    """What a file says of one shape, or several."""

    where: str
    properties: dict[str, Any]


@dataclass(eq=False)
class _Shapes:
    """The polygons of a file."""

    crs: Any
    features: list[_Feature]
    """Of every polygon."""
    rings: list[Points]
    """Their corners in ``crs``."""

    def __post_init__(self) -> None:
        images = [feature.properties.get("image") for feature in self.features]
        self.named = np.array([image is not None for image in images], dtype=bool)
        self.image_names = np.array([PurePosixPath(str(image)).name for image in images], dtype=object)
        self._moved: dict[str, tuple[list[Points], Points, Points]] = {}

    def of_image(self, image: str, place: _Place) -> dict[int, Points]:
        """By the number of the polygon, the corners (4, 2) in pixels of those that belong to an image."""
        if not self.rings:
            return {}
        rings, low, high = self._in_system(place.crs)
        frame = place.on_earth(np.array([(0, 0), (1, 0), (1, 1), (0, 1)]) * place.wh)
        near = ((low <= frame.max(axis=0)) & (high >= frame.min(axis=0))).all(axis=1)
        found = {}
        for i in np.flatnonzero(np.where(self.named, self.image_names == image, near)).tolist():
            quad = _quad(place.pixels(rings[i]))
            x, y = quad.mean(axis=0)
            if self.named[i] or (0 <= x < place.wh[0] and 0 <= y < place.wh[1]):
                found[i] = quad
        return found

    def _in_system(self, crs: Any) -> tuple[list[Points], Points, Points]:
        """The polygons in a coordinate system, and their least and largest coordinates, both (N, 2)."""
        key = crs.to_wkt()
        if key not in self._moved:  # one transformation for all images of a system
            points = _transformed(np.concatenate(self.rings), self.crs, crs)
            starts = np.cumsum([0, *map(len, self.rings)])[:-1]
            low, high = np.minimum.reduceat(points, starts), np.maximum.reduceat(points, starts)
            self._moved[key] = np.split(points, starts[1:]), low, high
        return self._moved[key]


def _shapes(features: list[Any], crs: Any, path: Path) -> tuple[_Shapes, list[Bad]]:
    """The polygons, and the features that are none."""
    owners: list[_Feature] = []
    polygons: list[Points] = []
    strays = []
    for number, feature in enumerate(features):
        where = f"{path}: features[{number}]"
        rings = _rings(feature)
        if rings is None:
            strays.append(Bad(where, "no polygon", "expected a Polygon or MultiPolygon of numbers"))
            continue
        properties = feature.get("properties")
        owners += [_Feature(where, properties if isinstance(properties, dict) else {})] * len(rings)
        polygons += rings
    return _Shapes(crs, owners, polygons), strays


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


def _objects(mine: Sequence[tuple[_Feature, Points]], wh: tuple[int, int]) -> Iterator[Found | Bad]:
    """What a file says about one image."""
    for feature, quad in mine:
        yield _found(feature.where, feature.properties, quad)


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
            corners = np.round(_transformed(place.on_earth(quad), place.crs, WGS84), _DIGITS).tolist()
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
                crs, to_crs, wh = file.crs, file.transform, (file.width, file.height)
    except RasterioError as error:
        raise DataError(f"{path}: cannot be read as a georeferenced image: {error}") from error
    if crs is None or to_crs.is_identity:
        raise DataError(f"{path}: has no place on earth (no coordinate system or no transform)")
    return _Place(crs, to_crs, wh)


def _moved(affine: Any, points: Points) -> Points:
    a, b, c, d, e, f = affine[:6]
    x, y = points.T
    return np.stack([a * x + b * y + c, d * x + e * y + f], axis=1)


def _require_rasterio() -> None:
    try:
        import rasterio  # noqa: F401, the extra is there
    except ImportError:
        raise ConfigError("geojson needs rasterio: pip install 'lmmrotate[geo]'") from None


FORMAT = Format("geojson", read_file, write_file, layout="file")
