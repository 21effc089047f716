"""Cutting the images of a manifest into overlapping tiles.

Window layout, tile names (``P0000__1024__824___0.png``: scene, window size, x, y), padding and the choice
of objects follow the split tool of MMRotate and BboxToolkit, which the published code uses, so that tiles
and results can be compared file by file. One thing differs by default: which objects count as **cut by the
tile's edge** (difficulty 2). The published tool asks for ``IoF < 1``, with the object's area rounded to
float32: half of the objects with fractional corners that lie wholly inside count as cut, and so do those
that reach a pixel over the border of the scene. By default an object is cut if one of its corners lies
beyond an edge of the window where the scene goes on. The "lmmrotate" protocol reproduces the published tool.

The output folder holds ``images/``, ``tiling.json`` (the settings), ``scenes.json`` (which files the tiles
are of) and, written last, ``manifest.jsonl``.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from lmmrotate.data.jsonl import read_note, write_text_atomic
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.records import ImageRecord
from lmmrotate.data.tile_cutting import Scene, cut, forget_changed
from lmmrotate.data.tile_objects import scene_name, tile_records
from lmmrotate.data.tile_windows import TilingProtocol, TilingSettings, sliding_windows
from lmmrotate.data.workers import core_count
from lmmrotate.errors import ConfigError, DataError

_log = logging.getLogger(__name__)


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

    Interrupted runs go on where they stopped: each tile is written whole or not at all, and those of scenes
    that have not changed are not cut again. Tiles of scenes that are no more are removed.

    Args:
        manifest: the scenes. Objects that are no convex quad are chosen by the smallest rectangle around
            them; what is written is always the object as it is, shifted.
        out_folder: new, or left by an earlier run with the same settings.
        size_px, gap_px, iof_thr, img_rate_thr, padding, rates, protocol: see ``TilingSettings``; a single
            padding number stands for a grey.
        workers: threads; default: one for each core. Each holds one scene in memory.
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
    forget_changed(out_folder, {scene_name(r): manifest.image_path(r) for r in manifest.records})

    tiles: list[ImageRecord] = []
    scenes: list[Scene] = []
    lost = 0
    for record in manifest.records:
        windows = sliding_windows(record.wh, settings)
        of_scene, uses = tile_records(record, windows, settings)
        tiles += of_scene
        lost += int((uses == 0).sum())
        paths = tuple(out_folder / tile.image for tile in of_scene)
        scenes.append(Scene(manifest.image_path(record), record.wh, windows, paths))
    cut(scenes, settings.padding, workers or core_count(), progress=progress)

    result = replace(manifest, records=tuple(tiles), image_folder=out_folder)
    result.write(out_folder / "manifest.jsonl")
    _log.info("%d scenes cut into %d tiles", len(scenes), len(tiles))
    if lost:
        objects = sum(len(record.labels) for record in manifest.records)
        _log.warning(
            "%d of %d objects are in no tile: no window holds %g of the area (iof_thr); larger windows or "
            "gaps take them in",
            lost,
            objects,
            settings.iof_thr,
        )
    return result


def window_of(tile: ImageRecord) -> tuple[int, int, int, int]:
    """The window that a tile was cut from: x0, y0, x1, y1 in pixels of its scene.

    Raises:
        DataError: if the record is no tile.
    """
    if tile.scene is None:
        raise DataError(f"{tile.image}: is no tile of a scene")
    x, y = tile.scene.x, tile.scene.y
    return x, y, x + tile.width, y + tile.height


def _claim_folder(folder: Path, manifest: Manifest, settings: TilingSettings) -> None:
    """Note the settings in the folder; refuse one that holds anything but the same tiling."""
    wanted = json.loads(
        json.dumps({"dataset": manifest.dataset, "split": manifest.split, **asdict(settings)})
    )
    note = folder / "tiling.json"
    found = read_note(note)
    if found not in (None, wanted):
        differing = [k for k in wanted if not isinstance(found, dict) or found.get(k) != wanted[k]]
        raise ConfigError(
            f"{folder}: holds tiles of other settings ({', '.join(differing) or 'newer lmmrotate'} "
            "differ); choose another folder or delete it"
        )
    if found is None and ((folder / "manifest.jsonl").exists() or (folder / "images").exists()):
        raise ConfigError(f"{folder}: holds data that is no tiling of ours; choose another folder")
    write_text_atomic(note, [json.dumps(wanted, indent=2) + "\n"])
    for leftover in (folder / "images").glob(".*.tmp"):  # of a run that was killed
        leftover.unlink(missing_ok=True)


def _refuse_equal_names(manifest: Manifest) -> None:
    seen: dict[str, str] = {}
    for record in manifest.records:
        first = seen.setdefault(scene_name(record), record.image)
        if first != record.image:
            raise DataError(
                f"tiles of {first} and {record.image} would share their names; rename one of them"
            )
