"""Florence-2 style answers: ``ship<loc_1>…8 tokens…<sep><loc_9>…<loc_16>small vehicle<loc_…>…``.

Format and orders follow the published LMMRotate converter (arXiv 2501.09720): one group a class, classes in
order of their names, boxes from top to bottom by their first corner, corners counterclockwise on screen from
the topmost one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from lmmrotate.codec.base import BoxSpans, Decoded, Span
from lmmrotate.codec.compatible import read_compatible
from lmmrotate.codec.labels import Match, SpokenLabels, spoken
from lmmrotate.codec.quantize import Bins, dequantize, quantize
from lmmrotate.errors import ConfigError, Problem
from lmmrotate.geometry.quads import Quads

NO_OBJECTS = "There are none."
RESPONSE_VERSIONS = (1, 2, 3)
_NUMBERS = 8  # four corners, x and y
# More digits than any bin has are text: Python refuses to convert thousands of them.
_PIECE = re.compile(
    r"(?P<ignored></?s>|<pad>)|(?P<loc><loc_(?P<bin>[0-9]{1,6})>)|(?P<sep><sep>)"
    r"|(?P<text>(?:(?!</?s>|<pad>|<loc_[0-9]{1,6}>|<sep>).)+)",
    re.DOTALL,
)


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
        if self.bins < 2:
            raise ConfigError(f"bins must be at least 2, got {self.bins}")
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
        return (*(f"<loc_{i}>" for i in range(self.bins)), "<sep>")

    def to_json(self) -> Mapping[str, Any]:
        return {"name": self.name} | asdict(self)

    def encode(self, quads: Quads, labels: Sequence[str], image_wh: tuple[int, int]) -> str:
        """The answer for one image.

        Args:
            quads: (N, 4, 2), pixels; corners outside the image go to its edge.
            labels: N names.
        """
        return self.write(quantize(corner_order(quads), image_wh, self.bins), labels)

    def write(self, bins: Bins, labels: Sequence[str]) -> str:
        """The answer for boxes that are bins already, (N, 4, 2), corners in order.

        Classes follow each other by name with hyphens as spaces, capitals first; boxes of a class by y,
        then x, of their first corner.
        """
        if not len(labels):
            return NO_OBJECTS if self.response_version == 3 else ""
        rank = {name: number for number, name in enumerate(self.classes)}

        def place(index: int) -> tuple[str, int, int, int]:
            x, y = bins[index][0]
            return labels[index].replace("-", " "), rank[labels[index]], int(y), int(x)

        groups: dict[str, list[str]] = {}
        for index in sorted(range(len(labels)), key=place):
            box = "".join(f"<loc_{number}>" for number in bins[index].reshape(-1))
            groups.setdefault(labels[index].replace("-", " "), []).append(box)
        between = "" if self.response_version == 1 else "<sep>"
        return "".join(spoken(name) + between.join(boxes) for name, boxes in groups.items())

    def decode(self, text: str, image_wh: tuple[int, int]) -> Decoded:
        """Read an answer; never raises.

        Everything that is not read is a problem: ``unread_text``, ``unknown_label`` (its boxes are lost),
        ``no_label``, ``incomplete_box`` (not eight numbers), ``out_of_range`` (a bin that does not exist).
        ``corrected_label`` is a note: the box is kept under the class most like what was written.
        A run of 16, 24, … numbers is read as that many boxes.
        """
        if self.compatible:
            return read_compatible(text, image_wh, self.bins, self._labels)
        reader = _Reader(text, self.bins, self._labels)
        bins = reader.read()
        return Decoded(
            quads=dequantize(bins, image_wh, self.bins),
            labels=tuple(reader.labels),
            spans=tuple(reader.spans),
            problems=tuple(reader.problems),
        )


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


@dataclass
class _Reader:
    """Walks over the pieces of one answer."""

    text: str
    bins: int
    known: SpokenLabels
    labels: list[str] = field(default_factory=list)
    spans: list[BoxSpans] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    _boxes: list[list[int]] = field(default_factory=list)
    _named: bool = False  # a class name has been written
    _match: Match | None = None  # the class it stands for
    _words: Span | None = None  # text that will be a class name if numbers follow
    _sep: Span | None = None  # a <sep> that will open a box if numbers follow
    _run: list[tuple[int, Span]] = field(default_factory=list)

    def read(self) -> Bins:
        """Bins (N, 4, 2); labels, spans and problems are left in the fields."""
        if self._says_none():
            return np.empty((0, 4, 2), dtype=np.int64)
        for piece in _PIECE.finditer(self.text):
            if piece["loc"]:
                self._run.append((int(piece["bin"]), piece.span()))
            elif piece["sep"]:
                self._end_run()
                self._drop(self._sep)
                self._sep = piece.span()
            elif piece["text"] and piece["text"].strip():
                self._end_run()
                self._drop(self._words)
                self._words = _stripped(piece.span(), piece["text"])
        self._end_run()
        self._drop(self._words)
        self._drop(self._sep)
        return np.asarray(self._boxes, dtype=np.int64).reshape(-1, 4, 2)

    def _says_none(self) -> bool:
        return "".join(p["text"] or "" for p in _PIECE.finditer(self.text)).strip() == NO_OBJECTS and not (
            "<loc_" in self.text or "<sep>" in self.text
        )

    def _drop(self, span: Span | None) -> None:
        if span:
            self._problem("unread_text", span)

    def _problem(self, kind: str, span: Span) -> None:
        self.problems.append(Problem(kind, self.text[slice(*span)]))

    def _end_run(self) -> None:
        """Turn the numbers since the last class name or separator into boxes."""
        if not self._run:
            return
        opening = self._open()
        for start in range(0, len(self._run), _NUMBERS):
            chunk = self._run[start : start + _NUMBERS]
            coordinates = (chunk[0][1][0], chunk[-1][1][1])
            whole = (opening[0], coordinates[1])
            numbers = [number for number, _ in chunk]
            if not self._named:
                self._problem("no_label", whole)
            elif not self._match:
                self._problem("unknown_label", whole)
            elif len(chunk) < _NUMBERS:
                self._problem("incomplete_box", whole)
            elif max(numbers) >= self.bins:
                self._problem("out_of_range", whole)
            else:
                self._boxes.append(numbers)
                self.labels.append(self._match.name)
                self.spans.append(BoxSpans(opening, coordinates))
            opening = (coordinates[1], coordinates[1])
        self._run = []

    def _open(self) -> Span:
        """What opens the run: a class name, a separator, or nothing."""
        start = self._run[0][1][0]
        opening = (start, start)
        if self._words:
            self._drop(self._sep)  # a class name opens the group by itself
            opening = self._words
            said = self.text[slice(*self._words)]
            self._named, self._match = True, self.known.match(said)
            if self._match and not self._match.exact:
                self._problem("corrected_label", self._words)
        elif self._sep:
            opening = self._sep
        self._words = self._sep = None
        return opening


def _stripped(span: Span, text: str) -> Span:
    start = span[0] + len(text) - len(text.lstrip())
    return start, start + len(text.strip())
