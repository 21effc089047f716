import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from shapely import box
from shapely.geometry import Polygon

from lmmrotate.data import rasters, tile_cutting, tile_objects
from lmmrotate.data.convert import convert
from lmmrotate.data.formats.dota import read_labels
from lmmrotate.data.images import image_size, read_image, read_pixels
from lmmrotate.data.manifest import Manifest, read_manifest
from lmmrotate.data.png import is_whole_png
from lmmrotate.data.records import ImageRecord, SceneRef
from lmmrotate.data.tile_objects import tile_records
from lmmrotate.data.tile_windows import TilingSettings, sliding_windows
from lmmrotate.data.tiling import tile_manifest
from lmmrotate.errors import ConfigError, DataError
from lmmrotate.geometry.overlap import iof_matrix
from lmmrotate.geometry.quads import Quads, as_quads

# The published split tool


@pytest.fixture(scope="module")
def recorded(golden: Callable[[str], Path]) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(golden("h_img_split.json").read_text())
    return content


@pytest.fixture(scope="module")
def scenes(recorded: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """The recording's images, drawn by its formula, with its annotations."""
    folder = tmp_path_factory.mktemp("scenes")
    (folder / "labels").mkdir()
    (folder / "images").mkdir()
    for image in recorded["images"]:
        name, shape = image["name"], (image["height"], image["width"], 3)
        y, x, c = np.ogrid[: shape[0], : shape[1], :3]
        pixels = (7 * x + 13 * y + 29 * c + 31 * image["k"] + ((x // 16) * (y // 16)) % 17) % 256
        cv2.imwrite(str(folder / "images" / f"{name}.png"), pixels.astype(np.uint8))
        if recorded["annotations"][name] is not None:
            (folder / "labels" / f"{name}.txt").write_text(recorded["annotations"][name])
    return convert(folder / "images", folder / "labels", folder / "manifest.jsonl").manifest


def tile_as_recorded(scenes: Manifest, config: dict[str, Any], out: Path, **options: Any) -> Manifest:
    padding = config.get("padding_value", [0])
    colour = tuple(reversed(padding)) if len(padding) == 3 else padding[0]  # recorded as BGR
    return tile_manifest(
        scenes,
        out,
        config["sizes"],
        config["gaps"],
        config.get("iof_thr", 0.7),
        config.get("img_rate_thr", 0.6),
        None if config.get("no_padding") else colour,
        rates=config["rates"],
        workers=1,
        **options,
    )


@pytest.mark.golden
@pytest.mark.parametrize("number", range(6))
def test_equals_the_published_tool(
    number: int, recorded: dict[str, Any], scenes: Manifest, tmp_path: Path
) -> None:
    config, patches = (recorded["configs"][number][key] for key in ("config", "patches"))
    tiles = tile_as_recorded(scenes, config, tmp_path / "tiles", protocol="lmmrotate")
    exact = tile_as_recorded(scenes, config, tmp_path / "exact")
    sizes = {Path(r.image).stem: r.wh for r in scenes.records}
    assert {Path(r.image).name for r in tiles.records} == set(patches)
    assert set(os.listdir(tmp_path / "tiles" / "images")) == set(patches)
    for tile, corrected in zip(tiles.records, exact.records, strict=True):
        patch = patches[Path(tile.image).name]
        pixels = cv2.imread(str(tiles.image_path(tile)))
        assert pixels is not None
        assert (tile.height, tile.width) == pixels.shape[:2] == (patch["h"], patch["w"])
        assert hashlib.md5(pixels.tobytes()).hexdigest() == patch["md5_bgr_pixels"]
        # A label without difficulty was written with its newline: a bug of the tool, mended here.
        (tmp_path / "patch.txt").write_text(re.sub(r"\n (\d)\n", r" \1\n", patch["ann"]))
        labels = read_labels(tmp_path / "patch.txt")
        assert tile.labels == labels.names
        assert tile.difficult == labels.difficult
        assert np.abs(tile.quads - labels.quads).max(initial=0) < 1e-3
        # The default differs in one thing only: what no edge inside the scene cuts is not called cut.
        assert (corrected.image, corrected.labels) == (tile.image, tile.labels)
        for quad, found, flag in zip(tile.quads, corrected.difficult, tile.difficult, strict=True):
            cut = is_cut(quad, tile, sizes[tile.scene.name]) if tile.scene else False
            assert found == (2 if cut else flag) or (not cut and found < flag == 2)


def is_cut(quad: np.ndarray, tile: ImageRecord, scene_wh: tuple[int, int]) -> bool:
    assert tile.scene is not None
    size = int(tile.image.split("__")[1])
    return any(
        (start > 0 and quad[:, axis].min() < 0) or (start + size < length and quad[:, axis].max() > size)
        for axis, (start, length) in enumerate(zip((tile.scene.x, tile.scene.y), scene_wh, strict=True))
    )


# Windows


@given(
    wh=st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
    size=st.integers(1, 1500),
    gap_share=st.floats(0, 0.99),
)
def test_windows_cover_the_image(wh: tuple[int, int], size: int, gap_share: float) -> None:
    size = max(size, max(wh) // 20)  # not too many
    gap = int(size * gap_share) if gap_share < 0.8 else 0
    windows = sliding_windows(wh, TilingSettings(sizes_px=(size,), gaps_px=(gap,), img_rate_thr=0.0))
    assert (windows[:, :2] >= 0).all()
    assert (windows[:, 2:] - windows[:, :2] == size).all()
    assert len({tuple(w) for w in windows.tolist()}) == len(windows)
    for axis, length in enumerate(wh):
        starts = np.unique(windows[:, axis])
        assert starts[0] == 0
        assert starts[-1] == max(0, length - size)
        assert (np.diff(starts) <= size - gap).all()


def test_windows_with_little_image_are_left_out_unless_all_are() -> None:
    options = TilingSettings(sizes_px=(1024, 200), gaps_px=(200, 50))
    assert (
        sliding_windows((300, 300), options)[:, 2:] - sliding_windows((300, 300), options)[:, :2] == 200
    ).all()
    only_large = TilingSettings()
    assert sliding_windows((300, 300), only_large).tolist() == [[0, 0, 1024, 1024]]
    assert sliding_windows((1, 1), only_large).tolist() == [[0, 0, 1024, 1024]]


def test_the_same_window_is_cut_once() -> None:
    options = TilingSettings(sizes_px=(100, 100), gaps_px=(20, 20))
    assert len(sliding_windows((180, 100), options)) == 2


# Objects


def one_scene(quads: Quads, wh: tuple[int, int] = (300, 200)) -> Manifest:
    count = len(quads)
    record = ImageRecord("s.png", *wh, quads, ("ship",) * count, tuple(i % 2 for i in range(count)))
    return Manifest("d", "train", ("ship",), (record,))


def chosen(quads: Quads, **options: Any) -> list[ImageRecord]:
    """The tiles of a 300 x 200 scene, without cutting any pixels."""
    config = TilingSettings(**{"sizes_px": (200,), "gaps_px": (100,), **options})
    record = one_scene(quads).records[0]
    tiles, _ = tile_records(record, sliding_windows(record.wh, config), config)
    return tiles


RECTANGLES = st.tuples(
    st.floats(-50, 350), st.floats(-50, 250), st.floats(1, 250), st.floats(1, 250), st.floats(0, 7)
)


def rectangle(x: float, y: float, width: float, height: float, angle: float) -> np.ndarray:
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (width / 2, height / 2)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.asarray(corners @ turn + (x, y))


@given(boxes=st.lists(RECTANGLES, min_size=1, max_size=5), iof_thr=st.sampled_from([0.0, 0.3, 0.7, 1.0]))
def test_objects_are_chosen_by_the_share_of_their_area(
    boxes: list[tuple[float, ...]], iof_thr: float
) -> None:
    quads = as_quads([rectangle(*b) for b in boxes])
    for tile in chosen(quads, iof_thr=iof_thr):
        assert tile.scene is not None
        x, y = tile.scene.x, tile.scene.y
        taken = {tuple(q.reshape(-1)) for q in (tile.quads + np.array([x, y])).round(6)}
        for index, quad in enumerate(quads):
            polygon = Polygon(quad)
            iof = polygon.intersection(box(x, y, x + 200, y + 200)).area / polygon.area
            if abs(iof - iof_thr) > 1e-9:
                assert (tuple(quad.reshape(-1).round(6)) in taken) == (iof > iof_thr), index


@given(
    boxes=st.lists(RECTANGLES, min_size=1, max_size=5),
    windows=st.lists(
        st.tuples(*[st.integers(-50, 300)] * 2, *[st.integers(1, 300)] * 2), min_size=1, max_size=4
    ),
)
def test_shares_are_those_of_the_exact_overlap(
    boxes: list[tuple[float, ...]], windows: list[tuple[int, ...]]
) -> None:
    quads = as_quads([rectangle(*b) for b in boxes] + [rectangle(60, 50, 40, 20, 0), np.full((4, 2), 9.0)])
    areas = [(x, y, x + width, y + height) for x, y, width, height in windows]
    low, high = np.hsplit(np.array(areas, dtype=float), 2)
    corners = as_quads([[x0, y0, x1, y0, x1, y1, x0, y1] for x0, y0, x1, y1 in areas])
    found = tile_objects._shares_inside(quads, low, high)
    np.testing.assert_allclose(found, iof_matrix(quads, corners), atol=1e-11)


def test_cut_objects_become_difficult_and_others_keep_their_mark() -> None:
    inside = [10.3, 10.1, 50.7, 10.1, 50.7, 30.9, 10.3, 30.9]
    on_the_edge = [0.0, 0, 200, 0, 200, 200, 0, 200]
    cut = [150.0, 50, 201, 50, 201, 60, 150, 60]
    over_the_border_of_the_scene = [5.0, -3, 45, -3, 45, 30, 5, 30]
    first, second = chosen(as_quads([inside, on_the_edge, cut, over_the_border_of_the_scene]))
    assert first.difficult == (0, 1, 2, 1)
    assert (second.scene, second.labels) == (SceneRef("s", 100, 0), ("ship",))
    assert second.difficult == (0,)
    assert second.quads.tolist() == [[[50, 50], [101, 50], [101, 60], [50, 60]]]


def test_odd_quads_are_chosen_too() -> None:
    bow_tie = [10.0, 10, 50, 50, 50, 10, 10, 50]
    arrow = [150.0, 10, 198, 50, 150, 90, 160, 50]
    point = [20.0, 20.0] * 4
    line = [150.0, 100, 190, 100, 150, 100, 190, 100]
    first, second = chosen(as_quads([bow_tie, arrow, point, line]))
    assert len(first.labels) == 4
    assert len(second.labels) == 2
    assert chosen(as_quads([[400.0, 400.0] * 4]))[0].labels == ()


@pytest.mark.parametrize("protocol", ["default", "lmmrotate"])
def test_scenes_without_objects(protocol: str) -> None:
    assert [tile.labels for tile in chosen(as_quads([]), protocol=protocol)] == [(), ()]


# Files


@pytest.fixture
def data(tmp_path: Path) -> Manifest:
    """Three noisy scenes; 2 + 2 + 1 tiles of 200 px with a gap of 100."""
    rng = np.random.default_rng(0)
    records = []
    (tmp_path / "in" / "images").mkdir(parents=True)
    for name, (width, height) in {"a": (300, 200), "b": (200, 300), "c": (120, 150)}.items():
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / "images" / f"{name}.png")
        quads = as_quads([[5, 5, 55, 5, 55, 25, 5, 25], [90, 90, 110, 90, 110, 110, 90, 110]])
        records.append(ImageRecord(f"images/{name}.png", width, height, quads, ("ship", "plane"), (0, 1)))
    return Manifest("d", "train", ("ship", "plane"), tuple(records), tmp_path / "in")


def cut(data: Manifest, out: Path, **options: Any) -> Manifest:
    return tile_manifest(data, out, 200, 100, **{"workers": 1, "img_rate_thr": 0.1, **options})


def test_tiles_hold_the_scene_and_the_manifest_says_where(data: Manifest, tmp_path: Path) -> None:
    out = tmp_path / "out"
    tiles = cut(data, out, padding=(1, 2, 3))
    assert sorted(os.listdir(out)) == ["images", "manifest.jsonl", "scenes.json", "tiling.json"]
    assert [r.image for r in tiles.records] == [
        "images/a__200__0___0.png",
        "images/a__200__100___0.png",
        "images/b__200__0___0.png",
        "images/b__200__0___100.png",
        "images/c__200__0___0.png",
    ]
    assert (tiles.dataset, tiles.split, tiles.classes, tiles.image_folder) == (
        "d",
        "train",
        data.classes,
        out,
    )
    assert read_manifest(out / "manifest.jsonl").fingerprint() == tiles.fingerprint()
    for tile in tiles.records:
        assert tile.scene is not None
        pixels = np.asarray(read_image(tiles.image_path(tile)))
        scene = np.asarray(read_image(data.image_folder / "images" / f"{tile.scene.name}.png"))
        part = scene[tile.scene.y : tile.scene.y + 200, tile.scene.x : tile.scene.x + 200]
        height, width = part.shape[:2]
        assert tile.wh == (200, 200) == pixels.shape[:2]
        assert (pixels[:height, :width] == part).all()
        assert (pixels[height:] == (1, 2, 3)).all()
        assert (pixels[:, width:] == (1, 2, 3)).all()


def test_without_padding_tiles_end_with_the_scene(data: Manifest, tmp_path: Path) -> None:
    last = cut(data, tmp_path / "out", padding=None).records[-1]
    assert last.wh == (120, 150) == image_size(tmp_path / "out" / last.image)


def test_workers_change_nothing(data: Manifest, tmp_path: Path) -> None:
    one, two = cut(data, tmp_path / "one"), cut(data, tmp_path / "two", workers=2)
    assert one.fingerprint() == two.fingerprint()
    for tile in one.records:
        assert one.image_path(tile).read_bytes() == two.image_path(tile).read_bytes()


def test_a_second_run_cuts_only_what_is_missing_or_changed(
    data: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    tiles = cut(data, out)
    read: list[str] = []

    def noted(path: Path) -> np.ndarray:
        read.append(path.name)
        return read_pixels(path)

    monkeypatch.setattr(rasters, "read_pixels", noted)
    assert cut(data, out).fingerprint() == tiles.fingerprint()
    assert read == []

    before = {p.name: p.stat().st_mtime_ns for p in (out / "images").iterdir()}
    (out / tiles.records[1].image).unlink()
    (out / "manifest.jsonl").unlink()
    os.utime(data.image_folder / "images" / "c.png", ns=(1, 1))  # another file, older than the tiles
    assert cut(data, out).fingerprint() == tiles.fingerprint()
    assert read == ["a.png", "c.png"]
    after = {p.name: p.stat().st_mtime_ns for p in (out / "images").iterdir()}
    assert [n for n in sorted(after) if after[n] != before[n]] == [
        "a__200__100___0.png",
        "c__200__0___0.png",
    ]
    assert (out / "manifest.jsonl").exists()

    (out / "images" / "mine.png").write_bytes(b"")
    fewer = replace(data, records=data.records[1:])
    cut(fewer, out)
    assert sorted({p.name.partition("__")[0] for p in (out / "images").iterdir()}) == ["b", "c", "mine.png"]
    assert read == ["a.png", "c.png"]


def test_tiles_of_a_replaced_scene_are_never_kept(data: Manifest, tmp_path: Path) -> None:
    out = tmp_path / "out"
    cut(data, out)
    scene = data.image_folder / "images" / "c.png"
    Image.new("RGB", (120, 150), (9, 9, 9)).save(scene)
    whole = scene.read_bytes()
    scene.write_bytes(whole[:60])
    with pytest.raises(DataError, match=r"c\.png"):
        cut(data, out)
    os.utime(scene, ns=(1, 1))
    scene.write_bytes(whole)
    tiles = cut(data, out)
    assert np.asarray(Image.open(tiles.image_path(tiles.records[-1])))[:150, :120].max() == 9


def test_a_run_that_breaks_off_leaves_whole_tiles_and_goes_on(
    data: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, calls = tmp_path / "out", []
    encode = tile_cutting.encode_png

    def interrupt(pixels: np.ndarray) -> list[bytes]:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return encode(pixels)

    monkeypatch.setattr(tile_cutting, "encode_png", interrupt)
    with pytest.raises(KeyboardInterrupt):
        cut(data, out)
    assert len(os.listdir(out / "images")) == 3
    assert not (out / "manifest.jsonl").exists()
    (out / "images" / ".0123.tmp").write_bytes(b"half")  # as a killed process leaves it
    first = sorted((out / "images").glob("*.png"))[0]
    first.write_bytes(first.read_bytes()[:-5])  # as a power cut may leave it
    calls.extend([1] * 9)
    tiles = cut(data, out)
    assert len(calls) == 4 + 9 + 3
    assert is_whole_png(first)
    assert sorted(os.listdir(out / "images")) == sorted(Path(r.image).name for r in tiles.records)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bad_image_is_named_and_the_rest_is_kept(workers: int, data: Manifest, tmp_path: Path) -> None:
    path = data.image_folder / "images" / "b.png"
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])
    with pytest.raises(DataError, match=r"images/b\.png: truncated or damaged"):
        cut(data, tmp_path / "out", workers=workers)
    assert not (tmp_path / "out" / "manifest.jsonl").exists()
    path.write_bytes(whole)
    assert len(cut(data, tmp_path / "out").records) == 5


def test_an_error_in_a_thread_stops_the_others(
    data: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scene a waits in its first tile until c has failed: its second tile and scene b are not begun."""
    failed = threading.Event()
    encode = tile_cutting.encode_png

    def wait_for_error(pixels: np.ndarray) -> list[bytes]:
        failed.wait(10)
        time.sleep(0.2)  # until the caller knows
        return encode(pixels)

    def read(path: Path) -> np.ndarray:
        if path.name == "c.png":
            failed.set()
            raise DataError("c is bad")
        return read_pixels(path)

    monkeypatch.setattr(tile_cutting, "encode_png", wait_for_error)
    monkeypatch.setattr(rasters, "read_pixels", read)
    a, b, c = data.records
    others = threading.active_count()
    with pytest.raises(DataError, match="c is bad"):
        cut(replace(data, records=(a, c, b)), tmp_path / "out", workers=2)
    assert threading.active_count() == others
    names = os.listdir(tmp_path / "out" / "images")
    assert "a__200__0___0.png" in names
    assert "a__200__100___0.png" not in names
    monkeypatch.undo()
    assert len(cut(data, tmp_path / "again", workers=2).records) == 5


def test_ctrl_c_ends_a_run_with_threads_and_the_same_command_goes_on(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    records = []
    for i in range(4):
        Image.fromarray(rng.integers(0, 256, (800, 800, 3), np.uint8)).save(tmp_path / f"{i}.png")
        records.append(ImageRecord(f"{i}.png", 800, 800))
    Manifest("d", "s", ("ship",), tuple(records)).write(tmp_path / "m.jsonl")
    command = [sys.executable, "-m", "lmmrotate", "tile", tmp_path / "m.jsonl", tmp_path / "out",
               "--size", "64", "--gap", "48", "--workers", "2"]  # fmt: skip
    heard = {
        "preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)
    }  # unlike after "&"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes, **heard) as process:  # type: ignore[call-overload]
        images = tmp_path / "out" / "images"
        while not images.exists() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, "interrupted; the same command goes on" in errors) == (130, True)
    assert not list(images.glob(".*.tmp"))
    assert 0 < len(os.listdir(images)) < 4 * 47 * 47
    tiles = tile_manifest(read_manifest(tmp_path / "m.jsonl"), tmp_path / "out", 64, 48, workers=2)
    assert len(os.listdir(images)) == len(tiles.records) == 4 * 47 * 47


def test_images_that_do_not_fit_the_manifest(data: Manifest, tmp_path: Path) -> None:
    Image.new("RGB", (300, 201)).save(data.image_folder / "images" / "a.png")
    with pytest.raises(DataError, match=r"a\.png: the image is 300 x 201, the manifest says 300 x 200"):
        cut(data, tmp_path / "out")
    (data.image_folder / "images" / "a.png").unlink()
    with pytest.raises(DataError, match=r"a\.png: no such file"):
        cut(data, tmp_path / "out")


def test_scenes_of_one_name_are_refused(tmp_path: Path) -> None:
    records = (ImageRecord("x/a.png", 9, 9), ImageRecord("y/a.tif", 9, 9))
    with pytest.raises(DataError, match=r"tiles of x/a\.png and y/a\.tif would share their names"):
        cut(Manifest("d", "s", ("ship",), records), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_folders_that_hold_something_else(data: Manifest, tmp_path: Path) -> None:
    out = tmp_path / "out"
    cut(data, out)
    with pytest.raises(ConfigError, match=r"holds tiles of other settings \(gaps_px, iof_thr differ\)"):
        tile_manifest(data, out, 200, 50, 0.5, img_rate_thr=0.1)
    (out / "tiling.json").write_text("[]")
    with pytest.raises(ConfigError, match="holds tiles of other settings"):
        cut(data, out)
    (out / "tiling.json").write_text("{")
    with pytest.raises(ConfigError, match=r"tiling\.json: cannot be read"):
        cut(data, out)
    data.write(data.image_folder / "manifest.jsonl")
    with pytest.raises(ConfigError, match="holds data that is no tiling of ours"):
        cut(data, data.image_folder)
    assert read_manifest(data.image_folder / "manifest.jsonl").fingerprint() == data.fingerprint()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size_px": 0}, "gap 200, size 0"),
        ({"gap_px": 1024}, "gap 1024, size 1024"),
        ({"gap_px": -1}, "gap -1, size 1024"),
        ({"size_px": [512, 1024]}, r"every size needs its gap, got sizes \(512, 1024\) and gaps \(200,\)"),
        ({"size_px": [], "gap_px": []}, "every size needs its gap"),
        ({"rates": []}, "at least one rate"),
        ({"rates": [1.0, 0.0]}, "rates must be above 0"),
        ({"rates": [1e4]}, "gap 0, size 0"),
        ({"iof_thr": 1.1}, r"iof_thr must lie in \[0, 1\]"),
        ({"img_rate_thr": 1.0}, r"img_rate_thr in \[0, 1\)"),
        ({"padding": 256}, "RGB values from 0 to 255"),
        ({"padding": (0, 0)}, "RGB values from 0 to 255"),
        ({"protocol": "mmrotate"}, "protocol must be 'default' or 'lmmrotate', got 'mmrotate'"),
        ({"workers": 0}, "workers must be at least 1"),
    ],
)
def test_settings_that_make_no_sense(
    options: dict[str, Any], message: str, data: Manifest, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        tile_manifest(data, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_progress_goes_to_stderr(data: Manifest, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cut(data, tmp_path / "quiet")
    assert capfd.readouterr() == ("", "")
    cut(data, tmp_path / "out", progress=True)
    out, err = capfd.readouterr()
    assert (out, "5/5 tiles" in err) == ("", True)


def test_a_manifest_without_images(tmp_path: Path) -> None:
    assert cut(Manifest("d", "s", ("ship",), ()), tmp_path / "out").records == ()
    assert read_manifest(tmp_path / "out" / "manifest.jsonl").records == ()


@pytest.mark.real
def test_real_scenes(real: Callable[[str], Path], tmp_path: Path) -> None:
    scenes = convert(
        real("dota/images"), real("dota/labelTxt"), tmp_path / "scenes.jsonl", dataset="dota"
    ).manifest
    tiles = tile_manifest(scenes, tmp_path / "tiles", 512, 200, workers=1)
    by_name = {Path(r.image).stem: r for r in scenes.records}
    whole: dict[str, set[tuple[float, ...]]] = {name: set() for name in by_name}
    for tile in tiles.records:
        assert tile.scene is not None
        scene = by_name[tile.scene.name]
        originals = {tuple(q.reshape(8)): i for i, q in enumerate(scene.quads)}
        for quad, label, flag in zip(tile.quads, tile.labels, tile.difficult, strict=True):
            index = originals[tuple((quad + np.array([tile.scene.x, tile.scene.y])).reshape(8))]
            assert label == scene.labels[index]
            if flag == scene.difficult[index]:
                whole[tile.scene.name].add(tuple(scene.quads[index].reshape(8)))
    # Of 536 + 64 objects all but four harbours of 420 px, longer than the overlap, are whole in some tile.
    assert {name: len(quads) for name, quads in whole.items()} == {"P0706": 532, "P1888": 64}
    pixels = np.asarray(read_image(tiles.image_path(tiles.records[0])))
    assert (pixels == np.asarray(read_image(real("dota/images/P0706.png")))[:512, :512]).all()


@pytest.mark.real
def test_real_tile_of_tiles(real: Callable[[str], Path], tmp_path: Path) -> None:
    """MMRotate's own tiles are images like others: RGBA, and objects that do not fit the picture."""
    (tmp_path / "images").mkdir()
    for name in ("P0004__1__0___0", "P2805__1024__0___0"):
        for suffix in (".png", ".txt"):
            (tmp_path / "images" / f"{name}{suffix}").symlink_to(real(f"tiles/{name}{suffix}"))
    scenes = convert(tmp_path / "images", tmp_path / "images", tmp_path / "m.jsonl", dataset="dota").manifest
    tiles = tile_manifest(scenes, tmp_path / "tiles", workers=1)
    assert [(Path(r.image).name, r.wh, len(r.labels)) for r in tiles.records] == [
        ("P0004__1__0___0__1024__0___0.png", (1024, 1024), 4),
        ("P2805__1024__0___0__1024__0___0.png", (1024, 1024), 4),
    ]
