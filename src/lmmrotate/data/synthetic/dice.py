"""Random numbers for placing things."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

_T = TypeVar("_T")
_BUFFER = 512


class Dice:
    """Single random numbers, drawn from a NumPy generator many at a time; ``arrays`` for arrays.

    Placing one car takes some twenty numbers, and asking NumPy for each would take longer than drawing
    the car. Everything is made from uniform numbers, whose sequence NumPy keeps between versions.
    """

    def __init__(self, *key: int) -> None:
        self._source = np.random.default_rng([*key, 0])
        self._numbers: list[float] = []
        self.arrays = np.random.default_rng([*key, 1])

    def random(self) -> float:
        """From 0 to below 1."""
        if not self._numbers:
            self._numbers = self._source.random(_BUFFER).tolist()
        return self._numbers.pop()

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * self.random()

    def integers(self, low: int, high: int) -> int:
        """From ``low`` to below ``high``."""
        return low + int(self.random() * (high - low))

    def normal(self, mean: float, deviation: float) -> float:
        """By Box and Muller."""
        radius = math.sqrt(-2.0 * math.log(1.0 - self.random()))
        return mean + deviation * radius * math.cos(2 * math.pi * self.random())

    def exponential(self, mean: float) -> float:
        return -mean * math.log(1.0 - self.random())

    def spread(self, mean: float) -> float:
        """Positive and skew: a few are much larger than the mean (gamma distribution of shape 2)."""
        return -0.5 * mean * math.log((1.0 - self.random()) * (1.0 - self.random()))

    def share(self) -> float:
        """From 0 to 1, most often about a half (beta distribution 2, 2)."""
        return sorted((self.random(), self.random(), self.random()))[1]

    def small_share(self) -> float:
        """From 0 to 1, mostly near 0 (beta distribution 1, 4)."""
        return 1.0 - math.sqrt(math.sqrt(self.random()))

    def choice(self, options: Sequence[_T]) -> _T:
        return options[int(self.random() * len(options))]

    def weighted(self, options: Sequence[_T], weights: Sequence[float]) -> _T:
        """One of the options; at least one weight is above 0."""
        left = self.random() * math.fsum(weights)
        for option, weight in zip(options, weights, strict=True):
            left -= weight
            if left < 0 and weight > 0:
                return option
        return next(o for o, w in zip(reversed(options), reversed(weights), strict=True) if w > 0)

    def spot(self, length_m: float, width_m: float) -> tuple[float, float]:
        """A position in a rectangle around the origin."""
        return (self.random() - 0.5) * length_m, (self.random() - 0.5) * width_m
