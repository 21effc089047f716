"""Where the detectors expect objects: anchors and points of every level, as published.

Rows are in the order of the heads' outputs: level by level, row by row, cell by cell (and anchor by anchor).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from lmmrotate.baselines.spec import STRIDES_PX
from lmmrotate.geometry.quads import Quads
from lmmrotate.geometry.rboxes import RBoxes, rboxes_to_quads, regularize_le90

Floats = npt.NDArray[np.float64]

ANCHOR_SCALES = tuple(4 * 2 ** (third / 3) for third in range(3))
"""Sides of square anchors in strides: ``octave_base_scale`` 4, three ``scales_per_octave``."""
ANCHOR_RATIOS = (1.0, 0.5, 2.0)
"""Height by width."""
ANCHORS_A_CELL = len(ANCHOR_SCALES) * len(ANCHOR_RATIOS)


@lru_cache(maxsize=4)
def anchors(grids: tuple[int, ...]) -> RBoxes:
    """Axis-parallel anchors in le90 form, (N, 5), pixels of the canvas.

    Their centres are the corners of the cells, as mmdet's ``AnchorGenerator`` places them
    (``center_offset`` 0); ratios count before scales.

    Args:
        grids: cells a side of each level.
    """
    levels = []
    for side, stride in zip(grids, STRIDES_PX, strict=True):
        sizes = [
            (scale * stride / ratio**0.5, scale * stride * ratio**0.5)
            for ratio in ANCHOR_RATIOS
            for scale in ANCHOR_SCALES
        ]
        boxes = np.zeros((side, side, ANCHORS_A_CELL, 5))
        boxes[..., 0] = (np.arange(side) * stride)[None, :, None]
        boxes[..., 1] = (np.arange(side) * stride)[:, None, None]
        boxes[..., 2:4] = sizes
        levels.append(boxes.reshape(-1, 5))
    found = regularize_le90(np.concatenate(levels))
    found.setflags(write=False)
    return found


@lru_cache(maxsize=4)
def anchor_quads(grids: tuple[int, ...]) -> Quads:
    """The corners of ``anchors``, (N, 4, 2)."""
    return rboxes_to_quads(anchors(grids))


@lru_cache(maxsize=4)
def points(grids: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Centres of the cells, (N, 2) pixels of the canvas, and the stride of each one's level, (N,)."""
    places, strides = [], []
    for side, stride in zip(grids, STRIDES_PX, strict=True):
        line = (np.arange(side) + 0.5) * stride
        places.append(np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2))
        strides.append(np.full(side * side, float(stride)))
    found = np.concatenate(places), np.concatenate(strides)
    for array in found:
        array.setflags(write=False)
    return found
