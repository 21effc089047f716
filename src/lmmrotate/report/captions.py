"""Small labels beside boxes, and legend strips: all text in pictures."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from lmmrotate.geometry.quads import Quads
from lmmrotate.report.palette import RGB, text_colour
from lmmrotate.report.text import printable

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

INK: RGB = (28, 32, 38)
MUTED: RGB = (96, 104, 116)
PAPER: RGB = (255, 255, 255)

_MOST_COVERED = 0.1  # of a picture by all captions together
_MOST_HIDDEN = 0.25  # a caption may cover at most this part of any object's bounding box


@dataclass(frozen=True)
class Entry:
    """One line of a legend."""

    text: str
    colour: RGB
    dashed: bool = False


@lru_cache(maxsize=32)
def font(size: int, bold: bool = False) -> Font:
    """DejaVu Sans at ``size`` pixels, from matplotlib's files (it covers Latin, Greek and Cyrillic)."""
    spec = importlib.util.find_spec("matplotlib")  # finds the folder without importing the package
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder, "mpl-data", "fonts", "ttf", "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")
        if path.is_file():
            return ImageFont.truetype(path, size)
    return ImageFont.load_default(size)


def text_size(text: str, size: int, bold: bool = False) -> tuple[int, int]:
    """Width and line height of one line, pixels."""
    return int(font(size, bold).getlength(text)) + 1, round(size * 1.3)


def shortened(text: str, size: int, width: float, bold: bool = False) -> str:
    """``text`` on at most ``width`` pixels; the front goes first, because paths differ at their end."""
    text = printable(text)
    if text_size(text, size, bold)[0] <= width:
        return text
    while text and text_size("…" + text, size, bold)[0] > width:
        text = text[1:]
    return "…" + text


def write(
    draw: ImageDraw.ImageDraw,
    xy: tuple[float, float],
    text: str,
    size: int,
    colour: RGB,
    bold: bool = False,
) -> None:
    """Write one line whose middle height is at ``xy``'s y and which starts at its x."""
    draw.text(xy, text, font=font(size, bold), fill=colour, anchor="lm")


def few_enough(texts: Sequence[str], size: int, wh: tuple[int, int]) -> bool:
    """Whether captions would leave a picture of ``wh`` pixels to be seen; more of them nobody reads."""
    widths_heights = (text_size(text, size) for text in texts)
    return sum(width * height for width, height in widths_heights) <= _MOST_COVERED * wh[0] * wh[1]


def caption_boxes(
    image: Image.Image, quads: Quads, texts: Sequence[str], colours: Sequence[RGB], size: int
) -> int:
    """Write in place a small caption beside every box where there is room; return how many found none.

    A caption is left out where it would meet another caption or hide a good part of an object.

    Args:
        quads: (N, 4, 2), pixels.
        size: font size, pixels.
    """
    draw = ImageDraw.Draw(image)
    low, high = quads.min(axis=1), quads.max(axis=1)
    objects = np.concatenate([low, high], axis=1)  # (N, 4): x1 y1 x2 y2
    placed = np.empty((0, 4))
    left_out = 0
    for quad, text, colour in zip(quads, texts, colours, strict=True):
        text = printable(text, 40)
        width, height = text_size(text, size)
        spot = _free_spot(quad, (width + 6, height), image.size, objects, placed)
        if spot is None:
            left_out += 1
            continue
        placed = np.concatenate([placed, spot[None]])
        draw.rectangle([*spot[:2], *(spot[2:] - 1)], fill=colour)
        write(draw, (spot[0] + 3, spot[1] + height / 2), text, size, text_colour(colour))
    return left_out


def _free_spot(
    quad: npt.NDArray[np.float64],
    wh: tuple[int, int],
    image_wh: tuple[int, int],
    objects: npt.NDArray[np.float64],
    placed: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64] | None:
    """(4,) x1 y1 x2 y2 of the best free place at the quad's top, bottom, right or left corner."""
    width, height = wh
    top, bottom = quad[quad[:, 1].argmin()], quad[quad[:, 1].argmax()]
    right, left = quad[quad[:, 0].argmax()], quad[quad[:, 0].argmin()]
    gap = 3
    corners = [
        (top[0], top[1] - height - gap),
        (top[0] - width, top[1] - height - gap),
        (bottom[0], bottom[1] + gap),
        (bottom[0] - width, bottom[1] + gap),
        (right[0] + gap, right[1] - height / 2),
        (left[0] - width - gap, left[1] - height / 2),
    ]
    best, least = None, _MOST_HIDDEN
    for x, y in corners:
        # Inside the picture, but not torn away from a box that lies outside.
        x_in, y_in = np.clip(x, 0, image_wh[0] - width), np.clip(y, 0, image_wh[1] - height)
        if abs(x_in - x) > width or abs(y_in - y) > 2 * height or x_in < 0 or y_in < 0:
            continue
        spot = np.round([x_in, y_in, x_in + width, y_in + height])
        if _overlaps(spot, placed).any():
            continue
        areas = np.maximum((objects[:, 2:] - objects[:, :2]).prod(axis=1), 1.0)
        hidden = float((_overlaps(spot, objects) / areas).max())
        if hidden < least:
            best, least = spot, hidden
    return best


def _overlaps(spot: npt.NDArray[np.float64], boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(N,) areas in which ``spot`` (4,) meets axis-aligned ``boxes`` (N, 4)."""
    sides = np.minimum(spot[2:], boxes[:, 2:]) - np.maximum(spot[:2], boxes[:, :2])
    return np.asarray(np.maximum(sides, 0).prod(axis=1), dtype=np.float64)


def legend_strip(entries: Sequence[Entry], width: int, size: int, most: int = 24) -> Image.Image:
    """A white strip ``width`` pixels wide with a swatch for every entry, in rows as needed."""
    row, pad = round(size * 1.7), round(size * 0.6)
    shown = list(entries)
    if len(shown) > most:
        shown = [*shown[: most - 1], Entry(f"and {len(shown) - most + 1} more", PAPER)]
    texts = [shortened(entry.text, size, width - size - 3 * pad) for entry in shown]
    places: list[tuple[int, int]] = []
    x, y = pad, 0
    for text in texts:
        length = size + pad // 2 + text_size(text, size)[0]
        if x > pad and x + length + pad > width:
            x, y = pad, y + row
        places.append((x, y))
        x += length + 2 * pad
    strip = Image.new("RGB", (width, y + row + pad if shown else 1), PAPER)
    draw = ImageDraw.Draw(strip)
    for entry, text, (left, top) in zip(shown, texts, places, strict=True):
        middle = top + (row + pad) // 2
        draw.rectangle([left, middle - size // 2, left + size, middle + size // 2], fill=entry.colour)
        if entry.dashed:
            third = size / 3
            draw.rectangle(
                [left + third, middle - size // 2, left + 2 * third, middle + size // 2], fill=PAPER
            )
        write(draw, (left + size + pad // 2, middle), text, size, INK)
    return strip
