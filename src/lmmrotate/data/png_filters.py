"""Undoing the row filters of PNG. Imports numba, which takes half a second to load."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lmmrotate.geometry.jit import jit

Bytes = npt.NDArray[np.uint8]


@jit
def unfilter(filtered: Bytes, above: Bytes, pixels: Bytes) -> bool:
    """Undo the filters of a band.

    Args:
        filtered: (H, 1 + 3 W), each row with its filter's number first.
        above: (3 W,), the row above the band; zeros for the first band.
        pixels: (H, 3 W), written.

    Returns:
        Whether every filter is one of the format's.
    """
    length = pixels.shape[1]
    for y in range(len(pixels)):
        kind, source, row = filtered[y, 0], filtered[y, 1:], pixels[y]
        if kind > 4:
            return False
        for i in range(min(3, length)):  # no pixel to the left
            share = above[i] if kind in (2, 4) else above[i] // 2 if kind == 3 else 0
            row[i] = source[i] + share
        if kind == 0:
            for i in range(3, length):
                row[i] = source[i]
        elif kind == 1:  # Sub
            for i in range(3, length):
                row[i] = source[i] + row[i - 3]
        elif kind == 2:  # Up
            for i in range(3, length):
                row[i] = source[i] + above[i]
        elif kind == 3:  # Average
            for i in range(3, length):
                row[i] = source[i] + (np.int32(row[i - 3]) + np.int32(above[i])) // 2
        else:  # Paeth: of left, above and above left the one nearest to left + above - above left
            for i in range(3, length):
                left, up, corner = np.int32(row[i - 3]), np.int32(above[i]), np.int32(above[i - 3])
                down, across = up - corner, left - corner
                to_left, to_up, to_corner = abs(down), abs(across), abs(down + across)
                # Choices of values, not branches: the processor could not guess which way they go.
                nearest = corner if to_corner < to_up else up
                row[i] = source[i] + (left if to_left <= min(to_up, to_corner) else nearest)
        above = row
    return True
