import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.transform import Affine, from_origin
from rasterio.warp import transform

from lmmrotate.data.formats.geojson import read_file, write_file
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.records import ImageRecord
from lmmrotate.errors import ConfigError, DataError

CORNER = (500_000.0, 4_000_000.0)  # of a.tif, in UTM zone 17 north
QUAD = np.array([[10.0, 5], [30, 15], [25, 25], [5, 15]])


TO_CRS = from_origin(*CORNER, 0.5, 0.5)


def shifted(x: float, y: float) -> np.ndarray:
    return QUAD + np.array([x, y])


def scene(path: Path, to_crs: Affine = TO_CRS, **options: Any) -> Path:
    profile = {
        "driver": "GTiff",
        "width": 60,
        "height": 40,
        "count": 3,
        "dtype": "uint8",
        "crs": "EPSG:32617",
    }
    with rasterio.open(path, "w", **profile | {"transform": to_crs} | options) as file:
        file.write(np.zeros((3, 40, 60), np.uint8))
    return path


def feature(ring: Any, **properties: Any) -> dict[str, Any]:
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": properties,
    }


def written(path: Path, *features: Any, **members: Any) -> Path:
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features} | members))
    return path


def degrees(pixels: np.ndarray) -> list[list[float]]:
    """By another route than the module's: pixels of a.tif to metres to degrees, closed."""
    metres = np.array(CORNER) + pixels * (0.5, -0.5)
    ring = np.array(transform("EPSG:32617", "EPSG:4326", metres[:, 0], metres[:, 1])).T.tolist()
    return [*ring, ring[0]]


def test_degrees_become_pixels(tmp_path: Path) -> None:
    scene(tmp_path / "a.tif")
    far = shifted(1000, 0)
    path = written(
        tmp_path / "a.geojson", feature(degrees(QUAD), label="ship"), feature(degrees(far), label="ship")
    )
    manifest, report = read_file(tmp_path, path)
    assert [(r.image, r.wh, r.labels) for r in manifest.records] == [("a.tif", (60, 40), ("ship",))]
    np.testing.assert_allclose(manifest.records[0].quads[0], QUAD, atol=1e-3)
    assert report.object_count == 1
    assert report.orphans == (f"{path}: features[1]",)


def test_what_belongs_to_no_image_is_counted_once(tmp_path: Path) -> None:
    scene(tmp_path / "a.tif")
    scene(tmp_path / "b.tif", from_origin(CORNER[0] + 1000, CORNER[1], 0.5, 0.5))
    point = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}, "properties": {}}
    elsewhere = feature(degrees(QUAD), label="ship", image="c.tif")
    path = written(tmp_path / "a.geojson", point, elsewhere, feature(degrees(QUAD), label="ship"))
    manifest, report = read_file(tmp_path, path, on_bad="skip")
    assert [r.labels for r in manifest.records] == [("ship",), ()]
    assert [entry.where for entry in report.skipped] == [f"{path}: features[0]"]
    assert report.orphans == (f"{path}: features[1]",)


def test_a_crs_member_is_followed(tmp_path: Path) -> None:
    scene(tmp_path / "a.tif")
    metres = (np.array(CORNER) + QUAD * (0.5, -0.5)).tolist()
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32617"}}
    path = written(tmp_path / "a.geojson", feature([*metres, metres[0]], label="ship"), crs=crs)
    np.testing.assert_allclose(read_file(tmp_path, path)[0].records[0].quads[0], QUAD, atol=1e-6)
    with pytest.raises(DataError, match=r"a\.geojson: unknown coordinate system 'EPSG:0'"):
        read_file(tmp_path, written(path, crs={"properties": {"name": "EPSG:0"}}))


def test_features_go_to_the_images_that_hold_them(tmp_path: Path) -> None:
    scene(tmp_path / "a.tif")
    scene(tmp_path / "b.tif", from_origin(CORNER[0] + 10, CORNER[1], 0.5, 0.5))  # 20 px further east
    path = written(
        tmp_path / "a.geojson",
        feature(degrees(QUAD), label="only in a"),
        feature(degrees(shifted(25, 0)), label="in both"),
        feature(degrees(shifted(25, 0)), label="named", image="tiles/b.tif"),
    )
    records = read_file(tmp_path, path)[0].records
    assert [r.labels for r in records] == [("only in a", "in both"), ("in both", "named")]
    np.testing.assert_allclose(records[1].quads[0], shifted(5, 0), atol=1e-3)


def test_other_polygons_become_rectangles(tmp_path: Path) -> None:
    scene(tmp_path / "a.tif")
    middle = (QUAD[0] + QUAD[1]) / 2
    five = feature(degrees(np.vstack([QUAD[:1], middle[None], QUAD[1:]])), label="ship")
    many = feature([], label="ship")
    many["geometry"] = {"type": "MultiPolygon", "coordinates": [[degrees(QUAD)], [degrees(QUAD + 10)]]}
    manifest, report = read_file(tmp_path, written(tmp_path / "a.geojson", five, many))
    assert report.object_count == 3
    for quad, wanted in zip(manifest.records[0].quads, (QUAD, QUAD, QUAD + 10), strict=True):
        assert {tuple(p) for p in np.round(quad, 2)} == {tuple(p) for p in wanted}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (feature(degrees(QUAD), colour="red"), r"features\[0\]: needs a property label .* has colour"),
        (
            feature(degrees(QUAD), label="ship", difficult="yes"),
            "difficult must be a whole number, found 'yes'",
        ),
        (feature([["a", "b"]] * 4, label="ship"), "expected a Polygon or MultiPolygon of numbers"),
        (feature([[0, 0], [1, 1]], label="ship"), "expected a Polygon"),
        ({"type": "Feature", "geometry": None}, "expected a Polygon"),
        ("nonsense", "expected a Polygon"),
    ],
)
def test_features_that_cannot_be_used(bad: Any, message: str, tmp_path: Path) -> None:
    scene(tmp_path / "a.tif")
    path = written(tmp_path / "a.geojson", bad, feature(degrees(QUAD), label="ship"))
    with pytest.raises(DataError, match=message):
        read_file(tmp_path, path)
    manifest, report = read_file(tmp_path, path, on_bad="skip")
    assert (manifest.records[0].labels, len(report.skipped)) == (("ship",), 1)


def test_files_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene(tmp_path / "a.tif")
    path = tmp_path / "a.geojson"
    path.write_text("[]")
    with pytest.raises(DataError, match=r"a\.geojson: expected a FeatureCollection"):
        read_file(tmp_path, path)
    with pytest.raises(ConfigError, match="must name the GeoJSON file"):
        read_file(tmp_path, None)
    scene(tmp_path / "plain.tif", crs=None)
    with pytest.raises(DataError, match=r"plain\.tif: has no place on earth"):
        read_file(tmp_path, written(path))
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(ConfigError, match=r"geojson needs rasterio: pip install 'lmmrotate\[geo\]'"):
        read_file(tmp_path, path)


POINTS = st.tuples(st.floats(0, 60), st.floats(0, 40))


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.floats(5, 55), st.floats(5, 35), st.floats(2, 5), st.integers(0, 2)), max_size=4),
    st.floats(0, 6.2),
)
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory, boxes: list[tuple[float, float, float, int]], turn: float
) -> None:
    folder = tmp_path_factory.mktemp("geo")
    scene(folder / "a.tif", Affine.translation(*CORNER) * Affine.rotation(20) * Affine.scale(0.3, -0.3))
    shape = np.array([(-1, -0.5), (1, -0.5), (1, 0.5), (-1, 0.5)])
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    quads = np.array([shape * size @ rotation + (x, y) for x, y, size, _ in boxes]).reshape(-1, 4, 2)
    record = ImageRecord("a.tif", 60, 40, quads, ("ship",) * len(boxes), tuple(d for *_, d in boxes))
    report = write_file(Manifest("toy", "all", ("ship",), (record,), folder), folder / "out.geojson")
    assert report.objects == len(boxes)
    read = read_file(folder, folder / "out.geojson", classes=("ship",))[0].records[0]
    np.testing.assert_allclose(read.quads, quads, atol=2e-3)
    assert (read.labels, read.difficult) == (record.labels, record.difficult)


@pytest.mark.real
def test_a_real_geotiff(real: Callable[[str], Path], tmp_path: Path) -> None:
    path = real("geo/OSBS_029.tif")
    quads = np.array([[[203.0, 67], [227, 67], [227, 90], [203, 90]]])  # first row of its table
    record = ImageRecord(path.name, 400, 400, quads, ("Tree",), (0,))
    write_file(Manifest("trees", "all", ("Tree",), (record,), path.parent), tmp_path / "trees.geojson")
    ring = json.loads((tmp_path / "trees.geojson").read_text())["features"][0]["geometry"]["coordinates"][0]
    assert -82.1 < ring[0][0] < -81.9, "Ordway-Swisher in Florida"
    assert 29.6 < ring[0][1] < 29.8
    read = read_file(path.parent, tmp_path / "trees.geojson")[0]
    np.testing.assert_allclose(read.records[0].quads, quads, atol=2e-3)
