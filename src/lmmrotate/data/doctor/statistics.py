"""What a data set holds, in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lmmrotate.data.manifest import Manifest
from lmmrotate.geometry.quads import Floats
from lmmrotate.geometry.rboxes import quads_to_rboxes


@dataclass(frozen=True, eq=False)
class Statistics:
    """Numbers of one manifest; every array may be empty."""

    images: int
    objects: dict[str, int]
    """By class, in the order of the class list."""
    difficult: int
    image_sides_px: Floats
    """(images, 2) width and height."""
    per_image: Floats
    """(images,) objects in each."""
    sides_px: Floats
    """(objects, 2) long and short side."""
    angles_rad: Floats
    """(objects,) of the long side, le90."""
    answer_tokens: Floats
    """(images,) tokens that each answer takes; empty if they were not counted."""


def statistics(manifest: Manifest, answer_tokens: Sequence[int] = ()) -> Statistics:
    """Count and measure; ``answer_tokens`` are those of every image's answer, if they were counted."""
    records = manifest.records
    quads = np.concatenate([record.quads for record in records]) if records else np.empty((0, 4, 2))
    rboxes = quads_to_rboxes(quads)
    counts = Counter(label for record in records for label in record.labels)
    return Statistics(
        images=len(records),
        objects={name: counts[name] for name in manifest.classes},
        difficult=sum(flag != 0 for record in records for flag in record.difficult),
        image_sides_px=np.array([record.wh for record in records], dtype=np.float64).reshape(-1, 2),
        per_image=np.array([len(record.labels) for record in records], dtype=np.float64),
        sides_px=np.asarray(rboxes[:, 2:4]),
        angles_rad=np.asarray(rboxes[:, 4]),
        answer_tokens=np.array(answer_tokens, dtype=np.float64),
    )


def range_text(values: Floats, unit: str = "") -> str:
    """Least, median, 95th percentile and largest of some numbers, as "1 / 5 / 20 / 31 px"."""
    if not len(values):
        return "none"
    numbers = (values.min(), np.median(values), np.percentile(values, 95), values.max())
    return " / ".join(f"{number:.0f}" for number in numbers) + (f" {unit}" if unit else "")
