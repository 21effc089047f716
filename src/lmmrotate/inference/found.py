"""What was found in one image, for use in programs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from PIL import Image

from lmmrotate.data.detection_files import feature_collection
from lmmrotate.data.georeference import Georeference
from lmmrotate.data.records import Prediction
from lmmrotate.errors import ConfigError


@dataclass(frozen=True, eq=False, kw_only=True)
class Found(Prediction):
    """A prediction with its picture: ``quads`` (N, 4, 2) in pixels, ``labels`` and ``scores``."""

    classes: tuple[str, ...]
    """What was looked for."""
    place: Georeference | None = None
    """Where the image lies on Earth, if it says so."""
    picture: Callable[[], Image.Image]
    """Reads the image (of a large scene, a smaller copy)."""

    @classmethod
    def of(cls, prediction: Prediction, **more: Any) -> Found:
        return cls(**{field.name: getattr(prediction, field.name) for field in fields(Prediction)}, **more)

    def above(self, score: float) -> Found:
        """Only the boxes with at least this score."""
        keep = [i for i, value in enumerate(self.scores) if value >= score]
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values["quads"] = self.quads[keep]
        values["labels"] = tuple(self.labels[i] for i in keep)
        values["scores"] = tuple(self.scores[i] for i in keep)
        return Found(**values)

    def to_geojson(self) -> dict[str, Any]:
        """A FeatureCollection in the image's own system, or in pixels with y upwards (see
        ``data.detection_files``)."""
        return feature_collection(self, self.place)

    def to_supervision(self) -> Any:
        """``supervision.Detections`` with the corners under ``ORIENTED_BOX_COORDINATES``.

        Its IoU and NMS for oriented boxes draw them on a raster and can be far off (0.0 for a pair whose IoU
        is 0.72): use ``lmmrotate.geometry`` for these.

        Raises:
            ConfigError: if supervision is not installed.
        """
        try:
            import supervision
        except ImportError:
            raise ConfigError("to_supervision needs supervision: pip install supervision") from None
        index = {name: number for number, name in enumerate(self.classes)}
        low, high = self.quads.min(axis=1), self.quads.max(axis=1)
        return supervision.Detections(
            xyxy=np.concatenate([low, high], axis=1),
            confidence=np.array(self.scores, dtype=np.float64),
            class_id=np.array([index[label] for label in self.labels], dtype=np.int64),
            data={"class_name": np.array(self.labels, dtype=str), "xyxyxyxy": self.quads},
        )

    def draw(self, **options: Any) -> Image.Image:
        """The picture with its boxes; options as for ``report.draw.draw_boxes``."""
        from lmmrotate.report.draw import draw_boxes
        from lmmrotate.report.palette import class_colours

        picture = self.picture()
        quads = self.quads * (picture.width / self.width, picture.height / self.height)
        colours = class_colours(self.classes)
        return draw_boxes(picture, quads, self.labels, self.scores, **({"colours": colours} | options))
