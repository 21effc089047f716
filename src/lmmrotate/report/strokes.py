"""Anti-aliased outlines on a pixel array."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from lmmrotate.geometry.quads import Quads
from lmmrotate.report.detail import short_side
from lmmrotate.report.palette import RGB

Pixels = npt.NDArray[np.uint8]  # (H, W, 3), RGB

_Lines = list[npt.NDArray[np.int32]]
_SHIFT = 4  # OpenCV draws at sixteenths of a pixel
_RIM = 0.55  # how much of the picture's light the dark rim around a line takes
_MOST_DASHES = 200


def line_width(quads: Quads, most: int) -> int:
    """Pixels for the lines of a picture: ``most``, but thinner where many objects are small."""
    return int(np.clip(short_side(quads) // 8, 1, most)) if len(quads) else most


def outlines(
    pixels: Pixels,
    quads: Quads,
    colours: Sequence[RGB],
    width: int,
    *,
    dashed: bool = False,
    heading: bool = False,
) -> None:
    """Draw quads in place.

    Args:
        quads: (N, 4, 2), pixels; the origin is the outer corner of the first pixel.
        colours: N colours.
        width: pixels. From 2 on a line gets a dark rim, so that it shows on bright ground; all rims are
            drawn below all lines, so that neighbours do not darken each other.
        heading: also draw a tick from the middle of the first edge (corners 0 and 1) to the centre.
    """
    drawings = [_fixed_point(_lines(quad, width, dashed, heading), pixels) for quad in quads]
    if width > 1:
        _rims(pixels, drawings, width + 2)
    for lines, colour in zip(drawings, colours, strict=True):
        cv2.polylines(pixels, lines, False, colour, width, cv2.LINE_AA, _SHIFT)


def _lines(
    quad: npt.NDArray[np.float64], width: int, dashed: bool, heading: bool
) -> list[npt.NDArray[np.float64]]:
    lines = _dashes(quad, 5.0 * width) if dashed else [np.concatenate([quad, quad[:1]])]
    if heading:
        lines.append(np.stack([quad[:2].mean(axis=0), quad.mean(axis=0)]))
    return lines


def _dashes(quad: npt.NDArray[np.float64], length: float) -> list[npt.NDArray[np.float64]]:
    """The quad's edges as dashes; each edge starts and ends with one, so that corners stay marked."""
    dashes: list[npt.NDArray[np.float64]] = []
    for start, end in zip(quad, np.roll(quad, -1, axis=0), strict=True):
        # n dashes and n - 1 gaps; an absurdly long edge must not cost time.
        number = int(np.clip((np.linalg.norm(end - start) / length + 1) / 2, 2, _MOST_DASHES))
        places = np.linspace(0, 1, 2 * number)
        for first, last in zip(places[::2], places[1::2], strict=True):
            dashes.append(np.stack([start + first * (end - start), start + last * (end - start)]))
    return dashes


def _fixed_point(lines: list[npt.NDArray[np.float64]], pixels: Pixels) -> _Lines:
    """OpenCV's integer points; it counts from the first pixel's centre, we from its corner."""
    reach = 4 * max(pixels.shape[:2])  # a model may place a box far outside: keep within int32
    return [np.round((np.clip(line, -reach, reach) - 0.5) * 2**_SHIFT).astype(np.int32) for line in lines]


def _rims(pixels: Pixels, drawings: list[_Lines], width: int) -> None:
    mask = np.zeros(pixels.shape[:2], dtype=np.uint8)
    for lines in drawings:
        cv2.polylines(mask, lines, False, 255, width, cv2.LINE_AA, _SHIFT)
    touched = mask > 0
    light = 1 - mask[touched, None] * (_RIM / 255)
    pixels[touched] = (pixels[touched] * light).astype(np.uint8)
