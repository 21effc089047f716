"""Class names as models say them, and back.

A class ``small-vehicle`` is spoken ``small vehicle``: lower case, hyphens as spaces (the published rule).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from rapidfuzz import process
from rapidfuzz.distance import Levenshtein
from rapidfuzz.fuzz import WRatio

from lmmrotate.errors import ConfigError

CUTOFF = 0.75
"""Least edit-distance similarity at which an unknown name is taken for a class: one edit in four letters,
so that plurals of the shortest names (``vans``, ``cars``) are understood and ``boat`` is no roundabout."""


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
        ConfigError: on construction, if a class has no name or one with ``<``, or if two classes sound
            alike (``compatible`` lets the last of them win).
    """

    classes: tuple[str, ...]
    compatible: bool = False
    """Take the nearest class however far it is (RapidFuzz WRatio without cutoff), as the published code."""

    def __post_init__(self) -> None:
        for name in self.classes:
            if not _key(name) or "<" in name:
                raise ConfigError(f"class {name!r} cannot be spoken: a name needs letters and no '<'")
        count = Counter(_key(name) for name in self.classes)
        twice = [name for name in self.classes if count[_key(name)] > 1]
        if twice and not self.compatible:
            raise ConfigError(
                f"classes {', '.join(map(repr, twice))} are spoken alike; a model cannot tell them apart"
            )

    @cached_property
    def _names(self) -> dict[str, str]:
        key = spoken if self.compatible else _key
        return {key(name): name for name in self.classes}

    @property
    def words(self) -> tuple[str, ...]:
        """The spoken names, in the order of the class list."""
        return tuple(dict.fromkeys(spoken(name) for name in self.classes))

    def match(self, text: str) -> Match | None:
        """The class that ``text`` names; None if there is none, or if several are equally near."""
        if self.compatible:
            return self._nearest(text)
        said = _key(text)
        if said in self._names:
            return Match(self._names[said], exact=True)
        found = process.extract(
            said, self._names.keys(), scorer=Levenshtein.normalized_similarity, score_cutoff=CUTOFF, limit=2
        )
        # "boeing 757" is as near to 737 as to 747: choosing one would be a guess.
        if not found or (len(found) == 2 and found[0][1] == found[1][1]):
            return None
        return Match(self._names[found[0][0]], exact=False)

    def _nearest(self, text: str) -> Match | None:
        said = text.lower()
        if said in self._names:
            return Match(self._names[said], exact=True)
        found = process.extractOne(said, self._names.keys(), scorer=WRatio)
        return Match(self._names[found[0]], exact=False) if found else None


def _key(name: str) -> str:
    """Spoken, with every stretch of white space as one space."""
    return " ".join(spoken(name).split())
