"""Themes of sport: running tracks, fields and rows of courts in a park."""

from __future__ import annotations

import math

from lmmrotate.data.synthetic.objects import KINDS
from lmmrotate.data.synthetic.plots import Plot, choice
from lmmrotate.data.synthetic.scenery import dress
from lmmrotate.data.synthetic.town import small_car_park
from lmmrotate.data.synthetic.world import World


def athletics(world: World, plot: Plot, density: str) -> None:
    """A running track, smaller things around it."""
    _ground(world, plot)
    _field(world, plot, "track")
    if world.chance(0.3):
        _field(world, plot, choice(world, "soccer", "baseball"))
    _surroundings(world, plot, density)


def soccer(world: World, plot: Plot, density: str) -> None:
    """Soccer fields."""
    _ground(world, plot)
    for _ in range(world.rng.integers(1, 5)):
        _field(world, plot, "soccer")
    _surroundings(world, plot, density)


def baseball(world: World, plot: Plot, density: str) -> None:
    """Baseball diamonds."""
    _ground(world, plot)
    for _ in range(world.rng.integers(1, 5)):
        _field(world, plot, "baseball")
    _surroundings(world, plot, density)


def courts(world: World, plot: Plot, density: str) -> None:
    """Tennis and basketball courts."""
    _ground(world, plot)
    for _ in range(world.rng.integers(1, 4)):
        _courts(world, plot, density)
    _surroundings(world, plot, density)


def _ground(world: World, plot: Plot) -> None:
    world.canvas.cover(choice(world, "lawn", "lawn", "grass", "paving"), plot.box, plot.frame.angle_rad)
    dress(world, plot, 0.5)
    if world.chance(0.5):
        edge = plot.frame.at(0, world.rng.choice((-0.42, 0.42)) * plot.width_m)
        world.road(edge, plot.length_m, 2)
        world.traffic(edge, plot.length_m, 2, 60.0)
        world.ground.reserve(edge, plot.length_m, 12.0)


def _surroundings(world: World, plot: Plot, density: str) -> None:
    """Courts, a pool, a club house, parked cars and trees in what is left."""
    rng = world.rng
    for _ in range(rng.integers(0, 4) if density != "dense" else 3):
        _courts(world, plot, density)
    if world.chance(0.25):
        fit(world, plot, "big-pool", KINDS["big-pool"].size(rng), 0.0, 3.0)
    if world.chance(0.5):
        small_car_park(world, plot)
    for _ in range(rng.integers(1, 5)):
        world.building(plot.spot(world, 0.8), rng.uniform(12, 26), rng.uniform(8, 14), hall=True)
    world.trees(plot.frame, plot.length_m, plot.width_m, plot.length_m * plot.width_m / rng.uniform(120, 700))


def _field(world: World, plot: Plot, name: str) -> None:
    """A field along or across the plot, most often wholly inside the picture."""
    rng, kind = world.rng, KINDS[name]
    low, high = kind.length_m
    cut = 0.85 if world.chance(0.2) else 1.0
    for attempt in range(4):
        # Every new attempt with a smaller field.
        length = rng.uniform(low, max(low, min(high, (1.0 - 0.15 * attempt) * min(plot.clear_m))))
        size = (length, length * rng.uniform(*kind.aspect))
        if fit(world, plot, name, size, rng.choice((0.0, math.pi / 2, math.pi, -math.pi / 2)), 3.0, cut):
            return


def fit(
    world: World,
    plot: Plot,
    name: str,
    size_m: tuple[float, float],
    turn_rad: float,
    margin_m: float,
    whole: float = 1.0,
) -> bool:
    """Place a large object inside the picture, if a few random spots allow it.

    ``whole`` is the part of its length and width that must be inside.
    """
    picture = (world.canvas.width_px, world.canvas.height_px)
    for _ in range(12):
        frame = plot.spot(world, 0.7, turn_rad)
        box = frame.box(size_m[0] * whole, size_m[1] * whole)
        if (box < 0).any() or (box > picture).any():
            continue
        if world.place(name, frame, size_m, margin_m):
            return True
    return False


def _courts(world: World, plot: Plot, density: str) -> None:
    """A row of tennis or basketball courts on one slab."""
    rng = world.rng
    name = choice(world, "tennis", "tennis", "basketball")
    kind = KINDS[name]
    if kind.label not in world.classes:
        return
    count = rng.integers(3, 8) if density == "dense" else rng.integers(1, 5)
    length, width = kind.size(rng)
    pitch = width + (5.5 if name == "tennis" else 4.0)
    while count > 1 and pitch * count > 0.9 * max(plot.clear_m):
        count -= 1
    slab_m = (length + 11.0, pitch * count + 3.0) if name == "tennis" else (length + 4.0, pitch * count)
    colour = world.pick(kind.colours)
    surround = world.pick((*kind.colours, (152, 84, 66), (84, 116, 88)))
    for _ in range(8):
        slab = plot.spot(world, 0.9, math.pi / 2 * rng.integers(0, 2))
        if not world.visible(slab) or not world.ground.free(slab, *slab_m):
            continue
        world.canvas.polygon(slab.box(*slab_m), surround)
        for court in range(count):
            world.place(name, slab.at(0, (court - (count - 1) / 2) * pitch), (length, width), 0.3, colour)
        world.ground.reserve(slab, *slab_m)
        return
