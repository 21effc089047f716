"""All themes: what they need, and how often each density picks them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from lmmrotate.data.synthetic import aviation, land, town, water
from lmmrotate.data.synthetic.plots import Plot
from lmmrotate.data.synthetic.world import World


@dataclass(frozen=True)
class Theme:
    """One way to furnish a plot."""

    name: str
    build: Callable[[World, Plot, str], None]
    least_m: float
    """Shorter side of the smallest plot that it makes sense on."""
    sparse: float
    mixed: float
    dense: float
    classes: frozenset[str] = field(default_factory=frozenset)
    """At least one of these must be wanted; empty: any."""

    afloat: bool = False
    """Needs the sea; on a large scene it stands on the water front."""

    @property
    def weights(self) -> dict[str, float]:
        """How often each density picks it."""
        return {"sparse": self.sparse, "mixed": self.mixed, "dense": self.dense}


_VEHICLES = frozenset({"small-vehicle", "large-vehicle"})
_SPORTS = frozenset(
    {"tennis-court", "basketball-court", "soccer-ball-field", "ground-track-field", "baseball-diamond"}
)

THEMES: tuple[Theme, ...] = (
    #     name          build            least sparse mixed dense classes
    Theme("farmland", land.farmland, 0, 0.0, 1.0, 0.0),
    Theme("forest", land.forest, 0, 0.0, 0.6, 0.0),
    Theme("scatter", land.scatter, 0, 7.0, 1.0, 0.0),
    Theme("sea", water.sea, 0, 3.0, 1.0, 0.0, frozenset({"ship", "harbor"}), True),
    Theme("highway", land.highway, 15, 0.0, 0.8, 0.6, _VEHICLES),
    Theme("roundabout", land.roundabout, 60, 0.0, 0.8, 0.3, frozenset({"roundabout"})),
    Theme("sports", land.sports, 45, 0.0, 2.6, 1.0, _SPORTS),
    Theme("residential", town.residential, 15, 0.0, 1.4, 1.0, _VEHICLES | {"swimming-pool"}),
    Theme("car-park", town.car_park, 15, 0.0, 1.3, 3.0, frozenset({"small-vehicle"})),
    Theme("depot", town.depot, 25, 0.0, 0.9, 1.6, frozenset({"large-vehicle"})),
    Theme("airfield", aviation.airfield, 40, 0.0, 1.5, 1.0, frozenset({"plane"})),
    Theme("heliport", aviation.heliport, 18, 0.0, 0.7, 0.4, frozenset({"helicopter"})),
    Theme("tank-farm", town.tank_farm, 18, 0.0, 1.0, 1.2, frozenset({"storage-tank"})),
    Theme("marina", water.marina, 18, 0.0, 1.3, 2.4, frozenset({"ship", "harbor"}), True),
    Theme("port", water.port, 40, 0.0, 0.9, 0.8, frozenset({"ship"}), True),
    Theme("river", water.river, 30, 0.0, 1.0, 0.2, frozenset({"bridge"})),
)

BY_NAME = {theme.name: theme for theme in THEMES}
