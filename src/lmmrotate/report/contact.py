"""Contact sheet of a data set: small pictures of images with their objects."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from PIL import Image, ImageOps

from lmmrotate.data.records import ImageRecord
from lmmrotate.geometry.quads import as_quads
from lmmrotate.report.detail import detail_panel, detail_window
from lmmrotate.report.palette import RGB
from lmmrotate.report.strokes import line_width, outlines

_SIDE = 384
_LINE = 2
_UNKNOWN: RGB = (255, 255, 255)
_MARK: RGB = (255, 45, 45)
_PALE: RGB = (190, 195, 205)


def thumbnail(
    image: Image.Image, record: ImageRecord, marked: Collection[int], colours: Mapping[str, RGB]
) -> Image.Image:
    """An image, or the part of it worth seeing, with its objects.

    Args:
        image: the picture that ``record`` describes.
        marked: objects to point out: they are drawn in red and all others in grey. Without them every
            object has the colour of its class.
        colours: by class.
    """
    quads = as_quads(record.quads * (np.array(image.size) / np.array(record.wh)))
    spots = quads.mean(axis=1)
    chosen = spots[list(marked)] if marked else spots
    window = detail_window(image.size, quads, chosen, _SIDE)
    panel, zoom = detail_panel(image, window, _SIDE)
    pixels = np.array(panel)
    shown = as_quads((quads - window[:2]) * zoom)
    width = line_width(shown, _LINE)
    plain = [i for i in range(len(shown)) if i not in marked]
    by_box = [_PALE if marked else colours.get(record.labels[i], _UNKNOWN) for i in plain]
    outlines(pixels, shown[plain], by_box, width)
    if marked:
        outlines(pixels, shown[list(marked)], [_MARK] * len(marked), max(2, width))
    return ImageOps.pad(Image.fromarray(pixels), (_SIDE, _SIDE), color=(120, 125, 132))
