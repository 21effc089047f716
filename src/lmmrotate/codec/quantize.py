"""Pixels to coordinate bins and back."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]  # (..., 2), pixels
Bins = npt.NDArray[np.int64]  # (..., 2), 0 … bins - 1


def quantize(
    points: Points, image_wh: tuple[int, int], bins: int = 1000, *, single_precision: bool = False
) -> Bins:
    """Map pixel points of shape (..., 2) to bins: floor(x / (width / bins)), clamped to the image.

    Args:
        single_precision: divide in float32, as the published code does for integer annotations. Bins
            then differ by one in places (sizes 512, 600 and 1024, not 640, 800 and 1000).
    """
    bin_px = np.asarray(image_wh, dtype=np.float64) / bins
    kind = np.float32 if single_precision else np.float64
    scaled = np.asarray(points, dtype=kind) / bin_px.astype(kind)
    clamped: Bins = np.clip(np.floor(scaled), 0, bins - 1).astype(np.int64)
    return clamped


def dequantize(indices: Bins | Points, image_wh: tuple[int, int], bins: int = 1000) -> Points:
    """Map bins of shape (..., 2) to pixels: a whole number to its bin's centre, others to between."""
    bin_px = np.asarray(image_wh, dtype=np.float64) / bins
    return np.asarray((indices + 0.5) * bin_px, dtype=np.float64)
