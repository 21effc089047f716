"""A scene being furnished: which ground is taken, which objects stand, and the usual clutter."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lmmrotate.data.records import ImageRecord
from lmmrotate.data.synthetic.canvas import Canvas, Colour, Frame, Points
from lmmrotate.data.synthetic.dice import Dice
from lmmrotate.data.synthetic.grounds import CONTAINER_COLOURS, draw_dashes, shade
from lmmrotate.data.synthetic.objects import KINDS, Kind
from lmmrotate.data.synthetic.occupancy import Occupancy
from lmmrotate.geometry.quads import Quads, as_quads, inside_fraction

CUT = 2
"""Difficulty of an object of which less than ``WHOLE`` lies in the picture."""
WHOLE = 0.7

_ROOFS: tuple[Colour, ...] = (
    (150, 96, 76), (128, 84, 70), (112, 108, 104), (92, 90, 92), (138, 126, 112),
    (170, 164, 154), (104, 92, 84),
)  # fmt: skip
_HALLS: tuple[Colour, ...] = (
    (196, 196, 192), (170, 172, 172), (140, 146, 152), (214, 212, 206), (126, 136, 146), (164, 148, 132),
)  # fmt: skip
_LEAVES: tuple[Colour, ...] = ((52, 72, 44), (60, 80, 48), (70, 84, 52), (84, 82, 56), (46, 62, 42))


class World:
    """Canvas, random numbers, and the list of what stands where."""

    def __init__(self, canvas: Canvas, classes: Sequence[str], rng: Dice) -> None:
        self.canvas, self.rng = canvas, rng
        self.classes = frozenset(classes)
        self.labels: list[str] = []
        self._quads: list[Points] = []
        self.ground = Occupancy()

    @property
    def size_m(self) -> tuple[float, float]:
        return self.canvas.width_px * self.canvas.gsd_m, self.canvas.height_px * self.canvas.gsd_m

    def middle(self, angle_rad: float = 0.0) -> Frame:
        """The frame at the centre of the picture."""
        return self.canvas.frame(self.canvas.width_px / 2, self.canvas.height_px / 2, angle_rad)

    def somewhere(self, margin_px: float = 0.0, angle_rad: float | None = None) -> Frame:
        """A random place in the picture; random direction unless given."""
        x = self.rng.uniform(
            min(margin_px, self.canvas.width_px / 2),
            max(self.canvas.width_px - margin_px, self.canvas.width_px / 2),
        )
        y = self.rng.uniform(
            min(margin_px, self.canvas.height_px / 2),
            max(self.canvas.height_px - margin_px, self.canvas.height_px / 2),
        )
        return self.canvas.frame(x, y, self.rng.uniform(0, 2 * math.pi) if angle_rad is None else angle_rad)

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def pick(self, options: Sequence[Colour]) -> Colour:
        """One of the colours, a little brighter or darker."""
        return shade(self.rng.choice(options), self.rng.uniform(0.92, 1.08))

    def visible(self, frame: Frame) -> bool:
        """Whether the origin of the frame lies in the picture."""
        return 0 <= frame.x_px < self.canvas.width_px and 0 <= frame.y_px < self.canvas.height_px

    def place(
        self,
        name: str,
        frame: Frame,
        size_m: tuple[float, float] | None = None,
        margin_m: float = 0.3,
        colour: Colour | None = None,
    ) -> bool:
        """Put an object of kind ``name`` at a frame, if its class is wanted and there is room.

        Objects whose centre lies outside the picture are not drawn at all.
        """
        kind = KINDS[name]
        if kind.label not in self.classes or not self.visible(frame):
            return False
        length, width = size_m or kind.size(self.rng)
        room = frame if not kind.round else Frame(frame.x_px, frame.y_px, 0.0, frame.px_per_m)
        if not self.ground.free(room, length + 2 * margin_m, width + 2 * margin_m):
            return False
        quad = room.box(length, width)
        self.ground.reserve(room, length + margin_m, width + margin_m)
        self._quads.append(quad)
        self.labels.append(kind.label)
        self._draw(kind, frame, length, width, colour or self.pick(kind.colours))
        return True

    def _draw(self, kind: Kind, frame: Frame, length_m: float, width_m: float, colour: Colour) -> None:
        def draw() -> None:
            kind.draw(self.canvas, frame, length_m, width_m, colour)

        if kind.height_m == 0:
            self.canvas.lay(draw)
        else:
            outline = kind.outline_px(frame, length_m, width_m)
            self.canvas.raise_up(outline, kind.height_m, draw, from_foot=kind.shadow_from_foot)

    def record(self, image: str) -> ImageRecord:
        """Everything placed so far as annotations."""
        quads: Quads = as_quads(np.array(self._quads)) if self._quads else np.empty((0, 4, 2))
        size = self.canvas.width_px, self.canvas.height_px
        inside = np.ones(len(quads))
        beyond = (quads < 0).any(axis=(1, 2)) | (quads > size).any(axis=(1, 2))
        if beyond.any():
            inside[beyond] = inside_fraction(quads[beyond], size)
        difficult = tuple(CUT if share < WHOLE else 0 for share in inside.tolist())
        return ImageRecord(image, *size, quads, tuple(self.labels), difficult)

    # Clutter: things that are no objects.

    def wear(self, frame: Frame, length_m: float, width_m: float, count: int = 8) -> None:
        """Repaired patches, stains and wheel tracks on a rectangle of ground."""
        for _ in range(self.rng.integers(0, 2 * count)):
            spot = frame.at(*self.rng.spot(length_m, width_m), self.rng.choice((0.0, math.pi / 2)))
            long, wide = self.rng.gammavariate(2.0, 6.0), self.rng.gammavariate(2.0, 1.2)
            self.canvas.tint(spot.box(long, wide), self.rng.uniform(0.84, 1.1))

    def building(self, frame: Frame, length_m: float, width_m: float, hall: bool = False) -> bool:
        """A house with a ridge, or a flat hall with skylights; False if there is no room."""
        if not self.ground.free(frame, length_m, width_m):
            return False
        self.ground.reserve(frame, length_m, width_m)
        quad = frame.box(length_m, width_m)
        colour = self.pick(_HALLS if hall else _ROOFS)
        canvas, sun = self.canvas, self.canvas.sun.direction_rad
        lit = 1 - 0.16 * math.cos(frame.angle_rad + math.pi / 2 - sun)
        vents = [self.rng.spot(0.84 * length_m, 0.84 * width_m) for _ in range(self.rng.integers(2, 7))]

        def draw() -> None:
            if hall:
                canvas.polygon(quad, shade(colour, 0.8))
                canvas.polygon(frame.box(length_m - 0.9, width_m - 0.9), colour)
                ribs = np.arange(-length_m / 2 + 4, length_m / 2 - 2, 6.0).tolist()
                for u in ribs:
                    canvas.lines(
                        frame.points([(u, -width_m / 2), (u, width_m / 2)]), shade(colour, 0.94), 0.2
                    )
                for u, v in vents:
                    canvas.polygon(frame.at(u, v).box(1.8, 1.4), shade(colour, 0.66))
            else:
                ridge = (length_m / 2 - 0.35 * width_m) if length_m > width_m else 0.0
                u, v = length_m / 2, width_m / 2
                points = frame.points([(u, -v), (u, v), (-u, v), (-u, -v), (ridge, 0), (-ridge, 0)])
                fl, fr, rr, rl, a, b = points
                canvas.polygon(np.array([fr, a, b, rr]), shade(colour, lit))
                canvas.polygon(np.array([fl, a, b, rl]), shade(colour, 2 - lit))
                canvas.polygon(np.array([fl, fr, a]), shade(colour, 0.95))
                canvas.polygon(np.array([rl, rr, b]), shade(colour, 0.9))
                canvas.lines(np.array([a, b]), shade(colour, 1.2), 0.2)
                chimney = frame.at(0.25 * length_m, 0.12 * width_m)
                canvas.polygon(chimney.box(0.8, 0.8), shade(colour, 0.6))

        canvas.raise_up(quad, self.rng.uniform(7, 12) if hall else self.rng.uniform(4, 7), draw)
        return True

    def container(self, frame: Frame, length_m: float = 12.2) -> bool:
        """A freight container."""
        if not self.ground.free(frame, length_m, 2.5):
            return False
        self.ground.reserve(frame, length_m, 2.5)
        quad = frame.box(length_m, 2.5)
        colour = self.pick(CONTAINER_COLOURS)
        ribs = np.linspace(-0.45, 0.45, 5) * length_m

        def draw() -> None:
            self.canvas.polygon(quad, colour)
            for u in ribs.tolist():
                self.canvas.lines(frame.points([(u, -1.2), (u, 1.2)]), shade(colour, 0.88), 0.2)

        self.canvas.raise_up(quad, 2.6 * self.rng.integers(1, 4), draw)
        return True

    def road(self, frame: Frame, length_m: float, lanes: int, kerb: bool = True, dashes: bool = True) -> None:
        """A straight road along the frame; 3.4 m for each lane."""
        width = 3.4 * lanes + 1.0
        if kerb:
            self.canvas.cover("paving", frame.box(length_m, width + 4.0), frame.angle_rad)
        self.canvas.cover("road", frame.box(length_m, width), frame.angle_rad)
        if dashes and lanes > 1:
            draw_dashes(self.canvas, frame, length_m, max(1, lanes // 2))

    def traffic(self, frame: Frame, length_m: float, lanes: int, gap_m: float, heavy: float = 0.12) -> None:
        """Vehicles along a road, on the right-hand side of its middle."""
        for lane in range(lanes):
            v = (lane - (lanes - 1) / 2) * 3.4
            turn = 0.0 if v > 0 or lanes == 1 else math.pi
            u = -length_m / 2 + self.rng.exponential(gap_m)
            while u < length_m / 2:
                name = self.vehicle(heavy)
                size = KINDS[name].size(self.rng)
                spot = frame.at(
                    u + size[0] / 2, v + self.rng.normal(0, 0.15), turn + self.rng.normal(0, 0.015)
                )
                self.place(name, spot, size)
                u += size[0] + 2.0 + self.rng.exponential(gap_m)

    def vehicle(self, heavy: float = 0.12) -> str:
        """The name of some vehicle; ``heavy`` is the share of large ones."""
        if self.chance(heavy):
            return self.rng.choice(("truck", "truck", "semi", "bus"))
        return "van" if self.chance(0.15) else "car"

    def trees(
        self,
        frame: Frame,
        length_m: float,
        width_m: float,
        count: float,
        radius_m: tuple[float, float] = (1.8, 4.2),
    ) -> None:
        """About ``count`` trees where there is room in a rectangle."""
        canvas, n = self.canvas, int(self.rng.arrays.poisson(count))
        centres = frame.points(self.rng.arrays.uniform(-0.5, 0.5, size=(n, 2)) * (length_m, width_m))
        radii = self.rng.arrays.uniform(*radius_m, size=n) / canvas.gsd_m
        reach = radii[:, None] + 2
        size = (canvas.width_px, canvas.height_px)
        seen = np.flatnonzero(((centres > -reach) & (centres < size + reach)).all(axis=1))
        seen = seen[self.ground.free_discs(centres[seen], 0.9 * radii[seen])]
        if len(seen):
            canvas.crowns(centres[seen], radii[seen], [self.pick(_LEAVES) for _ in seen])
