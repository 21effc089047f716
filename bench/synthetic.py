"""How fast synthetic scenes are made, and a contact sheet to look at.

Run ``python bench/synthetic.py [--tiles N] [--sheet out.png [--density dense] [--seed 1]]``. With
``--sheet`` nothing is timed: 24 tiles of 256 px are drawn, every second one with its boxes (yellow:
difficult).
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from lmmrotate.data.synthetic.dataset import stream_scenes
from lmmrotate.data.synthetic.scene import DENSITIES, SceneSpec, render_scene

ROWS, COLUMNS = 4, 6


def sheet(path: Path, spec: SceneSpec, seed: int, start: int) -> None:
    """Write ``ROWS`` x ``COLUMNS`` tiles as one picture."""
    tiles = []
    for index in range(start, start + ROWS * COLUMNS):
        pixels, record = render_scene(spec, seed, index)
        if index % 2:
            for quad, difficult in zip(record.quads, record.difficult, strict=True):
                colour = (255, 220, 0) if difficult else (255, 0, 0)
                cv2.polylines(pixels, [np.rint(quad).astype(np.int32)], True, colour, 1)
        tiles.append(pixels)
    rows = [np.concatenate(tiles[i : i + COLUMNS], axis=1) for i in range(0, len(tiles), COLUMNS)]
    cv2.imwrite(str(path), np.concatenate(rows)[..., ::-1])


def rate(spec: SceneSpec, count: int, workers: int) -> tuple[float, float]:
    """Tiles per second and objects per tile, processes already running."""
    stream = stream_scenes(spec, 0, 0, None, workers)
    for _ in range(8 * 3 * workers):  # the workers' imports, and the batches they are ahead
        next(stream)
    start, objects = time.perf_counter(), 0
    for _ in range(count):
        objects += len(next(stream)[1].labels)
    seconds = time.perf_counter() - start
    stream.close()  # type: ignore[attr-defined]
    return count / seconds, objects / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiles", type=int, default=120, help="tiles for each timing at 256 px")
    parser.add_argument("--sheet", type=Path, help="write a contact sheet instead")
    parser.add_argument("--size", type=int, default=256, help="of the sheet's tiles, in pixels")
    parser.add_argument("--density", choices=DENSITIES, default="mixed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", type=int, default=0, help="first scene of the sheet")
    options = parser.parse_args()
    if options.sheet:
        sheet(
            options.sheet,
            SceneSpec(options.size, options.size, density=options.density),
            options.seed,
            options.start,
        )
        return
    cv2.setNumThreads(1)
    table = Table(
        title=f"Synthetic scenes, tiles/s on {platform.machine()}, Python {platform.python_version()}"
    )
    for heading in ("size px", "density", "objects/tile", "1 process", "2 processes"):
        table.add_column(heading, justify="right")
    for size in (128, 256, 512):
        for density in DENSITIES if size == 256 else ("mixed",):
            spec = SceneSpec(size, size, density=density)
            count = max(20, round(options.tiles * min(4.0, (256 / size) ** 2)))
            single, objects = rate(spec, count, 1)
            double, _ = rate(spec, count, 2)
            table.add_row(str(size), density, f"{objects:.1f}", f"{single:.0f}", f"{double:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
