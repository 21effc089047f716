"""Scenes of any size: predicted tile by tile, merged into one prediction in their own pixels.

Tiles overlap, so that every object smaller than the overlap is whole in one of them; a tile of one colour
(sea, the black around a raster) is passed over. Each may be asked about at several scales and in several
views, and what is found in all of them is merged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lmmrotate.data.manifest import Manifest
from lmmrotate.data.predictions import Predictions, read_predictions, write_timing
from lmmrotate.data.rasters import RASTERS, padded, raster_size
from lmmrotate.data.records import ImageRecord, Prediction, SceneRef
from lmmrotate.data.tile_objects import scene_name
from lmmrotate.data.tile_windows import TilingSettings, sliding_windows
from lmmrotate.errors import ConfigError, DataError
from lmmrotate.evaluation.merging import RULES, Rule, merge_predictions
from lmmrotate.geometry.quads import Quads
from lmmrotate.inference.batch import BatchResult, Engine, predict_to_file
from lmmrotate.inference.predictor import DEFAULT, Finder
from lmmrotate.inference.shares import Share
from lmmrotate.inference.sources import FileSource, ImageSource, held_raster

_OVERLAP = 0.25
"""Of neighbouring tiles, in shares of their side."""
_SCENE_FROM = 1.5
"""An image longer than so many tiles is a scene."""

VIEWS: Mapping[str, tuple[str, ...]] = {
    "none": ("plain",),
    "flips": ("plain", "flip_x", "flip_y"),
    "all": ("plain", "flip_x", "flip_y", "turn_90", "turn_180", "turn_270"),
}
"""Test-time augmentation by name: in which views every tile is shown."""

_TURNS = {
    "flip_x": Image.Transpose.FLIP_LEFT_RIGHT,
    "flip_y": Image.Transpose.FLIP_TOP_BOTTOM,
    "turn_90": Image.Transpose.ROTATE_90,
    "turn_180": Image.Transpose.ROTATE_180,
    "turn_270": Image.Transpose.ROTATE_270,
}


@dataclass(frozen=True, kw_only=True)
class SceneOptions:
    """How scenes are cut and put together.

    Raises:
        ConfigError: for what makes no sense.
    """

    tile_px: int | None = None
    """Side of a tile at scale 1; default: the side that the model resizes every image to."""
    gap_px: int | None = None
    """Overlap of neighbouring tiles at scale 1; default: a quarter of the side."""
    scales: tuple[float, ...] = (1.0,)
    """2: also tiles of half the side, in which everything is twice as large; 0.5: of twice the side."""
    tta: str = "none"
    """See ``VIEWS``."""
    bands: tuple[int, ...] = ()
    """Of a raster, counted from 1: one, or three for red, green and blue."""
    merge: Rule = "cluster"
    """What becomes of objects that several tiles show; see ``evaluation.merging``."""
    merge_iou: float = 0.3
    """From which on two boxes are one object."""

    def __post_init__(self) -> None:
        if self.tile_px is not None and self.tile_px < 16:
            raise ConfigError(f"tile_px must be at least 16, got {self.tile_px}")
        if not self.scales or min(self.scales) <= 0:
            raise ConfigError(f"scales must be above 0, got {self.scales}")
        if self.tta not in VIEWS:
            raise ConfigError(f"tta is {self.tta!r}; valid: {', '.join(VIEWS)}")
        if self.merge not in RULES or not 0 <= self.merge_iou <= 1:
            raise ConfigError(
                f"merge must be one of {', '.join(RULES)}, got {self.merge!r}; merge_iou in [0, 1], got "
                f"{self.merge_iou}"
            )

    def tiling(self, model_px: int) -> TilingSettings:
        """Windows for a model that resizes every image to squares of ``model_px``.

        Raises:
            ConfigError: if the gap is as large as a tile.
        """
        side = self.tile_px or model_px
        gap = round(side * _OVERLAP) if self.gap_px is None else self.gap_px
        return TilingSettings(sizes_px=(side,), gaps_px=(gap,), rates=self.scales, img_rate_thr=0.0)

    def is_scene(self, wh: tuple[int, int], model_px: int) -> bool:
        """Whether an image of this size is too large to be looked at as a whole."""
        return max(wh) > _SCENE_FROM * (self.tile_px or model_px)


@dataclass(frozen=True)
class TileSource:
    """One tile of a scene in one view; see ``ImageSource``."""

    path: Path
    box: tuple[int, int, int, int]
    """x0, y0, x1, y1 in pixels of the scene; it may reach beyond it."""
    view: str = "plain"
    bands: tuple[int, ...] = ()

    skips_blank = True

    def read(self) -> Image.Image:
        raster = held_raster(self.path, self.bands)
        picture = Image.fromarray(padded(raster.wh, raster.read, self.box))
        return picture.transpose(_TURNS[self.view]) if self.view in _TURNS else picture

    def upright(self, quads: Quads) -> Quads:
        """Quads (N, 4, 2) found in this view, in pixels of the tile as it stands in the scene."""
        width, height = self.box[2] - self.box[0], self.box[3] - self.box[1]
        x, y = quads[..., 0], quads[..., 1]
        places = {
            "flip_x": (width - x, y),
            "flip_y": (x, height - y),
            "turn_90": (width - y, x),  # it was turned counterclockwise
            "turn_180": (width - x, height - y),
            "turn_270": (y, height - x),
        }
        return np.stack(places[self.view], axis=-1) if self.view in places else quads


@dataclass(frozen=True, eq=False)
class ScenePlan:
    """Which tiles of an image to look at."""

    record: ImageRecord
    """The image: name and size."""
    tiles: tuple[tuple[ImageRecord, TileSource], ...]
    """Records as in a manifest of tiles, and where their pictures are; none for an image that is looked at
    as a whole."""

    def work(self, path: Path) -> list[tuple[str, ImageSource]]:
        if not self.tiles:
            return [(self.record.image, FileSource(path))]
        return [(tile.image, source) for tile, source in self.tiles]


def plan_scene(name: str, path: Path, options: SceneOptions, model_px: int) -> ScenePlan:
    """The tiles of an image, row by row. An ordinary picture that is no scene has none.

    Raises:
        DataError: if the image's header cannot be read.
        ConfigError: as ``SceneOptions.tiling``.
    """
    record = ImageRecord(name, *raster_size(path))
    views = VIEWS[options.tta]
    windows = np.array([[0, 0, *record.wh]])
    if options.is_scene(record.wh, model_px):
        windows = sliding_windows(record.wh, options.tiling(model_px))
        windows = windows[np.lexsort((windows[:, 0], windows[:, 1]))]  # neighbours one after the other
    elif len(views) == 1 and path.suffix.lower() not in RASTERS:
        return ScenePlan(record, ())
    tiles = []
    for x0, y0, x1, y1 in windows.tolist():
        for view in views:
            tile = ImageRecord(
                f"{name}__{x1 - x0}__{x0}___{y0}" + (f"__{view}" if view != "plain" else ""),
                x1 - x0,
                y1 - y0,
                scene=SceneRef(scene_name(record), x0, y0),
            )
            tiles.append((tile, TileSource(path, (x0, y0, x1, y1), view, options.bands)))
    return ScenePlan(record, tuple(tiles))


def merge_scenes(plans: Sequence[ScenePlan], found: Predictions, options: SceneOptions) -> Predictions:
    """Predictions of scenes from those of their tiles, in the order of the plans.

    A scene of which no tile could be read is left out.
    """
    by_name = {prediction.image: prediction for prediction in found.images}
    merged: list[Prediction] = []
    for plan in plans:
        if not plan.tiles and plan.record.image in by_name:
            merged.append(by_name[plan.record.image])
        known = [(record, source) for record, source in plan.tiles if record.image in by_name]
        if not known:
            continue
        upright = tuple(
            replace(
                by_name[record.image],
                width=record.width,
                height=record.height,
                quads=source.upright(by_name[record.image].quads),
            )
            for record, source in known
        )
        tiles = Manifest("", "", found.header.classes, tuple(record for record, _ in known))
        scene = Manifest("", "", found.header.classes, (plan.record,))
        merged += merge_predictions(
            Predictions(found.header, upright),
            tiles,
            rule=options.merge,
            iou_threshold=options.merge_iou,
            scenes=scene,
        ).images
    settings = {**found.header.settings, "merge": options.merge, "merge_iou": options.merge_iou}
    return Predictions(replace(found.header, settings=settings), tuple(merged))


def predict_scenes_to_file(
    predictor: Finder,
    images: Sequence[tuple[str, Path]],
    output: Path,
    scene_options: SceneOptions,
    *,
    batch_size: int = 8,
    options: Any = DEFAULT,
    share: Share | None = None,
    engine: Engine | None = None,
    progress: bool = True,
) -> BatchResult:
    """Predict scenes, and images that are none, into one predictions file with a line for each.

    What was found in the tiles is kept in ``output`` with ``.tiles.jsonl`` for its ending: a call that was
    interrupted goes on tile by tile, and another rule of merging needs no model.

    Args:
        images: pairs of name and path.
        batch_size, options, share, engine, progress: as for ``predict_to_file``; its errors are raised, too.

    Returns:
        Counts are of tiles, if any image is a scene.
    """
    plans: list[ScenePlan] = []
    paths = dict(images)
    for name, path in paths.items():
        try:
            plans.append(plan_scene(name, path, scene_options, predictor.tile_px))
        except DataError:  # said again, and counted, when its turn comes
            plans.append(ScenePlan(ImageRecord(name, 0, 0), ()))
    work = [item for plan in plans for item in plan.work(paths[plan.record.image])]
    scenes = any(plan.tiles for plan in plans)
    direct = output.with_suffix(".tiles.jsonl") if scenes else output
    result = predict_to_file(
        predictor,
        work,
        direct,
        batch_size=batch_size,
        options=options,
        share=share,
        engine=engine,
        unit="tiles" if scenes else "images",
        progress=progress,
    )
    if scenes and result.finished:
        found = merge_scenes(plans, read_predictions(direct), scene_options)
        write_timing(output, len(found.images), sum(p.seconds for p in found.images))
        Predictions(found.header, tuple(replace(p, seconds=0.0) for p in found.images)).write(output)
    return replace(result, path=output)
