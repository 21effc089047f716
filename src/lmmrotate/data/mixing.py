"""Training on several data sets: which images an epoch shows.

``concat`` shows every image once. ``balanced concat`` draws the same number from each data set, so that a
small one is not drowned by a large one; with weights, numbers in their proportion. What is drawn depends on
the epoch alone: every process of a distributed run, and a resumed run, draws the same.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lmmrotate.errors import ConfigError

MODES = ("single", "concat", "balanced concat")
"""Values of the option ``dataset_mode``, named as in the published system."""


def epoch_items(
    sizes: Sequence[int], mode: str, epoch: int, weights: Sequence[float] = ()
) -> npt.NDArray[np.int64]:
    """The images of an epoch, (N, 2) as data set and index in it, where N is the sum of ``sizes``.

    Without weights, ``balanced concat`` is the published one, epoch by epoch: ceil(N / data sets) images
    drawn from each by ``random.Random(epoch)``, each data set repeated as often as needed, shuffled and cut
    to N.

    Args:
        sizes: images of each data set.
        mode: one of ``MODES``.
        epoch: counted from 0.
        weights: shares of the data sets in ``balanced concat``, in any unit; default: equal.

    Raises:
        ConfigError: for an unknown mode, "single" with several data sets, weights that are not one positive
            number for each data set or come with another mode, or an empty data set to draw from.
    """
    check_mixing(len(sizes), mode, weights)
    everything = [np.column_stack([np.full(n, k), np.arange(n)]) for k, n in enumerate(sizes)]
    if mode != "balanced concat":
        return np.concatenate(everything)
    if not all(sizes):
        raise ConfigError(f"data set {sizes.index(0)} (counted from 0) has no image to draw from")
    total = sum(sizes)
    draw = random.Random(epoch)
    drawn = []
    weights = weights or [1] * len(sizes)
    for items, size, weight in zip(everything, sizes, weights, strict=True):
        wanted = math.ceil(total * weight / sum(weights))
        pool = np.tile(items, (math.ceil(wanted / size), 1))
        drawn.append(pool[draw.sample(range(len(pool)), wanted)])
    mixed = np.concatenate(drawn)
    order = list(range(len(mixed)))
    draw.shuffle(order)
    return np.asarray(mixed[order[:total]])


def check_mixing(datasets: int, mode: str, weights: Sequence[float] = ()) -> None:
    """Refuse a mode or weights that do not fit the number of data sets (see ``epoch_items``)."""
    if mode not in MODES:
        raise ConfigError(f"dataset_mode must be one of {', '.join(map(repr, MODES))}, got {mode!r}")
    if mode == "single" and datasets != 1:
        raise ConfigError(
            f"dataset_mode 'single' is for one data set, got {datasets}; valid for several: "
            "'concat' and 'balanced concat'"
        )
    if weights and mode != "balanced concat":
        raise ConfigError(f"dataset_weights need dataset_mode 'balanced concat', got {mode!r}")
    if weights and not (len(weights) == datasets and all(0 < w < math.inf for w in weights)):
        raise ConfigError(
            f"dataset_weights must be one positive number for each of the {datasets} data sets, "
            f"got {list(weights)}"
        )
