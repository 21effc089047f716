"""Which part of a large image to show when its objects would be too small in a view of the whole."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from lmmrotate.geometry.quads import Quads

Window = tuple[int, int, int, int]  # x, y, right, bottom; pixels

_LEAST_SIDE = 5.0  # pixels that the short side of a typical small object should have in the picture
_MOST_TRIED = 300
MOST_ENLARGED = 4


def short_side(quads: Quads) -> float:
    """Short side that three of four quads reach, pixels; 0 without quads."""
    if not len(quads):
        return 0.0
    edges = np.linalg.norm(np.roll(quads, -1, axis=1) - quads, axis=2)  # (N, 4)
    opposite = edges.reshape(-1, 2, 2).mean(axis=1)  # opposite edges averaged
    return float(np.quantile(opposite.min(axis=1), 0.25))


def detail_window(wh: tuple[int, int], quads: Quads, spots: npt.NDArray[np.float64], side: int) -> Window:
    """The part of an image to show on at most ``side`` pixels: all of it where that does.

    Args:
        wh: size of the image.
        quads: (N, 4, 2), its boxes; they say how much the picture may shrink.
        spots: (M, 2), places of interest; the part holds as many of them as can be.
    """
    whole = (0, 0, *wh)
    short = short_side(quads)
    if short <= 0 or not len(spots) or side / max(wh) >= min(1.0, _LEAST_SIDE / short):
        return whole
    part = side / min(1.0, _LEAST_SIDE / short)
    size = np.minimum(part, wh)
    tried = spots[np.linspace(0, len(spots) - 1, min(len(spots), _MOST_TRIED)).astype(np.int64)]
    corners = np.clip(tried - size / 2, 0, wh - size)  # (T, 2)
    offsets = spots[None] - corners[:, None]  # (T, M, 2)
    inside = ((offsets >= 0) & (offsets <= size)).all(axis=2)  # (T, M)
    held = spots[inside[inside.sum(axis=1).argmax()]]
    middle = (held.min(axis=0) + held.max(axis=0)) / 2  # the same spots, not pressed against an edge
    x, y, right, bottom = np.concatenate(
        [np.clip(middle - size / 2, 0, wh - size), np.clip(middle + size / 2, size, wh)]
    ).round()
    return int(x), int(y), int(right), int(bottom)


def detail_panel(image: Image.Image, window: Window, side: int) -> tuple[Image.Image, float]:
    """That part of the picture on at most ``side`` pixels, and by how much it grew."""
    wh = np.array(window[2:]) - window[:2]
    longest = int(wh.max())
    zoom = min(MOST_ENLARGED, side // longest) if longest <= side else side / longest
    width, height = (max(1, round(length * zoom)) for length in wh.tolist())
    rgb = image if image.mode == "RGB" else image.convert("RGB")  # convert would copy a whole scene
    return rgb.resize((width, height), Image.Resampling.BICUBIC, box=window, reducing_gap=3.0), zoom
