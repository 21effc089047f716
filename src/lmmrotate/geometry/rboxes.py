"""Rotated boxes: centre, size and angle, and the way from quads to them and back.

An rbox set is a float64 array of shape (N, 5): (cx, cy, w, h, angle), pixels and radians. ``w`` lies along
the direction (cos angle, sin angle); a positive angle turns x towards y, which is clockwise on screen.
The same rectangle can be written in many ways. The form used here is "le90" (long edge, 90 degrees):
w >= h and angle in [-pi/2, pi/2).
"""

import numpy as np
import numpy.typing as npt

from lmmrotate.geometry.quads import Quads, as_quads, enclosing_rectangles, min_area_quads

__all__ = [
    "RBoxes",
    "as_rboxes",
    "min_area_quads",
    "quads_to_rboxes",
    "quads_to_rboxes_opencv",
    "rboxes_to_quads",
    "regularize_le90",
]

RBoxes = npt.NDArray[np.float64]  # (N, 5): cx, cy, w, h in pixels, angle in radians


def as_rboxes(values: npt.ArrayLike) -> RBoxes:
    """Return ``values`` as an rbox array of shape (N, 5). An empty list gives (0, 5).

    Raises:
        ValueError: if the shape is not (N, 5), or a number is not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        return np.empty((0, 5))
    if array.shape[1:] != (5,):
        raise ValueError(f"rboxes must have shape (N, 5), got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("rboxes contain a number that is not finite")
    return array


def regularize_le90(rboxes: npt.ArrayLike) -> RBoxes:
    """Rewrite rboxes (N, 5) so that w >= h and the angle is in [-pi/2, pi/2); the rectangles stay the same.

    A square keeps its angle, up to half turns.
    """
    cx, cy, w, h, angle = as_rboxes(rboxes).T
    angle = np.where(h > w, angle + np.pi / 2, angle)
    return np.stack([cx, cy, np.maximum(w, h), np.minimum(w, h), _half_turn(angle)], axis=1)


def rboxes_to_quads(rboxes: npt.ArrayLike) -> Quads:
    """Corners (N, 4, 2) of rboxes (N, 5).

    In the box's own frame the order is (+w, +h), (+w, -h), (-w, -h), (-w, +h), as in mmrotate: for angle 0,
    bottom right first and then counterclockwise on screen.
    """
    x, y, w, h, angle = as_rboxes(rboxes).T
    cos, sin = np.cos(angle), np.sin(angle)
    quads = np.empty((len(x), 4, 2))
    # Column by column: a fifth of the time of adding small arrays.
    for axis, (centre, along, across) in enumerate(
        ((x, 0.5 * w * cos, 0.5 * h * -sin), (y, 0.5 * w * sin, 0.5 * h * cos))
    ):
        far, near = along + across, along - across
        for corner, offset in enumerate((far, near, -far, -near)):
            quads[:, corner, axis] = centre + offset
    return quads


def quads_to_rboxes(quads: npt.ArrayLike) -> RBoxes:
    """The le90 rbox (N, 5) of each quad (N, 4, 2).

    A rectangle gives itself; any other quad, also one that is not convex, the smallest rectangle around it.
    """
    rectangles = enclosing_rectangles(as_quads(quads))
    first, second = rectangles[:, 1] - rectangles[:, 0], rectangles[:, 3] - rectangles[:, 0]
    w, h = np.hypot(*first.T), np.hypot(*second.T)
    # The longer side carries the angle more accurately, and a side of no length carries none.
    x, y = np.where((w >= h)[:, None], first, second).T
    centres = (rectangles[:, 0] + rectangles[:, 2]) / 2
    long, short, angle = np.maximum(w, h), np.minimum(w, h), _half_turn(np.arctan2(y, x))
    return np.column_stack([centres, long, short, angle])


def quads_to_rboxes_opencv(quads: npt.ArrayLike) -> RBoxes:
    """As ``quads_to_rboxes``, but by ``cv2.minAreaRect`` on float32 corners, as the published code does it.

    Only for reproducing published numbers. The rectangles have the same area up to float32, but where two
    different ones tie (see ``enclosing_rectangles``), OpenCV's rounding decides which is returned.
    """
    import cv2  # here, because only this function needs it

    found = [cv2.minAreaRect(corners) for corners in as_quads(quads).astype(np.float32)]
    # OpenCV 4 and 5 differ in which side they call the width; le90 does away with that.
    return regularize_le90([(*centre, *size, np.deg2rad(degrees)) for centre, size, degrees in found])


def _half_turn(angle: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Bring angles into [-pi/2, pi/2) by half turns."""
    turned = np.remainder(angle + np.pi / 2, np.pi) - np.pi / 2
    # The remainder of a number just below 0 rounds to pi itself.
    return np.where(turned >= np.pi / 2, -np.pi / 2, turned)
