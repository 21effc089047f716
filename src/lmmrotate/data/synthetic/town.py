"""Themes of built ground: streets, car parks, depots, tank farms."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from lmmrotate.data.synthetic.canvas import Colour, Frame
from lmmrotate.data.synthetic.objects import KINDS
from lmmrotate.data.synthetic.plots import MARK, Plot, choice, crowd
from lmmrotate.data.synthetic.scenery import dress
from lmmrotate.data.synthetic.world import World


def residential(world: World, plot: Plot, density: str) -> None:
    """Streets of houses with gardens, pools, drives and parked cars."""
    rng = world.rng
    world.canvas.cover(choice(world, "lawn", "grass", "grass", "soil"), plot.box, plot.frame.angle_rad)
    depth, pace = rng.uniform(26, 34), rng.uniform(15, 22)
    house = (rng.uniform(10, 15), rng.uniform(8, 11))
    pools, parked = rng.small_share(), rng.uniform(0.1, 0.8)
    streets = max(1, round(plot.width_m / (2 * depth)))
    for street in range(streets):
        road = plot.frame.at(0, (street - (streets - 1) / 2) * 2 * depth + rng.uniform(-4, 4))
        world.road(road, plot.length_m, 2, dashes=world.chance(0.4))
        world.traffic(road.at(0, 0), plot.length_m, 2, 70.0)
        for side in (-1, 1):
            for slot in range(int(plot.length_m / pace)):
                u = (slot + 0.5) * pace - plot.length_m / 2
                _homestead(world, road.at(u, 0, 0 if side > 0 else math.pi), depth, house, pools, parked)
                if world.chance(0.35 * parked):
                    world.place(
                        world.vehicle(0.03), road.at(u + rng.uniform(-3, 3), side * 5.2, rng.normal(0, 0.02))
                    )
            if world.chance(0.5):
                line = road.at(0, side * 7.5)
                world.trees(line, plot.length_m, 1.0, plot.length_m / rng.uniform(10, 30), (1.6, 3.2))
    world.trees(plot.frame, plot.length_m, plot.width_m, plot.length_m * plot.width_m / rng.uniform(160, 500))


def _homestead(
    world: World, street: Frame, depth_m: float, house_m: tuple[float, float], pools: float, parked: float
) -> None:
    """A house on the right of the street, its drive and garden."""
    rng = world.rng
    turn = 0.0 if world.chance(0.75) else math.pi / 2
    size = (house_m[0] * rng.uniform(0.85, 1.15), house_m[1] * rng.uniform(0.9, 1.1))
    yard = street.at(rng.normal(0, 0.8), 0)
    drive = yard.at(-size[0] / 2 - 2.0, 11)
    world.canvas.polygon(drive.box(3.2, 12), world.pick(((150, 148, 142), (128, 126, 122), (166, 158, 146))))
    world.building(yard.at(0, 15 + rng.uniform(-1.5, 2.5), turn), *size)
    if world.chance(parked):
        world.place(
            world.vehicle(0.0), drive.at(rng.normal(0, 0.2), rng.uniform(-2, 2), math.pi / 2), margin_m=0.1
        )
    if world.chance(pools):
        pool = yard.at(rng.uniform(-3, 3), depth_m - rng.uniform(5, 7), rng.choice([0, math.pi / 2]))
        size = KINDS["pool"].size(rng)
        if "swimming-pool" in world.classes and world.ground.free(pool, size[0] + 3, size[1] + 3):
            world.canvas.polygon(pool.box(size[0] + 2.4, size[1] + 2.4), (190, 178, 160))
            world.place("pool", pool, size)
    elif world.chance(0.3):
        world.building(yard.at(rng.uniform(-4, 4), depth_m - 4), 4, 3)


def car_park(world: World, plot: Plot, density: str) -> None:
    """A car park of double rows, a shop beside it, trees on islands."""
    rng = world.rng
    world.canvas.cover(choice(world, "lawn", "paving", "grass"), plot.box, plot.frame.angle_rad)
    length, width = plot.length_m, plot.width_m
    shop = rng.uniform(25, 45) if width > 90 and density != "dense" and world.chance(0.6) else 0.0
    if shop:
        hall = plot.frame.at(0, -width / 2 + shop / 2 + 8)
        for u in np.arange(-length / 2 + 30, length / 2, rng.uniform(45, 70)).tolist():
            world.building(hall.at(u, 0), rng.uniform(30, 42), shop - rng.uniform(2, 8), hall=True)
    lot = plot.part(0, shop / 2 + 4, length * rng.uniform(0.85, 1), width - shop - 8)
    world.canvas.cover("asphalt", lot.box, lot.frame.angle_rad)
    world.wear(lot.frame, lot.length_m, lot.width_m, 14)
    heavy = world.chance(0.12) and bool(world.classes & {"large-vehicle"})
    stall = (12.5, 3.6) if heavy else (rng.uniform(5.0, 5.4), rng.uniform(2.5, 2.8))
    module = 2 * stall[0] + (14.0 if heavy else rng.uniform(6.0, 7.5))
    taken = crowd(world, density)
    marks = world.pick((MARK, MARK, (200, 184, 120)))
    for row in range(max(1, int(lot.width_m / module))):
        v = (row + 0.5) * module - lot.width_m / 2
        for side in (-1, 1):
            _stalls(
                world,
                lot.frame.at(0, v + side * stall[0] / 2),
                lot.length_m - 8,
                stall,
                taken,
                heavy,
                marks,
                side,
            )
        if world.chance(0.35):
            island = lot.frame.at(0, v)
            world.trees(island, lot.length_m, 0.6, lot.length_m / 12, (1.2, 2.0))
    world.trees(plot.frame, length, width, length * width / 900)


def _stalls(
    world: World, row: Frame, length_m: float, stall_m: tuple[float, float], taken: float, heavy: bool,
    marks: Colour, side: int,
) -> None:  # fmt: skip
    """A row of marked places across the frame, some of them taken."""
    rng = world.rng
    depth, pitch = stall_m
    count = int(length_m / pitch)
    u = (np.arange(count + 1) - count / 2) * pitch
    ends = np.stack([np.repeat(u, 2), np.tile([-depth / 2, depth / 2], count + 1)], axis=1)
    world.canvas.lines(row.points(ends).reshape(-1, 2, 2), marks, 0.12)
    base = row.at(0, -side * depth / 2)
    world.canvas.lines(base.points([(u[0], 0), (u[-1], 0)]), marks, 0.12)
    local = np.clip(taken + 0.3 * np.sin(np.arange(count) * rng.uniform(0.05, 0.3) + rng.uniform(0, 6)), 0, 1)
    places = np.flatnonzero(rng.arrays.random(count) < (local if taken < 0.85 else taken))
    for place in places.tolist():
        if not world.visible(row.at((u[place] + u[place + 1]) / 2, 0)):
            continue
        name = world.vehicle(1.0) if heavy else world.vehicle(0.0)
        size = KINDS[name].size(rng)
        scale = min(1.0, (depth + 0.6) / size[0])
        turn = math.pi / 2 * (1 if rng.random() < 0.7 else -1) * side + rng.normal(0, 0.025)
        spot = row.at((u[place] + u[place + 1]) / 2 + rng.normal(0, 0.08), rng.normal(0, 0.2), turn)
        world.place(name, spot, (size[0] * scale, size[1] * scale), margin_m=0.05)


def small_car_park(world: World, plot: Plot) -> None:
    """A few rows of marked places somewhere on a plot, where there is room."""
    rng = world.rng
    size = (rng.uniform(22, 50), 17.0 if world.chance(0.6) else 33.0)
    for _ in range(6):
        lot = plot.spot(world, 0.9, math.pi / 2 * rng.integers(0, 2))
        if not world.visible(lot) or not world.ground.free(lot, *size):
            continue
        world.canvas.cover("asphalt", lot.box(*size), lot.angle_rad)
        taken, rows = crowd(world, "mixed"), round((size[1] - 1) / 16)
        for row in range(rows):
            for side in (-1, 1):
                v = (row - (rows - 1) / 2) * 16 + side * 5.4
                _stalls(world, lot.at(0, v), size[0] - 2, (5.2, 2.6), taken, False, MARK, side)
        world.ground.reserve(lot, *size)
        return


def resort(world: World, plot: Plot, density: str) -> None:
    """Large and small pools among terraces, hotels and palms."""
    rng = world.rng
    world.canvas.cover(choice(world, "lawn", "lawn", "paving", "sand"), plot.box, plot.frame.angle_rad)
    dress(world, plot, 0.4)
    for _ in range(rng.integers(2, 9)):
        name = choice(world, "pool", "pool", "big-pool")
        length, width = KINDS[name].size(rng)
        scale = rng.uniform(1.0, 1.8) if name == "pool" else rng.uniform(0.6, 1.0)
        spot = plot.spot(world, 0.9, rng.choice((0.0, math.pi / 2)) + rng.normal(0, 0.05))
        size = (length * scale, width * scale)
        terrace = spot.box(size[0] + rng.uniform(3, 8), size[1] + rng.uniform(3, 8))
        colour = world.pick(((196, 186, 168), (176, 156, 134), (204, 200, 192)))
        world.place(name, spot, size, 4.0, under=partial(world.canvas.polygon, terrace, colour))
    for _ in range(rng.integers(2, 7)):
        spot = plot.spot(world, 1.0, rng.choice((0.0, math.pi / 2)))
        world.building(spot, rng.uniform(14, 40), rng.uniform(9, 15), hall=world.chance(0.5))
    small_car_park(world, plot)
    world.trees(
        plot.frame,
        plot.length_m,
        plot.width_m,
        plot.length_m * plot.width_m / rng.uniform(60, 250),
        (1.2, 3.0),
    )


def depot(world: World, plot: Plot, density: str) -> None:
    """Warehouses with trucks at their docks, rows of trailers, stacks of containers."""
    rng = world.rng
    world.canvas.cover(choice(world, "concrete", "asphalt", "asphalt"), plot.box, plot.frame.angle_rad)
    world.wear(plot.frame, plot.length_m, plot.width_m, 14)
    v = -plot.width_m / 2 + rng.uniform(0, 12)
    while v < plot.width_m / 2:
        what = choice(world, "hall", "trucks", "containers", "trucks" if density == "dense" else "hall")
        if what == "hall":
            deep = rng.uniform(18, 36)
            u = -plot.length_m / 2 + rng.uniform(-10, 20)
            while u < plot.length_m / 2:
                long = rng.uniform(28, 70)
                world.building(plot.frame.at(u + long / 2, v + deep / 2), long, deep, hall=True)
                docks = np.arange(u + 4, u + long - 3, 4.2)
                for dock in docks[rng.arrays.random(len(docks)) < crowd(world, density) * 0.7].tolist():
                    size = KINDS["semi"].size(rng)
                    world.place(
                        "semi", plot.frame.at(dock, v + deep + size[0] / 2 + 0.6, math.pi / 2), size, 0.1
                    )
                u += long + rng.uniform(8, 26)
            v += deep + 26
        elif what == "trucks":
            taken, kind = crowd(world, density), choice(world, "truck", "semi", "bus")
            pitch = rng.uniform(3.6, 4.4)
            for u in np.arange(-plot.length_m / 2 + 6, plot.length_m / 2 - 4, pitch).tolist():
                world.canvas.lines(
                    plot.frame.points([(u - pitch / 2, v), (u - pitch / 2, v + 18)]), MARK, 0.12
                )
                if world.chance(taken):
                    turn = math.pi / 2 + rng.normal(0, 0.02)
                    world.place(kind, plot.frame.at(u, v + 9.2 + rng.normal(0, 0.4), turn), margin_m=0.1)
            v += 30
        else:
            for row in range(rng.integers(1, 5)):
                for u in np.arange(-plot.length_m / 2 + 8, plot.length_m / 2 - 8, 12.9).tolist():
                    if world.chance(0.75):
                        world.container(plot.frame.at(u, v + 1.4 + 2.7 * row))
            v += 26
    for _ in range(10):
        spot = plot.spot(world, 1.0)
        world.place(
            world.vehicle(0.5), spot.at(0, 0, rng.choice([0, math.pi / 2]) + rng.normal(0, 0.1)), margin_m=1
        )


def tank_farm(world: World, plot: Plot, density: str) -> None:
    """Storage tanks in rows within earth walls, joined by pipes."""
    rng = world.rng
    world.canvas.cover(choice(world, "soil", "concrete", "grass", "paving"), plot.box, plot.frame.angle_rad)
    room = min(plot.clear_m)
    diameter = rng.uniform(9, min(38.0, max(10.0, 0.3 * room)))
    if density == "dense":
        diameter = min(diameter, rng.uniform(9, 16))
    pitch = diameter * rng.uniform(1.2, 1.7) + 2
    colour = world.pick(KINDS["tank"].colours)
    taken = max(0.3, crowd(world, density))
    rows = np.arange(-plot.width_m / 2 + pitch / 2, plot.width_m / 2, pitch).tolist()
    for number, v in enumerate(rows):
        if number % 3 == 2 and density != "dense":
            world.road(plot.frame.at(0, v), plot.length_m, 2, dashes=False)
            world.traffic(plot.frame.at(0, v), plot.length_m, 2, 50.0, heavy=0.6)
            continue
        ground = plot.frame.at(0, v)
        wall = ground.box(plot.length_m - 4, pitch - 1.2)
        world.canvas.cover(choice(world, "soil", "paving", "concrete"), wall, ground.angle_rad)
        world.canvas.lines(wall, (170, 162, 146), 0.8, closed=True)
        for pipe in (-0.4, 0.0, 0.4):
            line = ground.points(
                [(-plot.length_m / 2, pitch / 2 - 0.6 + pipe), (plot.length_m / 2, pitch / 2 - 0.6 + pipe)]
            )
            world.canvas.lines(line, (146, 142, 134), 0.2)
        for u in np.arange(-plot.length_m / 2 + pitch / 2, plot.length_m / 2, pitch).tolist():
            if world.chance(taken):
                d = diameter * (1.0 if world.chance(0.8) else rng.uniform(0.5, 0.9))
                world.place("tank", ground.at(u, 0), (d, d), 0.3, colour)
                world.canvas.lines(ground.points([(u, 0), (u, pitch / 2 - 0.6)]), (146, 142, 134), 0.3)


def campus(world: World, plot: Plot, density: str) -> None:
    """Large blocks with flat roofs, lawns and paths: few objects, much that resembles them."""
    rng = world.rng
    world.canvas.cover(choice(world, "lawn", "paving", "grass"), plot.box, plot.frame.angle_rad)
    dress(world, plot, 0.8)
    if world.chance(0.6):
        road = plot.frame.at(0, rng.uniform(-0.4, 0.4) * plot.width_m)
        world.road(road, plot.length_m, 2)
        world.traffic(road, plot.length_m, 2, 45.0)
        world.ground.reserve(road, plot.length_m, 12.0)
    for _ in range(int(rng.uniform(0.3, 1.0) * plot.length_m * plot.width_m / 900) + 2):
        spot = plot.spot(world, 0.92, rng.choice((0.0, math.pi / 2)))
        what = rng.random()
        if what < 0.6:
            world.building(spot, rng.uniform(20, 60), rng.uniform(11, 18), hall=True)
        elif what < 0.75:
            _panels(world, spot, rng.uniform(12, 40), rng.uniform(8, 30))
        else:
            _playground(world, spot)
    if world.chance(0.5):
        small_car_park(world, plot)
    world.trees(plot.frame, plot.length_m, plot.width_m, plot.length_m * plot.width_m / rng.uniform(90, 400))


def _panels(world: World, frame: Frame, length_m: float, width_m: float) -> None:
    """Rows of solar panels, or the white roofs of greenhouses."""
    if not world.ground.free(frame, length_m, width_m):
        return
    world.ground.reserve(frame, length_m, width_m)
    glass = world.chance(0.4)
    colour = world.pick(((206, 212, 208), (190, 200, 198)) if glass else ((38, 46, 72), (48, 54, 70)))
    deep, pitch = (5.4, 6.0) if glass else (2.2, 4.0)
    for v in np.arange(-width_m / 2 + pitch / 2, width_m / 2 - deep / 2, pitch).tolist():
        world.canvas.polygon(frame.at(0, v).box(length_m, deep), colour)


def _playground(world: World, frame: Frame) -> None:
    """Sand, rubber and a few bright things."""
    if not world.ground.free(frame, 22, 16):
        return
    world.ground.reserve(frame, 22, 16)
    colours: tuple[Colour, ...] = ((186, 172, 140), (156, 92, 74), (150, 148, 142), (96, 120, 84))
    world.canvas.polygon(frame.box(20, 14), world.pick(colours))
    for _ in range(world.rng.integers(2, 7)):
        part = frame.at(*world.rng.spot(15, 9), world.rng.uniform(0, math.pi))
        size = world.rng.uniform(1, 4.5), world.rng.uniform(0.8, 3)
        colour = world.pick(((196, 180, 70), (70, 100, 150), (170, 60, 50), (220, 218, 210)))
        world.canvas.polygon(part.box(*size), colour)
    world.canvas.disc(frame.at(*world.rng.spot(12, 6)), world.rng.uniform(1.5, 3.5), world.pick(colours))
