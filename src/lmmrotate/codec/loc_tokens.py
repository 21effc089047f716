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
from lmmrotate.codec.compatible import IGNORED, read_compatible
from lmmrotate.codec.labels import Match, SpokenLabels, spoken
from lmmrotate.codec.quantize import Bins, dequantize, quantize
from lmmrotate.errors import ConfigError, DataError, Problem
from lmmrotate.geometry.quads import Quads, as_quads

NO_OBJECTS = "There are none."
RESPONSE_VERSIONS = (1, 2, 3)
_NUMBERS = 8  # four corners, x and y
_DIGITS = 6
# More digits than any bin has are text: Python refuses to convert thousands of them.
_LOC = rf"<loc_(?P<bin>[0-9]{{1,{_DIGITS}}})>"
_PIECE = re.compile(
    rf"(?P<ignored>{IGNORED.pattern})|(?P<loc>{_LOC})|(?P<sep><sep>)"
    rf"|(?P<text>(?:(?!{IGNORED.pattern}|<loc_[0-9]{{1,{_DIGITS}}}>|<sep>).)+)",
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
        if not isinstance(self.bins, int) or not 2 <= self.bins <= 10**_DIGITS:
            raise ConfigError(f"bins must be a whole number from 2 to {10**_DIGITS}, got {self.bins!r}")
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

    @property
    def circular(self) -> tuple[bool, ...]:
        return (False,) * _NUMBERS

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
        """Bins (N, 4, 2) as text: classes follow each other by name with hyphens as spaces, capitals
        first; boxes of a class by y, then x, of their first corner."""
        if len(bins) != len(labels):
            raise ValueError(f"{len(bins)} quads, but {len(labels)} labels")
        if unknown := set(labels).difference(self.classes):
            raise DataError(
                f"label {min(unknown)!r} is not in the class list: {', '.join(map(repr, self.classes))}"
            )
        if len(labels) == 0:
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
        if IGNORED.sub("", self.text).strip() == NO_OBJECTS:
            return np.empty((0, 4, 2), dtype=np.int64)
        for piece in _PIECE.finditer(self.text):
            if piece["loc"]:
                self._run.append((int(piece["bin"]), piece.span()))
            elif piece["sep"]:
                self._end_run()
                self._sep = self._after_sep(piece.span())
            elif piece["text"] and piece["text"].strip():
                self._end_run()
                self._drop(self._words)
                self._words = _stripped(piece.span(), piece["text"])
        self._end_run()
        self._drop(self._words)
        self._drop(self._sep)
        return np.asarray(self._boxes, dtype=np.int64).reshape(-1, 4, 2)

    def _after_sep(self, span: Span) -> Span:
        """The separator that counts after another one; several behind a name are told together, as what
        is wrong with the box that follows reaches from the name over all of them."""
        if self._sep and self._words and self._sep > self._words:
            return self._sep[0], span[1]
        self._drop(self._sep)
        return span

    def _drop(self, span: Span | None) -> None:
        if span:
            self._problem("unread_text", span)

    def _problem(self, kind: str, span: Span) -> None:
        self.problems.append(Problem(kind, self.text[slice(*span)]))

    def _end_run(self) -> None:
        """Turn the numbers since the last class name or separator into boxes."""
        if not self._run:
            return
        opening, stray = self._open()
        for start in range(0, len(self._run), _NUMBERS):
            chunk = self._run[start : start + _NUMBERS]
            coordinates = (chunk[0][1][0], chunk[-1][1][1])
            if start:
                opening = (coordinates[0], coordinates[0])
            numbers = [number for number, _ in chunk]
            fault = self._fault(numbers)
            if self._match and not fault:
                self._boxes.append(numbers)
                self.labels.append(self._match.name)
                self.spans.append(BoxSpans(opening, coordinates))
            else:
                self._problem(fault, (opening[0], coordinates[1]))
                if stray and stray[0] > opening[0]:
                    stray = None  # told with the problem, which reaches from the name to the numbers
            self._drop(stray)
            stray = None
        self._run = []

    def _fault(self, numbers: list[int]) -> str:
        """The kind of problem because of which the numbers are no box; empty if they are one."""
        if not self._match:
            return "unknown_label" if self._named else "no_label"
        if len(numbers) < _NUMBERS:
            return "incomplete_box"
        return "out_of_range" if max(numbers) >= self.bins else ""

    def _open(self) -> tuple[Span, Span | None]:
        """What opens the run (a class name, a separator or nothing), and a separator beside a name."""
        words, sep = self._words, self._sep
        self._words = self._sep = None
        if words:
            self._named, self._match = True, self.known.match(self.text[slice(*words)])
            if self._match and not self._match.exact:
                self._problem("corrected_label", words)
            return words, sep  # the name opens the group by itself
        start = self._run[0][1][0]
        return sep or (start, start), None


def _stripped(span: Span, text: str) -> Span:
    start = span[0] + len(text) - len(text.lstrip())
    return start, start + len(text.strip())
