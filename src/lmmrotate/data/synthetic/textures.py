"""Land cover: what the ground looks like between the objects."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]  # (H, W, 3) RGB or (H, W)
Field = npt.NDArray[np.float32]  # (H, W), about standard normal


@dataclass(frozen=True)
class Cover:
    """One kind of ground: colours, and what makes it uneven. Lengths in metres, strengths in grey levels."""

    colours: tuple[tuple[tuple[int, int, int], tuple[int, int, int]], ...]
    """Pairs of RGB; one pair is drawn for each patch, and slow noise mixes its two colours."""
    patch_m: float = 30.0
    """Size of the slow noise."""
    speckle: tuple[tuple[float, float], ...] = ((1.2, 5.0),)
    """(size, strength) of brightness noise."""
    rows: tuple[float, float, float] | None = None
    """Plough lines, mowing stripes or waves: least and greatest distance, strength."""
    relief: tuple[float, float] | None = None
    """(size, strength) of bumps that the sun lights from one side: crowns, waves."""
    slab_m: float | None = None
    """Joints between concrete slabs."""


COVERS: dict[str, Cover] = {
    "grass": Cover(
        (((84, 98, 58), (118, 122, 82)), ((76, 92, 60), (98, 108, 72)), ((112, 110, 74), (136, 128, 92))),
        18.0,
        ((1.0, 6.0), (5.0, 5.0)),
    ),
    "lawn": Cover((((78, 104, 58), (94, 116, 70)), ((88, 108, 66), (108, 120, 78))), 25.0, ((0.8, 4.0),)),
    "mown": Cover((((72, 106, 56), (88, 118, 66)),), 40.0, ((0.8, 3.0),), (9.0, 12.0, 7.0)),
    "crop": Cover(
        (((82, 104, 52), (100, 120, 62)), ((96, 108, 60), (122, 128, 72)), ((66, 90, 50), (80, 104, 58))),
        60.0,
        ((1.0, 5.0), (10.0, 4.0)),
        (1.6, 4.0, 7.0),
    ),
    "plough": Cover(
        (((118, 98, 76), (140, 118, 92)), ((104, 88, 70), (126, 104, 84)), ((146, 128, 98), (164, 146, 112))),
        50.0,
        ((1.0, 5.0), (12.0, 5.0)),
        (1.4, 3.2, 8.0),
    ),
    "stubble": Cover(
        (((160, 146, 104), (178, 164, 120)), ((150, 136, 100), (168, 156, 116))),
        60.0,
        ((1.0, 5.0),),
        (4.0, 9.0, 6.0),
    ),
    "forest": Cover(
        (((42, 60, 38), (64, 82, 48)), ((50, 66, 44), (70, 80, 52))), 14.0, ((1.0, 6.0),), relief=(5.0, 26.0)
    ),
    "scrub": Cover((((92, 96, 64), (124, 118, 84)),), 10.0, ((1.2, 7.0),), relief=(3.0, 11.0)),
    "soil": Cover(
        (((140, 122, 96), (164, 146, 118)), ((126, 112, 92), (150, 134, 112))), 14.0, ((0.9, 6.0), (4.0, 5.0))
    ),
    "sand": Cover((((184, 170, 138), (206, 192, 160)),), 12.0, ((1.0, 5.0),)),
    "rock": Cover((((112, 108, 100), (146, 140, 128)),), 5.0, ((1.2, 12.0),), relief=(1.8, 14.0)),
    "asphalt": Cover(
        (((88, 88, 88), (104, 103, 101)), ((104, 103, 100), (120, 118, 115)), ((74, 75, 77), (88, 88, 89))),
        18.0,
        ((0.8, 4.0), (6.0, 4.0)),
    ),
    "road": Cover((((96, 96, 95), (114, 112, 110)), ((84, 85, 86), (100, 100, 100))), 25.0, ((0.8, 3.0),)),
    "paving": Cover(
        (((146, 142, 132), (164, 158, 148)), ((134, 128, 120), (152, 146, 138))), 9.0, ((0.9, 6.0),)
    ),
    "concrete": Cover(
        (((148, 146, 138), (168, 165, 156)), ((130, 130, 126), (150, 149, 144))),
        22.0,
        ((0.9, 4.0),),
        slab_m=7.5,
    ),
    "clay": Cover((((156, 96, 74), (172, 112, 86)),), 12.0, ((0.9, 4.0),)),
    "sea": Cover(
        (((30, 52, 66), (44, 68, 78)), ((34, 62, 66), (50, 78, 78)), ((24, 44, 62), (34, 56, 72))),
        70.0,
        ((1.0, 2.0), (14.0, 2.5)),
        relief=(2.5, 4.0),
    ),
    "basin": Cover(
        (((32, 50, 48), (42, 60, 56)), ((38, 56, 62), (50, 66, 70))), 60.0, ((1.0, 2.0),), relief=(1.6, 2.0)
    ),
    "shallow": Cover((((76, 104, 100), (98, 122, 110)),), 20.0, ((1.0, 3.0),), relief=(2.5, 4.0)),
}


def noise(rng: np.random.Generator, shape: tuple[int, int], size_px: float) -> Field:
    """Smooth noise (H, W), about standard normal, with bumps of ``size_px`` pixels."""
    # Bytes come four times as fast as normal numbers, and smoothing hides the difference.
    if size_px < 4:
        # Enlarging by a little would give a woven pattern: blur instead.
        sigma = max(0.4 * size_px, 0.45)
        rough = rng.integers(0, 256, size=shape, dtype=np.uint8).astype(np.float32)
        smooth = cv2.GaussianBlur(rough, (0, 0), sigma)
        gain = sigma / 21
        return np.asarray(cv2.addWeighted(smooth, gain, smooth, 0, -127.5 * gain), dtype=np.float32)
    grid = rng.integers(0, 256, size=_grid(shape, size_px), dtype=np.uint8).astype(np.float32)
    return _enlarged((grid - 127.5) * np.float32(1 / 74), shape, size_px)


def _enlarged(grid: Field, shape: tuple[int, int], size_px: float) -> Field:
    """A grid (h, w) or (h, w, C) at full size; strong enlargement in two steps, which is faster."""
    if size_px > 8:
        between = (-(-shape[1] // 4), -(-shape[0] // 4))
        grid = np.asarray(cv2.resize(grid, between, interpolation=cv2.INTER_CUBIC), dtype=np.float32)
        return np.asarray(cv2.resize(grid, shape[::-1], interpolation=cv2.INTER_LINEAR), dtype=np.float32)
    return np.asarray(cv2.resize(grid, shape[::-1], interpolation=cv2.INTER_CUBIC), dtype=np.float32)


def _grid(shape: tuple[int, int], size_px: float) -> tuple[int, int]:
    """Rows and columns of a grid of points that far apart."""
    step = max(size_px, 1)
    return math.ceil(shape[0] / step) + 1, math.ceil(shape[1] / step) + 1


def cover_texture(
    cover: Cover,
    shape: tuple[int, int],
    gsd_m: float,
    angle_rad: float,
    sun_rad: float,
    rng: np.random.Generator,
) -> Image:
    """A patch of ground, (H, W, 3) RGB; ``angle_rad`` is the direction of rows and slabs."""
    dark, bright = np.asarray(cover.colours[rng.integers(len(cover.colours))], dtype=np.float32)
    mix = 0.5 + 0.3 * rng.standard_normal((*_grid(shape, cover.patch_m / gsd_m), 1), dtype=np.float32)
    slow = (dark + rng.uniform(-6, 6) + np.clip(mix, 0, 1) * (bright - dark)).astype(np.float32)
    colour = _enlarged(slow, shape, cover.patch_m / gsd_m)
    level = np.zeros(shape, dtype=np.float32)
    for size_m, strength in cover.speckle:
        level += strength * noise(rng, shape, size_m / gsd_m)
    if cover.relief:
        size_m, strength = cover.relief
        level += strength * _lit(noise(rng, shape, size_m / gsd_m), sun_rad, 0.3 * size_m / gsd_m)
    if cover.rows or cover.slab_m:
        level += _lines(cover, shape, gsd_m, angle_rad, rng)
    return np.asarray(cv2.add(colour, cv2.merge([level, level, level]), dtype=cv2.CV_8U), dtype=np.uint8)


def _lit(bumps: Field, sun_rad: float, step_px: float) -> Field:
    """Bumps lit from the side the shadows point away from: bright towards the sun, dark behind."""
    dx, dy = max(step_px, 1) * math.cos(sun_rad), max(step_px, 1) * math.sin(sun_rad)
    moved = cv2.warpAffine(
        bumps,
        np.array([[1, 0, -dx], [0, 1, -dy]], dtype=np.float32),
        (bumps.shape[1], bumps.shape[0]),
        borderMode=cv2.BORDER_REFLECT,
    )
    # The crown itself is brighter than the gap between crowns.
    return np.asarray(0.55 * (moved - bumps) + 0.45 * bumps, dtype=np.float32)


def _lines(
    cover: Cover, shape: tuple[int, int], gsd_m: float, angle_rad: float, rng: np.random.Generator
) -> Field:
    y, x = np.ogrid[: shape[0], : shape[1]]
    cos, sin = math.cos(angle_rad) * gsd_m, math.sin(angle_rad) * gsd_m
    across = (-x * sin + y * cos).astype(np.float32)
    if cover.rows:
        low, high, strength = cover.rows
        # Rows closer than three pixels would only shimmer.
        period = max(rng.uniform(low, high), 3 * gsd_m)
        return np.asarray(np.sin(across * (2 * math.pi / period)) * strength, dtype=np.float32)
    assert cover.slab_m is not None
    along = (x * cos + y * sin).astype(np.float32)
    joint = np.minimum(np.mod(across, cover.slab_m), np.mod(along, cover.slab_m)) < max(0.25, 0.6 * gsd_m)
    return np.asarray(joint * -11.0, dtype=np.float32)
