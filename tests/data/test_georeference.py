from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from rasterio.transform import from_origin

from lmmrotate.data.georeference import Georeference
from lmmrotate.data.rasters import georeference_of

UTM_31 = pyproj.CRS.from_epsg(32631).to_wkt()
MERCATOR = pyproj.CRS.from_epsg(3857).to_wkt()
FEET = pyproj.CRS.from_epsg(2263).to_wkt()  # New York, US survey feet
DEGREES = pyproj.CRS.from_epsg(4326).to_wkt()
GEOD = pyproj.Geod(ellps="WGS84")


def box(centre: tuple[float, float], length: float, width: float, angle_rad: float) -> np.ndarray:
    """One quad (1, 4, 2) in pixels; the angle turns x towards y (down)."""
    along, across = (
        np.array([np.cos(angle_rad), np.sin(angle_rad)]),
        np.array([-np.sin(angle_rad), np.cos(angle_rad)]),
    )
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    return (np.array(centre) + signs[:, :1] * along * length / 2 + signs[:, 1:] * across * width / 2)[None]


def test_pixels_lie_where_the_transform_says() -> None:
    place = Georeference(UTM_31, (0.5, 0.0, 500_000.0, 0.0, -0.5, 4_649_776.0))
    np.testing.assert_allclose(
        place.to_world(np.array([[0.0, 0.0], [10.0, 4.0]])), [[500_000, 4_649_776], [500_005, 4_649_774]]
    )
    assert place.epsg == 32631
    lon, lat = place.to_lon_lat(np.array([[0.0, 0.0]]))[0]
    assert (lon, lat) == pytest.approx((3.0, 42.0), abs=1e-4)


CASES = [
    (UTM_31, (0.3, 0.0, 430_000.0, 0.0, -0.3, 5_500_000.0)),
    (MERCATOR, (0.6, 0.0, 1_200_000.0, 0.0, -0.6, 8_399_737.9)),  # at 60 degrees: twice too large
    (FEET, (1.0, 0.0, 987_000.0, 0.0, -1.0, 213_000.0)),
    (DEGREES, (3e-6, 0.0, 10.2, 0.0, -3e-6, 55.1)),
    (DEGREES, (3e-6, 0.0, 179.9999, 0.0, -3e-6, -20.0)),  # over the date line
    (UTM_31, (0.2, 0.1, 430_000.0, 0.1, -0.2, 5_500_000.0)),  # a raster that is turned
]


@pytest.mark.parametrize(("crs", "transform"), CASES)
@given(data=st.data())
def test_measures_are_those_of_the_geodesic(
    crs: str, transform: tuple[float, ...], data: st.DataObject
) -> None:
    number = lambda low, high: data.draw(st.floats(low, high))  # noqa: E731
    quad = box((number(0, 200), number(0, 200)), number(60, 150), number(10, 40), number(-3, 3))
    place = Georeference(crs, transform)
    heading, length, width = (values[0] for values in place.measures(quad))
    lon, lat = np.moveaxis(place.to_lon_lat(quad[0]), -1, 0)
    azimuth, _, sides = GEOD.inv(lon[:2], lat[:2], lon[1:3], lat[1:3])
    longer = int(np.argmax(sides))
    assert length == pytest.approx(sides[longer], rel=1e-3)
    assert width == pytest.approx(sides[1 - longer], rel=1e-3)
    difference = (heading - azimuth[longer] + 90) % 180 - 90
    assert abs(difference) < 0.1
    assert 0 <= heading < 180


def test_mercator_metres_are_not_metres() -> None:
    place = Georeference(MERCATOR, CASES[1][1])
    _, length, _ = place.measures(box((0, 0), 100, 20, 0.0))
    assert length[0] == pytest.approx(100 * 0.6 / 2, rel=0.01)


def test_nothing_measures_nothing() -> None:
    assert [len(values) for values in Georeference(UTM_31, CASES[0][1]).measures(np.empty((0, 4, 2)))] == [
        0
    ] * 3


def test_local_systems_are_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    local = 'LOCAL_CS["site",UNIT["metre",1]]'
    path = tmp_path / "site.tif"
    place = {"crs": local, "transform": from_origin(100, 100, 2, 2)}
    with rasterio.open(path, "w", driver="GTiff", count=1, height=4, width=4, dtype="uint8", **place) as file:
        file.write(np.ones((1, 4, 4), np.uint8))
    assert georeference_of(path) is None
    assert "is a local one; detections are written in pixels" in caplog.text
