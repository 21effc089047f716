"""What one image cell says about the object whose centre it holds: targets for pretraining.

A *cell* is the square of the image behind one feature of the vision tower; its numbers are in units of
cells, seen from the cell's middle, so that they do not depend on where in the image the object is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lmmrotate.geometry.quads import Quads
from lmmrotate.geometry.rboxes import quads_to_rboxes

CORNERS = 8
SHAPE = 5
NUMBERS = CORNERS + SHAPE
"""Numbers that describe a box in a cell."""


@dataclass(frozen=True, eq=False)
class CellTargets:
    """The objects of one image, at most one a cell."""

    cells: npt.NDArray[np.int64]
    """(N,) cell that holds the centre, row by row."""
    classes: npt.NDArray[np.int64]
    """(N,)"""
    numbers: npt.NDArray[np.float32]
    """(N, NUMBERS), see ``box_numbers``."""
    boxes: npt.NDArray[np.int64]
    """(N,) which of the image's boxes each is."""


def cell_targets(quads: Quads, classes: Sequence[int], side_px: int, grid: int) -> CellTargets:
    """Objects by the cell of their centre; of several in one cell the largest is kept.

    Args:
        quads: (N, 4, 2), pixels, corners in the order in which they are written; centres outside the
            image go to the nearest cell.
        classes: N indices.
        side_px: side of the (square) image.
        grid: cells a side.
    """
    scaled = quads * (grid / side_px)
    place = np.clip(np.floor(scaled.mean(axis=1)), 0, grid - 1).astype(np.int64)
    cells = place[:, 1] * grid + place[:, 0]
    rboxes = quads_to_rboxes(scaled)
    order = np.argsort(-rboxes[:, 2] * rboxes[:, 3], kind="stable")
    _, first = np.unique(cells[order], return_index=True)
    boxes = np.sort(order[first])
    return CellTargets(
        cells=cells[boxes],
        classes=np.asarray(classes, dtype=np.int64).reshape(-1)[boxes],
        numbers=box_numbers(scaled[boxes], place[boxes] + 0.5),
        boxes=boxes,
    )


def box_numbers(quads: Quads, origin: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """(N, NUMBERS) from quads (N, 4, 2) and the middles of their cells (N, 2), both in cells.

    First the corners' offsets. They jump where another corner becomes the topmost one, and a regression
    near such a jump gives the mean of both orders; so five numbers follow that never jump: the tensor
    a·uuᵀ + b·vvᵀ of half sides a, b along u, v as (xx, yy, xy), which says everything but the angle of a
    square, and (cos 4θ, sin 4θ), which says that.
    """
    corners = quads - origin[:, None]
    _, _, width, height, angle = quads_to_rboxes(quads).T
    cos, sin = np.cos(angle), np.sin(angle)
    a, b = width / 2, height / 2
    tensor = [a * cos**2 + b * sin**2, a * sin**2 + b * cos**2, (a - b) * cos * sin]
    fourfold = [np.cos(4 * angle), np.sin(4 * angle)]
    return np.column_stack([corners.reshape(-1, CORNERS), *tensor, *fourfold]).astype(np.float32)
