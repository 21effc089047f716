"""How fast scenes are cut, and how much memory a huge one takes.

Run ``python bench/tiling.py [--giant PX]`` on Linux. First four PNG scenes of 4000 x 4000 px are cut into
tiles of 1024 px with 200 px overlap by ``lmmrotate tile`` with one and with two workers, beside the timings
recorded of the published tool (OpenCV's PNG encoder with default settings: 1.95 MB a tile). Then a sparse,
compressed GeoTIFF of ``--giant`` px a side (default 50,000) is cut. Memory is the most that was resident.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import rasterio
from rich.console import Console
from rich.table import Table

from lmmrotate.data.catalog import dataset_spec
from lmmrotate.data.manifest import Manifest, read_manifest
from lmmrotate.data.records import ImageRecord

RECORDED_S = {1: 5.31, 2: 2.97}
"""Published tool on a quiet machine of 2 AMD EPYC vCPUs, start included (reference-timings.md)."""
SIDE_PX, SCENES, OBJECTS = 4000, 4, 400
TILE = """
import sys
from lmmrotate.cli.main import main
status = main(["tile", *sys.argv[1:]])
print(*(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")))
sys.exit(status)
"""
"""``lmmrotate tile``, and last the most KiB that were resident."""
CLASSES = dataset_spec("dota").classes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--giant", type=int, default=50_000, metavar="PX")
    options = parser.parse_args()
    table = Table(title="tiles of 1024 px, overlap 200 px")
    for heading in (
        "scenes",
        "workers",
        "tiles",
        "s",
        "tiles/s",
        "MB a tile",
        "published s",
        "times",
        "memory",
    ):
        table.add_column(heading, justify="left" if heading == "scenes" else "right")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        scenes = draw_scenes(work / "scenes")
        giant = draw_giant(work / "giant", options.giant)
        for name, manifest, workers in (
            (f"{SCENES} PNG of {SIDE_PX} px", scenes, 1),
            (f"{SCENES} PNG of {SIDE_PX} px", scenes, 2),
            (f"GeoTIFF of {options.giant} px", giant, 2),
        ):
            out = work / f"{manifest.parent.name}-{workers}"
            seconds, kilobytes = measured(manifest, out, workers)
            tiles = len(read_manifest(out / "manifest.jsonl").records)
            size = sum(path.stat().st_size for path in (out / "images").iterdir())
            published = RECORDED_S[workers] if manifest == scenes else None
            table.add_row(
                name,
                str(workers),
                str(tiles),
                f"{seconds:.2f}",
                f"{tiles / seconds:.0f}",
                f"{size / tiles / 1e6:.2f}",
                f"{published:.2f}" if published else "",
                f"{published / seconds:.1f}" if published else "",
                f"{kilobytes / 1024:.0f} MiB",
            )
    Console(width=120).print(table)


def measured(manifest: Path, out: Path, workers: int) -> tuple[float, int]:
    """Seconds of a process that cuts the scenes, start included, and the most KiB that it held."""
    command = [sys.executable, "-c", TILE, str(manifest), str(out), "--workers", str(workers)]
    begin = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return time.perf_counter() - begin, int(done.stdout.split()[-1])


def draw_scenes(folder: Path) -> Path:
    """The scenes of the recorded run; returns their manifest."""
    folder.mkdir()
    records = []
    for k in range(SCENES):
        rng = np.random.default_rng(300 + k)
        coarse = rng.integers(0, 256, (250, 250, 3)).astype(np.uint8)
        pixels = cv2.resize(coarse, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC)
        pixels = (pixels.astype(int) + rng.integers(-3, 4, pixels.shape)).clip(0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{k}.png"), pixels)
        records.append(ImageRecord(f"{k}.png", SIDE_PX, SIDE_PX, *objects(rng)))
    return written(folder, records)


def objects(rng: np.random.Generator) -> tuple[np.ndarray, tuple[str, ...], tuple[int, ...]]:
    quads, labels = [], []
    for _ in range(OBJECTS):
        cx, cy, w, h, turn = (
            rng.uniform(*r) for r in ((0, 4000), (0, 4000), (8, 200), (8, 80), (0, math.pi))
        )
        corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (w / 2, h / 2)
        rotation = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
        quads.append(np.round(corners @ rotation + (cx, cy), 1))
        labels.append(CLASSES[rng.integers(0, 15)])
    return np.array(quads), tuple(labels), (0,) * OBJECTS


def draw_giant(folder: Path, side_px: int) -> Path:
    """A GeoTIFF that is empty but for some blocks; returns its manifest."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    layout = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "sparse_ok": True}
    shape = {"width": side_px, "height": side_px, "count": 3, "dtype": "uint8", "bigtiff": "YES"}
    with rasterio.open(folder / "giant.tif", "w", driver="GTiff", **shape, **layout) as file:
        for _ in range(200):
            x, y = (int(v) * 512 for v in rng.integers(0, side_px // 512, 2))
            block = rng.integers(0, 256, (3, 512, 512), dtype=np.uint8)
            file.write(block, window=rasterio.windows.Window(x, y, 512, 512))
    return written(folder, [ImageRecord("giant.tif", side_px, side_px)])


def written(folder: Path, records: list[ImageRecord]) -> Path:
    path = folder / "scenes.jsonl"
    Manifest("bench", "all", CLASSES, tuple(records)).write(path)
    return path


if __name__ == "__main__":
    main()
