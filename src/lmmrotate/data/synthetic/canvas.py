"""Drawing in metres: frames, polygons, tall things that cast shadows, and the camera's faults.

The picture is drawn at twice its size and reduced at the end, which smooths every edge. Coordinates are
pixels of the final image throughout: (0, 0) is the top-left corner of the top-left pixel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from lmmrotate.data.synthetic.covers import COVERS
from lmmrotate.data.synthetic.textures import Image, cover_texture, levels, noise

Points = npt.NDArray[np.float64]  # (N, 2)
Colour = tuple[float, float, float]  # RGB, 0 to 255

SUPERSAMPLE = 2
_SHIFT = 4  # fractional bits of the coordinates given to OpenCV


@dataclass(frozen=True)
class Frame:
    """A place, a direction and a scale: local (u along, v to the right of it) in metres to image pixels."""

    x_px: float
    y_px: float
    angle_rad: float
    """From the x axis, clockwise on screen."""
    px_per_m: float

    def points(self, uv_m: npt.ArrayLike) -> Points:
        """Image positions (N, 2) in pixels of local positions (N, 2) in metres."""
        cos, sin = math.cos(self.angle_rad) * self.px_per_m, math.sin(self.angle_rad) * self.px_per_m
        turn = np.array([[cos, sin], [-sin, cos]])
        points: Points = np.asarray(uv_m, dtype=np.float64) @ turn + (self.x_px, self.y_px)
        return points

    def stretched(self, unit_points: Points, length_m: float, width_m: float) -> Points:
        """Image positions (N, 2) of points in units of a length (u) and a width (v)."""
        cos, sin = math.cos(self.angle_rad) * self.px_per_m, math.sin(self.angle_rad) * self.px_per_m
        matrix = np.array([[cos * length_m, sin * length_m], [-sin * width_m, cos * width_m]])
        points: Points = unit_points @ matrix + (self.x_px, self.y_px)
        return points

    def at(self, u_m: float, v_m: float, turn_rad: float = 0.0) -> Frame:
        """The frame at a local position, turned."""
        cos, sin = math.cos(self.angle_rad) * self.px_per_m, math.sin(self.angle_rad) * self.px_per_m
        x, y = self.x_px + u_m * cos - v_m * sin, self.y_px + u_m * sin + v_m * cos
        return Frame(x, y, self.angle_rad + turn_rad, self.px_per_m)

    def box(self, length_m: float, width_m: float) -> Points:
        """Corners (4, 2) in pixels: front left, front right, rear right, rear left; clockwise on screen."""
        u, v = length_m / 2 * self.px_per_m, width_m / 2 * self.px_per_m
        cos, sin = math.cos(self.angle_rad), math.sin(self.angle_rad)
        x, y, ux, uy, vx, vy = self.x_px, self.y_px, u * cos, u * sin, -v * sin, v * cos
        return np.array(
            [
                (x + ux - vx, y + uy - vy),
                (x + ux + vx, y + uy + vy),
                (x - ux + vx, y - uy + vy),
                (x - ux - vx, y - uy - vy),
            ]
        )


@dataclass(frozen=True)
class Sun:
    """Where shadows fall: direction on screen, and their length for each metre of height."""

    direction_rad: float
    length_per_m: float
    strength: float

    def offset_px(self, height_m: float, px_per_m: float) -> Points:
        """(2,): from the foot of a thing to the tip of its shadow."""
        length = height_m * self.length_per_m * px_per_m
        return np.array([math.cos(self.direction_rad), math.sin(self.direction_rad)]) * length


class Canvas:
    """An RGB picture being drawn. Ground is painted at once; things on it wait for ``develop``."""

    def __init__(
        self, width_px: int, height_px: int, gsd_m: float, sun: Sun, rng: np.random.Generator
    ) -> None:
        self.width_px, self.height_px, self.gsd_m, self.sun, self.rng = width_px, height_px, gsd_m, sun, rng
        # Zeros are not written to memory before they are touched: a blank canvas takes none.
        self.pixels: Image = np.zeros((height_px * SUPERSAMPLE, width_px * SUPERSAMPLE, 3), dtype=np.uint8)
        self._shadows: Image = np.zeros((height_px, width_px), dtype=np.uint8)
        self._shared: dict[str, Image] = {}
        self._flat: list[Callable[[], None]] = []
        self._tall: list[tuple[float, int, Callable[[], None]]] = []

    def frame(self, x_px: float, y_px: float, angle_rad: float = 0.0) -> Frame:
        return Frame(x_px, y_px, angle_rad, 1 / self.gsd_m)

    def polygon(self, points_px: Points, colour: Colour) -> None:
        """Fill a polygon (N, 2), convex or not, at once."""
        cv2.fillPoly(self.pixels, [_fixed(points_px)], colour, cv2.LINE_8, _SHIFT)

    def convex(self, points_px: Points, ends: Sequence[tuple[int, int, Colour]]) -> None:
        """Fill several convex polygons: rows ``start`` to ``stop`` of ``points_px`` (N, 2) for each."""
        fixed = _fixed(points_px)
        for start, stop, colour in ends:
            cv2.fillConvexPoly(self.pixels, fixed[start:stop], colour, cv2.LINE_8, _SHIFT)

    def lines(self, points_px: Points, colour: Colour, width_m: float, closed: bool = False) -> None:
        """A polyline (N, 2), or several (M, N, 2); never thinner than half a pixel."""
        thickness = max(1, round(width_m / self.gsd_m * SUPERSAMPLE))
        fixed = _fixed(points_px)
        paths = [fixed] if fixed.ndim == 2 else list(fixed)
        cv2.polylines(self.pixels, paths, closed, colour, thickness, cv2.LINE_AA, _SHIFT)

    def disc(self, frame: Frame, radius_m: float, colour: Colour, width_m: float | None = None) -> None:
        """A filled circle around the frame, or a ring of this line width."""
        (centre,) = _fixed(np.array([[frame.x_px, frame.y_px]]))
        radius = round(max(radius_m * frame.px_per_m * SUPERSAMPLE - 0.5, 0) * (1 << _SHIFT))
        thickness = -1 if width_m is None else max(1, round(width_m / self.gsd_m * SUPERSAMPLE))
        cv2.circle(self.pixels, centre.tolist(), radius, colour, thickness, cv2.LINE_AA, _SHIFT)

    def cover(self, name: str, points_px: Points | None = None, angle_rad: float = 0.0) -> None:
        """Paint land cover ``name`` (of ``COVERS``) over a polygon (N, 2), or over everything."""
        s = SUPERSAMPLE
        if points_px is None:
            points_px = np.array(
                [(-9, -9), (self.width_px + 9, -9), (self.width_px + 9, self.height_px + 9), (-9, 9999)]
            )
            left, top, right, bottom = 0, 0, self.width_px, self.height_px
        else:
            left, top = np.maximum(np.floor(points_px.min(axis=0)).astype(int), 0).tolist()
            right, bottom = np.ceil(points_px.max(axis=0)).astype(int).tolist()
            right, bottom = min(right, self.width_px), min(bottom, self.height_px)
        if right <= left or bottom <= top:
            return
        if COVERS[name].shared:
            if name not in self._shared:
                self._shared[name] = self._texture(name, (self.height_px, self.width_px), 0.0)
            fine = self._shared[name][top * s : bottom * s, left * s : right * s]
        else:
            fine = self._texture(name, (bottom - top, right - left), angle_rad)
        target = self.pixels[top * s : bottom * s, left * s : right * s]
        mask = np.zeros(target.shape[:2], dtype=np.uint8)
        cv2.fillPoly(mask, [_fixed(points_px - (left, top))], 255, cv2.LINE_8, _SHIFT)
        cv2.copyTo(fine, mask, target)

    def _texture(self, name: str, shape: tuple[int, int], angle_rad: float) -> Image:
        """Land cover for (H, W) pixels of the picture, in the size of the drawing."""
        to_sun = (-math.cos(self.sun.direction_rad), -math.sin(self.sun.direction_rad))
        texture = cover_texture(COVERS[name], shape, self.gsd_m, angle_rad, to_sun, self.rng)
        # Whole pixels: reducing the drawing gives them back as they were.
        size = (shape[1] * SUPERSAMPLE, shape[0] * SUPERSAMPLE)
        return np.asarray(cv2.resize(texture, size, interpolation=cv2.INTER_NEAREST), dtype=np.uint8)

    def tint(self, points_px: Points, factor: float = 1.0, lift: int = 0) -> None:
        """Make the ground within a polygon (N, 2) darker or brighter, by a factor or by grey levels."""
        s = SUPERSAMPLE
        left, top = np.maximum(points_px.min(axis=0) * s, 0).astype(int).tolist()
        right, bottom = np.ceil(points_px.max(axis=0) * s).astype(int).tolist()
        target = self.pixels[top:bottom, left:right] if right > left and bottom > top else self.pixels[:0]
        if target.size:
            mask = np.zeros(target.shape[:2], dtype=np.uint8)
            cv2.fillPoly(mask, [_fixed(points_px - np.array([left, top]) / s)], 255, cv2.LINE_8, _SHIFT)
            cv2.copyTo(cv2.convertScaleAbs(target, alpha=factor, beta=lift), mask, target)

    def lay(self, draw: Callable[[], None]) -> None:
        """Let a flat thing lie on the ground: drawn when all ground is painted, under the shadows."""
        self._flat.append(draw)

    def raise_up(
        self, outline_px: Points, height_m: float, draw: Callable[[], None], from_foot: bool = True
    ) -> None:
        """Let a thing stand on the ground: its shadow now, itself (``draw``) when all shadows are known.

        The shadow is the moved outline (N, 2); with ``from_foot`` (convex outlines only) it reaches from
        the thing's foot.
        """
        tip = outline_px + self.sun.offset_px(height_m, 1 / self.gsd_m)
        if from_foot:
            swept = np.concatenate([outline_px, tip]).astype(np.float32)
            tip = np.asarray(cv2.convexHull(swept)[:, 0], dtype=np.float64)
        cv2.fillPoly(self._shadows, [_fixed(tip, 1)], 255, cv2.LINE_AA, _SHIFT)
        self._tall.append((height_m, len(self._tall), draw))

    def crowns(
        self, centres_px: Points, radii_px: npt.NDArray[np.float64], colours: Sequence[Colour]
    ) -> None:
        """Trees: crowns of a few lit lumps around ``centres_px`` (N, 2), with their shadows."""
        height_px = 1.1 * radii_px
        tips = centres_px + height_px[:, None] * self.sun.offset_px(1.0, 1.0)
        feet, tops = _fixed(centres_px, 1).tolist(), _fixed(tips, 1).tolist()
        for foot, top, radius in zip(feet, tops, radii_px.tolist(), strict=True):
            cv2.line(self._shadows, foot, top, 255, max(1, round(1.5 * radius)), cv2.LINE_AA, _SHIFT)
        light = -0.22 * self.sun.offset_px(1.0, 1.0) / max(self.sun.length_per_m, 1e-6)
        lumps = self.rng.uniform(-0.6, 0.6, size=(len(centres_px), 5, 2)) + light
        lumps[:, 0] = 0
        sizes = self.rng.uniform(0.3, 0.5, size=lumps.shape[:2])
        sizes[:, 0] = 0.8
        spots = _fixed(centres_px[:, None] + lumps * radii_px[:, None, None]).tolist()
        spans = (sizes * radii_px[:, None] * (SUPERSAMPLE << _SHIFT)).astype(int).tolist()
        brightness = (0.78, 0.92, 1.0, 1.1, 1.22)

        def draw() -> None:
            for crown, span, (r, g, b) in zip(spots, spans, colours, strict=True):
                for spot, radius, k in zip(crown, span, brightness, strict=True):
                    cv2.circle(self.pixels, spot, radius, (r * k, g * k, b * k), -1, cv2.LINE_AA, _SHIFT)

        self._tall.append((float(height_px.mean()) * self.gsd_m, len(self._tall), draw))

    def _cast_shadows(self) -> None:
        """Draw the flat things, darken the ground and draw the tall things, low ones first."""
        for lie_down in self._flat:
            lie_down()
        soft = cv2.GaussianBlur(self._shadows, (0, 0), max(0.35 / self.gsd_m, 0.4))
        # The sky lights shadows, so they are a little blue.
        light = cv2.merge([cv2.LUT(soft, table) for table in _shadow_tables(self.sun.strength)])
        size = (self.pixels.shape[1], self.pixels.shape[0])
        light = cv2.resize(light, size, interpolation=cv2.INTER_NEAREST)
        cv2.multiply(self.pixels, light, self.pixels, 1 / 128)
        for _, _, draw in sorted(self._tall, key=lambda item: item[:2]):
            draw()
        self._flat.clear()
        self._tall.clear()

    def develop(self, camera: Camera) -> Image:
        """The finished picture, (H, W, 3) RGB: reduced, with wear, haze, cast, blur and sensor noise.

        Weights are whole numbers of 1/128, so that the sums are exact in any order of computing.
        """
        self._cast_shadows()
        shape = (self.height_px, self.width_px)
        image = cv2.resize(self.pixels, shape[::-1], interpolation=cv2.INTER_AREA)
        # Wear and dirt: nothing in a real picture is flat.
        worn = levels(noise(self.rng, shape, 7 / self.gsd_m), 4.5) + levels(noise(self.rng, shape, 2.5), 2.5)
        factor = (worn + 128).astype(np.uint8)
        image = cv2.multiply(image, cv2.merge([factor] * 3), scale=1 / 128)
        grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        colour = round(128 * camera.saturation)
        image = cv2.addWeighted(image, colour / 128, grey, 1 - colour / 128, 0)
        image = cv2.GaussianBlur(cv2.LUT(image, camera.table()), (0, 0), camera.blur_px)
        rough = np.frombuffer(self.rng.bytes(3 * shape[0] * shape[1]), dtype=np.uint8).reshape(*shape, 3)
        # Two tables, for what noise adds and what it takes: bytes hold no negative numbers.
        more, less = camera.noise_tables()
        return np.asarray(cv2.subtract(cv2.add(image, cv2.LUT(rough, more)), cv2.LUT(rough, less)))


class BlankCanvas(Canvas):
    """A canvas that draws nothing, to learn in a fraction of the time where things would stand."""

    def polygon(self, *_: Any, **__: Any) -> None: ...
    def convex(self, *_: Any, **__: Any) -> None: ...
    def lines(self, *_: Any, **__: Any) -> None: ...
    def disc(self, *_: Any, **__: Any) -> None: ...
    def tint(self, *_: Any, **__: Any) -> None: ...
    def cover(self, *_: Any, **__: Any) -> None: ...
    def lay(self, *_: Any, **__: Any) -> None: ...
    def raise_up(self, *_: Any, **__: Any) -> None: ...
    def crowns(self, *_: Any, **__: Any) -> None: ...


@dataclass(frozen=True)
class Camera:
    """What the way through air and lens does to the colours."""

    cast: Colour
    """Factor for each channel."""
    haze: Colour
    """The colour that takes the place of lost contrast."""
    contrast: float
    saturation: float
    blur_px: float
    noise: float
    """Standard deviation in grey levels."""

    def table(self) -> Image:
        """What becomes of each value of each channel, (256, 1, 3)."""
        values = np.arange(256)[:, None] * self.contrast * np.array(self.cast)
        lost = (1 - self.contrast) * np.array(self.haze)
        table: Image = np.clip(np.rint(values + lost), 0, 255).astype(np.uint8)[:, None]
        return table

    def noise_tables(self) -> tuple[Image, Image]:
        """Noise above and below 0 for each random byte, (256,): the quantiles of a normal distribution."""
        normal = NormalDist(0, self.noise)
        values = np.rint([normal.inv_cdf((byte + 0.5) / 256) for byte in range(256)])
        return np.maximum(values, 0).astype(np.uint8), np.maximum(-values, 0).astype(np.uint8)


def _shadow_tables(strength: float) -> list[Image]:
    """Light (128 is all) for each depth of shadow, (256,), of red, green and blue."""
    depth = np.linspace(0, strength, 256)
    return [np.rint(128 * (1 - share * depth)).astype(np.uint8) for share in (1.06, 1.0, 0.88)]


def _fixed(points_px: npt.NDArray[Any], supersample: int = SUPERSAMPLE) -> npt.NDArray[np.int32]:
    """OpenCV's fixed-point coordinates; it counts from pixel centres, we count from their corners."""
    fixed: npt.NDArray[np.int32] = np.rint(points_px * (supersample << _SHIFT) - (1 << _SHIFT) / 2).astype(
        np.int32
    )
    return fixed
