"""Scenes: what is in the tiles is in the scene, at its place."""

import json
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.transform import from_origin

from lmmrotate import Detector
from lmmrotate.cli.main import main
from lmmrotate.data.predictions import PredictionsHeader, read_predictions
from lmmrotate.data.records import Prediction
from lmmrotate.errors import ConfigError, DataError
from lmmrotate.inference.scenes import VIEWS, SceneOptions, TileSource, predict_scenes_to_file
from lmmrotate.training.config import TrainConfig
from lmmrotate.training.fit import train

ORANGE = np.array([250, 120, 10], dtype=np.uint8)
QUIET: dict[str, Any] = {"progress": False}


class Oracle:
    """Stands in for a Predictor: finds the orange rectangles of a picture, cut ones as far as they go."""

    tile_px = 64
    header = PredictionsHeader(("car",), "oracle", "", {})

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []

    def check_shape(self, wh: tuple[int, int]) -> None:
        """Any."""

    def predict_pictures(
        self, names: Sequence[str], pictures: Sequence[Image.Image], options: object
    ) -> list[Prediction]:
        import cv2

        found = []
        for name, picture in zip(names, pictures, strict=True):
            self.seen.append(picture.size)
            mask = (np.asarray(picture)[..., :3] == ORANGE).all(axis=2).astype(np.uint8)
            shapes, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            # Contours run through the centres of the outer pixels.
            boxes = [cv2.boundingRect(shape) for shape in shapes]
            quads = np.array(
                [[[x, y], [x + w, y], [x + w, y + h], [x, y + h]] for x, y, w, h in boxes], dtype=float
            ).reshape(-1, 4, 2)
            found.append(
                Prediction(
                    name, *picture.size, quads=quads, labels=("car",) * len(quads), scores=(0.9,) * len(quads)
                )
            )
        return found


def draw_scene(width: int, height: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and upright rectangles (N, 4, 2) that do not touch."""
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 90, (height, width, 3), dtype=np.uint8)
    quads: list[np.ndarray] = []
    taken = np.zeros((height, width), dtype=bool)
    while len(quads) < count:
        w, h = rng.integers(5, 15, 2)
        x, y = rng.integers(0, width - w), rng.integers(0, height - h)
        if not taken[max(0, y - 2) : y + h + 2, max(0, x - 2) : x + w + 2].any():
            taken[y : y + h, x : x + w] = True
            pixels[y : y + h, x : x + w] = ORANGE
            quads.append(np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]]))
    return pixels, np.array(quads, dtype=float)


def geotiff(path: Path, pixels: np.ndarray, **profile: Any) -> Path:
    height, width, count = pixels.shape
    place = {"crs": "EPSG:32631", "transform": from_origin(440_000, 4_650_000, 0.5, 0.5)}
    options = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": pixels.dtype}
    with rasterio.open(path, "w", **options, **place, **profile) as file:
        file.write(pixels.transpose(2, 0, 1))
    return path


def same_boxes(found: Prediction, truth: np.ndarray, tolerance_px: float = 0.5) -> None:
    assert len(found.quads) == len(truth)
    low, wanted = (
        np.sort(q.min(axis=1).view("f8,f8"), axis=0).view("f8").reshape(-1, 2)
        for q in (np.ascontiguousarray(found.quads), truth)
    )
    np.testing.assert_allclose(low, wanted, atol=tolerance_px)


@pytest.mark.parametrize("suffix", [".tif", ".png"])
@pytest.mark.parametrize(
    "options",
    [
        SceneOptions(),
        SceneOptions(tta="all"),
        SceneOptions(scales=(0.5, 1.0)),
        SceneOptions(tile_px=50, gap_px=20),
    ],
    ids=["plain", "views", "scales", "tile"],
)
def test_every_object_is_found_once_at_its_place(options: SceneOptions, suffix: str, tmp_path: Path) -> None:
    pixels, truth = draw_scene(300, 200, 40)
    path = tmp_path / f"scene{suffix}"
    geotiff(path, pixels) if suffix == ".tif" else Image.fromarray(pixels).save(path)
    output = tmp_path / "found.jsonl"
    oracle: Any = Oracle()
    predict_scenes_to_file(oracle, [("scene", path)], output, options, **QUIET)
    found = read_predictions(output).images
    assert [(p.image, p.width, p.height) for p in found] == [("scene", 300, 200)]
    same_boxes(found[0], truth)
    assert (tmp_path / "found.tiles.jsonl").exists()


def test_views_are_turned_back(tmp_path: Path) -> None:
    pixels, truth = draw_scene(70, 40, 6)
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    for view in VIEWS["all"]:
        source = TileSource(path, (0, 0, 70, 40), view)
        seen = Oracle().predict_pictures(["a"], [source.read()], None)[0]
        same_boxes(
            Prediction("a", 70, 40, quads=source.upright(seen.quads), labels=seen.labels, scores=seen.scores),
            truth,
        )


def test_tiles_of_one_colour_are_passed_over(tmp_path: Path) -> None:
    pixels = np.zeros((64, 640, 3), np.uint8)
    pixels[10:20, 600:610] = ORANGE
    path = geotiff(tmp_path / "a.tif", pixels)
    oracle: Any = Oracle()
    result = predict_scenes_to_file(oracle, [("a", path)], tmp_path / "f.jsonl", SceneOptions(), **QUIET)
    assert result.predicted > 10
    assert len(oracle.seen) <= 2
    assert len(read_predictions(tmp_path / "f.jsonl").images[0].quads) == 1


def test_pictures_that_are_no_scenes_are_looked_at_as_a_whole(tmp_path: Path) -> None:
    pixels, truth = draw_scene(90, 60, 5)
    Image.fromarray(pixels).save(tmp_path / "small.png")
    geotiff(tmp_path / "small.tif", pixels)
    oracle: Any = Oracle()
    images = [(name, tmp_path / name) for name in ("small.png", "small.tif")]
    predict_scenes_to_file(oracle, images, tmp_path / "f.jsonl", SceneOptions(), **QUIET)
    assert oracle.seen == [(90, 60)] * 2
    for prediction in read_predictions(tmp_path / "f.jsonl").images:
        same_boxes(prediction, truth)


def test_bands_nodata_and_deep_samples(tmp_path: Path) -> None:
    pixels, _ = draw_scene(200, 120, 12)
    deep = np.full((120, 200, 5), 40, np.uint16)
    deep[..., [3, 2, 1]] = pixels  # orange only if read in this order
    deep *= 256
    deep[:, 150:] = 7  # no data
    path = geotiff(tmp_path / "deep.tif", deep, nodata=7)
    source = TileSource(path, (0, 0, 200, 120), bands=(4, 3, 2))
    picture = np.asarray(source.read()).astype(int)
    assert (picture[:, 150:] == 0).all()
    shown = picture[:, :150]
    wanted = pixels[:, :150].astype(int)
    assert np.abs(shown * wanted.max() / shown.max() - wanted).max() <= 3, "stretched, channels alike"
    with pytest.raises(ConfigError, match=r"bands 6: .*deep\.tif has 5; give one or three"):
        TileSource(path, (0, 0, 10, 10), bands=(6,)).read()


def test_bad_scenes_are_told_and_the_rest_is_done(tmp_path: Path) -> None:
    pixels, truth = draw_scene(200, 150, 10)
    good = geotiff(tmp_path / "good.tif", pixels)
    (tmp_path / "cut.tif").write_bytes(good.read_bytes()[:3000])
    (tmp_path / "empty.tif").touch()
    images = [(name, tmp_path / name) for name in ("cut.tif", "empty.tif", "good.tif", "none.tif")]
    oracle: Any = Oracle()
    result = predict_scenes_to_file(oracle, images, tmp_path / "f.jsonl", SceneOptions(), **QUIET)
    assert all(any(name in message for message in result.unreadable) for name in ("cut", "empty", "none"))
    found = read_predictions(tmp_path / "f.jsonl").images
    assert [p.image for p in found][-1] == "good.tif"
    same_boxes(found[-1], truth)


def test_options_are_checked() -> None:
    for wrong, message in (
        ({"tta": "spin"}, "tta is 'spin'; valid: none, flips, all"),
        ({"scales": ()}, "scales"),
        ({"tile_px": 3}, "tile_px"),
        ({"merge": "glue"}, "merge must be one of"),
    ):
        with pytest.raises(ConfigError, match=message):
            SceneOptions(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="gap"):
        SceneOptions(tile_px=32, gap_px=32).tiling(64)


@pytest.fixture
def run(config: Callable[..., TrainConfig]) -> Path:
    return train(config(max_steps=20, save_steps=1000)).run_folder


def test_command_line_writes_the_map(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels, _ = draw_scene(200, 150, 10)
    scene = geotiff(tmp_path / "scene.tif", pixels)
    output = tmp_path / "out.jsonl"
    command = ["predict", "--model", str(run), str(scene), "-o", str(output), "--max_new_tokens", "40"]
    command += ["--overflow", "keep", "--save_as", "geojson", "gpkg", "dota", "yolo_obb", "coco", "--json"]
    assert main(command) == 0
    result = json.loads(capsys.readouterr().out)
    assert {Path(path).name for path in result["saved"]} >= {"scene.geojson", "scene.gpkg", "coco.json"}
    collection = json.loads((tmp_path / "out" / "scene.geojson").read_text())
    assert collection["crs"]["properties"]["name"] == "urn:ogc:def:crs:EPSG::32631"
    assert len(collection["features"]) == len(read_predictions(output).images[0].labels)
    assert main(["predict", "--model", str(run), str(scene), "-o", str(output), "--tile", "wide"]) == 2
    assert (
        main(["predict", "--model", str(run), str(scene), "-o", str(tmp_path / "w.jsonl"), "--tile", "off"])
        == 0
    )
    assert "1 images predicted" in capsys.readouterr().out


def test_detector(run: Path, tmp_path: Path) -> None:
    pixels, _ = draw_scene(200, 150, 10)
    scene = geotiff(tmp_path / "scene.tif", pixels)
    small = tmp_path / "small.png"
    Image.fromarray(pixels[:64, :64]).save(small)
    detector = Detector(run, device="cpu")
    whole, again = detector.detect(small), list(detector.detect_many([small, pixels[:64, :64]]))
    assert [found.labels for found in again] == [whole.labels] * 2
    assert whole.draw().width >= 64
    assert whole.to_geojson()["type"] == "FeatureCollection"
    assert whole.above(2.0).labels == ()
    found = detector.detect_scene(scene, SceneOptions(tile_px=64))
    assert (found.width, found.height) == (200, 150)
    assert found.place is not None
    assert found.draw().width >= 200
    with pytest.raises(DataError, match="none"):
        detector.detect_scene(tmp_path / "none.tif")
    results: list[tuple[str, ...]] = []
    threads = [
        threading.Thread(target=lambda: results.append(detector.detect_scene(scene).labels)) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3
    assert len(set(results)) == 1


def test_supervision_gets_corners(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Detector(run, device="cpu").detect(np.zeros((50, 60, 3), np.uint8))
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ConfigError, match="pip install supervision"):
        found.to_supervision()
    monkeypatch.setitem(sys.modules, "supervision", SimpleNamespace(Detections=dict))
    given = found.to_supervision()
    assert given["xyxy"].shape == (len(found.labels), 4)
    assert given["data"]["xyxyxyxy"].shape == (len(found.labels), 4, 2)
