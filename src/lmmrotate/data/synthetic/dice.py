"""Random numbers for placing things."""

from __future__ import annotations

import random

import numpy as np


class Dice(random.Random):
    """Single numbers from the standard library, ten times as fast as NumPy's; ``arrays`` for many at once.

    Placing one car takes some twenty numbers. The methods are named as in ``numpy.random.Generator``.
    """

    def __init__(self, seed: int, index: int) -> None:
        super().__init__((seed << 64) + index)
        self.arrays = np.random.default_rng([seed, index])

    def normal(self, mean: float, deviation: float) -> float:
        return self.gauss(mean, deviation)

    def integers(self, low: int, high: int) -> int:
        """From ``low`` to below ``high``."""
        return low + int(self.random() * (high - low))

    def exponential(self, mean: float) -> float:
        return self.expovariate(1 / mean)

    def spot(self, length_m: float, width_m: float) -> tuple[float, float]:
        """A position in a rectangle around the origin."""
        return (self.random() - 0.5) * length_m, (self.random() - 0.5) * width_m
