"""A scene being furnished: which ground is taken, which objects stand, and the usual clutter."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from lmmrotate.data.records import ImageRecord
from lmmrotate.data.synthetic.buildings import draw_flat_roof, draw_hip_roof
from lmmrotate.data.synthetic.canvas import Canvas, Colour, Frame, Points
from lmmrotate.data.synthetic.dice import Dice
from lmmrotate.data.synthetic.grounds import CONTAINER_COLOURS, draw_dashes, shade
from lmmrotate.data.synthetic.objects import KINDS, Kind
from lmmrotate.data.synthetic.occupancy import Occupancy
from lmmrotate.geometry.quads import as_quads, inside_fraction

CUT = 2
"""Difficulty of an object that the picture's edge cuts, as in ``lmmrotate.data.tiling``."""
WHOLE = 0.7
"""Objects of which a smaller share lies in the picture are not drawn, so what is drawn is annotated."""
EASY_PX = 4.0
"""Where few objects are wanted, those with a longer shorter side come first."""

_ROOFS: tuple[Colour, ...] = (
    (150, 96, 76), (128, 84, 70), (112, 108, 104), (92, 90, 92), (138, 126, 112),
    (170, 164, 154), (104, 92, 84),
)  # fmt: skip
_HALLS: tuple[Colour, ...] = (
    (196, 196, 192), (170, 172, 172), (140, 146, 152), (214, 212, 206), (126, 136, 146), (164, 148, 132),
)  # fmt: skip
_LEAVES: tuple[Colour, ...] = (
    (48, 68, 40), (58, 78, 44), (70, 88, 50), (88, 88, 56), (42, 58, 40), (76, 84, 60), (102, 96, 66),
)  # fmt: skip


@dataclass(frozen=True)
class _Placed:
    """An object that has its place."""

    kind: Kind
    frame: Frame
    length_m: float
    width_m: float
    colour: Colour
    quad: Points
    under: Callable[[], None] | None


class World:
    """Canvas, random numbers, and the list of what stands where."""

    def __init__(self, canvas: Canvas, classes: Collection[str], rng: Dice) -> None:
        self.canvas, self.rng = canvas, rng
        self.classes = frozenset(classes)
        self.ground = Occupancy()
        self._objects: list[_Placed] = []

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

    def shown(self, frame: Frame, length_m: float) -> tuple[float, float]:
        """The part of a line along the frame that lies in the picture: from where to where, metres.

        The line reaches half its length to both sides; the second number is not above the first if
        nothing is seen of it.
        """
        low, high = -length_m / 2, length_m / 2
        for at, way, side in (
            (frame.x_px, math.cos(frame.angle_rad), self.canvas.width_px),
            (frame.y_px, math.sin(frame.angle_rad), self.canvas.height_px),
        ):
            if abs(way) < 1e-9:
                if not 0 <= at < side:
                    return 0.0, 0.0
                continue
            ends = sorted((-at / way / frame.px_per_m, (side - at) / way / frame.px_per_m))
            low, high = max(low, ends[0]), min(high, ends[1])
        return low, high

    def place(
        self,
        name: str,
        frame: Frame,
        size_m: tuple[float, float] | None = None,
        margin_m: float = 0.3,
        colour: Colour | None = None,
        under: Callable[[], None] | None = None,
    ) -> bool:
        """Put an object of kind ``name`` at a frame, if its class is wanted and there is room.

        It is drawn by ``finish``, after ``under``, which paints what belongs to it on the ground.
        """
        kind = KINDS[name]
        if kind.label not in self.classes or not self.visible(frame):
            return False
        length, width = size_m or kind.size(self.rng)
        room = frame if not kind.round else Frame(frame.x_px, frame.y_px, 0.0, frame.px_per_m)
        if not self.ground.free(room, length + 2 * margin_m, width + 2 * margin_m):
            return False
        quad = room.box(length, width)
        if self._leaves(quad) and inside_fraction(quad[None], self._size_px)[0] < WHOLE:
            return False
        self.ground.reserve(room, length + margin_m, width + margin_m)
        colour = colour or self.pick(kind.colours)
        self._objects.append(_Placed(kind, frame, length, width, colour, quad, under))
        return True

    @property
    def _size_px(self) -> tuple[int, int]:
        return self.canvas.width_px, self.canvas.height_px

    def _leaves(self, quad: Points) -> bool:
        """Whether a corner lies outside the picture."""
        return bool((quad < 0).any() or (quad > self._size_px).any())

    def finish(self, limit: int | None = None) -> None:
        """Draw the objects; no more than ``limit`` of them, classes in turn. The others are forgotten."""
        if limit is not None and len(self._objects) > limit:
            self._objects = self._lot(limit)
        for placed in self._objects:
            if placed.under:
                placed.under()
            self._draw(placed)

    def _lot(self, count: int) -> list[_Placed]:
        turns: dict[str, int] = {}
        keys = []
        for number, placed in enumerate(self._objects):
            small = min(placed.length_m, placed.width_m) < EASY_PX * self.canvas.gsd_m
            keys.append((small, self.rng.random(), number))
        drawn = []
        for small, _, number in sorted(keys):
            label = self._objects[number].kind.label
            turns[label] = turns.get(label, 0) + 1
            drawn.append((small, turns[label], number))
        return [self._objects[number] for number in sorted(n for _, _, n in sorted(drawn)[:count])]

    def _draw(self, placed: _Placed) -> None:
        kind, size = placed.kind, (placed.length_m, placed.width_m)

        def draw() -> None:
            kind.draw(self.canvas, placed.frame, *size, placed.colour)

        if kind.height_m == 0:
            self.canvas.lay(draw)
        else:
            outline = kind.outline_px(placed.frame, *size)
            self.canvas.raise_up(outline, kind.height_m, draw, from_foot=kind.shadow_from_foot)

    def record(self, image: str) -> ImageRecord:
        """The objects as annotations."""
        quads = [placed.quad for placed in self._objects]
        return ImageRecord(
            image,
            *self._size_px,
            as_quads(np.array(quads)),
            tuple(placed.kind.label for placed in self._objects),
            tuple(CUT if self._leaves(quad) else 0 for quad in quads),
        )

    # Clutter: things that are no objects.

    def wear(self, frame: Frame, length_m: float, width_m: float, count: int = 8) -> None:
        """Repaired patches, stains and wheel tracks on a rectangle of ground."""
        for _ in range(self.rng.integers(0, 2 * count)):
            spot = frame.at(*self.rng.spot(length_m, width_m), self.rng.choice((0.0, math.pi / 2)))
            long, wide = self.rng.spread(12.0), self.rng.spread(2.4)
            self.canvas.tint(spot.box(long, wide), self.rng.uniform(0.84, 1.1))

    def building(self, frame: Frame, length_m: float, width_m: float, hall: bool = False) -> bool:
        """A house with a ridge, perhaps with a wing, or a flat hall; False if there is no room."""
        if not self.ground.free(frame, length_m, width_m):
            return False
        self.ground.reserve(frame, length_m, width_m)
        canvas, rng, colour = self.canvas, self.rng, self.pick(_HALLS if hall else _ROOFS)
        if hall:
            spots = [rng.spot(0.84 * length_m, 0.84 * width_m) for _ in range(rng.integers(2, 7))]
            roof = partial(draw_flat_roof, canvas, frame, length_m, width_m, colour, spots)
            canvas.raise_up(frame.box(length_m, width_m), rng.uniform(7, 12), roof)
            return True
        height = rng.uniform(4, 7)
        roof = partial(draw_hip_roof, canvas, frame, length_m, width_m, colour)
        canvas.raise_up(frame.box(length_m, width_m), height, roof)
        if self.chance(0.4):
            side = rng.choice((-1, 1))
            # It starts under the ridge of the main roof and reaches out to one side.
            long, wide = 0.5 * width_m + rng.uniform(3, 5), rng.uniform(0.35, 0.5) * length_m
            v = side * long / 2
            wing = frame.at(rng.uniform(-0.25, 0.25) * length_m, v, math.pi / 2)
            outer = frame.at(0, side * (width_m / 2 + (long - width_m / 2) / 2 + 0.2))
            if self.ground.free(outer, length_m, long - width_m / 2):
                self.ground.reserve(outer, length_m, long - width_m / 2)
                roof = partial(draw_hip_roof, canvas, wing, long, wide, colour)
                canvas.raise_up(wing.box(long, wide), 0.99 * height, roof)
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
        return self.rng.choice(("car", "car", "car", "car", "car", "van", "pickup"))

    def trees(
        self,
        frame: Frame,
        length_m: float,
        width_m: float,
        count: float,
        radius_m: tuple[float, float] = (1.8, 4.2),
    ) -> None:
        """About ``count`` trees where there is room in a rectangle, half of them in clumps."""
        draw, n = self.rng.arrays, int(count + self.rng.random())
        spots = draw.uniform(-0.5, 0.5, size=(n, 2)) * (length_m, width_m)
        clumped = n // 2
        if clumped and width_m > 12:
            leaders = draw.integers(0, max(1, clumped // 5), size=clumped)
            spots[:clumped] = spots[leaders] + draw.uniform(-1, 1, size=(clumped, 2)) * draw.uniform(2, 9)
        self.crowns(frame.points(spots), radius_m)

    def crowns(self, centres_px: Points, radius_m: tuple[float, float] = (1.8, 4.2)) -> None:
        """Trees at those of the places (N, 2) that are free and seen; small ones are more frequent."""
        canvas = self.canvas
        low, high = radius_m
        sizes = self.rng.arrays.random((2, len(centres_px))).min(axis=0)
        radii = (low + (high - low) * sizes) / canvas.gsd_m
        reach = radii[:, None] + 2
        seen = ((centres_px > -reach) & (centres_px < self._size_px + reach)).all(axis=1).nonzero()[0]
        seen = seen[self.ground.free_discs(centres_px[seen], 0.9 * radii[seen])]
        if len(seen):
            leaves = self.rng.choice(_LEAVES), self.rng.choice(_LEAVES), self.rng.choice(_LEAVES)
            canvas.crowns(centres_px[seen], radii[seen], [self.pick(leaves) for _ in seen])
