"""Themes with water: open sea, coasts, marinas, quays, rivers."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from lmmrotate.data.synthetic.canvas import Colour, Frame
from lmmrotate.data.synthetic.land import scatter_objects
from lmmrotate.data.synthetic.objects import KINDS
from lmmrotate.data.synthetic.plots import Plot, beyond, choice, crowd, edge, ribbon, wavy
from lmmrotate.data.synthetic.world import World


def sea(world: World, plot: Plot, density: str) -> None:
    """Open water, perhaps with a coast, and ships under way or at anchor."""
    rng = world.rng
    if not plot.flooded:
        world.canvas.cover("sea", plot.box, plot.frame.angle_rad)
    water = plot
    if world.chance(0.55):
        edge = rng.uniform(0.12, 0.34) * plot.width_m
        coast(world, plot.frame.at(0, edge), plot.length_m, plot.width_m / 2 - edge + 6)
        water = plot.part(0, (edge - 8) / 2 - plot.width_m / 4, plot.length_m, plot.width_m / 2 + edge - 8)
    if density == "sparse":
        scatter_objects(world, water, density, water=True)
        return
    room = 0.7 * min(plot.clear_m)
    for _ in range(rng.integers(0, 9)):
        name = choice(
            world,
            "motorboat",
            "motorboat",
            "sailboat",
            "ferry",
            "bulker",
            "tanker",
            "container-ship",
            "warship",
        )
        low, high = KINDS[name].length_m
        if low > room:
            name, (low, high) = "motorboat", KINDS["motorboat"].length_m
        length = rng.uniform(low, min(high, max(low, room)))
        size = (length, length * rng.uniform(*KINDS[name].aspect))
        u = rng.uniform(-0.45, 0.45) * water.length_m
        v = rng.uniform(-0.5, 0.5) * max(water.width_m - size[1] - 8, 1)
        spot = water.frame.at(u, v, rng.uniform(0, 2 * math.pi))
        moving = size[0] < 60 and world.chance(0.5)
        if not _afloat(water, spot, size):
            continue
        world.place(name, spot, size, 2.0, under=partial(_wake, world, spot, size) if moving else None)


def _afloat(water: Plot, spot: Frame, size_m: tuple[float, float]) -> bool:
    """Whether a ship stays clear of the shore and of what lies beside the plot."""
    dx, dy = (spot.box(*size_m) - (water.frame.x_px, water.frame.y_px)).T / water.frame.px_per_m
    cos, sin = math.cos(water.frame.angle_rad), math.sin(water.frame.angle_rad)
    u, v = dx * cos + dy * sin, dy * cos - dx * sin
    return bool(v.max() < water.width_m / 2 - 4 and abs(u).max() < water.length_m / 2)


def _wake(world: World, spot: Frame, size_m: tuple[float, float]) -> None:
    """White water: a strip behind the ship that fades as it widens, and two fainter arms from the bow."""
    length, width = size_m
    water = world.canvas
    for step in range(10):
        near, far = (0.46 + 0.16 * step) * length, (0.62 + 0.16 * step) * length
        half, wider = width * (0.3 + 0.03 * step), width * (0.33 + 0.03 * step)
        strip = spot.points([(-near, -half), (-near, half), (-far, wider), (-far, -wider)])
        water.tint(strip, lift=round(12 + 90 * (1 - step / 10) ** 2))
    u = np.linspace(0.3, -1.5, 7) * length
    for side in (-1, 1):
        v = 0.4 * width + 0.34 * (0.3 * length - u)
        for k in range(6):
            part = slice(k, k + 2)
            arm = ribbon(spot, u[part], side * v[part], side * (v[part] + 0.1 * width))
            water.tint(arm, lift=36 - 5 * k)


def coast(world: World, frame: Frame, length_m: float, depth_m: float) -> None:
    """Land on the right of the frame: shallows, beach or rocks, then green."""
    rng = world.rng
    beach = choice(world, "sand", "rock", "sand", "paving")
    green = choice(world, "grass", "scrub", "forest", "lawn")
    u = np.linspace(-length_m / 2, length_m / 2, max(16, round(length_m / 4)))
    shore = edge(world, u, rng.uniform(2, 8), rng.uniform(16, 45))
    widths = rng.uniform(3, 9), rng.uniform(5, 16)
    for cover, v, waves in (("shallow", -widths[0], 1.6), (beach, 0.0, 0.5), (green, widths[1], 2.2)):
        line = shore + v + edge(world, u, waves, 12.0)
        world.canvas.cover(cover, beyond(frame, u, line, depth_m), frame.angle_rad)
    surf = shore + edge(world, u, 0.8, 9.0)
    world.canvas.tint(ribbon(frame, u, surf - 0.9, surf + 0.3), lift=34)
    world.trees(
        frame.at(0, depth_m / 2 + 14),
        length_m,
        max(depth_m - 20, 1),
        length_m * depth_m / rng.uniform(200, 1500),
    )


def marina(world: World, plot: Plot, density: str) -> None:
    """Piers with boats on both sides, before a quay."""
    rng = world.rng
    if not plot.flooded:
        world.canvas.cover("basin", plot.box, plot.frame.angle_rad)
    quay_m = rng.uniform(8, 0.3 * plot.width_m) if world.chance(0.8) else 0.0
    if quay_m:
        _quay(world, plot, quay_m)
    boat_m = rng.uniform(8, 14) if density != "dense" else rng.uniform(6.5, 10)
    pier_w = rng.uniform(2.2, 3.6)
    pier_l = min(rng.uniform(0.6, 0.95) * (plot.width_m - quay_m), 120.0)
    spacing = 2 * boat_m + pier_w + rng.uniform(1.3, 2.4) * boat_m
    taken = crowd(world, density)
    colour = world.pick(KINDS["pier"].colours)
    shore = plot.width_m / 2 - quay_m
    for u in np.arange(-plot.length_m / 2 + rng.uniform(0, spacing), plot.length_m / 2, spacing).tolist():
        pier = plot.frame.at(u, shore - pier_l / 2 - 0.4, math.pi / 2)
        _pier(world, pier, pier_l, pier_w, boat_m, taken, colour)
    for _ in range(rng.integers(0, 4)):
        world.place("motorboat", world.somewhere(6), margin_m=3.0) if not quay_m else None


def _pier(
    world: World, pier: Frame, length_m: float, width_m: float, boat_m: float, taken: float, colour: Colour
) -> None:
    """A pier along the frame and the boats moored at a right angle to it."""
    rng = world.rng
    if "harbor" in world.classes:
        # A pier that leaves the picture may as well end there: the part that is seen is the object.
        low, high = world.shown(pier, length_m)
        low, high = max(low - width_m / 2, -length_m / 2), min(high + width_m / 2, length_m / 2)
        pier, length_m = pier.at((low + high) / 2, 0), high - low
        if length_m < boat_m or not world.place("pier", pier, (length_m, width_m), 0.1, colour):
            return
    elif world.visible(pier):
        world.ground.reserve(pier, length_m, width_m)
        quad = pier.box(length_m, width_m)
        world.canvas.raise_up(quad, 1.4, lambda: world.canvas.polygon(quad, colour))
    else:
        return
    pitch = 0.33 * boat_m + rng.uniform(0.9, 1.6)
    for side in (-1, 1):
        for u in np.arange(-length_m / 2 + pitch, length_m / 2 - pitch / 2, pitch).tolist():
            if not world.chance(taken):
                continue
            name = choice(world, "motorboat", "motorboat", "sailboat")
            length = boat_m * rng.uniform(0.8, 1.0)
            size = (length, length * KINDS[name].aspect[0] * rng.uniform(1.0, 1.1))
            turn = side * math.pi / 2 * (1 if world.chance(0.75) else -1) + rng.normal(0, 0.03)
            v = side * (width_m / 2 + length / 2 + 0.6 + rng.uniform(0, 0.4))
            world.place(name, pier.at(u + rng.normal(0, 0.08), v, turn), size, 0.1)


def _quay(world: World, plot: Plot, depth_m: float) -> None:
    """Paved ground along the far side of the plot, with cars, trees and sheds."""
    rng = world.rng
    quay = plot.frame.at(0, plot.width_m / 2 - depth_m / 2)
    box = quay.box(plot.length_m, depth_m)
    world.canvas.cover(choice(world, "paving", "concrete", "asphalt"), box, quay.angle_rad)
    edge = quay.at(0, -depth_m / 2 + 0.5)
    world.canvas.polygon(edge.box(plot.length_m, 1.0), (186, 182, 172))
    if depth_m > 14:
        row = quay.at(0, 2)
        pitch = rng.uniform(2.6, 3.4)
        taken = rng.uniform(0.1, 0.8)
        for u in np.arange(-plot.length_m / 2, plot.length_m / 2, pitch).tolist():
            if world.chance(taken):
                world.place(world.vehicle(0), row.at(u, 0, math.pi / 2 + rng.normal(0, 0.03)), margin_m=0.05)
    if depth_m > 26:
        for u in np.arange(-plot.length_m / 2 + 10, plot.length_m / 2, rng.uniform(26, 60)).tolist():
            world.building(
                quay.at(u, depth_m / 2 - 7), rng.uniform(12, 22), rng.uniform(7, 10), world.chance(0.5)
            )
    world.trees(quay, plot.length_m, depth_m - 4, plot.length_m * depth_m / 400, (1.5, 2.6))


def port(world: World, plot: Plot, density: str) -> None:
    """A quay with large ships alongside, stacks of containers, trucks."""
    rng = world.rng
    if not plot.flooded:
        world.canvas.cover(choice(world, "sea", "basin"), plot.box, plot.frame.angle_rad)
    depth = rng.uniform(0.35, 0.6) * plot.width_m
    quay = plot.frame.at(0, plot.width_m / 2 - depth / 2)
    world.canvas.cover(
        choice(world, "concrete", "asphalt", "concrete"), quay.box(plot.length_m, depth), quay.angle_rad
    )
    edge = quay.at(0, -depth / 2)
    world.canvas.polygon(edge.at(0, 0.6).box(plot.length_m, 1.2), (178, 170, 150))
    u = -plot.length_m / 2 + rng.uniform(-10, 20)
    room = 0.8 * min(plot.clear_m)
    while u < plot.length_m / 2:
        name = choice(world, "ferry", "bulker", "tanker", "container-ship", "warship")
        low, high = KINDS[name].length_m
        if low > room:
            name, (low, high) = "ferry", (min(24.0, room), min(40.0, room))
        length = rng.uniform(low, min(high, max(low, room)))
        width = length * rng.uniform(*KINDS[name].aspect)
        if world.chance(0.8):
            turn = 0.0 if world.chance(0.5) else math.pi
            world.place(name, edge.at(u + length / 2, -width / 2 - 1.0, turn), (length, width), 0.3)
        u += length + rng.uniform(6, 25)
    for u in np.arange(-plot.length_m / 2 + 6, plot.length_m / 2, 13.2).tolist():
        if world.chance(0.25):
            continue
        for v in np.arange(-depth / 2 + 16, depth / 2 - 12, 2.8).tolist():
            if world.chance(0.7) and (v + depth / 2) % 22 < 15:
                world.container(quay.at(u, v))
    lane = quay.at(0, -depth / 2 + 9)
    world.traffic(lane, plot.length_m, 2, 22.0, heavy=0.8)
    for _ in range(6):
        world.place(world.vehicle(0.6), quay.at(*rng.spot(plot.length_m, depth)), margin_m=1.0)


def river(world: World, plot: Plot, density: str) -> None:
    """A river between fields or houses, with one or two bridges and some boats."""
    rng = world.rng
    world.canvas.cover(
        choice(world, "grass", "crop", "scrub", "lawn", "forest"), plot.box, plot.frame.angle_rad
    )
    width = rng.uniform(0.16, 0.42) * min(plot.clear_m)
    middle_v = rng.uniform(-0.15, 0.15) * plot.width_m
    middle = plot.frame.at(0, middle_v)
    bank = choice(world, "soil", "scrub", "rock", "sand")
    waves = rng.uniform(0.3, 1.4)
    for cover, half in ((bank, width / 2 + 3.5), ("basin", width / 2)):
        near = wavy(world, middle.at(0, -half), plot.length_m, 0.0, waves)[:-2]
        far = wavy(world, middle.at(0, half), plot.length_m, 0.0, waves)[:-2]
        world.canvas.cover(cover, np.concatenate([near, far[::-1]]), middle.angle_rad)
    bridges = rng.integers(1, 3) if "bridge" in world.classes else 0
    for number in range(bridges):
        u = (
            rng.uniform(-0.3, 0.3) * min(plot.clear_m)
            if bridges == 1
            else (number - 0.5) * 0.5 * plot.clear_m[0]
        )
        lanes = rng.integers(2, 5)
        cross = middle.at(u, 0, math.pi / 2 + rng.normal(0, 0.12))
        length = width / max(
            abs(math.cos(cross.angle_rad - middle.angle_rad - math.pi / 2)), 0.8
        ) + rng.uniform(7, 14)
        deck = (length, 3.4 * lanes + 2.6)
        ends = [cross.at(side * length / 2, 0, 0.0 if side > 0 else math.pi) for side in (-1, 1)]
        ways = [(end.at(reach / 2, 0), reach) for end in ends for reach in (plot.reach_m(end),)]
        for way, reach in ways:
            world.road(way, reach, lanes, kerb=False)
        if not world.place("bridge", cross, deck, 0.5):
            continue
        for way, reach in ways:
            world.traffic(way.at(1, 0), reach - 2, lanes, 40.0)
            world.ground.reserve(way, reach, deck[1])
    for _ in range(rng.integers(0, 6)):
        boat = middle.at(
            rng.uniform(-0.5, 0.5) * plot.length_m, rng.uniform(-0.3, 0.3) * width, rng.normal(0, 0.2)
        )
        world.place("motorboat", boat, margin_m=2.0)
    for side in (-1, 1):
        land = middle.at(0, side * (width / 2 + 0.25 * plot.width_m))
        if world.chance(0.5):
            depth = plot.width_m / 2 - side * middle_v - width / 2 - 8
            row = middle.at(0, side * (width / 2 + 8 + depth / 2))
            for _ in range(14):
                spot = row.at(*rng.spot(plot.length_m - 18, max(depth - 14, 0)))
                world.building(spot, rng.uniform(10, 18), rng.uniform(8, 11))
        world.trees(land, plot.length_m, 0.45 * plot.width_m, plot.length_m * plot.width_m / 700)
