"""Class names as models say them, and back.

A class ``small-vehicle`` is spoken ``small vehicle``: lower case, hyphens as spaces (the published rule).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from rapidfuzz import process
from rapidfuzz.distance import Levenshtein
from rapidfuzz.fuzz import WRatio

from lmmrotate.errors import ConfigError

CUTOFF = 0.75
"""Least edit-distance similarity at which an unknown name is taken for a class: one edit in four letters."""


def spoken(name: str) -> str:
    """``Small-Vehicle`` to ``small vehicle``."""
    return name.replace("-", " ").lower()


@dataclass(frozen=True)
class Match:
    """The class that a piece of text names."""

    name: str
    """As spelled in the class list."""
    exact: bool


@dataclass(frozen=True)
class SpokenLabels:
    """Finds the class that a model means.

    Raises:
        ConfigError: on construction, if two classes sound alike (``compatible`` lets the last one win).
    """

    classes: tuple[str, ...]
    compatible: bool = False
    """Take the nearest class however far it is (RapidFuzz WRatio without cutoff), as the published code."""

    def __post_init__(self) -> None:
        said = [spoken(name) for name in self.classes]
        twice = [name for name in self.classes if said.count(spoken(name)) > 1]
        if twice and not self.compatible:
            raise ConfigError(
                f"classes {', '.join(map(repr, twice))} are spoken alike; a model cannot tell them apart"
            )

    @cached_property
    def _names(self) -> dict[str, str]:
        return {spoken(name): name for name in self.classes}

    @property
    def words(self) -> tuple[str, ...]:
        """The spoken names, in the order of the class list."""
        return tuple(dict.fromkeys(spoken(name) for name in self.classes))

    def match(self, text: str) -> Match | None:
        """The class that ``text`` names, or None."""
        if self.compatible:
            return self._nearest(text)
        said = spoken(" ".join(text.split()))
        if said in self._names:
            return Match(self._names[said], exact=True)
        found = process.extractOne(
            said, self._names.keys(), scorer=Levenshtein.normalized_similarity, score_cutoff=CUTOFF
        )
        return Match(self._names[found[0]], exact=False) if found else None

    def _nearest(self, text: str) -> Match | None:
        said = text.lower()
        if said in self._names:
            return Match(self._names[said], exact=True)
        found = process.extractOne(said, self._names.keys(), scorer=WRatio)
        return Match(self._names[found[0]], exact=False) if found else None
