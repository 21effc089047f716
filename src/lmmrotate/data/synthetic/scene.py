"""One scene: its settings, and the picture with its annotations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from lmmrotate.data.catalog import dataset_spec
from lmmrotate.data.records import ImageRecord
from lmmrotate.data.synthetic.canvas import BlankCanvas, Camera, Canvas, Sun
from lmmrotate.data.synthetic.dice import Dice
from lmmrotate.data.synthetic.layout import furnish, plan
from lmmrotate.data.synthetic.world import World
from lmmrotate.errors import ConfigError

CLASSES: tuple[str, ...] = dataset_spec("dota_v1").classes

Density = Literal["sparse", "mixed", "dense"]
DENSITIES: tuple[Density, ...] = ("sparse", "mixed", "dense")

SPARSE = 6
MIN_SIZE_PX, MAX_SIZE_PX = 32, 12_000
MIN_GSD_M, MAX_GSD_M = 0.05, 2.0
MAX_AREA_KM2 = 40.0


@dataclass(frozen=True)
class SceneSpec:
    """What kind of scenes to make."""

    width_px: int = 256
    height_px: int = 256
    gsd_m: float | tuple[float, float] = (0.3, 0.8)
    """Ground sample distance, metres for each pixel: a number, or the range one is drawn from."""
    density: Density | int = "mixed"
    """"sparse": 0 to 6 easy objects, or for each 256 px square in larger scenes; "dense": crowded places;
    "mixed": everything, empty ground included; a number: as mixed, with no more objects than that a scene.
    """
    classes: tuple[str, ...] = CLASSES
    """Classes that may appear, and the class list of the data set; others are neither drawn nor annotated."""

    def __post_init__(self) -> None:
        for name, size in (("width_px", self.width_px), ("height_px", self.height_px)):
            if not MIN_SIZE_PX <= size <= MAX_SIZE_PX:
                raise ConfigError(
                    f"synthetic: {name} must be from {MIN_SIZE_PX} to {MAX_SIZE_PX}, got {size}"
                )
        try:
            low, high = self.gsd_range_m
        except (TypeError, ValueError):
            low, high = 0.0, 0.0  # refused below
        if not MIN_GSD_M <= low <= high <= MAX_GSD_M:
            raise ConfigError(
                f"synthetic: gsd_m must be a number or a range (low, high) from {MIN_GSD_M} to {MAX_GSD_M} "
                f"metres for each pixel, got {self.gsd_m}"
            )
        area_km2 = self.width_px * self.height_px * high**2 / 1e6
        if area_km2 > MAX_AREA_KM2:  # the time for a scene grows with what stands in it
            raise ConfigError(
                f"synthetic: {self.width_px} x {self.height_px} px at {high} m are {area_km2:.0f} square "
                f"kilometres; at most {MAX_AREA_KM2:.0f} can be furnished"
            )
        number = isinstance(self.density, int) and not isinstance(self.density, bool) and self.density >= 0
        if not number and self.density not in DENSITIES:
            raise ConfigError(
                f"synthetic: unknown density {self.density!r}; known: {', '.join(DENSITIES)}, "
                "or the most objects a scene may have"
            )
        unknown = [name for name in self.classes if name not in CLASSES]
        if unknown or not self.classes or len(set(self.classes)) != len(self.classes):
            wrong = (
                f"unknown class {unknown[0]!r}"
                if unknown
                else f"classes must be distinct names, got {self.classes}"
            )
            raise ConfigError(f"synthetic: {wrong}; known: {', '.join(CLASSES)}")

    @property
    def gsd_range_m(self) -> tuple[float, float]:
        """The range as two numbers."""
        if isinstance(self.gsd_m, (int, float)):
            return float(self.gsd_m), float(self.gsd_m)
        low, high = self.gsd_m
        return float(low), float(high)


def image_name(index: int, split: str) -> str:
    """Path of a scene's image within its data set."""
    return f"images/{split}_{index:06d}.png"


def render_scene(
    spec: SceneSpec, seed: int, index: int, *, split: str = "train"
) -> tuple[npt.NDArray[np.uint8], ImageRecord]:
    """Scene number ``index`` of a seed: the same picture and quads wherever and whenever it is made.

    Args:
        spec: what kind of scene.
        seed, index: at least 0. Scenes of different indices or seeds have nothing in common.
        split: only names the image.

    Returns:
        The picture (H, W, 3), RGB, and its record. Quads (N, 4, 2) are float64 pixels, the exact extent of
        what is drawn: front left, front right, rear right, rear left, clockwise on screen; round objects
        have an axis-aligned square. No two overlap. Objects that the picture's edge cuts have difficulty 2;
        those of which less than 70 % would be seen are not drawn.
    """
    world = _world(spec, seed, index, Canvas)
    pixels = world.canvas.develop(_camera(Dice(seed, index, 2)))
    return pixels, world.record(image_name(index, split))


def describe_scene(spec: SceneSpec, seed: int, index: int, *, split: str = "train") -> ImageRecord:
    """The record that ``render_scene`` gives, without the picture."""
    return _world(spec, seed, index, BlankCanvas).record(image_name(index, split))


def _world(spec: SceneSpec, seed: int, index: int, canvas_type: type[Canvas]) -> World:
    if seed < 0 or index < 0:
        raise ConfigError(f"synthetic: seed and index must be at least 0, got {seed} and {index}")
    # What stands where and how it is drawn take their numbers from different streams: a new texture
    # moves no object.
    rng, paint = Dice(seed, index, 0), np.random.default_rng([seed, index, 1])
    classes, size_px = frozenset(spec.classes), (spec.width_px, spec.height_px)
    style = spec.density if isinstance(spec.density, str) else "mixed"
    gsd_m, theme = plan(rng, size_px, spec.gsd_range_m, style, classes)
    sun = Sun(
        direction_rad=rng.uniform(0, 2 * math.pi),
        length_per_m=rng.uniform(0.25, 1.1),
        strength=rng.uniform(0.45, 0.7),
    )
    world = World(canvas_type(*size_px, gsd_m, sun, paint), classes, rng)
    furnish(world, theme, style)
    world.finish(_limit(spec, rng))
    return world


def _limit(spec: SceneSpec, rng: Dice) -> int | None:
    """The most objects to keep."""
    if spec.density == "sparse":
        return rng.integers(0, SPARSE * max(1, spec.width_px * spec.height_px // 256**2) + 1)
    return spec.density if isinstance(spec.density, int) else None


def _camera(rng: Dice) -> Camera:
    warm = rng.normal(0, 0.04)
    exposure = rng.uniform(0.88, 1.16)
    haze = rng.uniform(130, 190)
    return Camera(
        cast=(exposure * (1 + warm), exposure, exposure * (1 - warm)),
        haze=(haze * 0.96, haze, haze * 1.05),
        contrast=1.06 - 0.5 * rng.small_share(),
        saturation=rng.uniform(0.7, 1.12),
        blur_px=rng.uniform(0.35, 0.8),
        noise=rng.uniform(0.8, 4.0),
    )
