"""Writing the answers about a batch of images.

One loop for all families: the model's part is an ``AnswerDecoder``, the grammar's are ``Rules``. Answers
that are finished leave the batch. Of every token it is kept how likely it was among those that the rules
allowed, and how widely locations were spread over the bins: what scores are made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from lmmrotate.codec.base import AnswerForm, TextForm
from lmmrotate.errors import ConfigError
from lmmrotate.inference.beams import search
from lmmrotate.inference.grammar import STRICTNESS, FreeRules, Grammar, Rules, Strictness
from lmmrotate.inference.measures import COUNT, Floats, Measures, spreads
from lmmrotate.inference.repetition import RepetitionGuard, TextGuard, TokenGuard, Vocabulary
from lmmrotate.inference.text_grammar import TextGrammar
from lmmrotate.models.base import AnswerDecoder, ModelFamily
from lmmrotate.models.vocabulary import Speller

OVERFLOW = ("split", "keep")

_LOOK_EVERY = {"cpu": 32, "other": 8}
"""Steps between two looks at what has been written. On a CPU the end of an answer is noticed at once; a GPU
would have to be waited for."""
_LEAVE_AT = 0.75
"""Finished answers leave when no more than this share of the batch goes on: leaving copies the caches."""


@dataclass(frozen=True, kw_only=True)
class DecodingOptions:
    """How answers are written.

    Raises:
        ConfigError: for numbers below 1, an unknown grammar or an unknown way with overflow.
    """

    num_beams: int = 1
    """1: the likeliest token, always; more: beam search, as the published code does with 3."""
    max_new_tokens: int | None = None
    """Longest answer; default: as long as the model can."""
    grammar: Strictness = "syntax"
    """See ``grammar.STRICTNESS``."""
    overflow: Literal["split", "keep"] = "split"
    """What becomes of an answer that reaches the limit: the image is cut in four and they are asked about
    each, or the answer is kept as far as it goes."""

    def __post_init__(self) -> None:
        for name in ("num_beams", "max_new_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be at least 1, got {value}")
        for name, valid in (("grammar", STRICTNESS), ("overflow", OVERFLOW)):
            if getattr(self, name) not in valid:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; valid: {', '.join(valid)}")


@dataclass(frozen=True, eq=False)
class Answer:
    """One written answer."""

    text: str
    """Without start, end and padding tokens; coordinate tokens are kept."""
    token_ids: npt.NDArray[np.int64]
    """(T,) ids of the tokens that make up the text, then the end token where the model wrote one."""
    token_ends: npt.NDArray[np.int64]
    """(T,) how many characters of ``text`` are written after each token."""
    bins: npt.NDArray[np.int64]
    """(T,) the bin that each token stands for; -1 for tokens that are no location."""
    log_probs: Floats
    """(T,) natural logarithm of each token's share of the probability of all that the rules allowed."""
    spreads: Floats
    """(T, 2) how widely locations were spread, in bins, on a line and on a circle (``measures.spreads``)."""
    truncated: bool
    """The token limit was reached before the end token."""
    repetition: str
    """What was written after the answer had begun to repeat itself, and is cut off."""


@dataclass(eq=False)
class _Page:
    """One answer while it is written."""

    tokens: list[int] = field(default_factory=list)
    measured: list[npt.NDArray[np.float32]] = field(default_factory=list)
    over: bool = False
    keep: int | None = None
    """How many tokens to keep of an answer that repeats itself."""

    def add(
        self,
        tokens: list[int],
        measured: npt.NDArray[np.float32],
        end: int,
        guard: RepetitionGuard | None,
    ) -> None:
        """Take n further tokens, and (n, 6) about them; what follows the end token is none of the answer."""
        if end in tokens:
            self.over = True
            tokens = tokens[: tokens.index(end) + 1]
        self.tokens += tokens
        self.measured.append(measured[: len(tokens)])
        if guard is not None:
            self.keep = guard.cut(tokens)
            self.over |= self.keep is not None


def rules_for(family: ModelFamily, form: AnswerForm | TextForm, strictness: Strictness) -> Rules:
    """The rules for a model and the answers of its codec, on the model's device."""
    if strictness == "off":
        return FreeRules(family, form)
    if isinstance(form, TextForm):
        return TextGrammar(family, form, strictness)
    return Grammar(family, form, strictness)


class Writer:
    """Writes answers with one model in the form of one codec; threads may share it."""

    def __init__(self, family: ModelFamily, form: AnswerForm | TextForm, options: DecodingOptions) -> None:
        self._family = family
        self._options = options
        self._rules = rules_for(family, form, options.grammar)
        self._end = family.answer_ids("")[-1]
        self._measures = Measures(self._rules.locations)
        self._form = form
        self._vocabulary = Vocabulary(family, form)
        self._speller = Speller(family.tokenizer, self._end)

    @torch.inference_mode()
    def write(self, images: Sequence[Image.Image]) -> list[Answer]:
        """One answer an RGB image, in order."""
        if not images:
            return []
        beams, most = self._options.num_beams, self._options.max_new_tokens
        room = self._family.max_answer_tokens - 1  # the decoder's start token takes a position
        room = min(most or room, room)
        decoder = self._family.answer_decoder(images, alphabet=self._rules.alphabet, beams=beams)
        if beams == 1:
            return [self._answer(page) for page in self._greedy(decoder, len(images), room)]
        found = search(decoder, self._rules, self._measures, len(images), beams, room)
        pages = [_Page() for _ in images]
        for page, (tokens, measured) in zip(pages, found, strict=True):
            page.add(tokens, measured, self._end, self._guard())
        return [self._answer(page) for page in pages]

    def _guard(self) -> RepetitionGuard | None:
        if self._options.grammar == "off":
            return None
        if isinstance(self._form, TextForm):
            return TextGuard(self._form, self._speller)
        return TokenGuard(self._vocabulary)

    def _greedy(self, decoder: AnswerDecoder, images: int, room: int) -> list[_Page]:
        rules, pages = self._rules, [_Page() for _ in range(images)]
        guards = [self._guard() for _ in range(images)]
        known, logits = rules.begin(images), decoder.begin()
        on_cpu = known.device.type == "cpu"
        look_every = _LOOK_EVERY["cpu" if on_cpu else "other"]
        rows = list(range(images))  # the image of every row
        going = torch.ones(images, dtype=torch.bool, device=known.device)
        unread: list[tuple[torch.Tensor, torch.Tensor]] = []
        for place in range(room):
            logits = rules.mask(logits, known)
            best, columns = logits.max(dim=1)
            known = rules.advance(known, columns)
            tokens = columns if rules.alphabet is None else rules.alphabet[columns]
            unread.append((tokens, self._measures.take(logits, best)))
            ended = on_cpu and bool(((columns == rules.end) & going).any())
            if ended or len(unread) == look_every or place == room - 1:
                self._read(unread, rows, pages, guards)
                unread = []
                left = [row for row, image in enumerate(rows) if not pages[image].over]
                if not left or place == room - 1:
                    break
                going = torch.zeros(len(rows), dtype=torch.bool, device=known.device)
                going[left] = True
                if len(left) <= _LEAVE_AT * len(rows):
                    decoder.keep(torch.tensor(left, device=known.device))
                    known, tokens, rows = known[left], tokens[left], [rows[row] for row in left]
                    going = going[left]
            logits = decoder.step(tokens)
        return pages

    def _read(
        self,
        unread: list[tuple[torch.Tensor, torch.Tensor]],
        rows: list[int],
        pages: list[_Page],
        guards: list[RepetitionGuard | None],
    ) -> None:
        tokens = torch.stack([one for one, _ in unread], dim=1).tolist()
        measured = torch.stack([two for _, two in unread], dim=1).cpu().numpy()
        for image, some, about in zip(rows, tokens, measured, strict=True):
            if not pages[image].over:
                pages[image].add(some, about, self._end, guards[image])

    def _answer(self, page: _Page) -> Answer:
        ids, rest = page.tokens[: page.keep], page.tokens[len(page.tokens[: page.keep]) :]
        text, ends = self._speller.text_with_ends(ids)
        measured = np.concatenate([np.empty((0, COUNT)), *page.measured])[: len(ids)].astype(np.float64)
        bins = np.array([self._vocabulary.bins.get(token, -1) for token in ids], dtype=np.int64)
        return Answer(
            text=text,
            token_ids=np.array(ids, dtype=np.int64),
            token_ends=np.array(ends, dtype=np.int64),
            bins=bins,
            log_probs=measured[:, 0],
            spreads=spreads(measured, bins, len(self._vocabulary.bins)),
            truncated=not page.over,
            repetition=self._speller.text_with_ends(rest)[0],
        )
