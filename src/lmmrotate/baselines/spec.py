"""What a detector is made of: enough to build it again, with its weights, from a run directory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from lmmrotate.errors import CheckpointError, ConfigError

ARCHITECTURES = ("rotated_retinanet", "rotated_fcos")
BACKBONES = ("resnet50", "resnet18", "resnet-tiny")
STRIDES_PX = (8, 16, 32, 64, 128)
"""Of the levels P3 to P7, in which both detectors look for objects."""
PADDINGS = ("mean", "black")
"""What surrounds images of other shapes: the mean colour, which is 0 for the network, as mmdet pads batches;
or black, as the published configurations for RSAR do."""
MOST_PX = 8192
CANVAS_CELL_PX = 32
"""Sides of what a detector is shown are multiples of it, as in mmdet (``pad_size_divisor``)."""


@dataclass(frozen=True, kw_only=True)
class DetectorSpec:
    """Architecture, classes and sizes.

    Raises:
        ConfigError: for what makes no sense.
    """

    arch: str
    classes: tuple[str, ...]
    image_square_length: int
    """Side in pixels of the square into which images are fitted."""
    backbone: str = "resnet50"
    padding: str = "mean"
    channels: int = 256
    """Of the feature pyramid and the head."""
    stacked_convs: int = 4
    """Of each of the head's two branches."""

    def __post_init__(self) -> None:
        for name, value, valid in (
            ("arch", self.arch, ARCHITECTURES),
            ("backbone", self.backbone, BACKBONES),
            ("padding", self.padding, PADDINGS),
        ):
            if value not in valid:
                raise ConfigError(f"{name} is {value!r}; valid: {', '.join(valid)}")
        for name in ("image_square_length", "channels", "stacked_convs"):
            if type(getattr(self, name)) is not int:
                raise ConfigError(f"{name} must be a whole number, got {getattr(self, name)!r}")
        if not self.classes or not all(isinstance(label, str) for label in self.classes):
            raise ConfigError(f"classes must be names, got {self.classes!r}")
        if not CANVAS_CELL_PX <= self.image_square_length <= MOST_PX:
            raise ConfigError(
                f"image_square_length must be from {CANVAS_CELL_PX} to {MOST_PX}, "
                f"got {self.image_square_length}"
            )
        if self.channels < 64 or self.channels % 32:
            raise ConfigError(f"channels must be 64, 96, 128, … (32 groups of several), got {self.channels}")
        if self.stacked_convs < 0:
            raise ConfigError(f"stacked_convs must not be negative, got {self.stacked_convs}")

    @property
    def canvas_px(self) -> int:
        """Side of the canvas: the square's, rounded up to whole cells."""
        return -(-self.image_square_length // CANVAS_CELL_PX) * CANVAS_CELL_PX

    @property
    def grids(self) -> tuple[int, ...]:
        """Cells a side of each level."""
        return tuple(-(-self.canvas_px // stride) for stride in STRIDES_PX)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def spec_from_json(body: Mapping[str, Any]) -> DetectorSpec:
    """Raises CheckpointError for a description that does not fit."""
    names = {field.name for field in fields(DetectorSpec)}
    try:
        if set(body) - names:
            raise ConfigError(f"unknown key {', '.join(sorted(set(body) - names))}")
        if not isinstance(body["classes"], (list, tuple)):
            raise ConfigError(f"classes must be a list, got {body['classes']!r}")
        return DetectorSpec(**{**body, "classes": tuple(body["classes"])})
    except (ConfigError, KeyError, TypeError) as error:
        raise CheckpointError(f"'detector' cannot be understood: {error}") from error
