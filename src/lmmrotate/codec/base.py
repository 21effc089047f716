"""What every box codec offers: boxes to text, text to boxes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lmmrotate.codec.machine import Machine
from lmmrotate.errors import Problem
from lmmrotate.geometry.quads import Quads

Span = tuple[int, int]  # start and end (exclusive) of a piece, in characters of the answer


@dataclass(frozen=True)
class BoxSpans:
    """Where one box stands in the answer, so that token probabilities can be gathered for it."""

    opening: Span
    """What decided that there is a box: the class name (first box of a group, or every box where the format
    names each) or ``<sep>``; empty where a box follows another without either."""
    coordinates: Span
    """The numbers of this box, from the first to the last."""
    numbers: tuple[Span, ...] = ()
    """Each of them, in formats that spell numbers; empty where a number is one token."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """Boxes read from one model answer, and everything that could not be read."""

    quads: Quads
    """(N, 4, 2), pixels of the image the answer is about."""
    labels: tuple[str, ...]
    """N names, spelled as in the data set's class list."""
    spans: tuple[BoxSpans, ...]
    """N places in the text, in the order of the boxes."""
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class AnswerForm:
    """What every answer looks like: groups of a class name and its boxes, or words for no object at all."""

    words: tuple[str, ...]
    """Class names as written, in the order of their groups."""
    locations: tuple[str, ...]
    """The token of every bin."""
    numbers: int
    """Location tokens a box; boxes of a class come by the second, then by the first of them."""
    separator: str
    """Between boxes of a class; empty where they follow each other directly."""
    nothing: str | None
    """The answer for an image without objects; None where there is none to write."""


@dataclass(frozen=True)
class TextForm:
    """What every answer looks like in a format that spells its numbers."""

    numbers: int
    """Numbers a box."""
    machine: Callable[[bool], Machine]
    """What may be written. Given True: every class once, in the codec's order, else in any order."""
    box: re.Pattern[str]
    """A box as it is written: group ``numbers``, and a group ``label`` before or behind it that is empty
    where the box is of the same class as the one before."""
    nothing: str | None
    """As in ``AnswerForm``."""


class BoxCodec(Protocol):
    """Turns boxes into training text and model text back into boxes.

    ``decode`` never raises on model output: it returns what it could read and lists the rest.
    """

    @property
    def name(self) -> str:
        """The response format."""
        ...

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def words(self) -> tuple[str, ...]:
        """Class names as the model says them."""
        ...

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """What must be one token each in the model's vocabulary."""
        ...

    @property
    def form(self) -> AnswerForm | TextForm: ...

    @property
    def in_pixels(self) -> bool:
        """Whether numbers are pixels of the image as the model is shown it (else shares of its sides)."""
        ...

    @property
    def circular(self) -> tuple[bool, ...]:
        """For each number of a box, in the order written, whether its last bin is next to its first."""
        ...

    def coordinates(self, quads: Quads, image_wh: tuple[int, int]) -> npt.NDArray[np.int64]:
        """The numbers (N, numbers) that are written for quads (N, 4, 2) in pixels."""
        ...

    def quads(self, numbers: npt.NDArray[np.float64], image_wh: tuple[int, int]) -> Quads:
        """The quads (N, 4, 2), in pixels, that numbers (N, numbers), whole or not, stand for."""
        ...

    def encode(self, quads: Quads, labels: Sequence[str], image_wh: tuple[int, int]) -> str:
        """The answer for one image; empty where the format has no answer for an image without objects."""
        ...

    def decode(self, text: str, image_wh: tuple[int, int]) -> Decoded: ...

    def to_json(self) -> Mapping[str, Any]:
        """Plain values from which ``codec_from_json`` builds the codec again."""
        ...
