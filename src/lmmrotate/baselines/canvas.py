"""Images as a detector is shown them: fitted into a square, their shape kept."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from lmmrotate.models.preprocessing import IMAGENET_MEAN

Pixels = npt.NDArray[np.uint8]
_FILLING = tuple(round(255 * value) for value in IMAGENET_MEAN)
"""Nearly 0 once it is normalised."""


def fitted_wh(wh: tuple[int, int], side_px: int) -> tuple[int, int]:
    """The size at which an image just fits into a square."""
    scale = side_px / max(wh)
    return max(1, round(wh[0] * scale)), max(1, round(wh[1] * scale))


def on_canvas(image: Image.Image, side_px: int, canvas_px: int) -> Pixels:
    """An RGB image, as large as fits into ``side_px``, at the top left of (3, canvas_px, canvas_px)."""
    wh = fitted_wh(image.size, side_px)
    if wh != image.size:
        image = image.resize(wh, Image.Resampling.BILINEAR)
    canvas = np.empty((canvas_px, canvas_px, 3), dtype=np.uint8)
    canvas[:] = _FILLING
    canvas[: wh[1], : wh[0]] = np.asarray(image)
    return np.ascontiguousarray(canvas.transpose(2, 0, 1))
