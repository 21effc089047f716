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
from lmmrotate.data.synthetic.layout import furnish
from lmmrotate.data.synthetic.world import World
from lmmrotate.errors import ConfigError

CLASSES: tuple[str, ...] = dataset_spec("dota_v1").classes

Density = Literal["sparse", "mixed", "dense"]
DENSITIES: tuple[Density, ...] = ("sparse", "mixed", "dense")

MIN_SIZE_PX, MAX_SIZE_PX = 32, 12_000
MIN_GSD_M, MAX_GSD_M = 0.05, 5.0


@dataclass(frozen=True)
class SceneSpec:
    """What kind of scenes to make."""

    width_px: int = 256
    height_px: int = 256
    gsd_m: float | tuple[float, float] = (0.3, 0.8)
    """Ground sample distance, metres for each pixel: a number, or the range one is drawn from."""
    density: Density = "mixed"
    """"sparse": 0 to 6 larger objects for each 256 px square; "dense": crowded places only; "mixed": all."""
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
        if self.density not in DENSITIES:
            raise ConfigError(f"synthetic: unknown density {self.density!r}; known: {', '.join(DENSITIES)}")
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
        have an axis-aligned square. No two overlap. Objects of which less than 70 % lies in the picture
        have difficulty 2.
    """
    world = _world(spec, seed, index, Canvas)
    pixels = world.canvas.develop(_camera(world.canvas.rng))
    return pixels, world.record(image_name(index, split))


def describe_scene(spec: SceneSpec, seed: int, index: int, *, split: str = "train") -> ImageRecord:
    """The record that ``render_scene`` gives, without the picture."""
    return _world(spec, seed, index, BlankCanvas).record(image_name(index, split))


def _world(spec: SceneSpec, seed: int, index: int, canvas_type: type[Canvas]) -> World:
    if seed < 0 or index < 0:
        raise ConfigError(f"synthetic: seed and index must be at least 0, got {seed} and {index}")
    # What stands where and how it is drawn take their numbers from different streams: a new texture
    # moves no object.
    rng, paint = Dice(seed, index), np.random.default_rng([seed, index, 1])
    gsd_m = rng.uniform(*spec.gsd_range_m)
    sun = Sun(
        direction_rad=rng.uniform(0, 2 * math.pi),
        length_per_m=rng.uniform(0.25, 1.1),
        strength=rng.uniform(0.35, 0.62),
    )
    world = World(canvas_type(spec.width_px, spec.height_px, gsd_m, sun, paint), spec.classes, rng)
    furnish(world, spec.density)
    return world


def _camera(rng: np.random.Generator) -> Camera:
    warm = rng.normal(0, 0.035)
    exposure = rng.uniform(0.86, 1.12)
    haze = rng.uniform(130, 190)
    return Camera(
        cast=(exposure * (1 + warm), exposure, exposure * (1 - warm)),
        haze=(haze * 0.96, haze, haze * 1.05),
        contrast=1 - rng.beta(1.2, 8),
        saturation=rng.uniform(0.6, 1.0),
        blur_px=rng.uniform(0.3, 0.75),
        noise=rng.uniform(1.0, 5.5),
    )
