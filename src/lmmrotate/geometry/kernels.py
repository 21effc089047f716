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
def is_dented(quad: Array) -> bool:
    """Whether a quad (4, 2) is concave or crosses itself: it turns both ways."""
    left, right = False, False
    for i in range(4):
        j, k = (i + 1) % 4, (i + 2) % 4
        ux, uy = quad[j, 0] - quad[i, 0], quad[j, 1] - quad[i, 1]
        vx, vy = quad[k, 0] - quad[j, 0], quad[k, 1] - quad[j, 1]
        turn = ux * vy - uy * vx
        left, right = left or turn < 0.0, right or turn > 0.0
    return left and right


@jit
def measure(quads: Array) -> tuple[Array, Array, Array, npt.NDArray[np.bool_]]:
    """Areas (N,), windings (N,) of +1 or -1, bounds (N, 4) as x0, y0, x1, y1, and which are dented (N,)."""
    number = len(quads)
    areas, windings, bounds = np.empty(number), np.empty(number), np.empty((number, 4))
    dented = np.empty(number, np.bool_)
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
        dented[n] = is_dented(quads[n])
    return areas, windings, bounds, dented


@jit
def shared_by_triangles(a: Array, b: Array, work: Array) -> float:
    """Area that any two quads share, as the sum over their halves with the signs of these.

    What a quad encloses clockwise counts against what it encloses anticlockwise, as in the intersection of
    DOTA_devkit's polyiou.
    """
    first, second = np.empty((4, 2)), np.empty((4, 2))
    shared = 0.0
    for i in range(1, 3):
        first[0], first[1], first[2], first[3] = a[0], a[i], a[i + 1], a[i + 1]
        sign_a = np.sign(signed_area(first, 3))
        for j in range(1, 3):
            second[0], second[1], second[2], second[3] = b[0], b[j], b[j + 1], b[j + 1]
            sign_b = np.sign(signed_area(second, 3))
            if sign_a != 0.0 and sign_b != 0.0:
                count = cut_to_quad(first, second, sign_b, work)
                if count >= 3:
                    shared += sign_a * sign_b * abs(signed_area(work[0], count))
    return float(shared * np.sign(signed_area(a, 4)) * np.sign(signed_area(b, 4)))


@jit
def overlap_ratio(
    a: Array,
    area_a: float,
    b: Array,
    area_b: float,
    winding_b: float,
    dented: bool,
    over_a: bool,
    work: Array,
) -> float:
    """Intersection over union of two quads, or over the area of ``a``; in [0, 1], never NaN.

    ``dented``: one of them is not convex.
    """
    if area_a <= 0.0 or area_b <= 0.0:
        return 0.0
    if dented:
        shared = shared_by_triangles(a, b, work)
    else:
        count = cut_to_quad(a, b, winding_b, work)
        if count < 3:
            return 0.0
        shared = min(abs(signed_area(work[0], count)), area_a, area_b)  # rounding may put it above
    whole = area_a if over_a else area_a + area_b - shared
    # A quad that crosses itself may share more than it encloses.
    if shared <= 0.0:
        return 0.0
    return float(shared / whole) if shared < whole else 1.0


@jit
def overlap_matrix(a: Array, b: Array, over_a: bool) -> Array:
    """Ratios (N, M) of every quad of ``a`` (N, 4, 2) to every quad of ``b`` (M, 4, 2)."""
    area_a, _, box_a, dented_a = measure(a)
    area_b, winding_b, box_b, dented_b = measure(b)
    ratios = np.zeros((len(a), len(b)))
    work = np.empty((2, MAX_CORNERS, 2))
    for n in range(len(a)):
        x0, y0, x1, y1 = box_a[n]
        for m in range(len(b)):
            if box_b[m, 0] < x1 and box_b[m, 2] > x0 and box_b[m, 1] < y1 and box_b[m, 3] > y0:
                dented = dented_a[n] or dented_b[m]
                ratios[n, m] = overlap_ratio(
                    a[n], area_a[n], b[m], area_b[m], winding_b[m], dented, over_a, work
                )
    return ratios


@jit
def overlap_pairs(a: Array, b: Array, over_a: bool) -> Array:
    """Ratios (N,) of each quad of ``a`` to the quad of ``b`` at the same index, both (N, 4, 2)."""
    area_a, _, box_a, dented_a = measure(a)
    area_b, winding_b, box_b, dented_b = measure(b)
    ratios = np.zeros(len(a))
    work = np.empty((2, MAX_CORNERS, 2))
    for n in range(len(a)):
        if (
            box_b[n, 0] < box_a[n, 2]
            and box_b[n, 2] > box_a[n, 0]
            and box_b[n, 1] < box_a[n, 3]
            and box_b[n, 3] > box_a[n, 1]
        ):
            dented = dented_a[n] or dented_b[n]
            ratios[n] = overlap_ratio(a[n], area_a[n], b[n], area_b[n], winding_b[n], dented, over_a, work)
    return ratios


@jit
def overlaps_at_least(
    quads: Array,
    areas: Array,
    windings: Array,
    boxes: Array,
    dented: npt.NDArray[np.bool_],
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
    crooked = dented[n] or dented[m]
    ratio = overlap_ratio(quads[n], areas[n], quads[m], areas[m], windings[m], crooked, False, work)
    return ratio > 0.0 and ratio >= threshold


@jit
def _grown(values: Indices, size: int) -> Indices:
    longer = np.empty(size, np.int64)
    longer[: len(values)] = values
    return longer


@jit
def overlapping_in_groups(
    a: Array,
    b: Array,
    groups: Indices,
    labels_a: Indices,
    labels_b: Indices,
    same_label: bool,
    least: float,
) -> tuple[Indices, Indices, Array]:
    """Pairs of quads of ``a`` and ``b`` in one group whose IoU is above 0 and at least ``least``.

    ``groups`` (G, 4) holds of each its first row of ``a`` and the one behind its last, and both of ``b``.
    With ``same_label`` only pairs of equal labels. Returns rows of ``a``, rows of ``b``, and the IoUs.
    """
    area_a, _, box_a, dented_a = measure(a)
    area_b, winding_b, box_b, dented_b = measure(b)
    work = np.empty((2, MAX_CORNERS, 2))
    size, count = 2 * len(a) + 16, 0
    rows_a, rows_b, ratios = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size)
    for group in range(len(groups)):
        for n in range(groups[group, 0], groups[group, 1]):
            x0, y0, x1, y1 = box_a[n]
            for m in range(groups[group, 2], groups[group, 3]):
                if same_label and labels_a[n] != labels_b[m]:
                    continue
                width = min(x1, box_b[m, 2]) - max(x0, box_b[m, 0])
                height = min(y1, box_b[m, 3]) - max(y0, box_b[m, 1])
                if width <= 0.0 or height <= 0.0:
                    continue
                dented = dented_a[n] or dented_b[m]
                most = min(width * height, area_a[n], area_b[m])
                if not dented and most < (1.0 - 1e-9) * least * (area_a[n] + area_b[m] - most):
                    continue
                ratio = overlap_ratio(a[n], area_a[n], b[m], area_b[m], winding_b[m], dented, False, work)
                if ratio <= 0.0 or ratio < least:
                    continue
                if count == size:
                    size *= 2
                    rows_a, rows_b = _grown(rows_a, size), _grown(rows_b, size)
                    longer = np.empty(size)
                    longer[:count] = ratios
                    ratios = longer
                rows_a[count], rows_b[count], ratios[count] = n, m, ratio
                count += 1
    return rows_a[:count], rows_b[:count], ratios[:count]


@jit
def suppress(quads: Array, labels: Indices, ranking: Indices, threshold: float) -> npt.NDArray[np.bool_]:
    """Greedy non-maximum suppression of quads (N, 4, 2) that are sorted by label, then by left bound.

    ``ranking`` lists the indices from best to worst score. Returns (N,): True where a quad is kept.
    """
    number = len(quads)
    areas, windings, boxes, dented = measure(quads)
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
                    if overlaps_at_least(quads, areas, windings, boxes, dented, best, other, threshold, work):
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
