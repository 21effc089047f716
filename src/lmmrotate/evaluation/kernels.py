"""Compiled loops over detections.

None calls a kernel of another file (see ``geometry.kernels``). They trust their arguments.
"""

import numpy as np
import numpy.typing as npt

from lmmrotate.geometry.jit import jit

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

# 0.3, 0.6 and 0.7 come out a hair too large: 0.30000000000000004. The published code compares with these.
ROUNDED_STEPS = np.arange(0, 1 + 1e-3, 0.1)


@jit
def best_of_class(
    detection: Indices, truth: Indices, iou: Array, label: Indices, truth_label: Indices, ignore: Flags
) -> tuple[Indices, Array]:
    """Of every detection the object of its class that it overlaps most, -1 for none, and the IoU.

    ``detection``, ``truth`` and ``iou`` are pairs. On a tie regular objects come before difficult ones, then
    smaller rows.
    """
    best = np.full(len(label), -1, np.int64)
    most = np.zeros(len(label))
    for pair in range(len(detection)):
        d, t = detection[pair], truth[pair]
        if label[d] != truth_label[t] or iou[pair] < most[d]:
            continue
        other = best[d]
        if (
            other < 0
            or iou[pair] > most[d]
            or ignore[t] < ignore[other]
            or (ignore[t] == ignore[other] and t < other)
        ):
            best[d], most[d] = t, iou[pair]
    return best, most


@jit
def judge(
    ranked: Indices, best: Indices, iou: Array, ignore: Flags, excuse: Flags, threshold: float
) -> tuple[Flags, Flags]:
    """Which detections are true and which are false, taken in the order of their rank."""
    true, false = np.zeros(len(best), np.bool_), np.zeros(len(best), np.bool_)
    taken = np.zeros(len(ignore), np.bool_)
    for d in ranked:
        t = best[d]
        if t < 0 or iou[d] < threshold:
            false[d] = True
        elif ignore[t]:
            false[d] = not excuse[t]
        elif taken[t]:
            false[d] = True
        else:
            true[d] = taken[t] = True
    return true, false


@jit
def ap_11(found: Indices, place: Indices, objects: int, rounded: bool) -> float:
    """11-point AP from how many objects were found and how many detections counted, rank by rank."""
    if objects == 0:
        return np.nan
    best = np.zeros(11)
    step = 0
    for i in range(len(found)):
        if found[i] == 0:
            continue
        while step < 10:
            if rounded:
                reached = found[i] / objects >= ROUNDED_STEPS[step + 1]
            else:
                reached = found[i] * 10 >= (step + 1) * objects
            if not reached:
                break
            step += 1
        best[step] = max(best[step], found[i] / place[i])
    total, most = 0.0, 0.0
    for k in range(10, -1, -1):
        most = max(most, best[k])
        total += most
    return total / 11


@jit
def ap_area(found: Indices, place: Indices, objects: int) -> float:
    """Area under the precision envelope, from the same counts as ``ap_11``."""
    if objects == 0:
        return np.nan
    area, most = 0.0, 0.0
    for i in range(len(found) - 1, -1, -1):
        if found[i] == 0:
            break
        most = max(most, found[i] / place[i])
        area += (found[i] - (found[i - 1] if i else 0)) * most
    return area / objects


@jit
def even_aps(
    rows: Indices,
    starts: Indices,
    best: Indices,
    iou: Array,
    ignore: Flags,
    excuse: Flags,
    threshold: float,
    objects: Indices,
    rounded: bool,
    seeds: Indices,
) -> Array:
    """11-point AP (S, K) of every class where all scores are equal, in a random order for each seed.

    ``rows`` are sorted by class; class k has those from ``starts[k]`` to ``starts[k + 1]``. The order of
    seed -1 is that of ``rows``.
    """
    aps = np.empty((len(seeds), len(objects)))
    taken = np.full(len(ignore), -1, np.int64)
    found, place = np.empty(len(rows), np.int64), np.empty(len(rows), np.int64)
    for s in range(len(seeds)):
        if seeds[s] >= 0:
            np.random.seed(seeds[s])  # noqa: NPY002, numba knows no other seed
        for k in range(len(objects)):
            mine = rows[starts[k] : starts[k + 1]].copy()
            if seeds[s] >= 0:
                np.random.shuffle(mine)  # noqa: NPY002
            count, true, all_ = 0, 0, 0
            for d in mine:
                t = best[d]
                if t >= 0 and iou[d] >= threshold:
                    if ignore[t]:
                        if excuse[t]:
                            continue
                    elif taken[t] != s:
                        taken[t] = s
                        true += 1
                all_ += 1
                found[count], place[count] = true, all_
                count += 1
            aps[s, k] = ap_11(found[:count], place[:count], objects[k], rounded)
    return aps


@jit
def weighted_aps(
    rows: Indices,
    starts: Indices,
    true: Flags,
    false: Flags,
    image: Indices,
    weights: Indices,
    objects: Indices,
    rounded: bool,
) -> Array:
    """11-point AP (R, K) where image i counts ``weights[r, i]`` times.

    ``rows`` are sorted by class, then rank; ``objects`` (R, K) are weighted already.
    """
    aps = np.empty(objects.shape)
    found, place = np.empty(len(rows), np.int64), np.empty(len(rows), np.int64)
    for r in range(len(weights)):
        for k in range(objects.shape[1]):
            count = trues = falses = 0
            for d in rows[starts[k] : starts[k + 1]]:
                weight = weights[r, image[d]]
                if weight == 0 or not (true[d] or false[d]):
                    continue
                if true[d]:
                    trues += weight
                else:
                    falses += weight
                found[count], place[count] = trues, trues + falses
                count += 1
            aps[r, k] = ap_11(found[:count], place[:count], objects[r, k], rounded)
    return aps


@jit
def pair_off(detection: Indices, truth: Indices, detections: int, truths: int) -> Indices:
    """Pair detections and objects one to one, first pairs first; of every detection its object, or -1."""
    partner = np.full(detections, -1, np.int64)
    taken = np.zeros(truths, np.bool_)
    for i in range(len(detection)):
        d, t = detection[i], truth[i]
        if partner[d] < 0 and not taken[t]:
            partner[d] = t
            taken[t] = True
    return partner


@jit
def join_clusters(heads: Indices, starts: Indices, others: Indices, tile: Indices) -> Indices:
    """Of every box the one that stands for it: itself, or a box of another tile that took it in.

    Boxes take in others in the order of ``heads``; those that box i may take in are ``others[starts[i] :
    starts[i + 1]]``, the first ones first, at most one of each tile.
    """
    head = np.full(len(heads), -1, np.int64)
    tiles = tile.max() + 1 if len(tile) else 0
    used = np.full(tiles, -1, np.int64)  # of every tile the box that last took one of its boxes in
    for i in heads:
        if head[i] >= 0:
            continue
        head[i] = i
        for j in others[starts[i] : starts[i + 1]]:
            if head[j] < 0 and used[tile[j]] != i:
                head[j] = i
                used[tile[j]] = i
    return head
