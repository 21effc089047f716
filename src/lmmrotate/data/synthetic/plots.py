"""A plot of ground, and the helpers that every theme uses."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lmmrotate.data.synthetic.canvas import Colour, Frame, Points
from lmmrotate.data.synthetic.world import World

Floats = npt.NDArray[np.float64]

MARK: Colour = (206, 206, 200)
"""Worn white paint."""


@dataclass(frozen=True)
class Plot:
    """A rectangle of ground: its middle, its length along the frame's u axis, its width."""

    frame: Frame
    length_m: float
    width_m: float
    clear_m: tuple[float, float]
    """Sides of what can be seen of it, about: what is larger would be cut."""
    flooded: bool = False
    """Its water is painted already."""

    @property
    def box(self) -> Points:
        """Corners (4, 2) in pixels."""
        return self.frame.box(self.length_m, self.width_m)

    def part(self, u_m: float, v_m: float, length_m: float, width_m: float) -> Plot:
        """A smaller plot around a local position."""
        return Plot(self.frame.at(u_m, v_m), length_m, width_m, (length_m, width_m))

    def reach_m(self, frame: Frame) -> float:
        """How far it is from a frame within the plot, along its u axis, to the border."""
        scale = self.frame.px_per_m
        dx, dy = (frame.x_px - self.frame.x_px) / scale, (frame.y_px - self.frame.y_px) / scale
        cos, sin = math.cos(self.frame.angle_rad), math.sin(self.frame.angle_rad)
        turn = frame.angle_rad - self.frame.angle_rad
        reach = math.inf
        for at, way, side in (
            (dx * cos + dy * sin, math.cos(turn), self.length_m),
            (dy * cos - dx * sin, math.sin(turn), self.width_m),
        ):
            if abs(way) > 1e-9:
                reach = min(reach, (side / 2 - at * math.copysign(1, way)) / abs(way))
        return max(reach, 0.0)

    def spot(self, world: World, share: float = 1.0, turn_rad: float = 0.0) -> Frame:
        """A random place in the inner ``share`` of the plot."""
        return self.frame.at(*world.rng.spot(share * self.length_m, share * self.width_m), turn_rad)


def choice(world: World, *names: str) -> str:
    """One of the names."""
    return world.rng.choice(names)


def crowd(world: World, density: str) -> float:
    """Share of places that are taken: a row of cars, a pier of boats."""
    return world.rng.uniform(0.7, 0.97) if density == "dense" else world.rng.share()


def wavy(
    world: World, frame: Frame, length_m: float, depth_m: float, waves_m: float, size_m: float = 22.0
) -> Points:
    """Ground on the right of the frame's u axis with an uneven edge, polygon (N, 2) in pixels."""
    u = np.linspace(-length_m / 2, length_m / 2, max(16, math.ceil(4 * length_m / size_m)))
    return beyond(frame, u, edge(world, u, waves_m, size_m), depth_m)


def edge(world: World, u_m: Floats, waves_m: float, size_m: float = 22.0) -> Floats:
    """How far an uneven line strays at each place along it, (N,) metres."""
    knots = np.arange(u_m[0] - size_m, u_m[-1] + 2 * size_m, size_m)
    coarse = waves_m * world.rng.arrays.uniform(-1.8, 1.8, size=len(knots))
    v = np.interp(u_m, knots, coarse)
    v = np.convolve(np.pad(v, 3, mode="edge"), np.full(7, 1 / 7), mode="valid")
    v += 0.07 * waves_m * world.rng.arrays.uniform(-1, 1, size=len(u_m))
    return v


def beyond(frame: Frame, u_m: Floats, v_m: Floats, depth_m: float) -> Points:
    """Ground on the right of a line (u, v), polygon (N + 2, 2) in pixels."""
    line = frame.points(np.stack([u_m, v_m], axis=1))
    return np.concatenate([line, frame.points([(u_m[-1], depth_m), (u_m[0], depth_m)])])


def ribbon(frame: Frame, u_m: Floats, near_m: Floats, far_m: Floats) -> Points:
    """The strip between two lines over the same places, polygon (2 N, 2) in pixels."""
    uv = np.stack([np.concatenate([u_m, u_m[::-1]]), np.concatenate([near_m, far_m[::-1]])], axis=1)
    return frame.points(uv)
