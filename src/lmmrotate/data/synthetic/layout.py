"""Cutting the ground into plots and giving each a theme."""

from __future__ import annotations

import math

from lmmrotate.data.synthetic.canvas import Frame
from lmmrotate.data.synthetic.dice import Dice
from lmmrotate.data.synthetic.plots import Plot
from lmmrotate.data.synthetic.themes import BY_NAME, DENSITIES, THEMES, Theme
from lmmrotate.data.synthetic.world import World

_LARGEST_PLOT_M = 260.0
_ROAD_M = 11.0
_AFLOAT = frozenset({"ship", "harbor"})


def plan(
    rng: Dice,
    size_px: tuple[int, int],
    gsd_range_m: tuple[float, float],
    density: str,
    classes: frozenset[str],
) -> tuple[float, Theme | None]:
    """Ground sample distance in metres, and the theme of the whole scene; None for a scene of many plots."""
    low, high = gsd_range_m
    gsd_m = rng.uniform(low, high)
    if max(size_px) * gsd_m > _LARGEST_PLOT_M:
        return gsd_m, None
    high = min(high, _LARGEST_PLOT_M / max(size_px))
    theme = _choose(rng, min(size_px) * high, density, classes, None)
    low = min(max(low, theme.least_m / min(size_px)), high)
    return rng.uniform(_clamp(theme.gsd_m[0], low, high), _clamp(theme.gsd_m[1], low, high)), theme


def _clamp(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def furnish(world: World, theme: Theme | None, density: str) -> None:
    """Paint the whole scene and place its objects.

    A small scene is one plot with one theme. A large one is cut by roads into plots with a theme each;
    often one side of it is a water front.
    """
    angle = world.rng.uniform(0, 2 * math.pi)
    width, height = world.size_m
    # The plots lie in a rectangle that covers the picture at any angle.
    cos, sin = abs(math.cos(angle)), abs(math.sin(angle))
    length, depth = width * cos + height * sin + 8, width * sin + height * cos + 8
    middle = world.middle(angle)
    if theme:
        theme.build(world, Plot(middle, length, depth, (width, height)), density)
        return
    world.canvas.cover("grass")
    front = 0.0
    if world.classes & _AFLOAT and (world.chance(0.5) or world.classes <= _AFLOAT):
        front = min(world.rng.uniform(0.25, 0.5) * length, _LARGEST_PLOT_M)
        _water_front(world, middle.at((length - front) / 2, 0, math.pi / 2), depth, front, density)
    land = middle.at(-front / 2, 0)
    for frame, plot_length, plot_depth in _split(world, land, length - front, depth):
        _build(world, Plot(frame, plot_length, plot_depth, (plot_length, plot_depth)), density, False)


def _water_front(world: World, frame: Frame, length_m: float, depth_m: float, density: str) -> None:
    """Harbours and beaches side by side on one body of water; land lies on the right of the frame."""
    world.canvas.cover("sea", frame.box(length_m, depth_m), frame.angle_rad)
    u = -length_m / 2
    while u < length_m / 2:
        part = min(world.rng.uniform(0.5, 1.0) * _LARGEST_PLOT_M, max(length_m / 2 - u, 60.0))
        plot = Plot(frame.at(u + part / 2, 0), part, depth_m, (part, depth_m), flooded=True)
        _build(world, plot, density, True)
        u += part


def _split(world: World, frame: Frame, length_m: float, width_m: float) -> list[tuple[Frame, float, float]]:
    """Cut a rectangle in two across its longer side until the parts are small; roads run along the cuts."""
    if max(length_m, width_m) <= world.rng.uniform(0.7, 1.0) * _LARGEST_PLOT_M:
        return [(frame, length_m, width_m)]
    if width_m > length_m:
        return _split(world, frame.at(0, 0, math.pi / 2), width_m, length_m)
    cut = world.rng.uniform(0.38, 0.62) * length_m
    first, second = cut - _ROAD_M / 2, length_m - cut - _ROAD_M / 2
    parts = _split(world, frame.at(-length_m / 2 + first / 2, 0), first, width_m)
    parts += _split(world, frame.at(length_m / 2 - second / 2, 0), second, width_m)
    road = frame.at(-length_m / 2 + cut, 0, math.pi / 2)
    world.road(road, width_m + _ROAD_M, 2)
    world.traffic(road, width_m, 2, 40.0)
    world.ground.reserve(road, width_m, _ROAD_M)
    return parts


def _build(world: World, plot: Plot, density: str, afloat: bool) -> None:
    """Give the plot a theme if anything of it can be seen."""
    (x, y), (right, bottom) = plot.box.min(axis=0), plot.box.max(axis=0)
    if x < world.canvas.width_px and y < world.canvas.height_px and right > 0 and bottom > 0:
        theme = _choose(world.rng, min(plot.clear_m), density, world.classes, afloat)
        theme.build(world, plot, density)


def _choose(rng: Dice, room_m: float, density: str, classes: frozenset[str], afloat: bool | None) -> Theme:
    """A theme that fits the room and the wanted classes; on water or land only, or either (None)."""
    weights = [
        theme.weights[DENSITIES.index(density)] * (1.0 if afloat is None else theme.spread)
        if theme.least_m <= room_m
        and (not theme.classes or classes & theme.classes)
        and (afloat is None or theme.afloat == afloat)
        else 0.0
        for theme in THEMES
    ]
    if not any(weights):
        return BY_NAME["sea" if afloat else "farmland"]
    return rng.weighted(THEMES, weights)
