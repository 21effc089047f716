"""The order in which numpy 1.26.4 (without AVX512) leaves equal keys: what the recorded runs ranked by.

``np.argsort`` was then a quicksort on the median of three, with insertion sort for short stretches (Musser,
"Introspective sorting and selection algorithms", 1997). Its order of ties follows from the steps below and
from nothing else, so repeating them repeats the recorded order. The published numbers depend on it; ours
do not.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_SHORT = 15


def introsort_order(keys: Sequence[float]) -> list[int]:
    """Indices that sort ``keys``, as that ``np.argsort`` returned them."""
    order = list(range(len(keys)))
    stack = [(0, len(keys) - 1, 2 * max(len(keys), 1).bit_length())]
    while stack:
        low, high, depth = stack.pop()
        while high - low > _SHORT:
            assert depth > 0, "numpy would now change to heapsort, which is not repeated here"
            depth -= 1
            left = _partition(order, keys, low, high)
            # The larger part waits.
            if left - low < high - left:
                stack.append((left + 1, high, depth))
                high = left - 1
            else:
                stack.append((low, left - 1, depth))
                low = left + 1
        _insertion_sort(order, keys, low, high)
    return order


def _partition(order: list[int], keys: Sequence[float], low: int, high: int) -> int:
    def sort_two(a: int, b: int) -> None:
        if keys[order[b]] < keys[order[a]]:
            order[a], order[b] = order[b], order[a]

    middle = low + (high - low) // 2
    sort_two(low, middle)
    sort_two(middle, high)
    sort_two(low, middle)
    pivot = keys[order[middle]]
    left, right = low, high - 1
    order[middle], order[right] = order[right], order[middle]
    while True:
        left += 1
        while keys[order[left]] < pivot:
            left += 1
        right -= 1
        while pivot < keys[order[right]]:
            right -= 1
        if left >= right:
            break
        order[left], order[right] = order[right], order[left]
    order[left], order[high - 1] = order[high - 1], order[left]
    return left


def _insertion_sort(order: list[int], keys: Sequence[float], low: int, high: int) -> None:
    # Python's sort is stable, as insertion sort is.
    order[low : high + 1] = sorted(order[low : high + 1], key=keys.__getitem__)


def introsort_scores(group: npt.NDArray[np.int64], score: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Scores without ties that rank each group's rows as ``np.argsort(-score)`` did.

    Args:
        group: (D,) rows that are sorted together have the same number.
        score: (D,)
    """
    ranks = np.empty(len(score))
    for number in np.unique(group):
        rows = np.flatnonzero(group == number)
        ranks[rows[introsort_order((-score[rows]).tolist())]] = np.arange(len(rows), 0, -1)
    return ranks
