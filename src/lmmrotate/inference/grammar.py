"""What may follow what in an answer: a finite-state machine over tokens, as tables.

A class name, then the numbers of a box, then ``<sep>`` and another box, the next class, or the end. A model
held to it cannot write what no codec can read, and needs logits for the few tokens of the grammar only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, Protocol

import torch

from lmmrotate.codec.base import AnswerForm, TextForm
from lmmrotate.models.base import ModelFamily

Strictness = Literal["off", "syntax", "classes", "boxes"]
STRICTNESS: tuple[Strictness, ...] = ("off", "syntax", "classes", "boxes")
"""``off``: the model is left alone, as in the published code; ``syntax``: only what can be read may be
written; ``classes``: also every class once, in the codec's order; ``boxes``: also the boxes of a class in the
codec's order."""

_LEAST, _MOST = -1e30, 1e30  # logits that are no numbers, or infinite, count as these


class Rules(Protocol):
    """Which tokens may be written. Tokens are columns of the logits; what has been written is summed up in a
    row of whole numbers an answer, (R, k), with which the next question is asked."""

    @property
    def alphabet(self) -> torch.Tensor | None:
        """(A,) ids of the columns; None: a column is an id."""
        ...

    @property
    def locations(self) -> torch.Tensor:
        """(bins,) columns of the location tokens."""
        ...

    @property
    def end(self) -> int:
        """Column of the end token."""
        ...

    def begin(self, rows: int) -> torch.Tensor:
        """What is known of R answers of which nothing is written."""
        ...

    def mask(self, logits: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """Logits (R, A) without NaN, those of forbidden tokens -inf; some token is always allowed."""
        ...

    def advance(self, known: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """What is known when columns (R,) have been written, too."""
        ...


def allowed(logits: torch.Tensor, forbidden: torch.Tensor) -> torch.Tensor:
    """Logits (R, A) without NaN, those of forbidden (R, A) tokens -inf."""
    return logits.nan_to_num(_LEAST, _MOST, _LEAST).masked_fill(forbidden, -torch.inf)


class FreeRules:
    """Every token may follow every other; see ``Rules``."""

    def __init__(self, family: ModelFamily, form: AnswerForm | TextForm) -> None:
        locations = form.locations if isinstance(form, AnswerForm) else ()
        self.alphabet = None
        self.locations = torch.tensor(
            family.tokenizer.convert_tokens_to_ids(list(locations)),
            dtype=torch.int64,
            device=family.model.device,
        )
        self.end = family.answer_ids("")[-1]

    def begin(self, rows: int) -> torch.Tensor:
        return torch.empty((rows, 0), dtype=torch.int64, device=self.locations.device)

    def mask(self, logits: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        return logits.nan_to_num(_LEAST, _MOST, _LEAST)

    def advance(self, known: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        return known


class Grammar:
    """The tables of the machine; see ``Rules``.

    What is known of an answer is the number of its state; if boxes are ordered, also the first two numbers
    of the last box of its class, and those of the box that is being written.
    """

    def __init__(self, family: ModelFamily, form: AnswerForm, strictness: Strictness) -> None:
        states = _States(family, form, ordered=strictness != "syntax")
        device = family.model.device
        bins, self._numbers = len(form.locations), form.numbers
        rest = sorted({token for row in states.next for token in row})
        column = {token: bins + place for place, token in enumerate(rest)}
        # Half the memory of whole words: many classes in order make thousands of states.
        following = torch.full((len(states.next), bins + len(rest)), -1, dtype=torch.int32)
        for state, row in enumerate(states.next):
            if states.box[state] >= 0:
                following[state, :bins] = states.box[state]
            for token, target in row.items():
                following[state, column[token]] = target
        ids = family.tokenizer.convert_tokens_to_ids(list(form.locations))
        self.alphabet = torch.tensor([*ids, *rest], device=device)
        self.locations = torch.arange(bins, device=device)
        self.end = column[states.end]
        self._forbidden = (following < 0).to(device)
        self._following = following.to(device)
        self._number = torch.tensor(states.number, device=device)
        self._opens = torch.tensor(states.opens, device=device)
        self._columns = torch.arange(following.shape[1], device=device)
        self._orders_boxes = strictness == "boxes"

    def begin(self, rows: int) -> torch.Tensor:
        width = 5 if self._orders_boxes else 1
        return torch.zeros((rows, width), dtype=torch.int64, device=self._columns.device)

    def mask(self, logits: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        forbidden = self._forbidden[known[:, 0]]
        if self._orders_boxes:
            forbidden = forbidden | (self._columns < self._least(known)[:, None])
        return allowed(logits, forbidden)

    def _least(self, known: torch.Tensor) -> torch.Tensor:
        """(R,) the smallest bin with which the box can still come after the last of its class."""
        number, (_, x_before, y_before, x, _) = self._number[known[:, 0]], known.T
        for_x = torch.where(y_before == len(self.locations) - 1, x_before, 0)
        for_y = y_before + (x < x_before)
        return torch.where(number == 0, for_x, torch.where(number == 1, for_y, 0))

    def advance(self, known: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        before = known[:, 0]
        after = self._following[before, tokens].long()
        if not self._orders_boxes:
            return after[:, None]
        number, is_location = self._number[before], tokens < len(self.locations)
        x = torch.where(is_location & (number == 0), tokens, known[:, 3])
        y = torch.where(is_location & (number == 1), tokens, known[:, 4])
        whole, fresh = is_location & (number == self._numbers - 1), self._opens[after]
        last = torch.where(whole[:, None], torch.stack([x, y], dim=1), known[:, 1:3])
        last = torch.where(fresh[:, None], 0, last)
        return torch.column_stack([after, last, x, y])


class _States:
    """The machine, state by state; the first one is where answers begin."""

    def __init__(self, family: ModelFamily, form: AnswerForm, *, ordered: bool) -> None:
        self.next: list[dict[int, int]] = []
        """By token id, the state that follows."""
        self.box: list[int] = []
        """The state that follows a location; -1 where none may be written."""
        self.number: list[int] = []
        """Which number of a box a location here is; -1 where none may be written."""
        self.opens: list[bool] = []
        """Whether a class name has been written just before."""
        self._numbers = form.numbers
        self._ordered = ordered
        self._afters: dict[int, int] = {}
        empty = family.answer_ids("")
        prefix, self.end = empty[:-1], empty[-1]
        first, later = _spelled(family, form, len(prefix))
        self._later = later
        self._separator = family.tokenizer.convert_tokens_to_ids(form.separator) if form.separator else None
        begin = self._walk(self._state(), prefix)
        self._over = self._state()
        self.next[self._over][self.end] = self._over
        self._add_words(begin, first, 0)
        nothing = family.answer_ids(form.nothing or "")[len(prefix) : -1]
        self.next[self._walk(begin, nothing)][self.end] = self._over

    def _state(self, box: int = -1, number: int = -1) -> int:
        self.next.append({})
        self.box.append(box)
        self.number.append(number)
        self.opens.append(False)
        return len(self.next) - 1

    def _walk(self, state: int, tokens: Iterable[int]) -> int:
        """The state after ``tokens``, which is made if nobody has been there."""
        for token in tokens:
            if token not in self.next[state]:
                self.next[state][token] = self._state()
            state = self.next[state][token]
        return state

    def _add_words(self, state: int, words: Sequence[list[int]], least_rank: int) -> None:
        for rank, tokens in enumerate(words):
            if rank >= least_rank:
                named = self._walk(state, tokens)
                self.opens[named] = True
                self._expect_box(named, rank + 1 if self._ordered else 0)

    def _expect_box(self, state: int, least_rank: int) -> None:
        """Let a box begin here; when it is whole, classes from ``least_rank`` on may follow."""
        target = self._after_box(least_rank)
        for number in range(self._numbers - 1, 0, -1):
            target = self._state(target, number)
        self.box[state], self.number[state] = target, 0

    def _after_box(self, least_rank: int) -> int:
        if least_rank not in self._afters:
            after = self._afters[least_rank] = self._state()
            self.next[after][self.end] = self._over
            self._add_words(after, self._later, least_rank)
            self._expect_box(
                after if self._separator is None else self._walk(after, [self._separator]), least_rank
            )
        return self._afters[least_rank]


def _spelled(family: ModelFamily, form: AnswerForm, skip: int) -> tuple[list[list[int]], list[list[int]]]:
    """Tokens of every class name: at the beginning of an answer, and after a location."""
    location = form.locations[0]
    first = [family.answer_ids(word + location)[skip:-2] for word in form.words]
    later = [family.answer_ids(location + word + location)[skip + 1 : -2] for word in form.words]
    return first, later
