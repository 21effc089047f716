"""Images as a detector is shown them: fitted into a square, their shape kept."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from lmmrotate.baselines.spec import DetectorSpec
from lmmrotate.models.preprocessing import IMAGENET_MEAN

Pixels = npt.NDArray[np.uint8]
_MEAN = tuple(round(255 * value) for value in IMAGENET_MEAN)


def fitted_wh(wh: tuple[int, int], side_px: int) -> tuple[int, int]:
    """The size at which an image just fits into a square."""
    scale = side_px / max(wh)
    return max(1, round(wh[0] * scale)), max(1, round(wh[1] * scale))


def on_canvas(image: Image.Image, spec: DetectorSpec) -> Pixels:
    """An RGB image, as large as fits into the square, at the top left of the canvas (3, S, S)."""
    wh = fitted_wh(image.size, spec.image_square_length)
    if wh != image.size:
        image = image.resize(wh, Image.Resampling.BILINEAR)
    canvas = np.zeros((spec.canvas_px, spec.canvas_px, 3), dtype=np.uint8)
    if spec.padding == "mean":
        canvas[:] = _MEAN
    canvas[: wh[1], : wh[0]] = np.asarray(image)
    return np.ascontiguousarray(canvas.transpose(2, 0, 1))
