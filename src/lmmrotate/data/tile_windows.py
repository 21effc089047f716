"""How an image is covered with overlapping windows."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from lmmrotate.errors import ConfigError

Windows = npt.NDArray[np.int64]  # (W, 4): x0, y0, x1, y1 in scene pixels; x1 and y1 are outside
TilingProtocol = Literal["default", "lmmrotate"]


@dataclass(frozen=True, kw_only=True)
class TilingSettings:
    """How to cut. Sizes and gaps are pixels of the scene; each size goes with the gap at its index."""

    sizes_px: tuple[int, ...] = (1024,)
    gaps_px: tuple[int, ...] = (200,)
    """Overlap of neighbouring windows; above 0 so that an object on an edge is whole in one of them."""
    rates: tuple[float, ...] = (1.0,)
    """Windows of every size are also cut at size / rate and gap / rate (pixels are not resampled)."""
    iof_thr: float = 0.7
    """A window takes the objects of which at least this share of the area lies inside it."""
    img_rate_thr: float = 0.6
    """Windows of which the image fills no more than this share are left out; the fullest always stay."""
    padding: tuple[int, int, int] | None = (0, 0, 0)
    """RGB of the part of a window beyond the scene; None cuts such tiles to the scene."""
    protocol: TilingProtocol = "default"

    def __post_init__(self) -> None:
        if not self.sizes_px or len(self.sizes_px) != len(self.gaps_px) or not self.rates:
            raise ConfigError(
                f"tiling: every size needs its gap, got sizes {self.sizes_px} and gaps {self.gaps_px}; "
                f"at least one rate, got {self.rates}"
            )
        if min(self.rates) <= 0:
            raise ConfigError(f"tiling: rates must be above 0, got {self.rates}")
        for size, gap in self.windows():
            if not 0 <= gap < size:
                raise ConfigError(
                    f"tiling: a gap must be from 0 to below its size, got gap {gap}, size {size}"
                )
        if not 0 <= self.iof_thr <= 1 or not 0 <= self.img_rate_thr < 1:
            raise ConfigError(
                f"tiling: iof_thr must lie in [0, 1] and img_rate_thr in [0, 1), "
                f"got {self.iof_thr} and {self.img_rate_thr}"
            )
        if self.padding is not None and not (len(self.padding) == 3 and {*self.padding} <= {*range(256)}):
            raise ConfigError(f"tiling: padding must be None or RGB values from 0 to 255, got {self.padding}")
        if self.protocol not in ("default", "lmmrotate"):
            raise ConfigError(f"tiling: protocol must be 'default' or 'lmmrotate', got {self.protocol!r}")

    def windows(self) -> list[tuple[int, int]]:
        """(size, gap) of every kind of window, in pixels, rates applied."""
        return [
            (int(size / rate), int(gap / rate))
            for rate in self.rates
            for size, gap in zip(self.sizes_px, self.gaps_px, strict=True)
        ]


def sliding_windows(image_wh: tuple[int, int], settings: TilingSettings) -> Windows:
    """The windows that cover an image, (W, 4) as x0, y0, x1, y1 in its pixels.

    The last window of a row or column is moved back to end at the image's edge; a window larger than the
    image begins at 0 and reaches beyond it.
    """
    width, height = image_wh
    found: dict[tuple[int, int, int, int], None] = {}  # a set that keeps its order
    for size, gap in settings.windows():
        for x, y in itertools.product(_starts(width, size, gap), _starts(height, size, gap)):
            found[x, y, x + size, y + size] = None
    windows = np.array(list(found), dtype=np.int64)
    inside = np.minimum(windows[:, 2:], image_wh) - windows[:, :2]
    filled = inside.prod(axis=1) / (windows[:, 2:] - windows[:, :2]).prod(axis=1)
    keep = filled > settings.img_rate_thr
    if not keep.any():
        keep = filled > filled.max() - 0.01
    return np.asarray(windows[keep])


def _starts(length: int, size: int, gap: int) -> list[int]:
    if length <= size:
        return [0]
    step = size - gap
    count = -(-(length - size) // step)  # steps until the end is reached, rounded up
    return [*range(0, count * step, step), length - size]
