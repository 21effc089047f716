"""From what a head says to boxes: the best of every level, decoded, without their doubles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lmmrotate.baselines.heads import Head, HeadOutput
from lmmrotate.errors import ConfigError
from lmmrotate.geometry.overlap import rotated_nms
from lmmrotate.geometry.quads import Quads
from lmmrotate.geometry.rboxes import rboxes_to_quads


@dataclass(frozen=True, kw_only=True)
class FindingOptions:
    """Defaults are the published ones (``test_cfg``).

    Raises:
        ConfigError: for numbers out of range.
    """

    score_threshold: float = 0.05
    """A class is looked at from this probability on (before centre-ness)."""
    candidates: int = 2000
    """At most so many of every level and image, the surest."""
    nms_iou: float = 0.1
    """Of two boxes of one class that overlap so much, the surer one stays."""
    max_boxes: int = 2000
    """Of an image."""

    def __post_init__(self) -> None:
        for name in ("score_threshold", "nms_iou"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must lie in [0, 1], got {getattr(self, name)}")
        for name in ("candidates", "max_boxes"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True, eq=False)
class Finds:
    """The objects of one image, the surest first."""

    quads: Quads
    """(N, 4, 2) pixels of the canvas."""
    classes: np.ndarray
    """(N,) class numbers."""
    scores: np.ndarray
    """(N,)"""


@torch.inference_mode()
def find(head: Head, output: HeadOutput, options: FindingOptions) -> list[Finds]:
    """The objects of every image of a batch."""
    return [_find(head, output, image, options) for image in range(len(output.logits))]


def _find(head: Head, output: HeadOutput, image: int, options: FindingOptions) -> Finds:
    boxes, classes, scores = [], [], []
    first = 0
    for size in head.level_sizes:
        level = slice(first, first + size)
        rows, labels, values = _candidates(output.logits[image, level].float().sigmoid(), options)
        rows = rows + first
        if output.quality is not None:
            values = values * output.quality[image, rows].float().sigmoid()
        boxes.append(head.boxes(output.geometry[image, rows].float(), rows))
        classes.append(labels)
        scores.append(values)
        first += size
    rboxes = torch.cat(boxes).cpu().double().numpy()
    sound = np.isfinite(rboxes).all(axis=1) & (rboxes[:, 2:4] > 0).all(axis=1)
    quads = rboxes_to_quads(rboxes[sound])
    labels_found = torch.cat(classes).cpu().numpy()[sound]
    scores_found = torch.cat(scores).cpu().double().numpy()[sound]
    kept = rotated_nms(quads, scores_found, labels_found, options.nms_iou)[: options.max_boxes]
    return Finds(quads[kept], labels_found[kept], scores_found[kept])


def _candidates(probabilities: Tensor, options: FindingOptions) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, classes and probabilities (M,) of the surest of (N, K)."""
    flat = probabilities.flatten()
    places = (flat > options.score_threshold).nonzero().flatten()
    values, order = flat[places].sort(descending=True, stable=True)
    places = places[order[: options.candidates]]
    return (
        places // probabilities.shape[1],
        places % probabilities.shape[1],
        values[: options.candidates],
    )
