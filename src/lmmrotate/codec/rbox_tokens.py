"""Answers with rotated boxes: ``ship<loc_cx><loc_cy><loc_w><loc_h><loc_angle><sep>…``.

Five numbers a box instead of eight, and none of them jumps where another corner becomes the topmost one.
The format is this project's own (its grammar is that of ``loc_tokens``):

- cx and cy in bins of the image's width and height;
- w and h in bins of its diagonal, the longest that anything in it can be;
- the angle of w, in steps of half a turn / bins from -90 degrees: the last bin is next to the first.

Boxes are le90 (w >= h) but for near squares, whose longer side is a matter of chance: there w is the side
nearer to the horizontal and the angle within 45 degrees of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from lmmrotate.codec.base import AnswerForm, Decoded
from lmmrotate.codec.grouped import (
    NO_OBJECTS,
    GroupReader,
    check_bins,
    location_tokens,
    write_groups,
    written_form,
)
from lmmrotate.codec.labels import SpokenLabels
from lmmrotate.geometry.quads import Quads, as_quads
from lmmrotate.geometry.rboxes import RBoxes, quads_to_rboxes, rboxes_to_quads

NEAR_SQUARE = 0.9
"""Short over long side from which on a box counts as a square."""
_CIRCULAR = (False, False, False, False, True)
_NEAREST = np.array([0, 0, 0, 0, 0.5])
"""The angle goes to the nearest multiple of its bin, so that upright boxes stay upright; the other numbers
to the bin that they lie in, as in ``loc_tokens``."""


@dataclass(frozen=True)
class RBoxTokenCodec:
    """One group per class, five location tokens per box, boxes parted by ``<sep>``.

    Raises:
        ConfigError: on construction, for bins out of range or classes that are spoken alike.
    """

    classes: tuple[str, ...]
    bins: int = 1000

    def __post_init__(self) -> None:
        check_bins(self.bins)
        _ = self._labels  # refuses classes that are spoken alike

    @cached_property
    def _labels(self) -> SpokenLabels:
        return SpokenLabels(self.classes)

    @property
    def name(self) -> str:
        return "rbox"

    @property
    def words(self) -> tuple[str, ...]:
        return self._labels.words

    @property
    def special_tokens(self) -> tuple[str, ...]:
        return location_tokens(self.bins)

    @property
    def form(self) -> AnswerForm:
        return written_form(self.classes, self.bins, len(_CIRCULAR))

    @property
    def in_pixels(self) -> bool:
        return False

    @property
    def circular(self) -> tuple[bool, ...]:
        return _CIRCULAR

    def quads(self, numbers: npt.NDArray[np.float64], image_wh: tuple[int, int]) -> Quads:
        rboxes = (numbers + 0.5 - _NEAREST) / self.bins * _units(image_wh)
        rboxes[:, 4] -= np.pi / 2
        return rboxes_to_quads(rboxes)

    def to_json(self) -> Mapping[str, Any]:
        return {"name": self.name} | asdict(self)

    def coordinates(self, quads: Quads, image_wh: tuple[int, int]) -> npt.NDArray[np.int64]:
        rboxes = _upright_squares(quads_to_rboxes(as_quads(quads)))
        rboxes[:, 4] += np.pi / 2
        indices = np.floor(rboxes / _units(image_wh) * self.bins + _NEAREST)
        indices[:, 4] %= self.bins
        clipped: npt.NDArray[np.int64] = np.clip(indices, 0, self.bins - 1).astype(np.int64)
        return clipped

    def encode(self, quads: Quads, labels: Sequence[str], image_wh: tuple[int, int]) -> str:
        """The answer for one image.

        Args:
            quads: (N, 4, 2), pixels; those that are no rectangles become the smallest one around them,
                centres outside the image go to its edge.
            labels: N names.
            image_wh: width and height in pixels.

        Raises:
            DataError: for a label that is not in the class list.
            ValueError: if there are not as many labels as quads, or a coordinate is not finite.
        """
        numbers = self.coordinates(quads, image_wh)
        order = [(int(cy), int(cx)) for cx, cy in numbers[:, :2]]
        return write_groups(numbers, labels, self.classes, order) or NO_OBJECTS

    def decode(self, text: str, image_wh: tuple[int, int]) -> Decoded:
        """Read an answer; never raises. For the problems, see ``GroupReader``."""
        reader = GroupReader(text, self.bins, len(_CIRCULAR), self._labels)
        return reader.decoded(self.quads(reader.read().astype(np.float64), image_wh))


def _units(image_wh: tuple[int, int]) -> npt.NDArray[np.float64]:
    """What each number is a share of."""
    diagonal = float(np.hypot(*image_wh))
    return np.array([*image_wh, diagonal, diagonal, np.pi])


def _upright_squares(rboxes: RBoxes) -> RBoxes:
    """Near squares with w along the side nearer to the horizontal."""
    steep = (rboxes[:, 3] >= NEAR_SQUARE * rboxes[:, 2]) & (np.abs(rboxes[:, 4]) > np.pi / 4)
    turned = rboxes.copy()
    turned[steep, 2:4] = rboxes[steep][:, [3, 2]]
    turned[steep, 4] -= np.copysign(np.pi / 2, rboxes[steep, 4])
    return turned
