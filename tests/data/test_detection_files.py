"""Detections in other programs' formats, read back by other programs and by our own readers."""

import json
from pathlib import Path

import numpy as np
import pyogrio
import pyogrio.raw
import pyproj
import pytest
import shapely

from lmmrotate.data.detection_files import KINDS, write_detections
from lmmrotate.data.georeference import Georeference
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.predictions import Predictions, PredictionsHeader
from lmmrotate.data.records import ImageRecord, Prediction
from lmmrotate.errors import ConfigError, DataError
from lmmrotate.evaluation.foreign import read_any

CLASSES = ("ship", "small vehicle", "plane")
TRANSFORM = (0.5, 0.0, 440_000.0, 0.0, -0.5, 4_650_000.0)
UTM = Georeference(pyproj.CRS.from_epsg(32631).to_wkt(), TRANSFORM)


@pytest.fixture
def found() -> Predictions:
    rng = np.random.default_rng(0)
    corners = np.array([[0, 0], [40, 5], [38, 25], [-2, 20]]) + rng.uniform(10, 150, (5, 1, 2))
    labels = ("ship", "plane", "ship", "ship", "small vehicle")
    scores = (0.9, 0.123456789, 0.5, 0.25, 1e-7)
    return Predictions(
        PredictionsHeader(CLASSES, "model"),
        (
            Prediction("a/port.tif", 200, 300, quads=corners.round(3), labels=labels, scores=scores),
            Prediction("b/empty.png", 100, 100),
        ),
    )


@pytest.mark.parametrize("kind", ["dota", "yolo_obb", "coco"])
def test_our_own_readers_read_them_back(found: Predictions, tmp_path: Path, kind: str) -> None:
    write_detections(found, tmp_path / kind, [kind])
    records = tuple(ImageRecord(p.image, p.width, p.height) for p in found.images)
    manifest = Manifest("", "", CLASSES, records)
    path = {"yolo_obb": tmp_path / kind / "labels", "coco": tmp_path / kind / "coco.json"}.get(
        kind, tmp_path / kind
    )
    again = {
        p.image: p for p in read_any(path, manifest, kind=kind if kind != "dota" else "dota_task1").images
    }
    for prediction in found.images:
        if not prediction.labels:
            continue
        mine = again[prediction.image]
        order, other = (np.argsort(p.scores) for p in (prediction, mine))
        np.testing.assert_allclose(mine.quads[other], prediction.quads[order], atol=0.006)
        np.testing.assert_allclose(
            np.array(mine.scores)[other], np.array(prediction.scores)[order], rtol=1e-6
        )
        assert [mine.labels[i] for i in other] == [prediction.labels[i] for i in order]


@pytest.mark.parametrize("kind", ["geojson", "gpkg"])
def test_gis_programs_read_them_back(found: Predictions, tmp_path: Path, kind: str) -> None:
    paths = write_detections(found, tmp_path, [kind], {"a/port.tif": UTM})
    assert [path.name for path in paths] == [f"port.{kind}", f"empty.{kind}"]
    about, _, shapes, columns = pyogrio.raw.read(paths[0])
    assert about["crs"] == "EPSG:32631"
    assert about["geometry_type"] == "Polygon"
    assert pyogrio.list_layers(paths[0])[0][0] == "detections"
    fields = dict(zip(about["fields"].tolist(), columns, strict=True))
    polygons = shapely.from_wkb(shapes)
    first = found.images[0]
    assert fields["class"].tolist() == list(first.labels)
    np.testing.assert_allclose(fields["score"], first.scores)
    wanted = shapely.polygons(first.quads * (0.5, -0.5) + (440_000, 4_650_000))
    assert shapely.equals_exact(shapely.normalize(polygons), shapely.normalize(wanted), tolerance=1e-6).all()
    assert shapely.is_ccw(shapely.get_exterior_ring(polygons)).all()
    rectangles = np.array([shapely.minimum_rotated_rectangle(p).length / 2 for p in wanted])
    np.testing.assert_allclose(fields["length_m"] + fields["width_m"], rectangles, rtol=2e-3)
    assert ((fields["heading_deg"] >= 0) & (fields["heading_deg"] < 180)).all()
    assert len(pyogrio.raw.read(paths[1])[2]) == 0, "an image without objects"


def test_degrees_need_no_system_and_unknown_systems_become_degrees(
    found: Predictions, tmp_path: Path
) -> None:
    own = pyproj.CRS.from_proj4("+proj=laea +lat_0=52.1 +lon_0=10.3 +datum=WGS84 +units=m").to_wkt()
    degrees = pyproj.CRS.from_epsg(4326).to_wkt()
    for place in (
        Georeference(degrees, (1e-5, 0, 10.0, 0, -1e-5, 50.0)),
        Georeference(own, (1.0, 0, 0.0, 0, -1.0, 0.0)),
    ):
        path = write_detections(found, tmp_path, ["geojson"], {"a/port.tif": place})[0]
        content = json.loads(path.read_text())
        assert "crs" not in content
        ring = content["features"][0]["geometry"]["coordinates"][0]
        lon, lat = ring[0]
        assert 9 < lon < 11
        assert 49 < lat < 53


def test_pictures_without_a_place_are_in_pixels_as_gis_programs_show_them(
    found: Predictions, tmp_path: Path
) -> None:
    path = write_detections(found, tmp_path, ["geojson"])[0]
    feature = json.loads(path.read_text())["features"][0]
    assert set(feature["properties"]) == {"class", "score"}
    ring = np.array(feature["geometry"]["coordinates"][0])
    assert sorted(map(tuple, ring[:4] * (1, -1))) == sorted(map(tuple, found.images[0].quads[0]))


def test_what_cannot_be_written_is_named(found: Predictions, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'kml'; valid: geojson, gpkg"):
        write_detections(found, tmp_path, ["kml"])
    twins = Predictions(found.header, (Prediction("a/x.png", 1, 1), Prediction("b/x.jpg", 1, 1)))
    for kind in KINDS:
        with pytest.raises(DataError, match=r"b/x\.jpg and a/x\.png would both be called x"):
            write_detections(twins, tmp_path, [kind])
    slash = Predictions(PredictionsHeader(("a/b",)), ())
    with pytest.raises(DataError, match="class 'a/b' cannot be part of a file's name"):
        write_detections(slash, tmp_path, ["dota"])


def test_a_heading_just_short_of_half_a_turn_is_north(tmp_path: Path) -> None:
    tip = np.array([[0, 0], [-0.0001, -100], [10, -100.0001], [10.0001, -0.0001]]) + 200
    found = Predictions(
        PredictionsHeader(("ship",)),
        (Prediction("a.tif", 300, 300, quads=tip[None], labels=("ship",), scores=(1.0,)),),
    )
    degrees = Georeference(pyproj.CRS.from_epsg(4326).to_wkt(), (1e-5, 0, 10.0, 0, -1e-5, 0.0))
    path = write_detections(found, tmp_path, ["geojson"], {"a.tif": degrees})[0]
    heading = json.loads(path.read_text())["features"][0]["properties"]["heading_deg"]
    assert heading < 0.001
