"""Images on canvases, with what a detector is taught about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lmmrotate.baselines.canvas import Pixels, fitted_wh, on_canvas
from lmmrotate.baselines.detector import ARCHITECTURES
from lmmrotate.baselines.heads import Lesson
from lmmrotate.baselines.spec import DetectorSpec
from lmmrotate.data.records import ImageRecord
from lmmrotate.data.streaming import ManifestFile
from lmmrotate.errors import DataError
from lmmrotate.geometry.rboxes import RBoxes, quads_to_rboxes
from lmmrotate.training.manifests import followed
from lmmrotate.training.records import RecordDataset
from lmmrotate.training.trainer import NAMES

_LEAST_SIDE_PX = 1.0
"""Objects thinner than this on the canvas are made so thick: of sizes, logarithms are taken."""


@dataclass(frozen=True, eq=False)
class Seen:
    """An image as a detector is shown it."""

    pixels: Pixels
    """(3, S, S)"""
    lesson: Lesson
    path: Path
    """Where it comes from, for messages."""


class DetectionDataset(RecordDataset[Seen]):
    """Images and lessons, as an epoch shows them."""

    def __init__(self, manifests: Sequence[ManifestFile], spec: DetectorSpec, **how: Any) -> None:
        """
        Args:
            manifests: of one class list, that of ``spec``.
            how: see ``RecordDataset``.
        """
        super().__init__(manifests, **how)
        self._spec = spec
        self._numbers = {label: number for number, label in enumerate(spec.classes)}

    def __getitem__(self, index: int) -> Seen:
        """An image and its lesson. Raises DataError as ``changed``."""
        spec = self._spec
        path, image, record = self.changed(index)
        labels = np.array([self._numbers[label] for label in record.labels], dtype=np.int64)
        lesson = ARCHITECTURES[spec.arch].teach(spec, boxes_on_canvas(record, spec), labels)
        return Seen(on_canvas(image, spec), lesson, path)


def boxes_on_canvas(record: ImageRecord, spec: DetectorSpec) -> RBoxes:
    """The objects (G, 5) of an image, le90, pixels of the canvas."""
    scale = np.divide(fitted_wh(record.wh, spec.image_square_length), record.wh)
    boxes = quads_to_rboxes(record.quads * scale)
    boxes[:, 2:4] = np.maximum(boxes[:, 2:4], _LEAST_SIDE_PX)
    return boxes


def collate(items: Sequence[Seen]) -> dict[str, Any]:
    """A training batch; see ``Detector.forward``."""
    lessons = [item.lesson for item in items]
    return {
        "pixels": torch.from_numpy(np.stack([item.pixels for item in items])),
        "labels": torch.from_numpy(np.stack([lesson.labels for lesson in lessons])),
        "boxes": torch.from_numpy(np.concatenate([lesson.boxes for lesson in lessons])).float(),
        "weights": torch.tensor([lesson.weights for lesson in lessons]).sum(dim=0),
        NAMES: [str(item.path) for item in items],
    }


def with_objects(manifests: Sequence[ManifestFile]) -> list[ManifestFile]:
    """The manifests without images that show nothing. Raises DataError if none is left."""
    kept = []
    for manifest in manifests:
        full = [bool(record.labels) for record in followed("looking for objects", manifest)]
        kept.append(manifest.take(np.array(full, dtype=np.bool_)))
    if not any(map(len, kept)):
        raise DataError("the data holds no image with an object to train on")
    return kept
