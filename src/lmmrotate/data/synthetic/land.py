"""Themes without houses: fields, woods, roads, and objects scattered on open ground."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from lmmrotate.data.synthetic.objects import KINDS
from lmmrotate.data.synthetic.parks import fit
from lmmrotate.data.synthetic.plots import Plot, choice, wavy
from lmmrotate.data.synthetic.scenery import blob, dress, grove
from lmmrotate.data.synthetic.world import World


def farmland(world: World, plot: Plot, density: str) -> None:
    """Fields with hedges, perhaps a track, a farmstead and silos."""
    rng = world.rng
    cuts = np.sort(rng.arrays.uniform(-0.45, 0.45, size=rng.integers(0, 4))) * plot.width_m
    edges = [-plot.width_m / 2, *cuts.tolist(), plot.width_m / 2]
    for low, high in pairwise(edges):
        part = plot.part(0, (low + high) / 2, plot.length_m, high - low)
        turn = 0.0 if world.chance(0.7) else math.pi / 2
        cover = choice(world, "crop", "crop", "plough", "stubble", "grass", "lawn")
        world.canvas.cover(cover, part.box, plot.frame.angle_rad + turn)
        if world.chance(0.5):
            _tramlines(world, part, turn)
    for _ in range(rng.integers(0, 3)):
        grove(world, plot.spot(world), rng.uniform(0.05, 0.2) * min(plot.clear_m))
    for v in edges[1:-1]:
        line = plot.frame.at(0, v)
        if world.chance(0.5):
            world.trees(line, plot.length_m, 3.0, plot.length_m / rng.uniform(5, 16), (1.5, 3.2))
        elif world.chance(0.6):
            world.canvas.cover("soil", line.box(plot.length_m, 4.0), line.angle_rad)
            world.traffic(line, plot.length_m, 1, 120.0, heavy=0.4)
    if world.chance(0.3):
        yard = plot.spot(world, 0.7)
        world.canvas.cover("soil", yard.box(46, 34), yard.angle_rad)
        for u, v in ((-14, -9), (12, 8), (-10, 11)):
            world.building(yard.at(u, v), rng.uniform(14, 22), rng.uniform(8, 11), hall=world.chance(0.4))
        for u in (6, 16):
            world.place("tank", yard.at(u, -10), (d := rng.uniform(7.5, 9), d))
        for _ in range(4):
            world.place(
                world.vehicle(0.4), yard.at(rng.uniform(-15, 15), rng.uniform(-15, 15), rng.uniform(0, 6.3))
            )
        world.trees(yard, 70, 60, 10)


def _tramlines(world: World, field: Plot, turn_rad: float) -> None:
    """Wheel tracks along the rows, where the sprayer drives."""
    frame, gap = field.frame.at(0, 0, turn_rad), world.rng.uniform(14, 27)
    long, wide = (field.length_m, field.width_m) if turn_rad == 0 else (field.width_m, field.length_m)
    v = np.arange(-wide / 2 + world.rng.uniform(0, gap), wide / 2, gap)
    v = np.repeat(np.concatenate([v - 0.9, v + 0.9]), 2)
    ends = np.stack([np.tile([-long / 2, long / 2], len(v) // 2), v], axis=1)
    if len(v):
        world.canvas.lines(frame.points(ends).reshape(-1, 2, 2), (126, 116, 86), 0.3)


def forest(world: World, plot: Plot, density: str) -> None:
    """A wood with clearings, perhaps a road."""
    rng = world.rng
    world.canvas.cover(choice(world, "forest", "forest", "scrub"), plot.box)
    for _ in range(rng.integers(0, 3)):
        spot = plot.spot(world, 0.8)
        edge = blob(world, spot, rng.uniform(8, 35))
        world.canvas.cover(choice(world, "grass", "soil", "scrub"), edge)
        world.crowns(edge, (2.0, 4.0))
    if world.chance(0.5):
        road = plot.frame.at(0, rng.uniform(-0.3, 0.3) * plot.width_m)
        lanes = rng.integers(1, 3)
        world.road(road, plot.length_m, lanes, kerb=False)
        world.traffic(road, plot.length_m, lanes, 60.0)
        for side in (-1, 1):
            world.trees(road.at(0, side * (1.7 * lanes + 2.5)), plot.length_m, 3.0, plot.length_m / 4)
    world.trees(plot.frame, plot.length_m, plot.width_m, plot.length_m * plot.width_m / 900, (2.5, 4.5))


def highway(world: World, plot: Plot, density: str) -> None:
    """Two carriageways through open country, with a slip road."""
    rng = world.rng
    world.canvas.cover(choice(world, "grass", "scrub", "crop", "soil"), plot.box, plot.frame.angle_rad)
    dress(world, plot, 0.6)
    lanes = rng.integers(2, 5)
    apart = 3.4 * lanes + 1 + rng.uniform(3, 9)
    middle = plot.frame.at(0, rng.uniform(-0.2, 0.2) * plot.width_m)
    gap = rng.uniform(6, 16) if density == "dense" else rng.uniform(12, 60)
    for side in (-1, 1):
        way = middle.at(0, side * apart / 2, 0 if side > 0 else math.pi)
        world.canvas.cover("soil", way.box(plot.length_m, 3.4 * lanes + 4), way.angle_rad)
        world.road(way, plot.length_m, lanes, kerb=False, dashes=False)
        for lane in range(lanes + 1):
            v = (lane - lanes / 2) * 3.4
            if lane in (0, lanes):
                edge = way.points([(-plot.length_m / 2, v), (plot.length_m / 2, v)])
                world.canvas.lines(edge, (214, 212, 200), 0.2)
                continue
            u = np.arange(-plot.length_m / 2, plot.length_m / 2 - 4, 12.0)
            dashes = np.stack([np.stack([u, u + 4], axis=1), np.full((len(u), 2), v)], axis=2)
            world.canvas.lines(way.points(dashes.reshape(-1, 2)).reshape(-1, 2, 2), (214, 212, 206), 0.15)
        for lane in range(lanes):  # one direction
            world.traffic(way.at(0, (lane - (lanes - 1) / 2) * 3.4), plot.length_m, 1, gap, heavy=0.3)
    world.ground.reserve(middle, plot.length_m, 2 * apart)
    world.trees(
        plot.frame, plot.length_m, plot.width_m, plot.length_m * plot.width_m / rng.uniform(200, 2000)
    )


def roundabout(world: World, plot: Plot, density: str) -> None:
    """A roundabout with its roads, some traffic and houses."""
    rng = world.rng
    world.canvas.cover(choice(world, "grass", "lawn", "paving"), plot.box, plot.frame.angle_rad)
    dress(world, plot, 0.4)
    middle = plot.frame.at(*rng.spot(0.24 * plot.clear_m[0], 0.24 * plot.clear_m[1]))
    diameter = rng.uniform(26, min(60.0, max(27.0, 0.4 * min(plot.clear_m))))
    arms = rng.integers(3, 5)
    turns = [2 * math.pi * (arm + rng.uniform(-0.08, 0.08)) / arms for arm in range(arms)]
    starts = [middle.at(0, 0, turn).at(diameter / 2 - 3, 0) for turn in turns]
    roads = [(start.at(reach / 2, 0), reach) for start in starts for reach in (plot.reach_m(start),)]
    for road, reach in roads:
        world.road(road, reach, 2)
    world.place("roundabout", middle, (diameter, diameter), margin_m=0)
    for road, reach in roads:
        gap = 12.0 if density == "dense" else 45.0
        world.traffic(road.at(4, 0), reach - 8, 2, gap)
        world.ground.reserve(road, reach, 12)
    for _ in range(12):
        spot = plot.spot(world, 1.0)
        world.building(spot, rng.uniform(10, 28), rng.uniform(8, 14), hall=world.chance(0.4))
    world.trees(plot.frame, plot.length_m, plot.width_m, plot.length_m * plot.width_m / 350)


def scatter(world: World, plot: Plot, density: str) -> None:
    """Open ground with 0 to 6 larger objects for each 256 px square: easy to see, easy to learn."""
    cover = choice(
        world, "grass", "lawn", "soil", "concrete", "asphalt", "scrub", "stubble", "paving", "plough"
    )
    world.canvas.cover(cover, plot.box, plot.frame.angle_rad)
    if world.chance(0.5):
        v = world.rng.uniform(-0.3, 0.3) * plot.width_m
        edge = plot.frame.at(0, v)
        other = choice(world, "grass", "soil", "crop", "asphalt", "lawn", "concrete")
        world.canvas.cover(other, wavy(world, edge, plot.length_m, plot.width_m / 2 - v, 6.0), edge.angle_rad)
    if cover not in ("concrete", "asphalt", "paving"):
        dress(world, plot)
    if world.chance(0.3):
        road = plot.frame.at(0, world.rng.uniform(-0.45, 0.45) * plot.width_m)
        world.road(road, plot.length_m, 2)
        world.ground.reserve(road, plot.length_m, 9.0)
    scatter_objects(world, plot, density, water=False)
    world.trees(
        plot.frame, plot.length_m, plot.width_m, plot.length_m * plot.width_m / world.rng.uniform(500, 5000)
    )


def scatter_objects(world: World, plot: Plot, density: str, water: bool) -> None:
    """Whole, well visible objects of one to three kinds at random places and angles."""
    rng, gsd = world.rng, world.canvas.gsd_m
    wide, high = world.size_m
    squares = max(1.0, min(plot.clear_m[0] * plot.clear_m[1], wide * high) / (256 * gsd) ** 2)
    room = min(plot.clear_m)
    fitting = [
        kind.name
        for kind in KINDS.values()
        if kind.water == water
        and kind.label in world.classes
        and kind.name != "bridge"
        and kind.length_m[0] < 0.7 * room
        and kind.length_m[1] / gsd >= 16
    ]
    fitting = fitting or [k.name for k in KINDS.values() if k.water == water and k.label in world.classes]
    if not fitting:
        return
    kinds = [choice(world, *fitting) for _ in range(rng.integers(1, 4))]
    most = math.floor(6 * squares)
    for _ in range(most if density == "sparse" else rng.integers(0, most + 1)):
        name = choice(world, *kinds)
        low, high = KINDS[name].length_m
        for _ in range(12):
            length = rng.uniform(low, max(low, min(high, 0.6 * room)))
            size = (length, length * rng.uniform(*KINDS[name].aspect))
            if fit(world, plot, name, size, rng.uniform(0, 2 * math.pi), 2.0):
                break
