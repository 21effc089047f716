"""A scene with the windows that it is cut into."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from lmmrotate.geometry.quads import Quads

_EVEN, _ODD, _OBJECT = (255, 190, 40), (70, 215, 255), (255, 60, 90)


def draw_grid(
    picture: Image.Image, scale: float, windows: Sequence[tuple[int, int, int, int]], quads: Quads
) -> Image.Image:
    """Draw windows and objects on a copy of a reduced scene.

    Neighbouring windows are drawn in two colours and a pixel or two inside their borders, so that one can
    see which is which where they overlap.

    Args:
        picture: the scene, reduced.
        scale: its size divided by the scene's.
        windows: x0, y0, x1, y1 in pixels of the scene.
        quads: (N, 4, 2), pixels of the scene.
    """
    drawn = picture.copy()
    pen = ImageDraw.Draw(drawn)
    for quad in quads * scale:
        pen.polygon([(float(x), float(y)) for x, y in quad], outline=_OBJECT)
    columns = {x: i for i, x in enumerate(sorted({window[0] for window in windows}))}
    rows = {y: i for i, y in enumerate(sorted({window[1] for window in windows}))}
    for x0, y0, x1, y1 in windows:
        odd = (columns[x0] + rows[y0]) % 2
        low = np.rint(np.array([x0, y0]) * scale) + odd
        high = np.maximum(np.rint(np.array([x1, y1]) * scale) - 1 - odd, low)
        pen.rectangle([*low.tolist(), *high.tolist()], outline=_ODD if odd else _EVEN)
    return drawn
