"""The table of object kinds: class, real size, shape and colours of each."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from lmmrotate.data.synthetic import grounds, shapes
from lmmrotate.data.synthetic.canvas import Colour, Frame, Points
from lmmrotate.data.synthetic.dice import Dice
from lmmrotate.data.synthetic.grounds import Draw

Colours = tuple[Colour, ...]


@dataclass(frozen=True)
class Kind:
    """One sort of object."""

    name: str
    label: str
    """The class it is annotated as."""
    length_m: tuple[float, float]
    aspect: tuple[float, float]
    """Width divided by length."""
    draw: Draw
    colours: Colours = ((200, 200, 200),)
    height_m: float = 0.0
    """0: painted on the ground, under all shadows."""
    water: bool = False
    round: bool = False
    """Annotated by the axis-aligned square around it, as its direction cannot be seen."""
    outline: npt.NDArray[np.float64] = field(default_factory=lambda: shapes.BOX_OUTLINE)
    """(N, 2) unit coordinates: what casts the shadow."""

    def size(self, rng: Dice) -> tuple[float, float]:
        """A length and a width in metres."""
        length = rng.uniform(*self.length_m)
        return length, length * rng.uniform(*self.aspect)

    def outline_px(self, frame: Frame, length_m: float, width_m: float) -> Points:
        return frame.stretched(self.outline, length_m, width_m)

    @property
    def shadow_from_foot(self) -> bool:
        """Planes stand on thin legs, and low things cover the foot of their own shadow."""
        return self.height_m >= 3.0 and self.label not in ("plane", "helicopter")


_CARS: Colours = (
    (226, 226, 224), (206, 208, 208), (168, 170, 172), (128, 130, 134), (60, 62, 66), (44, 45, 50),
    (146, 44, 40), (52, 70, 112), (112, 102, 88), (230, 230, 228),
)  # fmt: skip
_WHITES: Colours = ((232, 232, 230), (222, 224, 226), (214, 214, 210))
_GREYS: Colours = ((150, 154, 158), (128, 134, 140), (168, 172, 174))
_VANS: Colours = (*_WHITES, (120, 122, 126), (60, 76, 110))
_LORRIES: Colours = (*_WHITES, (150, 60, 50), (70, 90, 130), (196, 178, 120), (170, 170, 172))
_BUSES: Colours = (*_WHITES, (204, 168, 60), (150, 60, 52), (88, 120, 92))
_HELICOPTERS: Colours = ((220, 220, 216), (92, 98, 78), (160, 60, 48), (70, 84, 118))
_BOATS: Colours = (*_WHITES, *_WHITES, (206, 200, 186), (70, 84, 112))
_SHIPS: Colours = ((132, 76, 62), (92, 108, 104), (108, 110, 116), (86, 96, 116), (160, 154, 142))
_TANKS: Colours = ((218, 218, 212), (236, 236, 232), (186, 182, 170), (160, 150, 136))
_PIERS: Colours = ((160, 148, 128), (176, 170, 160), (140, 98, 76))
_DECKS: Colours = ((150, 148, 142), (132, 132, 130))
_TENNIS: Colours = ((70, 104, 78), (64, 88, 126), (146, 84, 62), (80, 92, 88))
_BASKETBALL: Colours = ((130, 130, 130), (150, 92, 70), (78, 108, 88), (164, 136, 96))
_TRACKS: Colours = ((164, 84, 66), (150, 78, 64), (116, 104, 100))
_POOLS: Colours = ((84, 176, 196), (104, 190, 204), (64, 152, 180))

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("car", "small-vehicle", (4.0, 5.0), (0.39, 0.44), shapes.CAR, _CARS, 1.5),
        Kind("pickup", "small-vehicle", (5.0, 5.8), (0.36, 0.4), shapes.PICKUP, _CARS, 1.8),
        Kind("van", "small-vehicle", (5.0, 6.0), (0.36, 0.41), shapes.VAN, _VANS, 2.2),
        Kind("truck", "large-vehicle", (8.0, 12.0), (0.23, 0.3), shapes.TRUCK, _LORRIES, 3.5),
        Kind("semi", "large-vehicle", (14.0, 18.0), (0.15, 0.18), shapes.TRUCK, _LORRIES, 4.0),
        Kind("bus", "large-vehicle", (10.5, 13.0), (0.2, 0.24), shapes.BUS, _BUSES, 3.2),
        Kind(
            "jet", "plane", (28.0, 46.0), (0.86, 1.0), shapes.JET, _WHITES, 4.5, outline=shapes.PLANE_OUTLINE
        ),
        Kind(
            "airliner",
            "plane",
            (50.0, 68.0),
            (0.86, 0.95),
            shapes.JET,
            _WHITES,
            6.0,
            outline=shapes.PLANE_OUTLINE,
        ),
        Kind(
            "business-jet",
            "plane",
            (14.0, 22.0),
            (0.9, 1.04),
            shapes.JET,
            _WHITES,
            3.0,
            outline=shapes.PLANE_OUTLINE,
        ),
        Kind(
            "fighter",
            "plane",
            (15.0, 21.0),
            (0.62, 0.72),
            shapes.FIGHTER,
            _GREYS,
            3.0,
            outline=shapes.FIGHTER_OUTLINE,
        ),
        Kind(
            "light-plane",
            "plane",
            (7.5, 11.0),
            (1.2, 1.35),
            shapes.LIGHT_PLANE,
            _VANS,
            2.0,
            outline=shapes.LIGHT_PLANE_OUTLINE,
        ),
        Kind(
            "helicopter",
            "helicopter",
            (12.0, 18.0),
            (0.56, 0.66),
            shapes.HELICOPTER,
            _HELICOPTERS,
            3.0,
            outline=shapes.ROTOR_OUTLINE,
        ),
        Kind(
            "motorboat",
            "ship",
            (6.0, 13.0),
            (0.29, 0.36),
            shapes.MOTORBOAT,
            _BOATS,
            1.6,
            True,
            outline=shapes.HULL_OUTLINE,
        ),
        Kind(
            "sailboat",
            "ship",
            (9.0, 16.0),
            (0.27, 0.33),
            shapes.SAILBOAT,
            _BOATS,
            1.8,
            True,
            outline=shapes.HULL_OUTLINE,
        ),
        Kind(
            "bulker",
            "ship",
            (70.0, 150.0),
            (0.14, 0.17),
            shapes.BULKER,
            _SHIPS,
            9.0,
            True,
            outline=shapes.SHIP_OUTLINE,
        ),
        Kind(
            "tanker",
            "ship",
            (50.0, 130.0),
            (0.15, 0.18),
            shapes.TANKER,
            _SHIPS,
            8.0,
            True,
            outline=shapes.SHIP_OUTLINE,
        ),
        Kind(
            "container-ship",
            "ship",
            (90.0, 180.0),
            (0.14, 0.16),
            shapes.draw_container_ship,
            _SHIPS,
            12.0,
            True,
            outline=shapes.SHIP_OUTLINE,
        ),
        Kind(
            "warship",
            "ship",
            (70.0, 150.0),
            (0.11, 0.135),
            shapes.WARSHIP,
            _GREYS,
            8.0,
            True,
            outline=shapes.WARSHIP_OUTLINE,
        ),
        Kind(
            "ferry",
            "ship",
            (24.0, 60.0),
            (0.2, 0.26),
            shapes.FERRY,
            _WHITES,
            6.0,
            True,
            outline=shapes.SHIP_OUTLINE,
        ),
        Kind(
            "tank",
            "storage-tank",
            (9.0, 42.0),
            (1.0, 1.0),
            grounds.draw_tank,
            _TANKS,
            10.0,
            round=True,
            outline=shapes.CIRCLE,
        ),
        Kind("pier", "harbor", (30.0, 120.0), (0.05, 0.12), grounds.draw_pier, _PIERS, 1.4, True),
        Kind("bridge", "bridge", (24.0, 120.0), (0.12, 0.4), grounds.draw_bridge, _DECKS, 5.0, True),
        Kind("tennis", "tennis-court", (23.77, 23.77), (0.4616, 0.4616), grounds.draw_tennis, _TENNIS),
        Kind(
            "basketball",
            "basketball-court",
            (26.0, 28.7),
            (0.52, 0.536),
            grounds.draw_basketball,
            _BASKETBALL,
        ),
        Kind("soccer", "soccer-ball-field", (60.0, 108.0), (0.62, 0.7), grounds.draw_soccer),
        Kind("track", "ground-track-field", (118.0, 178.0), (0.5, 0.56), grounds.draw_track, _TRACKS),
        Kind("baseball", "baseball-diamond", (40.0, 100.0), (1.0, 1.0), grounds.draw_baseball),
        Kind("roundabout", "roundabout", (26.0, 60.0), (1.0, 1.0), grounds.draw_roundabout, round=True),
        Kind("pool", "swimming-pool", (6.0, 12.0), (0.42, 0.6), grounds.draw_pool, _POOLS),
        Kind("big-pool", "swimming-pool", (25.0, 50.0), (0.4, 0.5), grounds.draw_lanes, _POOLS),
    )
}
"""Every kind by name. Sizes are those of the real things."""
