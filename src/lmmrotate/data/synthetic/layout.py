"""Cutting the ground into plots and giving each a theme."""

from __future__ import annotations

import math

from lmmrotate.data.synthetic.canvas import Frame
from lmmrotate.data.synthetic.themes import THEMES, Plot, Theme
from lmmrotate.data.synthetic.world import World

_LARGEST_PLOT_M = 260.0
_ROAD_M = 11.0


def furnish(world: World, density: str) -> None:
    """Paint the whole scene and place its objects."""
    angle = world.rng.uniform(0, 2 * math.pi)
    width, height = world.size_m
    # The plots lie in a rectangle that covers the picture at any angle.
    cos, sin = abs(math.cos(angle)), abs(math.sin(angle))
    length, depth = width * cos + height * sin + 8, width * sin + height * cos + 8
    world.canvas.cover("grass")
    if max(width, height) <= _LARGEST_PLOT_M:
        _settle(world, Plot(world.middle(angle), length, depth, (width, height)), density)
        return
    for frame, plot_length, plot_depth in _split(world, world.middle(angle), length, depth):
        if _seen(world, frame, plot_length, plot_depth):
            size = (plot_length, plot_depth)
            _settle(world, Plot(frame, plot_length, plot_depth, size), density)


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
    return parts


def _seen(world: World, frame: Frame, length_m: float, width_m: float) -> bool:
    corners = frame.box(length_m, width_m)
    x, y = corners.min(axis=0)
    right, bottom = corners.max(axis=0)
    return bool(x < world.canvas.width_px and y < world.canvas.height_px and right > 0 and bottom > 0)


def _settle(world: World, plot: Plot, density: str) -> None:
    theme = _choose(world, plot, density)
    theme.build(world, plot, density)


def _choose(world: World, plot: Plot, density: str) -> Theme:
    weights = [
        theme.weights[density]
        if theme.least_m <= min(plot.clear_m) and (not theme.classes or world.classes & theme.classes)
        else 0.0
        for theme in THEMES
    ]
    total = sum(weights)
    chosen = world.rng.random() * total
    for theme, weight in zip(THEMES, weights, strict=True):
        chosen -= weight
        if weight and chosen < 0:
            return theme
    return next(theme for theme in reversed(THEMES) if theme.name == "farmland")
