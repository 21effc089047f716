"""Noticing that a model goes round in circles."""

from __future__ import annotations

from collections.abc import Sequence

from lmmrotate.codec.base import AnswerForm
from lmmrotate.models.base import ModelFamily

_NEAR_BINS = 1
"""Boxes of a class that differ by no more in every number are the same place, a little off."""
_RECENT_BOXES = 16
_STALLED_BOXES = 8
"""So many boxes in a row, each near one of the last 16 of its class, are no progress."""


class Vocabulary:
    """What the guard has to know of a model's tokens."""

    def __init__(self, family: ModelFamily, form: AnswerForm) -> None:
        ids = family.tokenizer.convert_tokens_to_ids(list(form.locations))
        self.bins = {token: bin_ for bin_, token in enumerate(ids)}
        """By token id."""
        self.silent = {*family.tokenizer.all_special_ids}
        """Tokens that write no text."""
        if form.separator:
            self.silent.add(family.tokenizer.convert_tokens_to_ids(form.separator))
        self.numbers = form.numbers


class RepetitionGuard:
    """Reads one answer as it is written.

    It is repetition when a box of a class is written a second time, and when eight boxes in a row lie within
    a bin of one of the last 16 of their class.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._known = vocabulary
        self._label: list[int] = []
        self._fresh_label = True
        self._box: list[int] = []
        self._seen: dict[tuple[int, ...], dict[tuple[int, ...], None]] = {}
        self._read = 0
        self._box_end = 0
        self._stalled: list[int] = []  # where each of the boxes that brought no progress began

    def cut(self, tokens: Sequence[int]) -> int | None:
        """Read on; how many tokens of the whole answer to keep if it repeats itself by now, else None."""
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
                if len(self._box) == self._known.numbers and (keep := self._finish_box()) is not None:
                    return keep
        return None

    def _finish_box(self) -> int | None:
        box, begun = tuple(self._box), self._box_end
        self._box.clear()
        seen = self._seen.setdefault(tuple(self._label), {})
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
