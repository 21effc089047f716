"""Land cover: what the ground looks like between the objects.

Everything here is whole-number arithmetic on bytes, which OpenCV and NumPy do alike on every processor:
the same seed gives the same picture to the byte.
"""

from __future__ import annotations

import math
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from lmmrotate.data.synthetic.covers import Cover

Image = npt.NDArray[np.uint8]  # (H, W, 3) RGB or (H, W)
Bytes = npt.NDArray[np.uint8]  # (H, W): noise, 128 in the middle, standard deviation ``SPREAD``
Levels = npt.NDArray[np.int16]  # (H, W) grey levels to add

SPREAD = 40
_ONE = 32
"""One standard deviation of ``Levels`` that are scaled later."""


def noise(rng: np.random.Generator, shape: tuple[int, int], size_px: float) -> Bytes:
    """Smooth noise (H, W) with bumps of about ``size_px`` pixels and no preferred direction."""
    # Blurred random points, then enlarged: plain enlargement would weave a pattern along the grid.
    step = max(0.27 * size_px, 1.0)
    rows, columns = math.ceil(shape[0] / step) + 3, math.ceil(shape[1] / step) + 3
    sigma = max(0.45 * size_px / step, 0.5)
    grid = cv2.GaussianBlur(_random_bytes(rng, (rows, columns)), (0, 0), sigma)
    grid = cv2.LUT(grid, _stretch(round(4 * sigma)))
    if step == 1.0:
        return np.asarray(grid[: shape[0], : shape[1]])
    width, height = round((columns - 2) * step), round((rows - 2) * step)  # at least the shape
    # Other ways of enlarging give other bytes on other processors.
    enlarged = cv2.resize(grid[1:-1, 1:-1], (width, height), interpolation=cv2.INTER_LINEAR_EXACT)
    return np.asarray(enlarged[: shape[0], : shape[1]], dtype=np.uint8)


def _random_bytes(rng: np.random.Generator, shape: tuple[int, int]) -> Bytes:
    return np.frombuffer(rng.bytes(shape[0] * shape[1]), dtype=np.uint8).reshape(shape)


@cache
def _stretch(quarters: int) -> Bytes:
    """Table that brings random bytes blurred with sigma = quarters / 4 back to the standard spread."""
    sigma = quarters / 4
    after = 73.9 * min(1.0, 1 / (2 * math.sqrt(math.pi) * sigma))
    return np.array(
        [min(max(round(128 + (v - 127.5) * SPREAD / after), 0), 255) for v in range(256)], np.uint8
    )


@cache
def _table(strength: float) -> npt.NDArray[np.int16]:
    """Grey levels for each byte of noise; one standard deviation is ``strength``."""
    return np.array([round((v - 128) * strength / SPREAD) for v in range(256)], dtype=np.int16)


def levels(field: Bytes, strength: float) -> Levels:
    """Noise as grey levels with this standard deviation."""
    return np.asarray(cv2.LUT(field, _table(strength)), dtype=np.int16)


def mottle(rng: np.random.Generator, shape: tuple[int, int], size_px: float, strength: float) -> Levels:
    """Noise at three scales, large ones strongest: patches with frayed edges."""
    total = levels(noise(rng, shape, size_px), 0.8 * strength)
    for part, share in ((2.7, 0.5), (7.0, 0.33)):
        if size_px / part >= 1.5:
            total += levels(noise(rng, shape, size_px / part), share * strength)
    return total


def canopy(
    rng: np.random.Generator,
    shape: tuple[int, int],
    crown_px: float,
    cover: float,
    shift: tuple[float, float],
) -> tuple[Levels, Levels]:
    """A closed or open roof of round crowns seen from above.

    Args:
        shape: (H, W).
        crown_px: distance of the crowns' centres.
        cover: radius of a crown in units of that distance; 0.75 leaves no gap.
        shift: direction to the sun on screen, a unit vector.

    Returns:
        Height and light (H, W), in units of ``_ONE``; light is above 0 on the side of the sun.
    """
    step = max(crown_px, 2.5)
    pad = math.ceil(step)
    height, width = shape[0] + 2 * pad, shape[1] + 2 * pad
    rows, columns = int(height / step) + 1, int(width / step) + 1
    jitter = _random_bytes(rng, (2, rows * columns)).reshape(2, rows, columns) / 255.0
    y = ((np.arange(rows)[:, None] + jitter[0]) * step).astype(np.int64)
    x = ((np.arange(columns) + jitter[1]) * step).astype(np.int64)
    kept = (y < height) & (x < width)
    empty = np.full((height, width), 255, dtype=np.uint8)
    empty[y[kept], x[kept]] = 0
    away, label = cv2.distanceTransformWithLabels(empty, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    distance = np.minimum(away * np.float32(128 / (cover * step)), 128).astype(np.uint8)
    dome = np.asarray(cv2.LUT(distance, _dome()), dtype=np.int16)
    tone = levels(_random_bytes(rng, (1, 256)), 0.16 * _ONE)[0][np.asarray(label, dtype=np.int32) & 255]
    near = max(1, round(0.3 * cover * step))
    dx, dy = round(near * shift[0]), round(near * shift[1])
    inner = dome[pad : pad + shape[0], pad : pad + shape[1]]
    sunward = dome[pad + dy : pad + dy + shape[0], pad + dx : pad + dx + shape[1]]
    inside = inner > -_ONE  # gaps have no tone of their own
    return inner + tone[pad : pad + shape[0], pad : pad + shape[1]] * inside, inner - sunward


@cache
def _dome() -> npt.NDArray[np.int16]:
    """Height of a crown by distance from its middle (128 is its edge)."""
    return np.array(
        [round(_ONE * (2 * math.sqrt(max(0.0, 1 - (d / 128) ** 2)) - 1)) for d in range(256)], np.int16
    )


def cover_texture(
    cover: Cover,
    shape: tuple[int, int],
    gsd_m: float,
    angle_rad: float,
    to_sun: tuple[float, float],
    rng: np.random.Generator,
) -> Image:
    """A patch of ground, (H, W, 3) RGB.

    Args:
        cover: what kind.
        shape: (H, W).
        gsd_m: metres for each pixel.
        angle_rad: direction of rows and slabs.
        to_sun: unit vector on screen.
    """
    place = mottle(rng, shape, cover.patch_m / gsd_m, 42.0 * cover.patchy)
    light = np.full(shape, rng.integers(-6, 7), dtype=np.int16)
    for size_m, strength in cover.speckle:
        # Below a pixel, grain averages out.
        light += levels(noise(rng, shape, size_m / gsd_m), strength * min(1.0, 1.6 * size_m / gsd_m))
    if cover.crowns:
        size_m, share, strength = cover.crowns
        height, lit = canopy(rng, shape, size_m / gsd_m, share, to_sun)
        place += height
        light += (height * round(0.6 * strength) + lit * round(strength)) // _ONE
    if cover.waves:
        size_m, strength = cover.waves
        light += _waves(rng, shape, size_m / gsd_m, strength, to_sun)
    if cover.rows:
        light += _rows(cover.rows, shape, gsd_m, angle_rad, rng)
    if cover.slab_m:
        light += _joints(cover.slab_m, shape, gsd_m, angle_rad)
    index = np.clip(place + 128, 0, 255).astype(np.uint8)
    ramp = cover.ramps[int(rng.integers(len(cover.ramps)))]
    return np.asarray(cv2.add(cv2.applyColorMap(index, _ramp(ramp)), cv2.merge([light] * 3), dtype=cv2.CV_8U))


@cache
def _ramp(colours: tuple[tuple[int, int, int], ...]) -> Image:
    """Table (256, 1, 3) through the colours, the first and last 64 steps from the ends."""
    at = np.linspace(64, 192, len(colours))
    channels = [np.interp(np.arange(256), at, [c[k] for c in colours]) for k in range(3)]
    return np.rint(np.stack(channels, axis=1)).astype(np.uint8)[:, None]


def _waves(
    rng: np.random.Generator,
    shape: tuple[int, int],
    size_px: float,
    strength: float,
    to_sun: tuple[float, float],
) -> Levels:
    """Ripples: bumps that are bright towards the sun and dark behind."""
    pad = max(1, round(0.3 * size_px))
    bumps = levels(noise(rng, (shape[0] + 2 * pad, shape[1] + 2 * pad), size_px), strength)
    dx, dy = round(pad * to_sun[0]), round(pad * to_sun[1])
    inner = bumps[pad : pad + shape[0], pad : pad + shape[1]]
    return inner - bumps[pad + dy : pad + dy + shape[0], pad + dx : pad + dx + shape[1]]


_TURN = np.array([round(127 * math.sin(2 * math.pi * step / 256)) for step in range(256)], dtype=np.int16)


def _across(shape: tuple[int, int], gsd_m: float, angle_rad: float) -> npt.NDArray[np.float64]:
    """Distance (H, W) in metres from the line through the first pixel at this angle."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    return x * (-math.sin(angle_rad) * gsd_m) + y * (math.cos(angle_rad) * gsd_m)


def _rows(
    rows: tuple[float, float, float],
    shape: tuple[int, int],
    gsd_m: float,
    angle_rad: float,
    rng: np.random.Generator,
) -> Levels:
    """Plough lines, mowing stripes: a wave across the direction of work, uneven along it."""
    low, high, strength = rows
    # Rows closer than three pixels would only shimmer.
    period = max(low + (high - low) * rng.random(), 3 * gsd_m)
    phase = (_across(shape, gsd_m, angle_rad) * (256 / period)).astype(np.int32)
    phase += levels(noise(rng, shape, 14 / gsd_m), 10.0)
    uneven = 128 + levels(noise(rng, shape, 6 / gsd_m), 40.0)
    return np.asarray(_TURN[phase & 255] * uneven // 128 * round(4 * strength) // (4 * 127), dtype=np.int16)


def _joints(slab_m: float, shape: tuple[int, int], gsd_m: float, angle_rad: float) -> Levels:
    """Dark lines between slabs."""
    wide = max(0.25, 0.6 * gsd_m) / slab_m
    across, along = (_across(shape, gsd_m / slab_m, angle_rad + turn) for turn in (0.0, math.pi / 2))
    joint = (across - np.floor(across) < wide) | (along - np.floor(along) < wide)
    return np.asarray(joint * np.int16(-9), dtype=np.int16)
