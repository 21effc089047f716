"""A detector: backbone, pyramid and head; what Trainer trains and what finds objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from lmmrotate.baselines import fcos, retinanet
from lmmrotate.baselines.assigning import Ints
from lmmrotate.baselines.backbone import backbone_widths, build_backbone, frozen_parts
from lmmrotate.baselines.fcos import FcosHead
from lmmrotate.baselines.heads import Head, HeadOutput, Lesson, Targets
from lmmrotate.baselines.pyramid import Pyramid
from lmmrotate.baselines.retinanet import RetinaHead
from lmmrotate.baselines.spec import DetectorSpec, spec_from_json
from lmmrotate.errors import CheckpointError, first_line
from lmmrotate.geometry.rboxes import RBoxes
from lmmrotate.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD

WEIGHTS_FILE = "model.safetensors"


@dataclass(frozen=True)
class Architecture:
    """One kind of detector."""

    head: Callable[[DetectorSpec], Head]
    teach: Callable[[DetectorSpec, RBoxes, Ints], Lesson]
    """See ``retinanet.teach``; needs no weights."""


ARCHITECTURES = {
    "rotated_retinanet": Architecture(RetinaHead, retinanet.teach),
    "rotated_fcos": Architecture(FcosHead, fcos.teach),
}


class Detector(nn.Module):
    """Built from its description; weights are random until loaded or trained."""

    mean: Tensor
    std: Tensor

    def __init__(self, spec: DetectorSpec) -> None:
        super().__init__()
        self.spec = spec
        self.backbone: Any = build_backbone(spec.backbone)
        self.head = ARCHITECTURES[spec.arch].head(spec)
        self.pyramid = Pyramid(backbone_widths(spec.backbone), spec.channels, self.head.extra_levels)
        for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            self.register_buffer(name, 255 * torch.tensor(values).view(3, 1, 1), persistent=False)
        self._frozen: list[nn.Module] = []
        self._still: list[nn.Module] = []

    def freeze(self, stages: int, norms: bool) -> None:
        """Leave the stem and the first ``stages`` stages of the backbone as they are in training, and, if
        ``norms``, the statistics of all its batch norms."""
        self._frozen = frozen_parts(self.backbone, stages)
        for part in self._frozen:
            part.requires_grad_(False)
        if norms:
            self._still = [m for m in self.backbone.modules() if isinstance(m, nn.BatchNorm2d)]

    def train(self, mode: bool = True) -> Detector:
        super().train(mode)
        for part in (*self._frozen, *self._still):
            part.eval()
        return self

    def look(self, pixels: Tensor) -> HeadOutput:
        """What the head says about canvases (B, 3, S, S), uint8 RGB."""
        maps = self.backbone((pixels - self.mean) / self.std).feature_maps
        output: HeadOutput = self.head(self.pyramid(maps))
        return output

    def forward(self, pixels: Tensor, labels: Tensor, boxes: Tensor, weights: Tensor) -> dict[str, Tensor]:
        """The losses of a batch.

        Args:
            pixels: (B, 3, S, S) uint8.
            labels: (B, N), and
            boxes: (P, 5), see ``heads.Targets``.
            weights: (2,) what the losses are divided by.
        """
        parts = self.head.losses(self.look(pixels), Targets(labels, boxes), weights)
        return {"loss": torch.stack(list(parts.values())).sum(), **parts}


def load_detector(folder: Path, description: Mapping[str, Any]) -> Detector:
    """The detector of a run directory or checkpoint.

    Raises:
        CheckpointError: if the description or the weights do not fit.
    """
    detector = Detector(spec_from_json(description))
    path = folder / WEIGHTS_FILE
    try:
        found = load_file(path)
        detector.load_state_dict(found)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be loaded: {first_line(error)}") from error
    return detector.eval()
