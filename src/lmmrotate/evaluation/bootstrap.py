"""How sure the numbers are: confidence intervals by drawing images again, with replacement.

An image that is drawn twice counts twice, as two images with the same content would; what was matched
within it stays matched. Two results are compared on the same draws, so that images which are hard for
both do not blur the difference (paired bootstrap, Efron and Tibshirani, "An Introduction to the
Bootstrap", 1993).
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from lmmrotate.data.workers import core_count
from lmmrotate.evaluation import kernels
from lmmrotate.evaluation.matching import Bools, Detections, Floats, Ints, Outcome, Ranking, Truths
from lmmrotate.evaluation.sweeps import mean_of, ratios

RESAMPLES = 1000
METRICS = ("mAP", "mAP_nc", "mF1", "best_mF1")
_AT_ONCE = 20


@dataclass(frozen=True, eq=False)
class Draws:
    """Metrics of every draw: what an interval is read from."""

    metrics: Mapping[str, Floats]
    """By name (``METRICS``), (R,); NaN where a draw has no object."""

    def interval(self, name: str, level: float = 0.95) -> tuple[float, float]:
        """The percentile interval of one metric."""
        return interval_of(self.metrics[name], level)

    def less(self, other: Draws, name: str) -> tuple[float, tuple[float, float], float]:
        """This minus another on the same draws: mean, 95 % interval, and a two-sided p value."""
        difference = self.metrics[name] - other.metrics[name]
        known = difference[np.isfinite(difference)]
        if not len(known):
            return float("nan"), (float("nan"), float("nan")), float("nan")
        # The + 1 keeps p from 0, which no number of draws can show.
        below, above = (int((sign * known >= 0).sum()) + 1 for sign in (-1, 1))
        p = min(1.0, 2 * min(below, above) / (len(known) + 1))
        return float(known.mean()), interval_of(known), p


def interval_of(values: Floats, level: float = 0.95) -> tuple[float, float]:
    """The percentile interval of draws; NaN without any that means something."""
    known = values[np.isfinite(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def draw(
    detections: Detections,
    truths: Truths,
    rankings: tuple[Ranking, Ranking],
    outcomes: tuple[Outcome, Outcome],
    image_count: int,
    *,
    score_threshold: float = 0.0,
    best_threshold: float = 0.0,
    rounded_steps: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Draws:
    """mAP, mAP_nc, mF1 and best mF1 of data sets drawn from the images of this one.

    Args:
        rankings: of the detections by falling score, and without scores.
        outcomes: by each.
        image_count: how many images there are, also those without a row.
        score_threshold: detections below it do not count in mF1.
        best_threshold: that of the best mF1 on all images; in no draw is another looked for.
        seed: the same draws for the same seed and number of images, whatever the detections.
    """
    class_count = len(rankings[0].starts) - 1

    def by_image(table: Detections | Truths, chosen: Bools) -> Ints:
        """How many of the chosen rows each image has of each class, (I, K)."""
        place = table.image[chosen] * class_count + table.label[chosen]
        return np.bincount(place, minlength=image_count * class_count).reshape(image_count, class_count)

    present = by_image(truths, ~truths.ignore)
    judged = [
        (by_image(detections, outcomes[0].true & sure), by_image(detections, outcomes[0].false & sure))
        for sure in (detections.score >= threshold for threshold in (score_threshold, best_threshold))
    ]

    def part(seeds: range) -> tuple[Floats, ...]:
        weights = np.stack([_weights(seed, number, image_count) for number in seeds])
        objects = weights @ present
        aps = [
            kernels.weighted_aps(
                *(ranking.rows, ranking.starts, outcome.true, outcome.false),
                *(detections.image, weights, objects, rounded_steps),
            )
            for ranking, outcome in zip(rankings, outcomes, strict=True)
        ]
        f1s = [ratios(weights @ true, weights @ false, objects)[2] for true, false in judged]
        return tuple(
            np.array([mean_of(one, n > 0) for one, n in zip(metric, objects, strict=True)])
            for metric in (*aps, *f1s)
        )

    parts = [range(i, min(i + _AT_ONCE, resamples)) for i in range(0, resamples, _AT_ONCE)]
    with ThreadPoolExecutor(core_count()) as pool:
        columns = zip(*pool.map(part, parts), strict=True)
        return Draws({name: np.concatenate(some) for name, some in zip(METRICS, columns, strict=True)})


def _weights(seed: int, number: int, images: int) -> Ints:
    """How often each image is drawn, (I,)."""
    random = np.random.default_rng([seed, number])
    return np.bincount(random.integers(0, images, images), minlength=images) if images else np.zeros(0, int)
