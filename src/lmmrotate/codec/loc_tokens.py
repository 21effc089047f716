"""Florence-2 style answers: ``ship<loc_1>…8 tokens…<sep><loc_9>…<loc_16>small vehicle<loc_…>…``.

Format and orders follow the published LMMRotate converter (arXiv 2501.09720): one group a class, classes in
order of their names, boxes from top to bottom by their first corner, corners counterclockwise on screen from
the topmost one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from lmmrotate.codec.base import AnswerForm, Decoded
from lmmrotate.codec.compatible import read_compatible
from lmmrotate.codec.grouped import (
    NO_OBJECTS,
    SEPARATOR,
    GroupReader,
    check_bins,
    location_tokens,
    write_groups,
    written_form,
)
from lmmrotate.codec.labels import SpokenLabels
from lmmrotate.codec.quantize import Bins, dequantize, quantize
from lmmrotate.errors import ConfigError
from lmmrotate.geometry.quads import Quads, as_quads

RESPONSE_VERSIONS = (1, 2, 3)
_NUMBERS = 8  # four corners, x and y


@dataclass(frozen=True)
class LocTokenCodec:
    """One group per class, eight location tokens per box, boxes parted by ``<sep>``.

    Raises:
        ConfigError: on construction, for an unknown response version or classes that are spoken alike.
    """

    classes: tuple[str, ...]
    bins: int = 1000
    response_version: int = 3
    """1: no ``<sep>``; 2: with ``<sep>``; 3: also "There are none." for an image without objects, for which
    versions 1 and 2 have no answer (``encode`` gives an empty text)."""
    compatible: bool = False
    """Decode as the published code does, quirks and nearest class without cutoff included."""

    def __post_init__(self) -> None:
        if self.response_version not in RESPONSE_VERSIONS:
            raise ConfigError(f"response_version is {self.response_version}; valid: 1, 2, 3")
        check_bins(self.bins)
        _ = self._labels  # refuses classes that are spoken alike

    @cached_property
    def _labels(self) -> SpokenLabels:
        return SpokenLabels(self.classes, self.compatible)

    @property
    def name(self) -> str:
        return "loc_tokens"

    @property
    def words(self) -> tuple[str, ...]:
        return self._labels.words

    @property
    def special_tokens(self) -> tuple[str, ...]:
        return location_tokens(self.bins)

    @property
    def form(self) -> AnswerForm:
        return written_form(
            self.classes,
            self.bins,
            _NUMBERS,
            separator="" if self.response_version == 1 else SEPARATOR,
            nothing=NO_OBJECTS if self.response_version == 3 else None,
        )

    @property
    def in_pixels(self) -> bool:
        return False

    @property
    def circular(self) -> tuple[bool, ...]:
        return (False,) * _NUMBERS

    def quads(self, numbers: npt.NDArray[np.float64], image_wh: tuple[int, int]) -> Quads:
        return dequantize(numbers.reshape(-1, 4, 2), image_wh, self.bins)

    def to_json(self) -> Mapping[str, Any]:
        return {"name": self.name} | asdict(self)

    def coordinates(self, quads: Quads, image_wh: tuple[int, int]) -> npt.NDArray[np.int64]:
        return quantize(corner_order(as_quads(quads)), image_wh, self.bins).reshape(-1, _NUMBERS)

    def encode(
        self,
        quads: Quads,
        labels: Sequence[str],
        image_wh: tuple[int, int],
        *,
        single_precision: npt.NDArray[np.bool_] | None = None,
    ) -> str:
        """The answer for one image.

        Args:
            quads: (N, 4, 2), pixels; corners outside the image go to its edge.
            labels: N names.
            image_wh: width and height in pixels.
            single_precision: (N,), which boxes to divide in float32, to reproduce published answers:
                those whose annotation was written in integers (see ``quantize``). Default: none.

        Raises:
            DataError: for a label that is not in the class list.
            ValueError: if there are not as many labels as quads, or a coordinate is not finite.
        """
        ordered = corner_order(as_quads(quads))
        bins = quantize(ordered, image_wh, self.bins)
        if single_precision is not None:
            narrow = ordered[single_precision]
            bins[single_precision] = quantize(narrow, image_wh, self.bins, single_precision=True)
        return self._write(bins, labels)

    def _write(self, bins: Bins, labels: Sequence[str]) -> str:
        """Bins (N, 4, 2) as text, boxes of a class by y, then x, of their first corner."""
        order = [(int(y), int(x)) for x, y in bins[:, 0]]
        separator = "" if self.response_version == 1 else SEPARATOR
        text = write_groups(bins.reshape(-1, _NUMBERS), labels, self.classes, order, separator)
        return text or (NO_OBJECTS if self.response_version == 3 else "")

    def decode(self, text: str, image_wh: tuple[int, int]) -> Decoded:
        """Read an answer; never raises. For the problems, see ``GroupReader``."""
        if self.compatible:
            return read_compatible(text, image_wh, self.bins, self._labels)
        reader = GroupReader(text, self.bins, _NUMBERS, self._labels)
        return reader.decoded(self.quads(reader.read().astype(np.float64), image_wh))


def corner_order(quads: Quads) -> Quads:
    """Corners of each quad (N, 4, 2) by falling angle around their mean (counterclockwise on screen),
    starting at the topmost, leftmost among equals. Crossed quads are uncrossed by this."""
    arms = quads - quads.mean(axis=1, keepdims=True)
    turn = np.argsort(-np.arctan2(arms[..., 1], arms[..., 0]), axis=1, kind="stable")
    ring = np.take_along_axis(quads, turn[..., None], axis=1)
    first = np.lexsort((ring[..., 0], ring[..., 1]), axis=1)[:, :1]
    start = (first + np.arange(4)) % 4
    ordered: npt.NDArray[np.float64] = np.take_along_axis(ring, start[..., None], axis=1)
    return ordered
