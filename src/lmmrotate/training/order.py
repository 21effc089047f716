"""In which order an epoch shows its images: the same for any number of processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sized

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

Lengths = Callable[[], npt.NDArray[np.int64]]

_POOL = 50
"""Updates whose images are sorted by length together; the wider, the less padding and the less chance."""


class EpochOrder(Sampler[int]):
    """A shuffled epoch, cut into updates of equal size.

    Every update's images stand side by side, and processes take their share of each, so that the number of
    processes, and the steps an update is divided into, change nothing. The last update is filled up with
    images from the beginning.
    """

    def __init__(
        self, dataset: Sized, images_per_update: int, seed: int, lengths: Lengths | None = None
    ) -> None:
        """
        Args:
            dataset: what is shown; only its size is asked.
            images_per_update: over all processes and accumulation steps.
            seed: together with the epoch it says everything.
            lengths: gives the tokens of each answer of the epoch, (N,), to put like ones into one update.
        """
        self._dataset = dataset
        self._update = images_per_update
        self._seed = seed
        self._lengths = lengths
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Show this epoch, counted from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self._dataset) // self._update) * self._update

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self._seed, self.epoch])
        order = np.resize(rng.permutation(len(self._dataset)), len(self))
        if self._lengths is not None:
            order = _grouped(order, self._lengths(), self._update, rng)
        yield from order.tolist()


def _grouped(
    order: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64], update: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Updates of like lengths, in random order."""
    pools = [order[start : start + _POOL * update] for start in range(0, len(order), _POOL * update)]
    ordered = np.concatenate([pool[np.argsort(-lengths[pool], kind="stable")] for pool in pools])
    return np.asarray(rng.permutation(ordered.reshape(-1, update)).ravel())
