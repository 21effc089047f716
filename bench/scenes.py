"""A scene of 20,000 x 20,000 px from file to map: predicted, killed on the way, resumed, and checked.

A synthetic GeoTIFF (UTM zone 31, 0.3 m a pixel) of known objects, half of it open water of one colour, is
predicted by ``lmmrotate predict`` in a process of its own, which is killed once. The GeoJSON that comes out
is read back with GDAL (pyogrio) and shapely and compared with the objects in world coordinates. Model: the
embedded one, whose own accuracy shows in the distances; their mean as vectors shows whether coordinates
are off anywhere between the file and the map.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyogrio.raw
import rasterio
import shapely
from PIL import Image
from rasterio.transform import from_origin
from rasterio.windows import Window
from rich.console import Console
from rich.progress import track
from rich.table import Table

from lmmrotate.assets import TINY, model_path
from lmmrotate.codec.registry import codec_from_json
from lmmrotate.data.predictions import read_predictions
from lmmrotate.data.rasters import overview
from lmmrotate.data.records import ImageRecord
from lmmrotate.data.synthetic.scene import SceneSpec, render_scene
from lmmrotate.geometry.overlap import iou_pairs
from lmmrotate.report.draw import draw_boxes
from lmmrotate.runs import read_run

BLOCK_PX = 2000
GSD_M = 0.3
ORIGIN = (440_000.0, 4_650_000.0)
WATER = (24, 52, 74)


def make_scene(path: Path, side_px: int) -> tuple[np.ndarray, list[str]]:
    """The raster; corners (N, 4, 2) in pixels and classes of its objects."""
    classes = codec_from_json(read_run(model_path(TINY)).codec).classes
    spec = SceneSpec(BLOCK_PX, BLOCK_PX, GSD_M, "mixed", classes)
    profile = {
        "driver": "GTiff", "count": 3, "dtype": "uint8", "width": side_px, "height": side_px,
        "crs": "EPSG:32631", "transform": from_origin(*ORIGIN, GSD_M, GSD_M), "photometric": "RGB",
        "tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "predictor": 2,
    }  # fmt: skip
    quads, labels = [], []
    blocks = [(x, y) for y in range(0, side_px, BLOCK_PX) for x in range(0, side_px, BLOCK_PX)]
    with rasterio.open(path, "w", **profile) as file:
        for number, (x, y) in enumerate(track(blocks, "drawing")):
            land = (x // BLOCK_PX + y // BLOCK_PX) % 2 == 0
            pixels = np.broadcast_to(np.uint8(WATER), (BLOCK_PX, BLOCK_PX, 3))
            record = ImageRecord("", BLOCK_PX, BLOCK_PX)
            if land:
                pixels, record = render_scene(spec, 7, number)
            file.write(pixels.transpose(2, 0, 1), window=Window(x, y, BLOCK_PX, BLOCK_PX))
            keep = [i for i, flag in enumerate(record.difficult) if not flag]
            quads.append(record.quads[keep] + (x, y))
            labels += [record.labels[i] for i in keep]
    return np.concatenate(quads), labels


def predict(scene: Path, output: Path, kill_after_s: float | None) -> tuple[float, float, int]:
    """Seconds, peak memory in MiB, and exit status of the command."""
    command = [sys.executable, "-m", "lmmrotate", "predict", str(scene), "-o", str(output)]
    command += ["--save_as", "geojson", "gpkg", "--batch_size", "16"]
    begin = time.perf_counter()
    process = subprocess.Popen(command)
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        process.send_signal(signal.SIGKILL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    return time.perf_counter() - begin, usage.ru_maxrss / 1024, status


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--folder", type=Path, required=True, help="for the scene and what is found")
    parser.add_argument("--kill_after", type=float, default=60.0, help="seconds")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    scene, output = options.folder / "scene.tif", options.folder / "found.jsonl"
    quads, labels = make_scene(scene, options.side)
    killed = predict(scene, output, options.kill_after)
    resumed = predict(scene, output, None)
    found = read_predictions(output).images[0]

    about, _, shapes, fields = pyogrio.raw.read(options.folder / "found" / "scene.geojson")
    columns = dict(zip(about["fields"].tolist(), fields, strict=True))
    corners = np.array([shapely.get_coordinates(shape)[:4] for shape in shapely.from_wkb(shapes)])
    truth = quads * (GSD_M, -GSD_M) + ORIGIN
    pairs = match(corners, columns["class"], truth, np.array(labels))
    offset_px = (corners[pairs[:, 0]].mean(axis=1) - truth[pairs[:, 1]].mean(axis=1)) / GSD_M
    distance_px = np.linalg.norm(offset_px, axis=1)
    table = Table(title=f"{options.side:,} x {options.side:,} px, {len(quads):,} objects", show_header=False)
    rows = {
        "killed after": f"{killed[0]:.0f} s, {killed[1]:,.0f} MiB at most",
        "resumed": f"{resumed[0]:.0f} s, {resumed[1]:,.0f} MiB at most, exit status {resumed[2]}",
        "boxes": f"{len(found.labels):,}, in the GeoJSON {len(corners):,}, system {about['crs']}",
        "objects found (IoU 0.5, class)": f"{len(pairs):,} of {len(quads):,}",
        "centre against the truth, mean": f"{offset_px.mean(axis=0).round(3).tolist()} px east, north",
        "distance of centres, median": f"{np.median(distance_px):.2f} px",
        "within half a pixel": f"{100 * (distance_px <= 0.5).mean():.0f} %",
        "length in metres against the truth, median": f"{length_error(columns, pairs, quads):.1%}",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    Console().print(table)
    picture = Image.fromarray(overview(scene, 2500))
    shrink = picture.width / options.side
    draw_boxes(picture, found.quads * shrink, found.labels, captions=False).save(options.folder / "all.png")
    with rasterio.open(scene) as file:
        part = Image.fromarray(file.read(window=Window(0, 0, 900, 900)).transpose(1, 2, 0))
    inside = (found.quads < 900).all(axis=(1, 2))
    draw_boxes(
        part,
        found.quads[inside],
        [label for label, here in zip(found.labels, inside, strict=True) if here],
        [score for score, here in zip(found.scores, inside, strict=True) if here],
    ).save(options.folder / "corner.png")


def match(corners: np.ndarray, classes: np.ndarray, truth: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(M, 2) rows of detections and of objects that they have found, each once."""
    tree = shapely.STRtree(shapely.polygons(truth))
    one, other = tree.query(shapely.polygons(corners), predicate="intersects")
    same = classes[one] == labels[other]
    one, other = one[same], other[same]
    iou = iou_pairs(corners[one], truth[other])
    taken: dict[int, int] = {}
    for k in np.argsort(-iou):
        if iou[k] >= 0.5 and one[k] not in taken.values() and other[k] not in taken:
            taken[int(other[k])] = int(one[k])
    return np.array([(detection, thing) for thing, detection in taken.items()]).reshape(-1, 2)


def length_error(columns: dict[str, np.ndarray], pairs: np.ndarray, quads: np.ndarray) -> float:
    sides = np.linalg.norm(np.roll(quads, -1, axis=1) - quads, axis=2)[pairs[:, 1]]
    longest_m = np.maximum(sides[:, 0], sides[:, 1]) * GSD_M
    return float(np.median(columns["length_m"][pairs[:, 0]] / longest_m) - 1)


if __name__ == "__main__":
    main()
