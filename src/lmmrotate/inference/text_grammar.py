"""What may be written in formats that spell everything out: a machine over bytes, carried over to tokens.

A token may be written where all its bytes lead on in the codec's machine, however a tokenizer cuts the text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch

from lmmrotate.codec.base import TextForm
from lmmrotate.codec.machine import Machine
from lmmrotate.errors import ConfigError
from lmmrotate.inference.grammar import Strictness, allowed
from lmmrotate.models.base import ModelFamily
from lmmrotate.models.vocabulary import Spelling


class TextGrammar:
    """The tables of the machine; see ``Rules``. What is known of an answer is the number of its state.

    Raises:
        ConfigError: for the strictness ``boxes``, which needs a token a number, and for class names that the
            tokenizer cannot write.
    """

    def __init__(self, family: ModelFamily, form: TextForm, strictness: Strictness) -> None:
        if strictness == "boxes":
            raise ConfigError("grammar boxes needs a response format with location tokens; use classes")
        *prefix, end = family.answer_ids("")
        machine = form.machine(strictness == "classes")
        moves = _moves(machine, Spelling(family.tokenizer, end).all())
        over, first = len(moves), len(moves) + 1
        before = range(first, first + len(prefix))  # states in which the text has not begun
        moves += [{}, *({token: state} for token, state in zip(prefix, [*before[1:], 0], strict=False))]
        tokens = sorted({token for row in moves for token in row} | {end})
        column = {token: place for place, token in enumerate(tokens)}
        following = torch.full((len(moves), len(tokens)), -1, dtype=torch.int32)
        for state, row in enumerate(moves):
            for token, target in row.items():
                following[state, column[token]] = target
            if state in machine.final:
                following[state, column[end]] = over
        following[over, column[end]] = over
        if (following < 0).all(dim=1).any():
            raise ConfigError("the tokenizer cannot write every class name letter by letter; use grammar off")
        device = family.model.device
        self.alphabet = torch.tensor(tokens, device=device)
        self.locations = torch.empty(0, dtype=torch.int64, device=device)
        self.end = column[end]
        self._first = first if prefix else 0
        self._forbidden = (following < 0).to(device)
        self._following = following.to(device)

    def begin(self, rows: int) -> torch.Tensor:
        return torch.full((rows, 1), self._first, device=self.alphabet.device)

    def mask(self, logits: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        return allowed(logits, self._forbidden[known[:, 0]])

    def advance(self, known: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        return self._following[known[:, 0], tokens].long()[:, None]


@dataclass
class _Node:
    """Tokens that begin alike."""

    children: dict[int, _Node] = field(default_factory=dict)
    tokens: list[int] = field(default_factory=list)


def _moves(machine: Machine, spelled: Mapping[int, bytes]) -> list[dict[int, int]]:
    """By state, the tokens that may be written there and the states that they lead to."""
    letters = {byte for row in machine.next for byte in row}
    root = _Node()
    for token, piece in spelled.items():
        if piece and letters.issuperset(piece):
            node = root
            for byte in piece:
                node = node.children.setdefault(byte, _Node())
            node.tokens.append(token)

    def reached(state: int, node: _Node) -> Iterator[tuple[int, int]]:
        yield from ((token, state) for token in node.tokens)
        after = machine.next[state]
        for byte in after.keys() & node.children.keys():
            yield from reached(after[byte], node.children[byte])

    return [dict(reached(state, root)) for state in range(len(machine.next))]
