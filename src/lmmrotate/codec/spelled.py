"""What formats that spell their numbers have in common."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from lmmrotate.codec.base import BoxSpans, Decoded, Span
from lmmrotate.codec.grouped import groups
from lmmrotate.codec.labels import SpokenLabels
from lmmrotate.codec.machine import Machine
from lmmrotate.errors import Problem
from lmmrotate.geometry.quads import Quads

NUMBERS = 8
"""Of a box: four corners, x and y."""
NUMBER = r"-?[0-9]{1,9}(?:\.[0-9]{1,9})?"
_NUMBER = re.compile(NUMBER)

Numbers = npt.NDArray[np.float64]  # (N, 8)


@dataclass
class BoxReader:
    """Gathers the boxes of one answer, and what is wrong with the rest.

    Problems: ``unread_text``, ``no_label``, ``unknown_label`` (the box is lost), ``incomplete_box`` (too few
    numbers), ``out_of_range``; ``corrected_label`` is a note. Numbers for two, three, … boxes in a row are
    read as that many boxes.
    """

    text: str
    most: tuple[float, float]
    """Largest x and y."""
    known: SpokenLabels
    _boxes: list[list[float]] = field(default_factory=list)
    _labels: list[str] = field(default_factory=list)
    _spans: list[BoxSpans] = field(default_factory=list)
    _problems: list[Problem] = field(default_factory=list)

    def add(self, label: Span | None, numbers: Span, *, named: bool, said: str | None = None) -> None:
        """Take a run of numbers.

        Args:
            label: where the class is named.
            numbers: from the first to the last.
            named: whether the name belongs to the first of the boxes; else it was said earlier, for another.
            said: the name, if it is written otherwise than it is meant.
        """
        spans = [found.span() for found in _NUMBER.finditer(self.text, *numbers)]
        match = self.known.match(self.text[slice(*label)] if said is None else said) if label else None
        if named and label and match and not match.exact:
            self._problem("corrected_label", label)
        for start in range(0, len(spans), NUMBERS):
            box = tuple(spans[start : start + NUMBERS])
            coordinates = (box[0][0], box[-1][1])
            opening = label if label and named and not start else (coordinates[0], coordinates[0])
            values = [float(self.text[slice(*span)]) for span in box]
            fault = self._fault(values)
            if match and not fault:
                self._boxes.append(values)
                self._labels.append(match.name)
                self._spans.append(BoxSpans(opening, coordinates, box))
            else:
                lost = (min(opening[0], coordinates[0]), max(opening[1], coordinates[1]))
                self._problem(fault if match else "unknown_label" if label else "no_label", lost)

    def unread(self, span: Span) -> None:
        """What is no part of any box."""
        if self.text[slice(*span)].strip():
            self._problem("unread_text", span)

    def decoded(self, quads: Callable[[Numbers], Quads]) -> Decoded:
        """What has been read; ``quads`` makes quads (N, 4, 2) of numbers (N, 8)."""
        numbers = np.asarray(self._boxes, dtype=np.float64).reshape(-1, NUMBERS)
        return Decoded(quads(numbers), tuple(self._labels), tuple(self._spans), tuple(self._problems))

    def _fault(self, values: Sequence[float]) -> str:
        if len(values) < NUMBERS:
            return "incomplete_box"
        beyond = (value < 0 or value > self.most[place % 2] for place, value in enumerate(values))
        return "out_of_range" if any(beyond) else ""

    def _problem(self, kind: str, span: Span) -> None:
        self._problems.append(Problem(kind, self.text[slice(*span)]))


def write_numbers(machine: Machine, state: int, digits: int, separator: str) -> list[int]:
    """Let the numbers of a box begin in ``state``; the states in which the last of them may be over."""
    ends = machine.number(state, digits)
    for _ in range(NUMBERS - 1):
        ends = machine.number(machine.join(ends, separator), digits)
    return ends


@dataclass(frozen=True)
class SpelledCodec(ABC):
    """What the codecs have in common; see ``BoxCodec``.

    Raises:
        ConfigError: on construction, for classes that are spoken alike.
    """

    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        _ = self._labels  # refuses classes that are spoken alike

    @cached_property
    def _labels(self) -> SpokenLabels:
        return SpokenLabels(self.classes)

    @property
    @abstractmethod
    def name(self) -> str:
        """The response format."""

    @property
    def words(self) -> tuple[str, ...]:
        return self._labels.words

    @property
    def special_tokens(self) -> tuple[str, ...]:
        return ()

    @property
    def circular(self) -> tuple[bool, ...]:
        return (False,) * NUMBERS

    def to_json(self) -> Mapping[str, Any]:
        return {"name": self.name} | asdict(self)

    @abstractmethod
    def coordinates(self, quads: Quads, image_wh: tuple[int, int]) -> npt.NDArray[np.int64]:
        """The numbers (N, 8) that are written."""

    @abstractmethod
    def quads(self, numbers: npt.NDArray[np.float64], image_wh: tuple[int, int]) -> Quads:
        """The quads (N, 4, 2) that numbers (N, 8) stand for."""

    def encode(self, quads: Quads, labels: Sequence[str], image_wh: tuple[int, int]) -> str:
        """The answer for one image; arguments and errors as for ``LocTokenCodec.encode``."""
        numbers = self.coordinates(quads, image_wh)
        order = [(int(y), int(x)) for x, y in numbers[:, :2]]
        return self._write(
            [(word, numbers[indices].tolist()) for word, indices in groups(labels, self.classes, order)]
        )

    def decode(self, text: str, image_wh: tuple[int, int]) -> Decoded:
        """Read an answer; never raises. For the problems, see ``BoxReader``."""
        reader = BoxReader(text, self._most(image_wh), self._labels)
        self._read(reader)
        return reader.decoded(lambda numbers: self.quads(numbers, image_wh))

    @abstractmethod
    def _most(self, image_wh: tuple[int, int]) -> tuple[float, float]:
        """Largest x and y."""

    @abstractmethod
    def _write(self, groups: Sequence[tuple[str, list[list[int]]]]) -> str:
        """Names, each with the numbers of its boxes, as text."""

    @abstractmethod
    def _read(self, reader: BoxReader) -> None:
        """Give the reader its text in pieces."""
