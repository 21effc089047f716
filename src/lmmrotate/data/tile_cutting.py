"""Cutting the pixels of scenes into tiles, and writing them as PNG."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lmmrotate.data.images import image_size
from lmmrotate.data.jsonl import read_note, replacing, write_text_atomic
from lmmrotate.data.png import encode_png, is_whole_png
from lmmrotate.data.progress import progress_bar
from lmmrotate.data.rasters import WINDOWED_FROM, open_windows
from lmmrotate.data.tile_windows import Windows
from lmmrotate.data.workers import follow_all
from lmmrotate.errors import DataError

_TILES_A_JOB = 128
_TILE = re.compile(r"(.+)__[0-9]+__[0-9]+___[0-9]+\.png")
"""The name of a tile, and in it that of its scene (see ``tile_objects``)."""


@dataclass(frozen=True, eq=False)
class Scene:
    """One image to cut: the window at each index makes the tile at that index."""

    path: Path
    wh: tuple[int, int]
    windows: Windows
    tiles: tuple[Path, ...]

    def unfinished(self) -> Scene:
        """The same scene with the tiles that are missing or cut off."""
        return self._with([i for i, path in enumerate(self.tiles) if not is_whole_png(path)])

    def parts(self) -> list[Scene]:
        """The scene as jobs: a large one, which is read window by window, in strips from top to bottom."""
        if self.wh[0] * self.wh[1] <= WINDOWED_FROM:
            return [self] if self.tiles else []
        x, y = self.windows[:, 0], self.windows[:, 1]
        rows = np.lexsort((x, y)).tolist()
        return [self._with(rows[i : i + _TILES_A_JOB]) for i in range(0, len(rows), _TILES_A_JOB)]

    def _with(self, which: list[int]) -> Scene:
        return replace(self, windows=self.windows[which], tiles=tuple(self.tiles[i] for i in which))


def forget_changed(folder: Path, scenes: Mapping[str, Path]) -> None:
    """Remove the tiles of scenes that are no more, or whose file is another than when they were cut.

    Args:
        folder: of a tiling; ``scenes.json`` there says of which files its tiles are.
        scenes: by the name with which tiles begin, the file. Size and time tell whether it has changed:
            the time alone does not, as a file that takes the place of another may be older.
    """
    note = folder / "scenes.json"
    present = {name: [(about := path.stat()).st_size, about.st_mtime_ns] for name, path in scenes.items()}
    found = read_note(note)
    known = found if isinstance(found, dict) else {}
    for path in (folder / "images").glob("*.png"):
        tile = _TILE.fullmatch(path.name)
        if tile and (tile[1] not in present or known.get(tile[1]) != present[tile[1]]):
            path.unlink()
    write_text_atomic(note, [json.dumps(present)])  # last: a run that is killed before removes them again


def cut(
    scenes: Sequence[Scene], padding: tuple[int, int, int] | None, workers: int, *, progress: bool
) -> None:
    """Write the tiles that are missing.

    Args:
        scenes: whose tiles are wanted.
        padding: RGB of what lies beyond a scene; None cuts tiles there.
        workers: threads.
        progress: show a progress bar on stderr.

    Raises:
        DataError: naming the file, for an image that cannot be read or is not of the scene's size.
    """
    total = sum(len(scene.tiles) for scene in scenes)
    jobs = [part for scene in scenes for part in scene.unfinished().parts()]
    with progress_bar("tiles", progress) as bar:
        done = total - sum(len(job.tiles) for job in jobs)
        task = bar.add_task("tiling", total=total, completed=done)
        follow_all((_cut_scene(job, padding) for job in jobs), workers, lambda: bar.advance(task))


def _cut_scene(scene: Scene, padding: tuple[int, int, int] | None) -> Generator[None]:
    """Write the scene's tiles, one a step."""
    found = image_size(scene.path)
    if found != scene.wh:
        raise DataError(
            f"{scene.path}: the image is {found[0]} x {found[1]}, "
            f"the manifest says {scene.wh[0]} x {scene.wh[1]}"
        )
    with open_windows(scene.path) as window:
        for (x0, y0, x1, y1), path in zip(scene.windows.tolist(), scene.tiles, strict=True):
            tile = window(x0, y0, min(x1, scene.wh[0]), min(y1, scene.wh[1]))
            if padding is not None and tile.shape[:2] != (y1 - y0, x1 - x0):
                padded = np.empty((y1 - y0, x1 - x0, 3), np.uint8)
                padded[:] = padding
                padded[: tile.shape[0], : tile.shape[1]] = tile
                tile = padded
            with replacing(path, durable=False) as file:  # a tile that a power cut spoils is cut again
                file.writelines(encode_png(tile))
            yield
