"""Which objects of a scene belong to a tile, and which of them its edge cuts (see ``tiling``)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from lmmrotate.data.records import ImageRecord, SceneRef
from lmmrotate.data.tile_windows import TilingSettings, Windows
from lmmrotate.geometry.quads import Quads, is_convex, min_area_quads, quad_areas

CUT = 2
"""Difficulty of an object that the tile's edge cuts."""

_PAIRS = 4_000_000  # objects times windows that are compared at once
_CUT_AT_A_TIME = 10_000  # pairs of object and window; 2 KB each


def tile_records(
    scene: ImageRecord, windows: Windows, settings: TilingSettings
) -> tuple[list[ImageRecord], npt.NDArray[np.int64]]:
    """The tiles of a scene with their objects, and how many tiles took each object, (N,)."""
    name = scene_name(scene)
    tiles = []
    uses = np.zeros(len(scene.labels), dtype=np.int64)
    for (x0, y0, x1, y1), takes, cuts in _choices(scene, windows, settings):
        uses += takes
        width, height = x1 - x0, y1 - y0
        if settings.padding is None:
            width, height = min(width, scene.width - x0), min(height, scene.height - y0)
        chosen = np.flatnonzero(takes).tolist()
        tiles.append(
            ImageRecord(
                image=f"images/{name}__{x1 - x0}__{x0}___{y0}.png",
                width=width,
                height=height,
                quads=scene.quads[chosen] - (x0, y0),
                labels=tuple(scene.labels[i] for i in chosen),
                difficult=tuple(CUT if cuts[i] else scene.difficult[i] for i in chosen),
                scene=SceneRef(name, x0, y0),
            )
        )
    return tiles, uses


def _choices(
    scene: ImageRecord, windows: Windows, settings: TilingSettings
) -> Iterator[tuple[Any, Any, Any]]:
    """Of every window: itself, which objects it takes, and which it cuts, both (N,)."""
    step = max(1, _PAIRS // max(1, len(scene.labels)))
    for start in range(0, len(windows), step):
        some = windows[start : start + step]
        taken, cut = _choose(scene, some, settings)
        yield from zip(some.tolist(), taken.T, cut.T, strict=True)


def _choose(
    scene: ImageRecord, windows: Windows, settings: TilingSettings
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which window takes which object, and which cuts it, both (N, W)."""
    quads = scene.quads
    if settings.protocol == "lmmrotate":
        quads = quads.astype(np.float32).astype(np.float64)
    convex = np.where(is_convex(quads)[:, None, None], quads, min_area_quads(quads))
    low, high = windows[:, :2].astype(np.float64), windows[:, 2:].astype(np.float64)
    iof = np.where(_within(quads, low, high), 1.0, _shares_inside(convex, low, high))
    if settings.protocol == "lmmrotate":
        areas = quad_areas(convex)
        iof *= (areas / np.maximum(areas.astype(np.float32), np.float32(1e-6)))[:, None]
        return iof >= settings.iof_thr, iof < 1
    low[low == 0] = -np.inf
    high[high >= scene.wh] = np.inf
    return iof >= settings.iof_thr, ~_within(quads, low, high)


def _within(
    quads: Quads, low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Whether all corners of each quad lie from ``low`` to ``high`` (W, 2), edges included; (N, W)."""
    inside = (quads.min(axis=1)[:, None] >= low) & (quads.max(axis=1)[:, None] <= high)  # (N, W, 2)
    return np.asarray(inside.all(axis=2))


def _shares_inside(
    quads: Quads, low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Share of each convex quad's area that lies in each window from ``low`` to ``high`` (W, 2); (N, W).

    As ``geometry.overlap.iof_matrix``, without numba, which takes half a second to load: as long as a scene
    of 4000 px takes to be cut. A window's edges cut few quads, and only those are looked at closely.
    """
    least, most = quads.min(axis=1)[:, None], quads.max(axis=1)[:, None]
    areas = quad_areas(quads)
    meeting = ((least < high) & (most > low)).all(axis=2) & (areas > 0)[:, None]
    whole = _within(quads, low, high)
    shares: npt.NDArray[np.float64] = (meeting & whole).astype(np.float64)
    pairs = np.argwhere(meeting & ~whole)
    for start in range(0, len(pairs), _CUT_AT_A_TIME):
        n, w = pairs[start : start + _CUT_AT_A_TIME].T
        inside = _areas_inside(quads[n] - low[w, None], high[w] - low[w])
        shares[n, w] = np.minimum(inside / areas[n], 1)
    return shares


def _areas_inside(quads: Quads, sizes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Areas (K,) of the parts of quads that lie in rectangles from (0, 0) to ``sizes`` (K, 2)."""
    points = quads
    for axis, bound in itertools.product((0, 1), (None, sizes)):
        edge = np.zeros((len(quads), 1)) if bound is None else bound[:, axis, None]
        ahead = np.roll(points, -1, axis=1) - points
        run = ahead[..., axis]
        # How much of the way to the next corner lies before the edge.
        part = (edge - points[..., axis]) / np.where(run == 0, 1, run)
        crossings = points + np.clip(part, 0, 1)[..., None] * ahead
        points = np.stack([points, crossings], axis=2).reshape(len(quads), -1, 2)
        # What is beyond the edge is pressed flat on it, where it has no area.
        points[..., axis] = (np.maximum if bound is None else np.minimum)(points[..., axis], edge)
    x, y = np.moveaxis(points - points[:, :1], -1, 0)
    return np.asarray(0.5 * np.abs((x[:, :-1] * y[:, 1:] - x[:, 1:] * y[:, :-1]).sum(axis=1)))


def scene_name(record: ImageRecord) -> str:
    """What the names of a scene's tiles begin with."""
    return PurePosixPath(record.image).stem
