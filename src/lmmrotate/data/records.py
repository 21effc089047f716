"""One image with its objects, and one image with its detections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from lmmrotate.errors import Problem
from lmmrotate.geometry.quads import Quads


def _no_quads() -> Quads:
    return np.empty((0, 4, 2))


@dataclass(frozen=True)
class SceneRef:
    """Where a tile was cut: tile pixel (u, v) is scene pixel ((u + x) / scale, (v + y) / scale)."""

    name: str
    x: int
    y: int
    scale: float = 1.0


@dataclass(frozen=True, eq=False)
class ImageRecord:
    """One image of a data set and the objects in it."""

    image: str
    """Path relative to the image folder, with forward slashes; unique within a manifest."""
    width: int
    height: int
    quads: Quads = field(default_factory=_no_quads)
    """(N, 4, 2), pixels of this image. Corners may lie outside it."""
    labels: tuple[str, ...] = ()
    """N class names, spelled as in the manifest's class list."""
    difficult: tuple[int, ...] = ()
    """N difficulty flags: 0 counts, anything else is ignored by the metrics (2: cut by a tile's edge)."""
    scene: SceneRef | None = None

    def __post_init__(self) -> None:
        if not len(self.quads) == len(self.labels) == len(self.difficult):
            raise ValueError(
                f"{self.image}: {len(self.quads)} quads, {len(self.labels)} labels, "
                f"{len(self.difficult)} difficulty flags; the three must agree"
            )

    @property
    def wh(self) -> tuple[int, int]:
        return self.width, self.height

    def select(self, keep: Sequence[int] | np.ndarray) -> ImageRecord:
        """The same image with only the objects at these indices (or under this boolean mask)."""
        indices = np.arange(len(self.labels))[np.asarray(keep, dtype=None if len(keep) else np.int64)]
        return ImageRecord(
            self.image,
            self.width,
            self.height,
            self.quads[indices],
            tuple(self.labels[i] for i in indices),
            tuple(self.difficult[i] for i in indices),
            self.scene,
        )


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model said about one image."""

    image: str
    width: int
    height: int
    text: str = ""
    """The model's answer, verbatim; empty for detectors that do not write."""
    quads: Quads = field(default_factory=_no_quads)
    """(N, 4, 2), pixels of this image."""
    labels: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    """N confidences in [0, 1]."""
    problems: tuple[Problem, ...] = ()
    truncated: bool = False
    """The answer hit the token limit."""
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if not len(self.quads) == len(self.labels) == len(self.scores):
            raise ValueError(
                f"{self.image}: {len(self.quads)} quads, {len(self.labels)} labels, "
                f"{len(self.scores)} scores; the three must agree"
            )
