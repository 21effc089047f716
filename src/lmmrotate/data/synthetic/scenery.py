"""What makes open ground look lived on: groves, ponds, worn patches, footpaths."""

from __future__ import annotations

import math

import numpy as np

from lmmrotate.data.synthetic.canvas import Colour, Frame, Points
from lmmrotate.data.synthetic.plots import Plot
from lmmrotate.data.synthetic.world import World

_PATHS: tuple[Colour, ...] = ((164, 154, 134), (146, 134, 112), (176, 170, 156))


def blob(world: World, frame: Frame, radius_m: float) -> Points:
    """A closed, uneven outline around the frame, polygon (36, 2) in pixels."""
    angles = np.linspace(0, 2 * math.pi, 37)[:-1]
    radii = np.full(36, radius_m)
    for waves in range(2, 7):
        swing, turn = world.rng.uniform(0.0, 0.5) / waves, world.rng.uniform(0, 2 * math.pi)
        radii += radius_m * swing * np.cos(waves * angles + turn)
    return frame.points(np.stack([np.cos(angles) * radii, np.sin(angles) * radii], axis=1))


def dress(world: World, plot: Plot, amount: float = 1.0) -> None:
    """Some of everything on open ground, before anything is placed on it; ``amount`` is about 0 to 2."""
    rng = world.rng
    for _ in range(int(amount * rng.uniform(0, 5))):
        cover = rng.choice(("soil", "scrub", "grass", "lawn", "grass"))
        spot = plot.spot(world)
        world.canvas.cover(
            cover, blob(world, spot, rng.uniform(0.04, 0.2) * min(plot.clear_m)), spot.angle_rad
        )
    if world.chance(0.12 * amount):
        pond(world, plot.spot(world), rng.uniform(0.06, 0.16) * min(plot.clear_m))
    for _ in range(int(amount * rng.uniform(0, 2.5))):
        grove(world, plot.spot(world), rng.uniform(0.06, 0.22) * min(plot.clear_m))
    for _ in range(int(amount * rng.uniform(0, 2.2))):
        footpath(world, plot)


def grove(world: World, frame: Frame, radius_m: float) -> None:
    """A small wood, with single trees along its edge."""
    if radius_m < 5 or not world.ground.free(frame, 2.2 * radius_m, 2.2 * radius_m):
        return
    edge = blob(world, frame, radius_m)
    world.canvas.cover("forest", edge)
    rim = edge + world.rng.arrays.uniform(-1, 1, size=edge.shape) * 1.2 * frame.px_per_m
    steps = max(1, round(72 / (2 * math.pi * radius_m)))  # about a tree for each two metres
    world.crowns(rim[::steps])
    world.ground.reserve(frame, 2 * radius_m, 2 * radius_m)


def pond(world: World, frame: Frame, radius_m: float) -> None:
    """Still water with a reedy bank."""
    outline = blob(world, frame, radius_m)
    middle = np.array([frame.x_px, frame.y_px])
    wider = middle + (outline - middle) * (1 + 3.0 / max(radius_m, 3.0))
    world.canvas.cover(world.rng.choice(("scrub", "soil", "sand")), wider)
    world.canvas.cover("basin", outline)
    world.ground.reserve(frame, 2.4 * radius_m, 2.4 * radius_m)


def footpath(world: World, plot: Plot) -> None:
    """A winding path across the plot."""
    rng = world.rng
    turned = world.chance(0.5)
    along = plot.frame.at(0, 0, math.pi / 2 if turned else 0.0)
    long, wide = (plot.width_m, plot.length_m) if turned else (plot.length_m, plot.width_m)
    reach = long / 2
    u = np.linspace(-reach, reach, 41)
    v = np.full(41, rng.uniform(-0.3, 0.3) * wide)
    for waves in (1.0, 2.3, 4.1):
        v += rng.uniform(0, 0.1) * wide / waves * np.sin(waves * u / reach * math.pi + rng.uniform(0, 6.3))
    width = rng.choice((0.8, 1.5, 2.2, 3.0))
    world.canvas.lines(along.points(np.stack([u, v], axis=1)), world.pick(_PATHS), width)
