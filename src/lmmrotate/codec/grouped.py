"""Answers in groups of one class, boxes of a class parted by ``<sep>``: what the token formats share.

``ship<loc_1>…<sep><loc_9>…small vehicle<loc_…>…``; how many numbers a box has and what they mean is the
format's own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from lmmrotate.codec.base import AnswerForm, BoxSpans, Decoded, Span
from lmmrotate.codec.compatible import IGNORED
from lmmrotate.codec.labels import Match, SpokenLabels, spoken
from lmmrotate.errors import ConfigError, DataError, Problem
from lmmrotate.geometry.quads import Quads

NO_OBJECTS = "There are none."
SEPARATOR = "<sep>"
_DIGITS = 6
# More digits than any bin has are text: Python refuses to convert thousands of them.
_LOC = rf"<loc_(?P<bin>[0-9]{{1,{_DIGITS}}})>"
_PIECE = re.compile(
    rf"(?P<ignored>{IGNORED.pattern})|(?P<loc>{_LOC})|(?P<sep>{SEPARATOR})"
    rf"|(?P<text>(?:(?!{IGNORED.pattern}|<loc_[0-9]{{1,{_DIGITS}}}>|{SEPARATOR}).)+)",
    re.DOTALL,
)

Numbers = npt.NDArray[np.int64]  # (N, numbers of a box)


def location_tokens(bins: int) -> tuple[str, ...]:
    """``<loc_0>``, ``<loc_1>``, … and the separator."""
    return (*(f"<loc_{i}>" for i in range(bins)), SEPARATOR)


def written_form(
    classes: Sequence[str],
    bins: int,
    numbers: int,
    *,
    separator: str = SEPARATOR,
    nothing: str | None = NO_OBJECTS,
) -> AnswerForm:
    """The form of the answers that ``write_groups`` makes."""
    return AnswerForm(ordered_words(classes), location_tokens(bins)[:-1], numbers, separator, nothing)


def ordered_words(classes: Sequence[str]) -> tuple[str, ...]:
    """The spoken names in the order in which answers name them."""
    rank = {name: number for number, name in enumerate(classes)}
    ordered = sorted(classes, key=lambda name: (name.replace("-", " "), rank[name]))
    return tuple(dict.fromkeys(spoken(name) for name in ordered))


def check_bins(bins: int) -> None:
    """Refuse what is no whole number or out of range.

    Raises:
        ConfigError: naming what is valid.
    """
    if not isinstance(bins, int) or not 2 <= bins <= 10**_DIGITS:
        raise ConfigError(f"bins must be a whole number from 2 to {10**_DIGITS}, got {bins!r}")


def write_groups(
    numbers: Numbers,
    labels: Sequence[str],
    classes: Sequence[str],
    order: Sequence[tuple[int, ...]],
    separator: str = SEPARATOR,
) -> str:
    """Boxes as text; empty without boxes.

    Classes follow each other by name with hyphens as spaces, capitals first; boxes of a class by ``order``.

    Args:
        numbers: (N, numbers), bins.
        labels: N names.
        classes: the class list.
        order: N keys.

    Raises:
        DataError: for a label that is not in the class list.
        ValueError: if there are not as many labels as boxes.
    """
    boxes = ["".join(f"<loc_{number}>" for number in box) for box in numbers]
    return "".join(
        word + separator.join(boxes[index] for index in indices)
        for word, indices in groups(labels, classes, order)
    )


def groups(
    labels: Sequence[str], classes: Sequence[str], order: Sequence[tuple[int, ...]]
) -> list[tuple[str, list[int]]]:
    """Spoken names in the order of answers, each with the numbers of its boxes in theirs.

    Raises:
        DataError: for a label that is not in the class list.
        ValueError: if there are not as many labels as boxes.
    """
    if len(order) != len(labels):
        raise ValueError(f"{len(order)} quads, but {len(labels)} labels")
    if unknown := set(labels).difference(classes):
        raise DataError(f"label {min(unknown)!r} is not in the class list: {', '.join(map(repr, classes))}")
    rank = {name: number for number, name in enumerate(classes)}

    def place(index: int) -> tuple[str, int, tuple[int, ...]]:
        return labels[index].replace("-", " "), rank[labels[index]], order[index]

    found: dict[str, list[int]] = {}
    for index in sorted(range(len(labels)), key=place):
        found.setdefault(labels[index].replace("-", " "), []).append(index)
    return [(spoken(name), indices) for name, indices in found.items()]


@dataclass
class GroupReader:
    """Walks over the pieces of one answer.

    Everything that is not read is a problem: ``unread_text``, ``unknown_label`` (its boxes are lost),
    ``no_label``, ``incomplete_box`` (too few numbers), ``out_of_range`` (a bin that does not exist).
    ``corrected_label`` is a note: the box is kept under the class most like what was written.
    Numbers for two, three, … boxes in a row are read as that many boxes.
    """

    text: str
    bins: int
    numbers: int
    """Numbers of a box."""
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

    def read(self) -> Numbers:
        """Bins (N, numbers); labels, spans and problems are left in the fields."""
        if IGNORED.sub("", self.text).strip() == NO_OBJECTS:
            return np.empty((0, self.numbers), dtype=np.int64)
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
        return np.asarray(self._boxes, dtype=np.int64).reshape(-1, self.numbers)

    def decoded(self, quads: Quads) -> Decoded:
        """What has been read, with ``quads`` (N, 4, 2) made from its numbers."""
        return Decoded(quads, tuple(self.labels), tuple(self.spans), tuple(self.problems))

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
        for start in range(0, len(self._run), self.numbers):
            chunk = self._run[start : start + self.numbers]
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
        if len(numbers) < self.numbers:
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
