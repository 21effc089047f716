"""Themes with aircraft: airfields and heliports."""

from __future__ import annotations

import math

import numpy as np

from lmmrotate.data.synthetic.canvas import Colour, Frame
from lmmrotate.data.synthetic.objects import KINDS
from lmmrotate.data.synthetic.plots import MARK, Plot, choice, crowd
from lmmrotate.data.synthetic.world import World


def airfield(world: World, plot: Plot, density: str) -> None:
    """An apron with parked planes beside a taxiway, a terminal or hangars, a runway if there is room."""
    rng = world.rng
    world.canvas.cover(choice(world, "grass", "lawn", "soil"), plot.box, plot.frame.angle_rad)
    length, width = plot.length_m, plot.width_m
    room = min(plot.clear_m)
    small = room < 75 or world.chance(0.25)
    if small:
        kind = choice(world, "light-plane", "light-plane", "business-jet", "fighter")
    else:
        kind = "airliner" if room > 150 and world.chance(0.3) else "jet"
    low, high = KINDS[kind].length_m
    size = rng.uniform(low, min(high, max(low, 0.45 * room)))
    span = size * KINDS[kind].aspect[1]
    v = -width / 2 + 4.0
    apron = plot.frame.at(0, -0.12 * width)
    world.canvas.cover("concrete", apron.box(length, 0.76 * width), apron.angle_rad)
    world.wear(apron, length, 0.7 * width, 14)
    for u in np.arange(-length / 2 + 25, length / 2 - 10, rng.uniform(55, 90)).tolist():
        world.building(plot.frame.at(u, v + 8), rng.uniform(30, 50), rng.uniform(12, 20), hall=True)
    v += 24
    taken = crowd(world, density)
    while v + size < 0.3 * width:
        _parked_planes(world, plot.frame.at(0, v + size / 2), length, kind, (size, span), taken)
        v += size + (8 if small else 26)
    if small and world.chance(0.4):
        for _ in range(3):
            spot = world.somewhere(20)
            world.place("helicopter", spot, margin_m=3)
    runway = plot.frame.at(0, 0.38 * width)
    if room > 60:
        _runway(world, runway, length, min(45.0, 0.18 * width))
        if world.chance(0.3):
            world.place(kind, runway.at(rng.uniform(-0.3, 0.3) * length, 0), margin_m=2)
    for _ in range(rng.integers(2, 14)):
        u, w = rng.uniform(-0.5, 0.5) * length, rng.uniform(-0.5, 0.25) * width
        world.place(world.vehicle(0.6), plot.frame.at(u, w, rng.choice([0, math.pi / 2])), margin_m=1.0)


def _parked_planes(
    world: World, row: Frame, length_m: float, kind: str, size_m: tuple[float, float], taken: float
) -> None:
    """Planes side by side, each at the end of its yellow line."""
    rng = world.rng
    size, span = size_m
    pitch = span + rng.uniform(2.0, 8.0)
    yellow: Colour = (196, 170, 88)
    lead = row.at(0, size / 2 + 4)
    world.canvas.lines(lead.points([(-length_m / 2, 0), (length_m / 2, 0)]), yellow, 0.3)
    turn = math.pi / 2 * (1 if world.chance(0.5) else -1)
    for u in np.arange(-length_m / 2 + rng.uniform(0, pitch), length_m / 2, pitch).tolist():
        world.canvas.lines(row.points([(u, -size / 2), (u, size / 2 + 4)]), yellow, 0.3)
        if world.chance(taken):
            scale = rng.uniform(0.85, 1.0)
            aspect = rng.uniform(*KINDS[kind].aspect)
            place = row.at(u + rng.normal(0, 0.2), rng.normal(0, 0.6), turn + rng.normal(0, 0.015))
            colour = world.pick(KINDS[kind].colours)
            world.place(kind, place, (size * scale, size * scale * aspect), 0.8, colour)


def _runway(world: World, frame: Frame, length_m: float, width_m: float) -> None:
    canvas = world.canvas
    canvas.cover("asphalt", frame.box(length_m, width_m), frame.angle_rad)
    for side in (-1, 1):
        v = side * (width_m / 2 - 1.5)
        canvas.lines(frame.points([(-length_m / 2, v), (length_m / 2, v)]), MARK, 0.7)
    for u in np.arange(-length_m / 2, length_m / 2, 40.0).tolist():
        canvas.polygon(frame.at(u, 0).box(22, 0.9), MARK)
    if world.chance(0.5):  # the threshold and rubber marks
        end = frame.at(world.rng.uniform(-0.3, 0.3) * length_m, 0)
        for v in np.linspace(-0.4, 0.4, 10).tolist():
            if abs(v) > 0.05:
                canvas.polygon(end.at(0, v * width_m).box(28, 0.045 * width_m), (214, 214, 210))


def heliport(world: World, plot: Plot, density: str) -> None:
    """Helicopters on marked pads."""
    rng = world.rng
    world.canvas.cover(choice(world, "concrete", "asphalt", "lawn"), plot.box, plot.frame.angle_rad)
    pitch = rng.uniform(24, 34)
    taken = max(crowd(world, density), 0.35)
    for u in np.arange(-plot.length_m / 2 + 14, plot.length_m / 2, pitch).tolist():
        for v in np.arange(-plot.width_m / 2 + 14, plot.width_m / 2, pitch * 1.5).tolist():
            pad = plot.frame.at(u, v)
            if not world.visible(pad):
                continue
            world.canvas.disc(pad, 9.5, (138, 138, 134))
            world.canvas.disc(pad, 9.0, (220, 218, 206), 0.4)
            for a, b in (((-2, -1.5), (2, -1.5)), ((-2, 1.5), (2, 1.5)), ((0, -1.5), (0, 1.5))):
                world.canvas.lines(pad.points([a, b]), (224, 222, 214), 0.4)
            if world.chance(taken):
                turn = rng.choice((0, math.pi / 2, math.pi)) + rng.normal(0, 0.1)
                world.place("helicopter", pad.at(0, 0, turn))
            world.ground.reserve(pad, 17, 17)
    for _ in range(4):
        spot = plot.spot(world, 1.0)
        world.building(spot, rng.uniform(14, 30), rng.uniform(10, 18), hall=True)
        world.place(world.vehicle(0.4), world.somewhere(8, plot.frame.angle_rad), margin_m=1.0)
