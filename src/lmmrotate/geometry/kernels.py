"""Compiled loops over polygons: every numba kernel of the package is in this one file.

numba's disk cache only watches the file of the function it compiled, so a kernel that called another
file's kernel would go on using that one's old code after an edit.

Polygons are float64 arrays of shape (P, 2), (x, y) in pixels, in either winding. Kernels trust their
arguments: shapes, dtypes and finite values are the callers' business (``overlap``, ``quads``).
"""

import numpy as np
import numpy.typing as npt

from lmmrotate.geometry.jit import jit

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

# Cutting along a line turns P corners into at most 1.5 P. A quad cut four times: 4, 6, 9, 13, 19.
MAX_CORNERS = 20
EPSILON = float(np.finfo(np.float64).eps)


@jit
def signed_area(polygon: Array, count: int) -> float:
    """Area of the first ``count`` corners (shoelace formula, taken relative to the first corner)."""
    twice = 0.0
    x0, y0 = polygon[0, 0], polygon[0, 1]
    for i in range(1, count - 1):
        ax, ay = polygon[i, 0] - x0, polygon[i, 1] - y0
        bx, by = polygon[i + 1, 0] - x0, polygon[i + 1, 1] - y0
        twice += ax * by - ay * bx
    return 0.5 * twice


@jit
def cut_along_line(polygon: Array, count: int, px: float, py: float, dx: float, dy: float, out: Array) -> int:
    """Keep the part of a polygon where ``(dx, dy) x (corner - p) >= 0``; one step of Sutherland-Hodgman.

    Writes the corners to ``out`` and returns how many there are. For a convex polygon the result is exact.
    """
    kept = 0
    x0, y0 = polygon[count - 1, 0], polygon[count - 1, 1]
    side0 = dx * (y0 - py) - dy * (x0 - px)
    for i in range(count):
        x1, y1 = polygon[i, 0], polygon[i, 1]
        side1 = dx * (y1 - py) - dy * (x1 - px)
        if (side0 < 0.0) != (side1 < 0.0):
            t = side0 / (side0 - side1)
            out[kept, 0], out[kept, 1] = x0 + t * (x1 - x0), y0 + t * (y1 - y0)
            kept += 1
        if side1 >= 0.0:
            out[kept, 0], out[kept, 1] = x1, y1
            kept += 1
        x0, y0, side0 = x1, y1, side1
    return kept


@jit
def cut_to_quad(polygon: Array, quad: Array, winding: float, work: Array) -> int:
    """Intersect a quad with a convex quad of the given winding (the sign of its signed area).

    ``work`` has shape (2, MAX_CORNERS, 2). The result is in ``work[0]``; returns its number of corners.
    """
    count = 4
    for i in range(4):
        work[0, i, 0], work[0, i, 1] = polygon[i, 0], polygon[i, 1]
    for i in range(4):
        j = (i + 1) % 4
        dx, dy = winding * (quad[j, 0] - quad[i, 0]), winding * (quad[j, 1] - quad[i, 1])
        # Four cuts: the result is back in work[0].
        count = cut_along_line(work[i % 2], count, quad[i, 0], quad[i, 1], dx, dy, work[1 - i % 2])
        if count == 0:
            return 0
    return count


@jit
def measure(quads: Array) -> tuple[Array, Array, Array]:
    """Areas (N,), windings (N,) of +1 or -1, and bounds (N, 4) as x0, y0, x1, y1 of quads (N, 4, 2)."""
    number = len(quads)
    areas, windings, bounds = np.empty(number), np.empty(number), np.empty((number, 4))
    for n in range(number):
        x0, y0 = quads[n, 0, 0], quads[n, 0, 1]
        x1, y1 = x0, y0
        for i in range(1, 4):
            x0, x1 = min(x0, quads[n, i, 0]), max(x1, quads[n, i, 0])
            y0, y1 = min(y0, quads[n, i, 1]), max(y1, quads[n, i, 1])
        bounds[n, 0], bounds[n, 1], bounds[n, 2], bounds[n, 3] = x0, y0, x1, y1
        area = signed_area(quads[n], 4)
        windings[n] = 1.0 if area >= 0.0 else -1.0
        # An area below the rounding error of its own corners (a line, a point) is no area: ratios to it
        # would be noise.
        reach = max(abs(x0), abs(y0), abs(x1), abs(y1))
        areas[n] = abs(area) if abs(area) > 4.0 * EPSILON * reach * max(x1 - x0, y1 - y0) else 0.0
    return areas, windings, bounds


@jit
def overlap_ratio(
    a: Array, area_a: float, b: Array, area_b: float, winding_b: float, over_a: bool, work: Array
) -> float:
    """Intersection over union of two convex quads, or over the area of ``a``; in [0, 1], never NaN."""
    if area_a <= 0.0 or area_b <= 0.0:
        return 0.0
    count = cut_to_quad(a, b, winding_b, work)
    if count < 3:
        return 0.0
    # Rounding, or a quad that is not convex, may put the intersection above its parts.
    shared = min(abs(signed_area(work[0], count)), area_a, area_b)
    return shared / area_a if over_a else shared / (area_a + area_b - shared)


@jit
def overlap_matrix(a: Array, b: Array, over_a: bool) -> Array:
    """Ratios (N, M) of every quad of ``a`` (N, 4, 2) to every quad of ``b`` (M, 4, 2)."""
    area_a, _, box_a = measure(a)
    area_b, winding_b, box_b = measure(b)
    ratios = np.zeros((len(a), len(b)))
    work = np.empty((2, MAX_CORNERS, 2))
    for n in range(len(a)):
        x0, y0, x1, y1 = box_a[n]
        for m in range(len(b)):
            if box_b[m, 0] < x1 and box_b[m, 2] > x0 and box_b[m, 1] < y1 and box_b[m, 3] > y0:
                ratios[n, m] = overlap_ratio(a[n], area_a[n], b[m], area_b[m], winding_b[m], over_a, work)
    return ratios


@jit
def overlap_pairs(a: Array, b: Array, over_a: bool) -> Array:
    """Ratios (N,) of each quad of ``a`` to the quad of ``b`` at the same index, both (N, 4, 2)."""
    area_a, _, box_a = measure(a)
    area_b, winding_b, box_b = measure(b)
    ratios = np.zeros(len(a))
    work = np.empty((2, MAX_CORNERS, 2))
    for n in range(len(a)):
        if (
            box_b[n, 0] < box_a[n, 2]
            and box_b[n, 2] > box_a[n, 0]
            and box_b[n, 1] < box_a[n, 3]
            and box_b[n, 3] > box_a[n, 1]
        ):
            ratios[n] = overlap_ratio(a[n], area_a[n], b[n], area_b[n], winding_b[n], over_a, work)
    return ratios


@jit
def overlaps_at_least(
    quads: Array,
    areas: Array,
    windings: Array,
    boxes: Array,
    n: int,
    m: int,
    threshold: float,
    work: Array,
) -> bool:
    """Whether two quads overlap with an IoU of at least ``threshold``, asking their bounds first."""
    width = min(boxes[n, 2], boxes[m, 2]) - max(boxes[n, 0], boxes[m, 0])
    height = min(boxes[n, 3], boxes[m, 3]) - max(boxes[n, 1], boxes[m, 1])
    if width <= 0.0 or height <= 0.0:
        return False
    most = min(width * height, areas[n], areas[m])
    # The margin leaves a pair that lies on the threshold to the exact test.
    if most < (1.0 - 1e-9) * threshold * (areas[n] + areas[m] - most):
        return False
    ratio = overlap_ratio(quads[n], areas[n], quads[m], areas[m], windings[m], False, work)
    return ratio > 0.0 and ratio >= threshold


@jit
def suppress(quads: Array, labels: Indices, ranking: Indices, threshold: float) -> npt.NDArray[np.bool_]:
    """Greedy non-maximum suppression of quads (N, 4, 2) that are sorted by label, then by left bound.

    ``ranking`` lists the indices from best to worst score. Returns (N,): True where a quad is kept.
    """
    number = len(quads)
    areas, windings, boxes = measure(quads)
    work = np.empty((2, MAX_CORNERS, 2))
    # The largest right bound so far within the label: going left, nothing reaches back once it is passed.
    reach = boxes[:, 2].copy()
    for n in range(1, number):
        if labels[n] == labels[n - 1]:
            reach[n] = max(reach[n], reach[n - 1])
    kept = np.ones(number, dtype=np.bool_)
    done = np.zeros(number, dtype=np.bool_)
    for best in ranking:
        if not kept[best]:
            continue
        done[best] = True
        for step in (-1, 1):
            other = best + step
            while 0 <= other < number and labels[other] == labels[best]:
                if step < 0 and reach[other] <= boxes[best, 0]:
                    break
                if step > 0 and boxes[other, 0] >= boxes[best, 2]:
                    break
                if kept[other] and not done[other] and boxes[other, 2] > boxes[best, 0]:
                    if overlaps_at_least(quads, areas, windings, boxes, best, other, threshold, work):
                        kept[other] = False
                other += step
    return kept


@jit
def clip_to_image(quads: Array, width: float, height: float) -> tuple[Array, Indices]:
    """Cut quads (N, 4, 2) to the image [0, width] x [0, height].

    Returns the corners (N, MAX_CORNERS, 2) and how many of them count, (N,); the rest repeat the last one.
    """
    image = np.array([[0.0, 0.0], [width, 0.0], [width, height], [0.0, height]])
    work = np.empty((2, MAX_CORNERS, 2))
    corners = np.zeros((len(quads), MAX_CORNERS, 2))
    counts = np.zeros(len(quads), dtype=np.int64)
    for n in range(len(quads)):
        counts[n] = cut_to_quad(quads[n], image, 1.0, work)
        for i in range(MAX_CORNERS):
            if counts[n] > 0:
                corners[n, i] = work[0, min(i, counts[n] - 1)]
    return corners, counts
