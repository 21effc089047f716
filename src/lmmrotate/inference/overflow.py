"""Images with more objects than one answer can hold: asked about again, in four overlapping parts."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from lmmrotate.data.manifest import Manifest
from lmmrotate.data.predictions import Predictions, PredictionsHeader
from lmmrotate.data.records import ImageRecord, Prediction, SceneRef

MOST_SPLITS = 2
"""How often an image is cut in four before an answer is kept as far as it goes."""
LEAST_SIDE_PX = 32
"""Smaller images are not cut."""
_OVERLAP = 0.2
"""Of the parts, in shares of the image: objects on a cut are whole in one of them."""

Box = tuple[int, int, int, int]


def can_split(picture: Image.Image) -> bool:
    return min(picture.size) >= LEAST_SIDE_PX


def quarters(picture: Image.Image) -> list[tuple[Box, Image.Image]]:
    """Four overlapping parts: x0, y0, x1, y1 in pixels of the picture, and what is there."""
    width, height = picture.size
    wide, high = (round(side * (0.5 + _OVERLAP / 2)) for side in (width, height))
    boxes = [(x, y, x + wide, y + high) for y in (0, height - high) for x in (0, width - wide)]
    return [(box, picture.crop(box)) for box in boxes]


def joined(
    header: PredictionsHeader, image: str, boxes: Sequence[Box], parts: Sequence[Prediction]
) -> Prediction:
    """What was found in an image from what was found in its parts; objects that several show count once."""
    from lmmrotate.evaluation.merging import merge_predictions

    records = tuple(
        ImageRecord(part.image, part.width, part.height, scene=SceneRef(image, box[0], box[1]))
        for part, box in zip(parts, boxes, strict=True)
    )
    tiles = Manifest("", "", header.classes, records)
    merged = merge_predictions(Predictions(header, tuple(parts)), tiles, rule="cluster", iou_threshold=0.5)
    return merged.images[0]
