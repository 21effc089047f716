"""What the heads of both detectors share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lmmrotate.baselines.assigning import Ints
from lmmrotate.baselines.spec import DetectorSpec
from lmmrotate.geometry.rboxes import RBoxes

PRIOR = 0.01
"""What every class is thought likely before training, so that background does not drown everything."""


@dataclass(frozen=True, eq=False)
class HeadOutput:
    """What a head says about every prior."""

    logits: Tensor
    """(B, N, K)"""
    geometry: Tensor
    """(B, N, 5)"""
    quality: Tensor | None
    """(B, N) logits of centre-ness, where there is one."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """What a head is taught about one image."""

    labels: Ints
    """(N,) class numbers, or below 0 (``assigning``)."""
    boxes: RBoxes
    """(P, 5) for the priors that have a class; pixels of the canvas."""
    weights: tuple[float, float]
    """What it counts for in the means of the losses: of the classes, of the boxes."""


@dataclass(frozen=True, eq=False)
class Targets:
    """The lessons of a batch."""

    labels: Tensor
    """(B, N)"""
    boxes: Tensor
    """(P, 5) image by image."""


class Head(nn.Module, ABC):
    """Two branches of convolutions, the same for all levels: one for classes, one for boxes."""

    extra_levels: str
    """How the pyramid makes its upper levels (``Pyramid``)."""

    def __init__(self, spec: DetectorSpec, priors_a_cell: int, *, group_norm: bool) -> None:
        super().__init__()
        self._spec = spec
        self._classes = len(spec.classes)
        width, depth = spec.channels, spec.stacked_convs
        self.class_branch = _branch(width, depth, group_norm)
        self.box_branch = _branch(width, depth, group_norm)
        self.class_logits = nn.Conv2d(width, priors_a_cell * self._classes, 3, padding=1)
        self._init(self)
        nn.init.constant_(_bias(self.class_logits), -math.log((1 - PRIOR) / PRIOR))

    @staticmethod
    def _init(module: nn.Module) -> None:
        """mmdet's start: small weights, no bias."""
        for part in module.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.normal_(part.weight, std=0.01)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)

    @abstractmethod
    def forward(self, levels: Sequence[Tensor]) -> HeadOutput:
        """Of feature maps, finest first."""

    @abstractmethod
    def losses(self, output: HeadOutput, targets: Targets, weights: Tensor) -> dict[str, Tensor]:
        """By name; divided by ``weights`` (2,), those of the lessons of all images of the update."""

    @abstractmethod
    def boxes(self, geometry: Tensor, rows: Tensor) -> Tensor:
        """The rboxes (M, 5), pixels of the canvas, that ``geometry`` (M, 5) says at the priors ``rows``
        (M,)."""

    @property
    @abstractmethod
    def level_sizes(self) -> list[int]:
        """Priors of each level."""


def by_prior(maps: Sequence[Tensor], values: int) -> Tensor:
    """Outputs of all levels, (B, A * values, H, W) each, as (B, N, values)."""
    return torch.cat([one.permute(0, 2, 3, 1).reshape(len(one), -1, values) for one in maps], dim=1)


def _branch(width: int, depth: int, group_norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers.append(nn.Conv2d(width, width, 3, padding=1, bias=not group_norm))
        if group_norm:
            layers.append(nn.GroupNorm(32, width))
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def _bias(module: nn.Conv2d) -> Tensor:
    if module.bias is None:
        raise TypeError("a layer of logits has a bias")
    return module.bias
