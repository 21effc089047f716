"""Rotated FCOS: points, distances to the sides and an angle, centre-ness, exact rotated IoU loss (mmrotate's
``rotated-fcos-le90``: centre sampling, distances in strides, centre-ness on the branch of the boxes)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from lmmrotate.baselines.assigning import Ints, assign_by_place
from lmmrotate.baselines.coding import centreness, decode_distances, encode_distances
from lmmrotate.baselines.heads import Head, HeadOutput, Lesson, Targets, by_prior
from lmmrotate.baselines.losses import focal_loss, iou_losses
from lmmrotate.baselines.priors import points
from lmmrotate.baselines.spec import STRIDES_PX, DetectorSpec
from lmmrotate.geometry.rboxes import RBoxes

_LEAST_WEIGHT = 1e-6


def teach(spec: DetectorSpec, boxes: RBoxes, labels: Ints) -> Lesson:
    """The lesson of an image with objects (G, 5), pixels of the canvas, of classes (G,)."""
    found = assign_by_place(spec.grids, boxes, labels)
    wanted = boxes[found.objects]
    places = points(spec.grids)[0][found.labels >= 0]
    centre = centreness(encode_distances(torch.tensor(places), torch.tensor(wanted)))
    return Lesson(found.labels, wanted, (float(len(wanted)), float(centre.sum())))


class FcosHead(Head):
    """See ``Head``; geometry is four distances in strides and an angle in radians."""

    extra_levels = "on_output"
    points: Tensor
    strides: Tensor

    def __init__(self, spec: DetectorSpec) -> None:
        super().__init__(spec, 1, group_norm=True)
        self.distances = nn.Conv2d(spec.channels, 4, 3, padding=1)
        self.angle = nn.Conv2d(spec.channels, 1, 3, padding=1)
        self.quality = nn.Conv2d(spec.channels, 1, 3, padding=1)
        for layer in (self.distances, self.angle, self.quality):
            self._init(layer)
        self.level_scales = nn.Parameter(torch.ones(len(STRIDES_PX)))
        self.angle_scale = nn.Parameter(torch.ones(()))
        places, strides = points(spec.grids)
        self.register_buffer("points", torch.tensor(places, dtype=torch.float32), persistent=False)
        self.register_buffer("strides", torch.tensor(strides, dtype=torch.float32), persistent=False)

    def forward(self, levels: Sequence[Tensor]) -> HeadOutput:
        logits, geometry, quality = [], [], []
        for scale, level in zip(self.level_scales, levels, strict=True):
            logits.append(self.class_logits(self.class_branch(level)))
            states = self.box_branch(level)
            distances = (scale * self.distances(states)).clamp(min=0)
            geometry.append(torch.cat([distances, self.angle_scale * self.angle(states)], dim=1))
            quality.append(self.quality(states))
        flat = by_prior(quality, 1).squeeze(-1)
        return HeadOutput(by_prior(logits, self._classes), by_prior(geometry, 5), flat)

    def losses(self, output: HeadOutput, targets: Targets, weights: Tensor) -> dict[str, Tensor]:
        images, rows = (targets.labels >= 0).nonzero(as_tuple=True)
        centre = centreness(encode_distances(self.points[rows], targets.boxes))
        found = self.boxes(output.geometry[images, rows].float(), rows)
        count = weights[0].clamp(min=1)
        losses = {
            "classes": focal_loss(output.logits, targets.labels) / count,
            "boxes": (centre * iou_losses(found, targets.boxes)).sum() / weights[1].clamp(min=_LEAST_WEIGHT),
        }
        if output.quality is not None:
            quality = output.quality[images, rows].float()
            cost = functional.binary_cross_entropy_with_logits(quality, centre, reduction="sum")
            losses["centreness"] = cost / count
        return losses

    def boxes(self, geometry: Tensor, rows: Tensor) -> Tensor:
        distances = geometry[:, :4] * self.strides[rows, None]
        return decode_distances(self.points[rows], distances, geometry[:, 4])

    @property
    def level_sizes(self) -> list[int]:
        return [side * side for side in self._spec.grids]
