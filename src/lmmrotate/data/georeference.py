"""Where the pixels of a raster lie on Earth, and how large things are there; needs the extra ``geo``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lmmrotate.geometry.quads import Quads, min_area_quads

Points = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float64]

WGS84 = "EPSG:4326"
_SEMI_MAJOR_M = 6_378_137.0
_ECCENTRICITY_SQUARED = 6.694379990141e-3  # of the ellipsoid of WGS 84


@dataclass(frozen=True)
class Georeference:
    """A coordinate reference system, and the affine map from pixels into it."""

    crs_wkt: str
    transform: tuple[float, ...]
    """a, b, c, d, e, f: the pixel coordinates (x, y), of which (0, 0) is the outer corner of the first pixel,
    lie at (a x + b y + c, d x + e y + f)."""

    @property
    def epsg(self) -> int | None:
        """The system's EPSG code, if it has one."""
        from rasterio.crs import CRS

        code = CRS.from_wkt(self.crs_wkt).to_epsg()
        return None if code is None else int(code)

    @property
    def is_on_earth(self) -> bool:
        """Whether the system is known to lie anywhere; a local one (of a building site, say) is not."""
        from rasterio.crs import CRS

        crs = CRS.from_wkt(self.crs_wkt)
        return bool(crs.is_geographic or crs.is_projected)

    def to_world(self, points: Points) -> Points:
        """Pixels (..., 2) as coordinates of the system, x (or longitude) first."""
        a, b, c, d, e, f = self.transform
        x, y = points[..., 0], points[..., 1]
        return np.stack([a * x + b * y + c, d * x + e * y + f], axis=-1)

    def to_lon_lat(self, points: Points) -> Points:
        """Pixels (..., 2) as longitude and latitude in WGS 84, degrees."""
        from rasterio.warp import transform

        world = self.to_world(points).reshape(-1, 2)
        moved = transform(self.crs_wkt, WGS84, world[:, 0], world[:, 1])
        return np.stack(moved[:2], axis=-1).astype(np.float64).reshape(points.shape)

    def measures(self, quads: Quads) -> tuple[Floats, Floats, Floats]:
        """How boxes lie on the ground, whatever the system's units and distortion.

        Corners are taken to longitude and latitude, and differences of these to metres by the ellipsoid's
        radii of curvature in the meridian, M, and in the prime vertical, N, at the box's latitude p (Snyder,
        "Map Projections: A Working Manual", USGS 1987, p. 24 f.)::

            M = a (1 - e^2) / (1 - e^2 sin^2 p)^1.5,  N = a / (1 - e^2 sin^2 p)^0.5
            north = M dp,  east = N cos(p) dl

        Args:
            quads: (N, 4, 2) px; those that are no rectangles are measured as the smallest one around them.

        Returns:
            Heading of the long side in degrees clockwise from true north, in [0, 180); length and width in
            metres; (N,) each.
        """
        if not len(quads):
            return np.empty(0), np.empty(0), np.empty(0)
        degrees = self.to_lon_lat(min_area_quads(quads))
        latitude = np.deg2rad(degrees[..., 1].mean(axis=1))
        flattened = 1 - _ECCENTRICITY_SQUARED * np.sin(latitude) ** 2
        meridian_m = _SEMI_MAJOR_M * (1 - _ECCENTRICITY_SQUARED) / flattened**1.5
        parallel_m = _SEMI_MAJOR_M / np.sqrt(flattened) * np.cos(latitude)
        sides = np.diff(degrees[:, [0, 1, 2]], axis=1)  # two that meet in a corner
        sides[..., 0] = (sides[..., 0] + 180) % 360 - 180  # across the date line
        east = np.deg2rad(sides[..., 0]) * parallel_m[:, None]
        north = np.deg2rad(sides[..., 1]) * meridian_m[:, None]
        lengths = np.hypot(east, north)
        rows, longer = np.arange(len(quads)), lengths.argmax(axis=1)
        heading = np.rad2deg(np.arctan2(east[rows, longer], north[rows, longer])) % 180
        return heading % 180, lengths.max(axis=1), lengths.min(axis=1)
