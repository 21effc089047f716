"""All themes: what they need, and how often each density picks them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from lmmrotate.data.synthetic import aviation, land, parks, town, water
from lmmrotate.data.synthetic.plots import Plot
from lmmrotate.data.synthetic.world import World

DENSITIES = ("sparse", "mixed", "dense")


@dataclass(frozen=True)
class Theme:
    """One way to furnish a plot."""

    name: str
    build: Callable[[World, Plot, str], None]
    least_m: float
    """Shorter side of the smallest plot that it makes sense on."""
    gsd_m: tuple[float, float]
    """Ground sample distances at which its objects are seen well, for scenes of this theme alone."""
    weights: tuple[float, float, float]
    """How often each density picks it: sparse, mixed, dense."""
    classes: frozenset[str] = field(default_factory=frozenset)
    """At least one of these must be wanted; empty: any."""
    afloat: bool = False
    """Needs the sea; on a large scene it stands on the water front."""
    spread: float = 1.0
    """How much more often it is picked for a plot of a large scene: towns have more houses than heliports."""


_VEHICLES = frozenset({"small-vehicle", "large-vehicle"})
_COURTS = frozenset({"tennis-court", "basketball-court"})
_TRACK = frozenset({"ground-track-field"})
_SOCCER = frozenset({"soccer-ball-field"})
_BASEBALL = frozenset({"baseball-diamond"})
_BOATS = frozenset({"ship", "harbor"})

THEMES: tuple[Theme, ...] = (
    #     name           build            least   gsd       sparse mixed dense  classes
    Theme("farmland", land.farmland, 0, (0.3, 1.0), (0.2, 0.7, 0.0), spread=4),
    Theme("forest", land.forest, 0, (0.3, 1.0), (0.2, 0.5, 0.0), spread=3),
    Theme("scatter", land.scatter, 0, (0.2, 1.0), (7.0, 0.8, 0.0)),
    Theme("sea", water.sea, 0, (0.3, 1.0), (3.0, 0.9, 0.0), _BOATS, True),
    Theme("highway", land.highway, 15, (0.15, 0.55), (0.2, 0.6, 0.6), _VEHICLES),
    Theme(
        "roundabout", land.roundabout, 60, (0.25, 0.7), (0.3, 1.2, 0.3), frozenset({"roundabout"}), spread=0.6
    ),
    Theme("athletics", parks.athletics, 130, (0.6, 1.0), (0.2, 1.3, 0.3), _TRACK, spread=0.5),
    Theme("soccer", parks.soccer, 70, (0.4, 0.9), (0.2, 1.1, 0.3), _SOCCER),
    Theme("baseball", parks.baseball, 60, (0.35, 0.8), (0.2, 1.0, 0.3), _BASEBALL),
    Theme("courts", parks.courts, 35, (0.15, 0.6), (0.3, 0.9, 0.6), _COURTS, spread=0.7),
    Theme(
        "residential",
        town.residential,
        15,
        (0.2, 0.6),
        (0.2, 1.1, 1.0),
        _VEHICLES | {"swimming-pool"},
        spread=6,
    ),
    Theme("resort", town.resort, 30, (0.15, 0.5), (0.2, 0.6, 0.4), frozenset({"swimming-pool"}), spread=0.5),
    Theme("campus", town.campus, 15, (0.2, 0.7), (0.3, 0.6, 0.0), spread=4),
    Theme(
        "car-park", town.car_park, 15, (0.15, 0.42), (0.0, 0.9, 2.6), frozenset({"small-vehicle"}), spread=1.5
    ),
    Theme("depot", town.depot, 25, (0.2, 0.5), (0.0, 0.9, 1.6), frozenset({"large-vehicle"})),
    Theme("airfield", aviation.airfield, 40, (0.3, 0.9), (0.3, 1.4, 1.0), frozenset({"plane"}), spread=0.5),
    Theme(
        "heliport",
        aviation.heliport,
        18,
        (0.15, 0.5),
        (0.2, 1.2, 0.4),
        frozenset({"helicopter"}),
        spread=0.25,
    ),
    Theme(
        "tank-farm", town.tank_farm, 18, (0.3, 0.9), (0.2, 1.0, 1.2), frozenset({"storage-tank"}), spread=0.5
    ),
    Theme("marina", water.marina, 18, (0.2, 0.55), (0.2, 1.1, 2.4), _BOATS, True),
    Theme("port", water.port, 40, (0.3, 0.9), (0.2, 0.9, 0.8), frozenset({"ship"}), True),
    Theme("river", water.river, 30, (0.3, 0.8), (0.3, 1.2, 0.2), frozenset({"bridge"}), spread=0.5),
)

BY_NAME = {theme.name: theme for theme in THEMES}
