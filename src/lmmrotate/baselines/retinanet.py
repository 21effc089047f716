"""Rotated RetinaNet: anchors, focal loss, L1 on le90 deltas (mmrotate's ``rotated-retinanet-rbox-le90``)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lmmrotate.baselines.assigning import Ints, assign_by_iou
from lmmrotate.baselines.coding import decode_deltas, encode_deltas
from lmmrotate.baselines.heads import Head, HeadOutput, Lesson, Targets, by_prior
from lmmrotate.baselines.losses import focal_loss
from lmmrotate.baselines.priors import ANCHORS_A_CELL, anchor_quads, anchors
from lmmrotate.baselines.spec import DetectorSpec
from lmmrotate.geometry.rboxes import RBoxes, rboxes_to_quads


def teach(spec: DetectorSpec, boxes: RBoxes, labels: Ints) -> Lesson:
    """The lesson of an image with objects (G, 5), pixels of the canvas, of classes (G,)."""
    found = assign_by_iou(anchor_quads(spec.grids), rboxes_to_quads(boxes), labels)
    count = float(max(1, len(found.objects)))  # an image without objects counts as one
    return Lesson(found.labels, boxes[found.objects], (count, count))


class RetinaHead(Head):
    """See ``Head``; geometry is deltas of anchors."""

    extra_levels = "on_input"
    anchors: Tensor

    def __init__(self, spec: DetectorSpec) -> None:
        super().__init__(spec, ANCHORS_A_CELL, group_norm=False)
        self.deltas = nn.Conv2d(spec.channels, ANCHORS_A_CELL * 5, 3, padding=1)
        self._init(self.deltas)
        places = torch.tensor(anchors(spec.grids), dtype=torch.float32)
        self.register_buffer("anchors", places, persistent=False)

    def forward(self, levels: Sequence[Tensor]) -> HeadOutput:
        logits = [self.class_logits(self.class_branch(level)) for level in levels]
        deltas = [self.deltas(self.box_branch(level)) for level in levels]
        return HeadOutput(by_prior(logits, self._classes), by_prior(deltas, 5), None)

    def losses(self, output: HeadOutput, targets: Targets, weights: Tensor) -> dict[str, Tensor]:
        images, rows = (targets.labels >= 0).nonzero(as_tuple=True)
        wanted = encode_deltas(self.anchors[rows], targets.boxes)
        found = output.geometry[images, rows].float()
        return {
            "classes": focal_loss(output.logits, targets.labels) / weights[0],
            "boxes": (found - wanted).abs().sum() / weights[1],
        }

    def boxes(self, geometry: Tensor, rows: Tensor) -> Tensor:
        found = decode_deltas(self.anchors[rows], geometry)
        # Objects stand in the image, as mmrotate's coder holds (``max_shape``).
        return torch.cat([found[:, :2].clamp(0, self._spec.canvas_px - 1), found[:, 2:]], dim=1)

    @property
    def level_sizes(self) -> list[int]:
        return [side * side * ANCHORS_A_CELL for side in self._spec.grids]
