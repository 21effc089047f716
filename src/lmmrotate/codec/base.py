"""What every box codec offers: boxes to text, text to boxes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from lmmrotate.errors import Problem
from lmmrotate.geometry.quads import Quads

Span = tuple[int, int]  # start and end (exclusive) of a piece, in characters of the answer


@dataclass(frozen=True)
class BoxSpans:
    """Where one box stands in the answer, so that token probabilities can be gathered for it."""

    opening: Span
    """What decided that there is a box: the class name (first box of a group) or ``<sep>``."""
    coordinates: Span
    """The coordinate tokens of this box."""


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


class BoxCodec(Protocol):
    """Turns boxes into training text and model text back into boxes.

    ``decode`` never raises on model output: it returns what it could read and lists the rest.
    """

    @property
    def name(self) -> str: ...

    @property
    def classes(self) -> tuple[str, ...]: ...

    def encode(self, quads: Quads, labels: Sequence[str], image_wh: tuple[int, int]) -> str: ...

    def decode(self, text: str, image_wh: tuple[int, int]) -> Decoded: ...
