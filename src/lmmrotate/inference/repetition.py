"""Noticing that a model goes round in circles."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence

from lmmrotate.codec.base import AnswerForm, TextForm
from lmmrotate.models.base import ModelFamily
from lmmrotate.models.vocabulary import Speller, named_specials

_NEAR_BINS = 1
"""Boxes of a class that differ by no more in every number are the same place, a little off."""
_RECENT_BOXES = 16
_STALLED_BOXES = 8
"""So many boxes in a row, each near one of the last 16 of its class, are no progress."""

_LONGEST_BOX = 500
"""Characters; what has not become a box by then never will."""
_DIGITS = re.compile(r"[0-9]+")


class Vocabulary:
    """What the guard has to know of a model's tokens."""

    def __init__(self, family: ModelFamily, form: AnswerForm | TextForm) -> None:
        locations, separator = (
            ([*form.locations], form.separator) if isinstance(form, AnswerForm) else ([], "")
        )
        to_ids = family.tokenizer.convert_tokens_to_ids
        self.bins = {token: bin_ for bin_, token in enumerate(to_ids(locations))}
        """By token id."""
        self.silent = named_specials(family.tokenizer) | {family.answer_ids("")[-1]}
        """Tokens that write no text."""
        if separator:
            self.silent.add(to_ids(separator))
        self.numbers = form.numbers


class RepetitionGuard(ABC):
    """Reads one answer as it is written.

    It is repetition when a box of a class is written a second time, and when eight boxes in a row lie within
    a bin (a pixel, where numbers are pixels) of one of the last 16 of their class.
    """

    def __init__(self) -> None:
        self._seen: dict[object, dict[tuple[int, ...], None]] = {}
        self._read = 0
        self._box_end = 0
        self._stalled: list[int] = []  # where each of the boxes that brought no progress began

    @abstractmethod
    def cut(self, tokens: Sequence[int]) -> int | None:
        """Read on; how many tokens of the whole answer to keep if it repeats itself by now, else None."""

    def _finish_box(self, label: object, box: tuple[int, ...]) -> int | None:
        begun = self._box_end
        seen = self._seen.setdefault(label, {})
        if box in seen:
            return begun
        near = any(
            all(abs(one - other) <= _NEAR_BINS for one, other in zip(box, earlier, strict=True))
            for earlier in list(seen)[-_RECENT_BOXES:]
        )
        self._stalled = [*self._stalled, begun] if near else []
        if len(self._stalled) == _STALLED_BOXES:
            return self._stalled[0]
        seen[box] = None
        self._box_end = self._read
        return None


class TokenGuard(RepetitionGuard):
    """For formats with location tokens."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__()
        self._known = vocabulary
        self._label: list[int] = []
        self._fresh_label = True
        self._box: list[int] = []

    def cut(self, tokens: Sequence[int]) -> int | None:
        for token in tokens:
            self._read += 1
            bin_ = self._known.bins.get(token)
            if bin_ is None:
                self._box.clear()
                if token not in self._known.silent:
                    if self._fresh_label:
                        self._label = []
                    self._label.append(token)
                    self._fresh_label = False
            else:
                self._fresh_label = True
                self._box.append(bin_)
                if len(self._box) == self._known.numbers:
                    box = tuple(self._box)
                    self._box.clear()
                    if (keep := self._finish_box(tuple(self._label), box)) is not None:
                        return keep
        return None


class TextGuard(RepetitionGuard):
    """For formats that spell their numbers."""

    def __init__(self, form: TextForm, speller: Speller) -> None:
        super().__init__()
        self._form, self._speller = form, speller
        self._unread = ""
        self._label = ""

    def cut(self, tokens: Sequence[int]) -> int | None:
        for token in tokens:
            self._read += 1
            piece = self._speller.piece(token).decode(errors="replace")
            self._unread = (self._unread + piece)[-_LONGEST_BOX:]
            if found := self._form.box.search(self._unread):
                self._unread = self._unread[found.end() :]
                self._label = found["label"] or self._label
                box = tuple(map(int, _DIGITS.findall(found["numbers"])))
                if (keep := self._finish_box(self._label, box)) is not None:
                    return keep
        return None
