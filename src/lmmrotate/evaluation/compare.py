"""Several results on the same data, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lmmrotate.data.manifest import Manifest
from lmmrotate.data.predictions import Predictions
from lmmrotate.errors import ConfigError
from lmmrotate.evaluation.bootstrap import METRICS, RESAMPLES, Draws
from lmmrotate.evaluation.details import Details
from lmmrotate.evaluation.evaluate import evaluate
from lmmrotate.evaluation.results import Evaluation


@dataclass(frozen=True)
class Difference:
    """One metric of one result less that of the first, on the same draws of images (paired bootstrap)."""

    mean: float
    low: float
    high: float
    """95 % interval."""
    p: float
    """Two-sided; the chance of so large a difference if there were none, as far as the draws can tell."""


@dataclass(frozen=True, eq=False)
class Entry:
    """One result."""

    name: str
    predictions: Predictions
    evaluation: Evaluation
    details: Details
    differences: dict[str, Difference]
    """By metric, to the first result; empty for that."""

    @property
    def boxes(self) -> int:
        return sum(c.detections for c in self.evaluation.classes)

    @property
    def images_per_second(self) -> float:
        """NaN where the file does not say how long an image took."""
        seconds = self.evaluation.seconds_per_image
        return 1 / seconds if seconds > 0 else float("nan")

    @property
    def boxes_per_second(self) -> float:
        images = len(self.predictions.images)
        return self.images_per_second * self.boxes / images if images else float("nan")

    @property
    def parameters(self) -> int | None:
        """Of the model, where the file says it."""
        found = self.predictions.header.settings.get("parameters")
        return found if isinstance(found, int) else None

    @property
    def trained_seconds(self) -> float | None:
        """How long the model was trained, where the file says it."""
        found = self.predictions.header.settings.get("trained_seconds")
        return float(found) if isinstance(found, (int, float)) else None

    def to_json(self) -> dict[str, Any]:
        """The evaluation and the differences."""
        return {
            "name": self.name,
            **self.evaluation.to_json(),
            "boxes": self.boxes,
            "parameters": self.parameters,
            "trained_seconds": self.trained_seconds,
            "less_the_first": {
                name: {"mean": d.mean, "interval_95": [d.low, d.high], "p": d.p}
                for name, d in self.differences.items()
            },
        }


def compare(
    manifest: Manifest,
    results: Sequence[tuple[str, Predictions]],
    *,
    iou_threshold: float = 0.5,
    score_threshold: float = 0.0,
    protocol: str = "corrected",
    resamples: int = RESAMPLES,
) -> list[Entry]:
    """Evaluate every result under the same rules.

    Args:
        results: names and predictions; the first is what the others are held against.
        iou_threshold, score_threshold, protocol: see ``evaluate``.
        resamples: draws of the bootstrap.

    Raises:
        ConfigError: without results, or for two of one name.
        DataError: as ``evaluate``.
    """
    names = [name for name, _ in results]
    if not names or len(set(names)) != len(names):
        raise ConfigError(f"compare needs results with names of their own, got {', '.join(names) or 'none'}")
    entries: list[Entry] = []
    first: Draws | None = None
    for name, predictions in results:
        evaluation = evaluate(
            manifest,
            predictions,
            iou_threshold=iou_threshold,
            score_threshold=score_threshold,
            protocol=protocol,
            resamples=resamples,
        )
        details = evaluation.details
        if details is None or details.draws is None:
            raise ConfigError(f"compare: resamples must be at least 1, got {resamples}")
        differences = {}
        if first is not None:
            for metric in METRICS:
                mean, (low, high), p = details.draws.less(first, metric)
                differences[metric] = Difference(mean, low, high, p)
        first = first or details.draws
        entries.append(Entry(name, predictions, evaluation, details, differences))
    return entries
