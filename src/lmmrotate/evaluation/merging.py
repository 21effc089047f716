"""From detections in tiles to detections in scenes.

An object in the overlap of two tiles is found twice, and one that a tile cuts is found in part. Rules for
what becomes of them, by name:

* **nms**: class-wise non-maximum suppression over the scene, as mmrotate and DOTA_devkit do. Of equal scores
  the earlier detection wins, in the order of the tiles.
* **edge**: the same, but of equal scores the box that lies farther from its tile's edge wins, so that a whole
  object beats its piece. For models that give all boxes the same score.
* **cluster**: boxes of one class from different tiles that overlap, or of which one lies in the other, are
  taken for one object. The box farthest from its tile's edge stands for it, with the largest score of them:
  an object does not become less sure because another tile shows a piece of it. Boxes of the same tile are
  never joined: the model wrote them as different objects, however close they lie.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Literal

import numpy as np

from lmmrotate.data.manifest import Manifest
from lmmrotate.data.predictions import Predictions
from lmmrotate.data.records import ImageRecord, Prediction, SceneRef
from lmmrotate.data.tile_objects import scene_name
from lmmrotate.errors import ConfigError, DataError
from lmmrotate.evaluation import kernels
from lmmrotate.evaluation.matching import Floats, Ints
from lmmrotate.geometry.overlap import overlapping_in_groups, rotated_nms
from lmmrotate.geometry.quads import Quads, min_area_quads, quad_areas

Rule = Literal["nms", "edge", "cluster"]
RULES: tuple[Rule, ...] = ("nms", "edge", "cluster")

_PIECE_IOF = 0.7
"""A box of which this share lies in another is a piece of it."""

_NAME = re.compile(r"__()([0-9]+)___([0-9]+)")
_DEVKIT_NAME = re.compile(r"__([0-9]*\.?[0-9]+|[0-9]+\.)__([0-9]+)___([0-9]+)")


@dataclass(frozen=True, eq=False)
class _Found:
    """All detections of one scene, in its pixels."""

    quads: Quads
    labels: Ints
    scores: Floats
    tile: Ints
    """(N,) the number of the tile."""
    margin_px: Floats
    """(N,) from the tile's nearest edge at which the scene goes on; infinite where there is none."""


def merge_predictions(
    predictions: Predictions,
    tiles: Manifest,
    *,
    rule: Rule = "nms",
    iou_threshold: float = 0.1,
    scenes: Manifest | None = None,
) -> Predictions:
    """Detections of scenes from those of their tiles.

    Args:
        predictions: of tiles; those without a prediction are missing from their scene.
        tiles: their manifest, every record with its ``scene``.
        rule: see above.
        iou_threshold: from which on two boxes are one object, in [0, 1].
        scenes: the manifest that was tiled: it names the scenes' images and says how large they are. Without
            it scenes are called as tiles call them, and reach as far as their tiles do.

    Returns:
        One prediction for every scene of which a tile was predicted, in the order of the tiles, boxes by
        falling score.

    Raises:
        ConfigError: for an unknown rule or a threshold out of range.
        DataError: for a prediction of an image that is no tile of the manifest, one that is there twice, has
            another size or a class that the header does not list; and for tiles of a scene that ``scenes``
            does not have.
    """
    if rule not in RULES or not 0 <= iou_threshold <= 1:
        raise ConfigError(
            f"merge: rule must be one of {', '.join(RULES)}, got {rule!r}; iou_threshold in [0, 1], "
            f"got {iou_threshold}"
        )
    predicted = _joined(predictions, tiles)
    of_scene: dict[str, list[ImageRecord]] = {}
    for record in tiles.records:
        if record.scene is not None:
            of_scene.setdefault(record.scene.name, []).append(record)
    known = {scene_name(record): record for record in scenes.records} if scenes is not None else None
    merged = []
    for name, records in of_scene.items():
        found = [(record, predicted[record.image]) for record in records if record.image in predicted]
        if found:
            image, wh = _named(name, records, known)
            merged.append(_merge_scene(image, wh, found, predictions.header.classes, rule, iou_threshold))
    settings = {**predictions.header.settings, "merge": rule, "merge_iou": iou_threshold}
    return Predictions(replace(predictions.header, settings=settings), tuple(merged))


def tiles_named_by(predictions: Predictions, *, devkit: bool = False) -> Manifest:
    """A manifest of tiles, where there is none, from names such as ``P0001__1024__824___0`` (scene, x, y).

    As in mmrotate, what stands between scene and x is passed over and the scene ends at the first ``__``.

    Args:
        devkit: it is the scale, ``P0001__0.5__824___0``, as DOTA_devkit has it.

    Raises:
        DataError: naming an image whose name says no place.
    """
    pattern, expected = (_DEVKIT_NAME, "NAME__SCALE__X___Y") if devkit else (_NAME, "NAME__SIZE__X___Y")
    records = []
    for prediction in predictions.images:
        name = PurePosixPath(prediction.image).name
        scene, place = name.split("__")[0], pattern.search(name)
        scale = float(place[1] or 1) if place else 0.0
        if place is None or not scene or scale == 0:
            raise DataError(f"{prediction.image}: does not say where it was cut; expected {expected}")
        reference = SceneRef(scene, int(place[2]), int(place[3]), scale)
        records.append(ImageRecord(prediction.image, prediction.width, prediction.height, scene=reference))
    return Manifest("", "", predictions.header.classes, tuple(records))


def _joined(predictions: Predictions, tiles: Manifest) -> dict[str, Prediction]:
    """The prediction of every tile that has one."""
    sizes = {record.image: record.wh for record in tiles.records if record.scene is not None}
    classes = predictions.header.classes
    joined: dict[str, Prediction] = {}
    for prediction in predictions.images:
        image, wh = prediction.image, (prediction.width, prediction.height)
        if image not in sizes:
            raise DataError(f"{image}: is predicted, but is no tile of a scene in the manifest")
        if image in joined:
            raise DataError(f"{image}: has more than one prediction")
        if wh != sizes[image]:
            raise DataError(
                f"{image}: predicted at {wh[0]} x {wh[1]} px, but the manifest says "
                f"{sizes[image][0]} x {sizes[image][1]}: coordinates would not fit"
            )
        unknown = set(prediction.labels).difference(classes)
        if unknown:
            raise DataError(f"{image}: unknown class {min(unknown)!r}; valid: {', '.join(classes)}")
        joined[image] = prediction
    return joined


def _named(
    name: str, tiles: Sequence[ImageRecord], known: dict[str, ImageRecord] | None
) -> tuple[str, tuple[int, int]]:
    """Image and size (w, h) of a scene."""
    if known is None:
        reach = np.max([_window(tile)[2:] for tile in tiles], axis=0)
        return name, (int(np.ceil(reach[0])), int(np.ceil(reach[1])))
    if name not in known:
        raise DataError(
            f"{tiles[0].image}: is a tile of {name!r}, which the manifest of scenes does not have"
        )
    return known[name].image, known[name].wh


def _window(tile: ImageRecord) -> Floats:
    """x0, y0, x1, y1 of a tile in pixels of its scene."""
    scene = tile.scene or SceneRef(tile.image, 0, 0)
    corner = np.array([scene.x, scene.y], dtype=np.float64)
    return np.concatenate([corner, corner + tile.wh]) / scene.scale


def _merge_scene(
    image: str,
    wh: tuple[int, int],
    tiles: Sequence[tuple[ImageRecord, Prediction]],
    classes: Sequence[str],
    rule: Rule,
    iou_threshold: float,
) -> Prediction:
    found = _collect(wh, tiles, {name: number for number, name in enumerate(classes)})
    if rule == "cluster":
        kept, scores = _clusters(found, iou_threshold)
    else:
        # Ranks in place of scores, so that ties are broken as the rule says.
        margin = found.margin_px if rule == "edge" else np.zeros(len(found.scores))
        order = np.lexsort((-margin, -found.scores))
        rank = np.empty(len(order))
        rank[order] = -np.arange(len(order))
        kept = rotated_nms(min_area_quads(found.quads), rank, found.labels, iou_threshold)
        scores = found.scores[kept]
    predictions = [prediction for _, prediction in tiles]
    return Prediction(
        image,
        *wh,
        quads=found.quads[kept],
        labels=tuple(classes[label] for label in found.labels[kept]),
        scores=tuple(scores.tolist()),
        problems=tuple(problem for p in predictions for problem in p.problems),
        truncated=any(p.truncated for p in predictions),
        seconds=sum(p.seconds for p in predictions),
    )


def _collect(
    wh: tuple[int, int], tiles: Sequence[tuple[ImageRecord, Prediction]], index: dict[str, int]
) -> _Found:
    quads, margins = [], []
    for tile, prediction in tiles:
        x0, y0, x1, y1 = _window(tile)
        scale = tile.scene.scale if tile.scene else 1.0
        moved = prediction.quads / scale + (x0, y0)
        low, high = moved.min(axis=1, initial=np.inf), moved.max(axis=1, initial=-np.inf)
        sides = np.stack([low[:, 0] - x0, low[:, 1] - y0, x1 - high[:, 0], y1 - high[:, 1]], axis=1)
        goes_on = np.array([x0 > 0, y0 > 0, x1 < wh[0], y1 < wh[1]])
        margins.append(np.where(goes_on, sides, np.inf).min(axis=1))
        quads.append(moved)
    counts = [len(prediction.labels) for _, prediction in tiles]
    return _Found(
        np.concatenate(quads),
        np.array([index[label] for _, p in tiles for label in p.labels], dtype=np.int64),
        np.array([score for _, p in tiles for score in p.scores], dtype=np.float64),
        np.repeat(np.arange(len(tiles)), counts),
        np.concatenate(margins),
    )


def _clusters(found: _Found, iou_threshold: float) -> tuple[Ints, Floats]:
    """Rows of the boxes that stand for an object each, by falling score, and these scores."""
    boxes = min_area_quads(found.quads)
    groups = _neighbours(boxes, found.tile)
    one, other, iou = overlapping_in_groups(boxes, boxes, groups, (found.labels, found.labels))
    areas = quad_areas(boxes)
    shared = iou / (1 + iou) * (areas[one] + areas[other])
    piece = shared >= _PIECE_IOF * np.minimum(areas[one], areas[other])
    near = (iou >= iou_threshold) | piece
    one, other, iou = one[near], other[near], iou[near]
    order = np.lexsort((other, -iou, one))
    heads = np.lexsort((-found.scores, -found.margin_px))
    starts = np.searchsorted(one[order], np.arange(len(boxes) + 1))
    head = kernels.join_clusters(heads, starts, other[order], found.tile)
    scores = np.full(len(boxes), -np.inf)
    np.maximum.at(scores, head, found.scores)
    kept = np.flatnonzero(head == np.arange(len(boxes)))
    kept = kept[np.argsort(-scores[kept], kind="stable")]
    return kept, scores[kept]


def _neighbours(boxes: Quads, tile: Ints) -> Ints:
    """Rows of every two different tiles whose boxes may overlap, as ``overlapping_in_groups`` takes them."""
    first = np.flatnonzero(np.diff(tile, prepend=-1))
    last = np.append(first[1:], len(tile))
    low = np.minimum.reduceat(boxes.min(axis=1), first)
    high = np.maximum.reduceat(boxes.max(axis=1), first)
    pairs = [np.empty((0, 4), dtype=np.int64)]
    for i in range(len(first)):
        meets = np.logical_and(low < high[i], high > low[i]).all(axis=1)
        meets[i] = False
        others = np.flatnonzero(meets)
        rows = np.broadcast_to((first[i], last[i]), (len(others), 2))
        pairs.append(np.column_stack([rows, first[others], last[others]]))
    return np.concatenate(pairs)
