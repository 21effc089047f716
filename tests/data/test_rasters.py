import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.enums import ColorInterp
from rasterio.transform import from_origin

from lmmrotate.data import rasters
from lmmrotate.data.images import read_image
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.rasters import open_raster, open_windows, overview, raster_size
from lmmrotate.data.records import ImageRecord
from lmmrotate.data.tiling import tile_manifest
from lmmrotate.errors import DataError

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rasters, "WINDOWED_FROM", 0)


def geotiff(path: Path, bands: np.ndarray, **profile: Any) -> Path:
    count, height, width = bands.shape
    georeference = {"crs": "EPSG:32617", "transform": from_origin(500_000, 4_000_000, 0.3, 0.3)}
    options = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": bands.dtype}
    with rasterio.open(path, "w", **options, **georeference, **profile) as file:
        file.write(bands)
    return path


@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize(
    "layout",
    [{}, {"tiled": True, "blockxsize": 32, "blockysize": 32, "compress": "deflate"}, {"compress": "lzw"}],
)
def test_windows_are_parts_of_the_whole_image(bands: int, layout: dict[str, Any], tmp_path: Path) -> None:
    path = geotiff(tmp_path / "a.tif", RNG.integers(0, 256, (bands, 70, 90), dtype=np.uint8), **layout)
    whole = np.asarray(read_image(path))
    with open_windows(path) as window:
        for x0, y0, x1, y1 in ((0, 0, 90, 70), (13, 40, 77, 70), (89, 69, 90, 70)):
            np.testing.assert_array_equal(window(x0, y0, x1, y1), whole[y0:y1, x0:x1])


def test_alpha_is_composited_on_black(tmp_path: Path) -> None:
    bands = RNG.integers(0, 256, (4, 20, 30), dtype=np.uint8)
    path = geotiff(tmp_path / "a.tif", bands, photometric="RGB", alpha="YES")
    with rasterio.open(path) as file:
        assert file.colorinterp[3] == ColorInterp.alpha
    with open_windows(path) as window:
        found = window(5, 5, 25, 15)
    wanted = np.asarray(read_image(path))[5:15, 5:25]
    assert np.abs(found.astype(int) - wanted).max() <= 1


def test_a_fourth_band_that_is_no_alpha_is_left_out(tmp_path: Path) -> None:
    bands = RNG.integers(0, 256, (5, 20, 30), dtype=np.uint8)  # red, green, blue, near infrared, …
    with open_windows(geotiff(tmp_path / "a.tif", bands, photometric="RGB")) as window:
        np.testing.assert_array_equal(window(0, 0, 30, 20), bands[:3].transpose(1, 2, 0))


def test_palettes_are_looked_up(tmp_path: Path) -> None:
    path = geotiff(tmp_path / "a.tif", np.arange(12, dtype=np.uint8).reshape(1, 3, 4), photometric="palette")
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {i: (i * 10, 255 - i, 7, 255) for i in range(12)})
    with open_windows(path) as window:
        np.testing.assert_array_equal(window(1, 1, 3, 2), [[(50, 250, 7), (60, 249, 7)]])


def test_more_than_eight_bits_are_stretched_by_the_scene(tmp_path: Path) -> None:
    """A dark window of a bright scene stays dark, as when the whole scene is converted first."""
    bands = RNG.integers(200, 2000, (1, 60, 80)).astype(np.uint16)
    bands[:, :10, :10] = 200
    path = geotiff(tmp_path / "a.tif", bands)
    whole = np.asarray(read_image(path))
    with open_windows(path) as window:
        assert window(0, 0, 10, 10).max() <= 1
        difference = window(0, 0, 80, 60).astype(int) - whole
    assert np.abs(difference).max() <= 1


def test_other_images_are_read_whole(tmp_path: Path) -> None:
    Image.fromarray(RNG.integers(0, 256, (7, 9, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    with open_windows(tmp_path / "a.png") as window:
        np.testing.assert_array_equal(
            window(1, 2, 4, 7), np.asarray(read_image(tmp_path / "a.png"))[2:7, 1:4]
        )


def test_a_giant_without_rasterio_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = geotiff(tmp_path / "a.tif", np.zeros((1, 8, 8), np.uint8))
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with open_windows(path) as window:  # small enough to be read whole
        assert window(0, 0, 8, 8).shape == (8, 8, 3)
    monkeypatch.setattr(rasters, "MAX_PIXELS", 10)
    with (
        pytest.raises(DataError, match=r"a\.tif: 8 x 8 px is too large .*lmmrotate\[geo\]"),
        open_windows(path),
    ):
        pass


def test_damage_names_the_file(tmp_path: Path) -> None:
    path = geotiff(
        tmp_path / "a.tif", RNG.integers(0, 256, (3, 200, 200), dtype=np.uint8), compress="deflate"
    )
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 4000] = bytes(4000)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.tif: truncated or damaged"):
        overview(path, 200)


@pytest.mark.parametrize("size", [(90, 70), (7, 3)])
def test_overview_shows_the_whole_image(size: tuple[int, int], tmp_path: Path) -> None:
    path = geotiff(tmp_path / "a.tif", RNG.integers(0, 256, (3, size[1], size[0]), dtype=np.uint8))
    found = overview(path, 30)
    step = 3 if size[0] == 90 else 1
    np.testing.assert_array_equal(found, np.asarray(read_image(path))[::step, ::step])


def test_tiles_of_a_windowed_scene_are_those_of_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = geotiff(tmp_path / "scene.tif", RNG.integers(0, 256, (3, 150, 210), dtype=np.uint8), tiled=True,
                   blockxsize=64, blockysize=64)  # fmt: skip
    manifest = Manifest("toy", "all", ("ship",), (ImageRecord(path.name, 210, 150),), tmp_path)
    windowed = tile_manifest(manifest, tmp_path / "a", 64, 16, workers=1)
    monkeypatch.setattr(rasters, "WINDOWED_FROM", 10**9)
    tile_manifest(manifest, tmp_path / "b", 64, 16, workers=1)
    assert len(windowed.records) > 6
    for record in windowed.records:
        assert (tmp_path / "a" / record.image).read_bytes() == (tmp_path / "b" / record.image).read_bytes()


@pytest.mark.parametrize(
    ("dtype", "count", "nodata"),
    [("float32", 3, None), ("int16", 5, -9999), ("float32", 1, np.nan), ("uint16", 4, 0)],
)
def test_scenes_of_any_samples_are_read(tmp_path: Path, dtype: str, count: int, nodata: float | None) -> None:
    bands = RNG.normal(500, 90, (count, 40, 60)).astype(dtype)
    if nodata is not None:
        bands[:, :, :20] = nodata
    path = geotiff(tmp_path / "a.tif", bands, nodata=nodata)
    assert raster_size(path) == (60, 40)
    with open_raster(path) as raster:
        pixels = raster.read(0, 0, 60, 40)
    rest = pixels[:, 20:] if nodata is not None else pixels
    assert (pixels[:, :20] == 0).all() == (nodata is not None)
    assert rest.min() <= 2
    assert rest.max() >= 253
    assert 90 < rest.mean() < 165, "no-data values take no part in the stretch"


def test_rasters_that_cannot_be_shown_say_why(tmp_path: Path) -> None:
    path = geotiff(tmp_path / "sar.tif", np.ones((1, 8, 8), np.complex64))
    with pytest.raises(DataError, match=r"sar\.tif: has complex samples"), open_raster(path):
        pass
    (tmp_path / "empty.tif").touch()
    (tmp_path / "text.tif").write_text("no raster")
    for name, message in (("empty", "empty file"), ("text", "damaged"), ("none", "no such file")):
        with pytest.raises(DataError, match=message):
            raster_size(tmp_path / f"{name}.tif")
