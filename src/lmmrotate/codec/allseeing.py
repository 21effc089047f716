"""Answers in the format of the All-Seeing models: ``<ref>ship</ref><box>[[61, 563, …], [12, …]]</box>…``.

The published system uses it for InternVL: the same groups, orders and 1,000 bins as ``loc_tokens``, in plain
text. An image without objects has the empty answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lmmrotate.codec.base import Span, TextForm
from lmmrotate.codec.grouped import ordered_words
from lmmrotate.codec.loc_tokens import corner_order
from lmmrotate.codec.machine import Machine
from lmmrotate.codec.quantize import dequantize, quantize
from lmmrotate.codec.spelled import NUMBER, NUMBERS, BoxReader, SpelledCodec, write_numbers
from lmmrotate.geometry.quads import Quads, as_quads

BINS = 1000
_PIECE = re.compile(
    rf"<ref>(?P<name>[^<\[]*)|(?P<numbers>{NUMBER}(?:[\s,]{{1,9}}{NUMBER})*)|(?P<structure></?\w*>|[\[\],\s]+)"
    r"|(?P<text>.[^<\[\]0-9]*)",
    re.DOTALL,
)
_BOX = re.compile(
    r"(?:<ref>(?P<label>[^<]*)</ref><box>\[)?\[(?P<numbers>[0-9]{1,3}(?:, [0-9]{1,3}){7})\]", re.ASCII
)


@dataclass(frozen=True)
class AllSeeingCodec(SpelledCodec):
    """One ``<ref>`` a class, its boxes in one ``<box>``. Tags and brackets may be missing in what is read, as
    long as names stand before their numbers."""

    @property
    def name(self) -> str:
        return "allseeing"

    @property
    def in_pixels(self) -> bool:
        return False

    @property
    def form(self) -> TextForm:
        return TextForm(NUMBERS, self._machine, _BOX, nothing="")

    def coordinates(self, quads: Quads, image_wh: tuple[int, int]) -> npt.NDArray[np.int64]:
        return quantize(corner_order(as_quads(quads)), image_wh, BINS).reshape(-1, NUMBERS)

    def quads(self, numbers: npt.NDArray[np.float64], image_wh: tuple[int, int]) -> Quads:
        return dequantize(numbers.reshape(-1, 4, 2), image_wh, BINS)

    def _most(self, image_wh: tuple[int, int]) -> tuple[float, float]:
        return BINS - 1, BINS - 1

    def _write(self, groups: Sequence[tuple[str, list[list[int]]]]) -> str:
        return "".join(f"<ref>{word}</ref><box>{boxes}</box>" for word, boxes in groups)

    def _read(self, reader: BoxReader) -> None:
        words: Span | None = None
        fresh = False  # the name has been said and has no box yet
        for piece in _PIECE.finditer(reader.text):
            if piece["numbers"]:
                reader.add(words, piece.span("numbers"), named=fresh)
                fresh = False
            elif not piece["structure"]:
                if fresh and words:
                    reader.unread(words)
                words = _stripped(piece.span("name" if piece["text"] is None else "text"), reader.text)
                fresh = True
        if fresh and words:
            reader.unread(words)

    def _machine(self, ordered: bool) -> Machine:
        machine, words = Machine(), ordered_words(self.classes)
        machine.final.add(0)
        opened: dict[int, int] = {}  # where the first number of a group is expected, by what may follow it

        def name(state: int, least: int) -> None:
            for rank, word in enumerate(words[least:], least):
                machine.join(
                    [machine.walk(state, f"<ref>{word}")], "</ref><box>[[", group(rank + 1 if ordered else 0)
                )

        def group(least: int) -> int:
            if least not in opened:
                first = opened[least] = machine.state()
                whole = machine.join(write_numbers(machine, first, 3, ", "), "]")
                machine.join([whole], ", [", first)
                over = machine.join([whole], "]</box>")
                machine.final.add(over)
                name(over, least)
            return opened[least]

        name(0, 0)
        return machine


def _stripped(span: Span, text: str) -> Span:
    piece = text[slice(*span)]
    start = span[0] + len(piece) - len(piece.lstrip())
    return start, start + len(piece.strip())
