"""Quadrilaterals as arrays.

A quad set is a float64 array of shape (N, 4, 2): N objects, 4 corners, (x, y) in pixels.
The origin is the top-left corner of the image, x grows right and y grows down.
"""

from itertools import combinations

import numpy as np
import numpy.typing as npt

Quads = npt.NDArray[np.float64]  # (N, 4, 2), pixels
Floats = npt.NDArray[np.float64]

TIE = 1e-9  # relative difference below which two areas or two lengths count as equal


def as_quads(values: npt.ArrayLike) -> Quads:
    """Return ``values`` as a quad array of shape (N, 4, 2).

    Args:
        values: shape (N, 4, 2) or flat (N, 8), pixels. An empty list gives (0, 4, 2).

    Raises:
        ValueError: if the shape is neither, or a coordinate is not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        return np.empty((0, 4, 2))
    if array.shape[1:] not in {(8,), (4, 2)}:
        raise ValueError(f"quads must have shape (N, 4, 2) or (N, 8), got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("quads contain a coordinate that is not finite")
    return array.reshape(-1, 4, 2)


def start_at_top(quads: Quads) -> Quads:
    """Rotate each corner list so that it starts at the topmost corner (leftmost on a tie).

    Shape (N, 4, 2) in and out; the winding direction is kept.
    """
    # lexsort sorts by its last key first: y, then x.
    first = np.lexsort((quads[..., 0], quads[..., 1]))[:, 0]
    return _rotate_corners(quads, first)


def signed_areas(quads: Quads) -> Floats:
    """Areas (N,) in square pixels, positive for corners that run clockwise on screen (shoelace formula).

    A self-crossing quad gets the difference of its two lobes.
    """
    # For four corners the shoelace sum is the cross product of the diagonals.
    a, b = quads[:, 2] - quads[:, 0], quads[:, 3] - quads[:, 1]
    return 0.5 * (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])


def quad_areas(quads: Quads) -> Floats:
    """Areas (N,) in square pixels, whatever the winding; see ``signed_areas``."""
    return np.abs(signed_areas(quads))


def is_convex(quads: Quads) -> npt.NDArray[np.bool_]:
    """Whether each quad is convex, (N,). Repeated corners and straight angles count as convex."""
    edges = np.roll(quads, -1, axis=1) - quads
    following = np.roll(edges, -1, axis=1)
    turns = edges[..., 0] * following[..., 1] - edges[..., 1] * following[..., 0]  # (N, 4)
    return np.logical_or((turns >= 0).all(axis=1), (turns <= 0).all(axis=1))


def min_area_quads(quads: Quads) -> Quads:
    """Replace each quad, convex or not, by the smallest rectangle around its corners.

    Shape (N, 4, 2) in and out. Winding and first corner are chosen to lie closest to the quad's own, so a
    rectangle comes back as it was, up to rounding.
    """
    return _follow_corners(enclosing_rectangles(quads), quads)


def enclosing_rectangles(points: Floats) -> Quads:
    """The smallest rectangle around each set of points, as corners (N, 4, 2), clockwise on screen.

    One side of it lies along a side of the convex hull (Freeman and Shapira, "Determining the
    minimum-area encasing rectangle for an arbitrary closed curve", CACM 1975). The sides of the hull are
    among the lines through two of the points, and every such line gives an enclosing rectangle: for a
    handful of points, trying all of them replaces the hull.

    Two different rectangles often have exactly the same area (both are twice a triangle of three of the
    corners; about one quad in eight among quantised ones). The one along the longer side is taken.

    Args:
        points: (N, P, 2) pixels, P >= 2 and small; points may repeat.
    """
    origin = points[:, :1]
    local = points - origin
    # Of the best so far: area, side length, direction (x, y), extents along (u) and across (v).
    best = np.zeros((len(points), 8))
    best[:, 0] = np.inf
    for i, j in _pairs(points.shape[1]):
        x, y = (local[:, j] - local[:, i]).T
        length = np.hypot(x, y)
        x = np.divide(x, length, out=np.ones_like(x), where=length > 0)
        y = np.divide(y, length, out=np.zeros_like(y), where=length > 0)
        along = local[..., 0] * x[:, None] + local[..., 1] * y[:, None]
        across = local[..., 1] * x[:, None] - local[..., 0] * y[:, None]
        u0, u1, v0, v1 = along.min(axis=1), along.max(axis=1), across.min(axis=1), across.max(axis=1)
        area = (u1 - u0) * (v1 - v0)
        smaller = area < best[:, 0] * (1 - TIE)
        equal = area <= best[:, 0] * (1 + TIE)
        better = smaller | (equal & (length > best[:, 1] * (1 + TIE)))
        best[better] = np.stack([area, length, x, y, u0, u1, v0, v1], axis=1)[better]
    _, _, x, y, u0, u1, v0, v1 = best.T[..., None]  # each (N, 1)
    u, v = np.hstack([u0, u1, u1, u0]), np.hstack([v0, v0, v1, v1])
    corners: Quads = origin + np.stack([u * x - v * y, u * y + v * x], axis=-1)
    return corners


def inside_fraction(quads: Quads, image_wh: tuple[float, float]) -> Floats:
    """Share of each quad's area that lies in the image, (N,) in [0, 1]; 0 for a quad without area.

    Args:
        quads: (N, 4, 2) pixels, not self-crossing.
        image_wh: width and height of the image in pixels.
    """
    quads = as_quads(quads)
    areas = quad_areas(quads)
    shares: Floats = np.where(areas > 0, 1.0, 0.0)
    part = _leave_image(quads, image_wh) & (areas > 0)
    corners = _corners_inside(quads[part], image_wh)
    x, y = np.moveaxis(corners - corners[:, :1], -1, 0)  # each (N, P), the first corner at 0
    inside = 0.5 * np.abs((x[:, :-1] * y[:, 1:] - x[:, 1:] * y[:, :-1]).sum(axis=1))
    shares[part] = np.minimum(inside / areas[part], 1.0)
    return shares


def clip_quads(quads: Quads, image_wh: tuple[float, float]) -> Quads:
    """Cut quads to the image, each to the smallest rectangle around the part of it that is inside.

    Shape (N, 4, 2) in and out, winding and first corner as in ``min_area_quads``. Quads that are inside
    already come back unchanged; a quad that shares no area with the image becomes one point of the
    image, four times. The rectangle of a slanting quad may still reach over the border by a little: what
    is inside is a polygon of up to eight corners, and a quad has four.
    """
    quads = as_quads(quads)
    clipped = quads.copy()
    crossing = _leave_image(quads, image_wh)
    before = quads[crossing]
    after = _follow_corners(enclosing_rectangles(_corners_inside(before, image_wh)), before)
    gone = quad_areas(after) <= 1e-12 * quad_areas(before)  # no more than touching, up to rounding
    after[gone] = np.clip(before[gone].mean(axis=1, keepdims=True), 0, image_wh)
    clipped[crossing] = after
    return clipped


def _leave_image(quads: Quads, image_wh: tuple[float, float]) -> npt.NDArray[np.bool_]:
    """Whether a corner of each quad lies outside the image, (N,)."""
    return np.logical_or((quads < 0).any(axis=(1, 2)), (quads > image_wh).any(axis=(1, 2)))


def _corners_inside(quads: Quads, image_wh: tuple[float, float]) -> Floats:
    """Corners (N, P, 2) of each quad's part in the image; short ones repeat their last, empty ones are 0."""
    # Imported here because numba takes half a second to load, and every annotation reader imports this.
    from lmmrotate.geometry.kernels import clip_to_image

    corners, counts = clip_to_image(
        np.require(quads, requirements=["C", "W"]), float(image_wh[0]), float(image_wh[1])
    )
    return corners[:, : max(2, counts.max(initial=0))]


def _rotate_corners(quads: Quads, first: npt.NDArray[np.int64]) -> Quads:
    """Let each quad (N, 4, 2) start at the corner of index ``first`` (N,)."""
    order = (first[:, None] + np.arange(4)) % 4  # (N, 4)
    return np.take_along_axis(quads, order[..., None], axis=1)


def _follow_corners(rectangles: Quads, quads: Quads) -> Quads:
    """Reorder the corners of clockwise rectangles to the winding and first corner of their quads."""
    counterclockwise = signed_areas(quads) < 0
    rectangles = np.where(counterclockwise[:, None, None], rectangles[:, ::-1], rectangles)
    distances = [((np.roll(rectangles, -k, axis=1) - quads) ** 2).sum(axis=(1, 2)) for k in range(4)]
    return _rotate_corners(rectangles, np.argmin(distances, axis=0))


def _pairs(points: int) -> list[tuple[int, int]]:
    """All pairs of point indices, neighbours around the outline first."""
    return sorted(combinations(range(points), 2), key=lambda pair: pair[1] - pair[0] not in {1, points - 1})
