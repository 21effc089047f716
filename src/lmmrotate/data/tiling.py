"""Cutting the images of a manifest into overlapping tiles.

Window layout, tile names (``P0000__1024__824___0.png``: scene, window size, x, y), padding and the choice
of objects follow the split tool of MMRotate and BboxToolkit, which the published code uses, so that tiles
and results can be compared file by file. One thing differs by default: which objects count as **cut by the
tile's edge** (difficulty 2). The published tool asks for ``IoF < 1``, with the object's area rounded to
float32: half of the objects with fractional corners that lie wholly inside count as cut, and so do those
that reach a pixel over the border of the scene. By default an object is cut if one of its corners lies
beyond an edge of the window where the scene goes on. The "lmmrotate" protocol reproduces the published tool.

The output folder holds ``images/``, ``tiling.json`` (the settings) and, written last, ``manifest.jsonl``.
"""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lmmrotate.data.images import image_size
from lmmrotate.data.jsonl import replacing, write_text_atomic
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.rasters import WINDOWED_FROM, open_windows
from lmmrotate.data.records import ImageRecord, SceneRef
from lmmrotate.data.workers import core_count, worker_pool
from lmmrotate.errors import ConfigError, DataError
from lmmrotate.geometry.overlap import iof_matrix
from lmmrotate.geometry.quads import Quads, is_convex, min_area_quads, quad_areas

Windows = npt.NDArray[np.int64]  # (W, 4): x0, y0, x1, y1 in scene pixels; x1 and y1 are outside
TilingProtocol = Literal["default", "lmmrotate"]

CUT = 2
"""Difficulty of an object that the tile's edge cuts."""

_TILES_A_JOB = 128
_PAIRS = 4_000_000  # objects times windows that are compared at once

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TilingSettings:
    """How to cut. Sizes and gaps are pixels of the scene; each size goes with the gap at its index."""

    sizes_px: tuple[int, ...] = (1024,)
    gaps_px: tuple[int, ...] = (200,)
    """Overlap of neighbouring windows; above 0 so that an object on an edge is whole in one of them."""
    rates: tuple[float, ...] = (1.0,)
    """Windows of every size are also cut at size / rate and gap / rate (pixels are not resampled)."""
    iof_thr: float = 0.7
    """A window takes the objects of which at least this share of the area lies inside it."""
    img_rate_thr: float = 0.6
    """Windows of which the image fills no more than this share are left out; the fullest always stay."""
    padding: tuple[int, int, int] | None = (0, 0, 0)
    """RGB of the part of a window beyond the scene; None cuts such tiles to the scene."""
    protocol: TilingProtocol = "default"

    def __post_init__(self) -> None:
        if not self.sizes_px or len(self.sizes_px) != len(self.gaps_px) or not self.rates:
            raise ConfigError(
                f"tiling: every size needs its gap, got sizes {self.sizes_px} and gaps {self.gaps_px}; "
                f"at least one rate, got {self.rates}"
            )
        if min(self.rates) <= 0:
            raise ConfigError(f"tiling: rates must be above 0, got {self.rates}")
        for size, gap in self.windows():
            if not 0 <= gap < size:
                raise ConfigError(
                    f"tiling: a gap must be from 0 to below its size, got gap {gap}, size {size}"
                )
        if not 0 <= self.iof_thr <= 1 or not 0 <= self.img_rate_thr < 1:
            raise ConfigError(
                f"tiling: iof_thr must lie in [0, 1] and img_rate_thr in [0, 1), "
                f"got {self.iof_thr} and {self.img_rate_thr}"
            )
        if self.padding is not None and not (len(self.padding) == 3 and {*self.padding} <= {*range(256)}):
            raise ConfigError(f"tiling: padding must be None or RGB values from 0 to 255, got {self.padding}")
        if self.protocol not in ("default", "lmmrotate"):
            raise ConfigError(f"tiling: protocol must be 'default' or 'lmmrotate', got {self.protocol!r}")

    def windows(self) -> list[tuple[int, int]]:
        """(size, gap) of every kind of window, in pixels, rates applied."""
        return [
            (int(size / rate), int(gap / rate))
            for rate in self.rates
            for size, gap in zip(self.sizes_px, self.gaps_px, strict=True)
        ]


def tile_manifest(
    manifest: Manifest,
    out_folder: Path,
    size_px: int | Sequence[int] = 1024,
    gap_px: int | Sequence[int] = 200,
    iof_thr: float = 0.7,
    img_rate_thr: float = 0.6,
    padding: int | tuple[int, int, int] | None = 0,
    *,
    rates: Sequence[float] = (1.0,),
    protocol: TilingProtocol = "default",
    workers: int | None = None,
    progress: bool = False,
) -> Manifest:
    """Cut every image of a manifest into tiles, and write tiles and tile manifest to ``out_folder``.

    Interrupted runs go on where they stopped: each tile is written whole or not at all, and tiles newer
    than their scene are not cut again. Workers start by "spawn": a script that calls this needs the usual
    ``if __name__ == "__main__":``.

    Args:
        manifest: the scenes. Objects that are no convex quad are chosen by the smallest rectangle around
            them; what is written is always the object as it is, shifted.
        out_folder: new, or left by an earlier run with the same settings.
        size_px, gap_px, iof_thr, img_rate_thr, padding, rates, protocol: see ``TilingSettings``; a single
            padding number stands for a grey.
        workers: processes; default: one for each core. 1 cuts in this process.
        progress: show a progress bar on stderr.

    Returns:
        The manifest of the tiles, as written to ``out_folder/manifest.jsonl``: image paths relative to
        ``out_folder``, every record with its ``scene``.

    Raises:
        ConfigError: for settings that make no sense, or a folder that holds something else.
        DataError: naming the file, for an image that cannot be read or differs in size from the manifest,
            and for two scenes of one name.
    """
    settings = TilingSettings(
        sizes_px=(size_px,) if isinstance(size_px, int) else tuple(size_px),
        gaps_px=(gap_px,) if isinstance(gap_px, int) else tuple(gap_px),
        rates=tuple(rates),
        iof_thr=iof_thr,
        img_rate_thr=img_rate_thr,
        padding=(padding, padding, padding) if isinstance(padding, int) else padding,
        protocol=protocol,
    )
    if workers is not None and workers < 1:
        raise ConfigError(f"tiling: workers must be at least 1, got {workers}")
    _refuse_equal_names(manifest)
    manifest.require_images()
    _claim_folder(out_folder, manifest, settings)

    tiles: list[ImageRecord] = []
    scenes: list[_Scene] = []
    lost = 0
    for record in manifest.records:
        windows = sliding_windows(record.wh, settings)
        of_scene, uses = _tile_records(record, windows, settings)
        tiles += of_scene
        lost += int((uses == 0).sum())
        scenes.append(_Scene(manifest.image_path(record), record.wh, windows, _paths(of_scene, out_folder)))
    _cut(scenes, settings.padding, workers or core_count(), progress)

    result = replace(manifest, records=tuple(tiles), image_folder=out_folder)
    result.write(out_folder / "manifest.jsonl")
    _log.info("%d scenes cut into %d tiles; %d objects are in no tile", len(scenes), len(tiles), lost)
    return result


def sliding_windows(image_wh: tuple[int, int], settings: TilingSettings) -> Windows:
    """The windows that cover an image, (W, 4) as x0, y0, x1, y1 in its pixels.

    The last window of a row or column is moved back to end at the image's edge; a window larger than the
    image begins at 0 and reaches beyond it.
    """
    width, height = image_wh
    found: dict[tuple[int, int, int, int], None] = {}  # a set that keeps its order
    for size, gap in settings.windows():
        for x, y in itertools.product(_starts(width, size, gap), _starts(height, size, gap)):
            found[x, y, x + size, y + size] = None
    windows = np.array(list(found), dtype=np.int64)
    inside = np.minimum(windows[:, 2:], image_wh) - windows[:, :2]
    filled = inside.prod(axis=1) / (windows[:, 2:] - windows[:, :2]).prod(axis=1)
    keep = filled > settings.img_rate_thr
    if not keep.any():
        keep = filled > filled.max() - 0.01
    return np.asarray(windows[keep])


def window_of(tile: ImageRecord) -> tuple[int, int, int, int]:
    """The window that a tile was cut from: x0, y0, x1, y1 in pixels of its scene.

    Raises:
        DataError: if the record is no tile.
    """
    if tile.scene is None:
        raise DataError(f"{tile.image}: is no tile of a scene")
    x, y = tile.scene.x, tile.scene.y
    return x, y, x + tile.width, y + tile.height


def _starts(length: int, size: int, gap: int) -> list[int]:
    if length <= size:
        return [0]
    step = size - gap
    count = -(-(length - size) // step)  # steps until the end is reached, rounded up
    return [*range(0, count * step, step), length - size]


def _tile_records(
    scene: ImageRecord, windows: Windows, settings: TilingSettings
) -> tuple[list[ImageRecord], npt.NDArray[np.int64]]:
    """The tiles of a scene with their objects, and how many tiles took each object, (N,)."""
    name = _scene_name(scene)
    tiles = []
    uses = np.zeros(len(scene.labels), dtype=np.int64)
    for (x0, y0, x1, y1), takes, cuts in _choices(scene, windows, settings):
        uses += takes
        width, height = x1 - x0, y1 - y0
        if settings.padding is None:
            width, height = min(width, scene.width - x0), min(height, scene.height - y0)
        chosen = np.flatnonzero(takes).tolist()
        tiles.append(
            ImageRecord(
                image=f"images/{name}__{x1 - x0}__{x0}___{y0}.png",
                width=width,
                height=height,
                quads=scene.quads[chosen] - (x0, y0),
                labels=tuple(scene.labels[i] for i in chosen),
                difficult=tuple(CUT if cuts[i] else scene.difficult[i] for i in chosen),
                scene=SceneRef(name, x0, y0),
            )
        )
    return tiles, uses


def _choices(
    scene: ImageRecord, windows: Windows, settings: TilingSettings
) -> Iterator[tuple[Any, Any, Any]]:
    """Of every window: itself, which objects it takes, and which it cuts, both (N,)."""
    step = max(1, _PAIRS // max(1, len(scene.labels)))
    for start in range(0, len(windows), step):
        some = windows[start : start + step]
        taken, cut = _choose(scene, some, settings)
        yield from zip(some.tolist(), taken.T, cut.T, strict=True)


def _choose(
    scene: ImageRecord, windows: Windows, settings: TilingSettings
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which window takes which object, and which cuts it, both (N, W)."""
    quads = scene.quads
    if settings.protocol == "lmmrotate":
        quads = quads.astype(np.float32).astype(np.float64)
    convex = np.where(is_convex(quads)[:, None, None], quads, min_area_quads(quads))
    x0, y0, x1, y1 = windows.T
    corners = np.stack([x0, y0, x1, y0, x1, y1, x0, y1], axis=1).reshape(-1, 4, 2).astype(np.float64)
    low, high = windows[:, :2].astype(np.float64), windows[:, 2:].astype(np.float64)
    iof = np.where(_within(quads, low, high), 1.0, iof_matrix(convex, corners))
    if settings.protocol == "lmmrotate":
        areas = quad_areas(convex)
        iof *= (areas / np.maximum(areas.astype(np.float32), np.float32(1e-6)))[:, None]
        return iof >= settings.iof_thr, iof < 1
    low[low == 0] = -np.inf
    high[high >= scene.wh] = np.inf
    return iof >= settings.iof_thr, ~_within(quads, low, high)


def _within(
    quads: Quads, low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Whether all corners of each quad lie from ``low`` to ``high`` (W, 2), edges included; (N, W)."""
    inside = (quads.min(axis=1)[:, None] >= low) & (quads.max(axis=1)[:, None] <= high)  # (N, W, 2)
    return np.asarray(inside.all(axis=2))


@dataclass(frozen=True, eq=False)
class _Scene:
    """One image to cut: what a worker needs to know."""

    path: Path
    wh: tuple[int, int]
    windows: Windows
    tiles: tuple[Path, ...]

    def unfinished(self) -> _Scene:
        """The same scene with the tiles that are missing or older than the scene."""
        made = self.path.stat().st_mtime_ns if self.path.exists() else 0
        todo = [i for i, p in enumerate(self.tiles) if not p.exists() or p.stat().st_mtime_ns < made]
        return self._with(todo)

    def parts(self) -> list[_Scene]:
        """The scene as jobs: a large one, which is read window by window, in strips from top to bottom."""
        if self.wh[0] * self.wh[1] <= WINDOWED_FROM:
            return [self] if self.tiles else []
        x, y = self.windows[:, 0], self.windows[:, 1]
        rows = np.lexsort((x, y)).tolist()
        return [self._with(rows[i : i + _TILES_A_JOB]) for i in range(0, len(rows), _TILES_A_JOB)]

    def _with(self, which: list[int]) -> _Scene:
        return replace(self, windows=self.windows[which], tiles=tuple(self.tiles[i] for i in which))


def _cut(
    scenes: Sequence[_Scene], padding: tuple[int, int, int] | None, workers: int, progress: bool
) -> None:
    total = sum(len(scene.tiles) for scene in scenes)
    jobs = [part for scene in scenes for part in scene.unfinished().parts()]
    columns = (
        TextColumn("tiling"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("tiles"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not progress) as bar:
        task = bar.add_task("", total=total, completed=total - sum(len(job.tiles) for job in jobs))
        for count in _results(_cut_scene, [(job, padding) for job in jobs], workers):
            bar.advance(task, count)


def _results(function: Callable[..., int], jobs: Sequence[tuple[Any, ...]], workers: int) -> Iterator[int]:
    """``function(*job)`` of every job as they finish; the first error ends the others."""
    if workers == 1 or len(jobs) <= 1:
        yield from itertools.starmap(function, jobs)
        return
    with worker_pool(min(workers, len(jobs))) as pool:
        for future in as_completed([pool.submit(function, *job) for job in jobs]):
            yield future.result()


def _cut_scene(scene: _Scene, padding: tuple[int, int, int] | None) -> int:
    """Write the scene's tiles; their number."""
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
            _, png = cv2.imencode(".png", cv2.cvtColor(tile, cv2.COLOR_RGB2BGR))
            with replacing(path) as file:
                file.write(png.tobytes())
    return len(scene.tiles)


def _claim_folder(folder: Path, manifest: Manifest, settings: TilingSettings) -> None:
    """Note the settings in the folder; refuse one that holds anything but the same tiling."""
    wanted = json.loads(
        json.dumps({"dataset": manifest.dataset, "split": manifest.split, **asdict(settings)})
    )
    note = folder / "tiling.json"
    if note.exists():
        try:
            found = json.loads(note.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{note}: cannot be read ({error}); choose another folder") from error
        if found != wanted:
            differing = [k for k in wanted if not isinstance(found, dict) or found.get(k) != wanted[k]]
            raise ConfigError(
                f"{folder}: holds tiles of other settings ({', '.join(differing) or 'newer lmmrotate'} "
                "differ); choose another folder or delete it"
            )
    elif (folder / "manifest.jsonl").exists() or (folder / "images").exists():
        raise ConfigError(f"{folder}: holds data that is no tiling of ours; choose another folder")
    write_text_atomic(note, [json.dumps(wanted, indent=2) + "\n"])
    for leftover in (folder / "images").glob(".*.tmp"):  # of a run that was killed
        leftover.unlink(missing_ok=True)


def _refuse_equal_names(manifest: Manifest) -> None:
    seen: dict[str, str] = {}
    for record in manifest.records:
        first = seen.setdefault(_scene_name(record), record.image)
        if first != record.image:
            raise DataError(
                f"tiles of {first} and {record.image} would share their names; rename one of them"
            )


def _scene_name(record: ImageRecord) -> str:
    return PurePosixPath(record.image).stem


def _paths(records: Sequence[ImageRecord], folder: Path) -> tuple[Path, ...]:
    return tuple(folder / record.image for record in records)
