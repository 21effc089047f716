"""Which ground is taken: a growing set of rectangles at any angle, with a fast test for overlap."""

from __future__ import annotations

import cmath
from typing import Any

import numpy as np
import numpy.typing as npt

from lmmrotate.data.synthetic.canvas import Frame

Array = npt.NDArray[Any]


class Occupancy:
    """Rectangles as complex numbers: a turn is then one multiplication."""

    def __init__(self) -> None:
        self._count = 0
        self._grow(64)

    def _grow(self, size: int) -> None:
        def bigger(name: str, dtype: type) -> Array:
            array: Array = np.zeros(size, dtype=dtype)
            array[: self._count] = getattr(self, name, array)[: self._count]
            return array

        self._centre, self._axis = bigger("_centre", np.complex128), bigger("_axis", np.complex128)
        self._half_u, self._half_v = bigger("_half_u", np.float64), bigger("_half_v", np.float64)
        self._reach = bigger("_reach", np.float64)

    def reserve(self, frame: Frame, length_m: float, width_m: float) -> None:
        """Take the rectangle of this size around the frame's origin."""
        i, half_u, half_v = self._count, length_m / 2 * frame.px_per_m, width_m / 2 * frame.px_per_m
        if i == len(self._centre):
            self._grow(2 * i)
        self._centre[i] = complex(frame.x_px, frame.y_px)
        self._axis[i] = cmath.rect(1, frame.angle_rad)
        self._half_u[i], self._half_v[i] = half_u, half_v
        self._reach[i] = abs(complex(half_u, half_v))
        self._count += 1

    def free(self, frame: Frame, length_m: float, width_m: float) -> bool:
        """Whether the rectangle overlaps none that is taken."""
        n, half_u, half_v = self._count, length_m / 2 * frame.px_per_m, width_m / 2 * frame.px_per_m
        away = self._centre[:n] - complex(frame.x_px, frame.y_px)
        near = (abs(away) < self._reach[:n] + abs(complex(half_u, half_v))).nonzero()[0]
        if not len(near):
            return True
        # Two rectangles are apart if they are so along one of their four sides.
        away, axis = away[near], self._axis[near]
        their_u, their_v = self._half_u[near], self._half_v[near]
        mine = cmath.rect(1, -frame.angle_rad)
        turn = axis * mine
        cos, sin = abs(turn.real), abs(turn.imag)
        along_me, along_them = away * mine, away * axis.conj()
        hit = (
            (abs(along_me.real) < half_u + their_u * cos + their_v * sin)
            & (abs(along_me.imag) < half_v + their_u * sin + their_v * cos)
            & (abs(along_them.real) < their_u + half_u * cos + half_v * sin)
            & (abs(along_them.imag) < their_v + half_u * sin + half_v * cos)
        )
        return not hit.any()

    def free_discs(self, centres_px: Array, radii_px: Array) -> npt.NDArray[np.bool_]:
        """Which of many discs, centres (M, 2) and radii (M,), stay clear of everything; (M,)."""
        n = self._count
        away = (centres_px[:, 0] + 1j * centres_px[:, 1])[:, None] - self._centre[:n]  # (M, N)
        away *= self._axis[:n].conj()
        hit = (abs(away.real) < self._half_u[:n] + radii_px[:, None]) & (
            abs(away.imag) < self._half_v[:n] + radii_px[:, None]
        )
        return np.asarray(~hit.any(axis=1))
