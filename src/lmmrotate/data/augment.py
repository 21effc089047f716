"""Changing a training image and its objects together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite, log1p, radians

import numpy as np
import numpy.typing as npt

from lmmrotate.data.records import ImageRecord
from lmmrotate.data.tile_objects import CUT
from lmmrotate.errors import ConfigError, DataError
from lmmrotate.geometry.quads import Quads, inside_fraction, is_convex, min_area_quads, quad_areas

Pixels = npt.NDArray[np.uint8]  # (H, W, 3), RGB

_KEPT_IOF = 0.7
"""An object stays if this share of it is still in the image: what tiling asks by default."""
_LEAST_AREA_PX = 1.0


@dataclass(frozen=True)
class Augmentation:
    """How training images are changed. Every default leaves them as they are."""

    flip: bool = False
    """Mirror left to right, and top to bottom, each for half of the images."""
    turn: bool = False
    """By 0, 90, 180 or 270 degrees, equally often."""
    rotation_deg: float = 0.0
    """Then by an angle drawn evenly from minus to plus this, about the centre."""
    scale: float = 0.0
    """And enlarged by a factor from 1 / (1 + scale) to 1 + scale, its logarithm drawn evenly."""
    colour: float = 0.0
    """Share of the images that are given other light, colours, sharpness, noise, compression."""

    def __post_init__(self) -> None:
        """Raises ConfigError, naming the option, for a number out of range."""
        for name, most in (("rotation_deg", 180), ("scale", 4), ("colour", 1)):
            value = getattr(self, name)
            if not (isfinite(value) and 0 <= value <= most):
                raise ConfigError(f"augment_{name} must be from 0 to {most}, got {value}")

    @property
    def changes_anything(self) -> bool:
        return self != Augmentation()


def augmented(
    pixels: Pixels, record: ImageRecord, augmentation: Augmentation, rng: np.random.Generator
) -> tuple[Pixels, ImageRecord]:
    """A changed copy of an image and of its record; what is drawn depends on ``rng`` alone.

    An augmentation that changes nothing returns the two as they are and draws nothing.

    Flips and quarter turns lose nothing. Free rotation and scaling keep the image's size, fill what was
    outside with its mean colour, and drop objects of which less than 70 % (IoF) or less than 1 px² is left
    in the image; quads of others may reach beyond its edge and then have difficulty 2, as those of
    tiles. Corners keep their winding: after a flip front left and front right, rear right and rear left
    change names.

    Args:
        pixels: (H, W, 3) uint8, RGB.
        record: of that image.

    Raises:
        DataError: if the record states another size.
    """
    if (pixels.shape[1], pixels.shape[0]) != record.wh:
        raise DataError(
            f"{record.image}: is {pixels.shape[1]} x {pixels.shape[0]} px, its record says "
            f"{record.width} x {record.height}"
        )
    if not augmentation.changes_anything:
        return pixels, record
    mirrored, upended = rng.random(2) < 0.5
    quarters = int(rng.integers(4))
    angle_rad, zoom = rng.uniform(-1, 1, 2) * (radians(augmentation.rotation_deg), log1p(augmentation.scale))
    coloured = rng.random() < augmentation.colour
    quads = record.quads
    if augmentation.flip and mirrored:
        pixels, quads = pixels[:, ::-1], _renamed(quads * (-1, 1) + (pixels.shape[1], 0))
    if augmentation.flip and upended:
        pixels, quads = pixels[::-1], _renamed(quads * (1, -1) + (0, pixels.shape[0]))
    for _ in range(quarters if augmentation.turn else 0):
        pixels, quads = np.rot90(pixels), quads[..., ::-1] * (1, -1) + (0, pixels.shape[1])
    height, width = pixels.shape[:2]
    changed = replace(record, width=width, height=height, quads=quads)
    if angle_rad or zoom:
        pixels, changed = _warped(
            np.ascontiguousarray(pixels), changed, float(angle_rad), float(np.exp(zoom))
        )
    if changed.quads is not record.quads:
        changed = replace(changed, scene=None)  # it is no longer a piece of its scene
    if coloured:
        from lmmrotate.data.photometric import photometric

        pixels = photometric(np.ascontiguousarray(pixels), rng)
    return np.ascontiguousarray(pixels), changed


def _renamed(quads: Quads) -> Quads:
    return np.ascontiguousarray(quads[:, [1, 0, 3, 2]])


def _warped(
    pixels: Pixels, record: ImageRecord, angle_rad: float, factor: float
) -> tuple[Pixels, ImageRecord]:
    """Turned (positive: x towards y) and enlarged about the centre."""
    import cv2  # here, because the options of a command are read without it

    width, height = record.wh
    centre = np.asarray([width / 2, height / 2])
    cosine, sine = factor * np.cos(angle_rad), factor * np.sin(angle_rad)
    linear = np.asarray([[cosine, -sine], [sine, cosine]])
    quads = (record.quads - centre) @ linear.T + centre
    # Our pixel (0, 0) covers [0, 1] x [0, 1]; OpenCV's has its middle at 0.
    shift = centre - linear @ centre
    matrix = np.column_stack([linear, shift + linear @ (0.5, 0.5) - 0.5])
    if factor < 1:  # what is too fine for the smaller picture would come out as noise
        sigma = 0.5 * float(np.sqrt(factor**-2 - 1))
        pixels = np.asarray(cv2.GaussianBlur(pixels, (0, 0), max(sigma, 0.1)), dtype=np.uint8)
    turned = cv2.warpAffine(
        pixels,
        matrix,
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=tuple(float(value) for value in pixels.mean(axis=(0, 1))),
    )
    # As tiling does: what is not convex, a crossed outline for one, counts as the rectangle around it.
    convex = np.where(is_convex(quads)[:, None, None], quads, min_area_quads(quads))
    left = inside_fraction(convex, record.wh)
    kept = (left >= _KEPT_IOF) & (quad_areas(convex) * left >= _LEAST_AREA_PX)
    difficult = tuple(CUT if share < 1 else old for share, old in zip(left, record.difficult, strict=True))
    changed = replace(record, quads=quads, difficult=difficult).select(kept)
    return np.asarray(turned, dtype=np.uint8), changed
