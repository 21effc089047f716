"""Answers in pixels of the image as the model is shown it, a box at a time, as RSCoVLM writes them.

``plain`` has a line a box, ``x1,y1,x2,y2,x3,y3,x4,y4 label``; ``json`` a fenced list of objects,
``{"quadrant bbox": [x1, y1, …, y4], "label": "ship"}``. Qwen2-VL and Qwen2.5-VL were pretrained on such
pixels. Layout, orders and whole pixels are those of RSCoVLM (github.com/VisionXLab/RSCoVLM,
rscovlm/training/data/dense_det_dataset.py): a coordinate is the pixel that it lies in, counted from 0. It is
read back at that pixel's centre.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lmmrotate.codec.base import Span, TextForm
from lmmrotate.codec.grouped import NO_OBJECTS, ordered_words
from lmmrotate.codec.loc_tokens import corner_order
from lmmrotate.codec.machine import Machine
from lmmrotate.codec.spelled import NUMBER, NUMBERS, BoxReader, SpelledCodec, write_numbers
from lmmrotate.errors import ConfigError
from lmmrotate.geometry.quads import Quads, as_quads

_DIGITS = 5
_LINE = re.compile(
    rf"[ \t]*(?P<numbers>{NUMBER}(?:[ \t]*,[ \t]*{NUMBER})*)[ \t,:]*(?P<label>[^\n]*)(?:\n|\Z)"
    r"|(?P<text>[^\n]*)(?:\n|\Z)"
)
_PLAIN_BOX = re.compile(
    rf"(?P<numbers>[0-9]{{1,{_DIGITS}}}(?:,[0-9]{{1,{_DIGITS}}}){{7}}) (?P<label>[^\n]+)\n"
)
_JSON_BOX = re.compile(
    rf"\[(?P<numbers>[0-9]{{1,{_DIGITS}}}(?:, [0-9]{{1,{_DIGITS}}}){{7}})\], "
    r'"label": "(?P<label>(?:[^"\\]|\\.)*)"'
)
_KEY, _LABEL = "quadrant bbox", "label"
_GAP = "\n\t"
_OPENING, _CLOSING = f"```json\n[{_GAP}", "\n]\n```"
_JSON_PIECE = re.compile(
    rf'(?P<string>"(?:[^"\\]|\\.)*(?:"|\Z))|(?P<numbers>{NUMBER}(?:[\s,]{{1,9}}{NUMBER})*)|(?P<open>\{{)'
    r"|(?P<close>\})|(?P<structure>[\[\],:\s]+|```(?:json)?)|(?P<text>[^\"\{\}\[\],:\s]+)",
    re.DOTALL,
)


@dataclass(frozen=True)
class _PixelCodec(SpelledCodec):
    """What both have in common.

    Raises:
        ConfigError: on construction, also for classes that hold a line break.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.classes:
            if "\n" in name:
                raise ConfigError(f"class {name!r} holds a line break; response_format {self.name} needs it")

    @property
    def in_pixels(self) -> bool:
        return True

    def coordinates(self, quads: Quads, image_wh: tuple[int, int]) -> npt.NDArray[np.int64]:
        """The pixels in which corners lie, those of corners outside the image at its edge."""
        pixels = np.floor(corner_order(as_quads(quads)))
        inside = np.clip(pixels, 0, np.asarray(image_wh, dtype=np.float64) - 1)
        numbers: npt.NDArray[np.int64] = inside.astype(np.int64).reshape(-1, NUMBERS)
        return numbers

    def quads(self, numbers: npt.NDArray[np.float64], image_wh: tuple[int, int]) -> Quads:
        return np.asarray(numbers, dtype=np.float64).reshape(-1, 4, 2) + 0.5

    def _most(self, image_wh: tuple[int, int]) -> tuple[float, float]:
        return image_wh


@dataclass(frozen=True)
class PlainCodec(_PixelCodec):
    """A line a box."""

    @property
    def name(self) -> str:
        return "plain"

    @property
    def form(self) -> TextForm:
        return TextForm(NUMBERS, self._machine, _PLAIN_BOX, nothing=NO_OBJECTS)

    def _write(self, groups: Sequence[tuple[str, list[list[int]]]]) -> str:
        lines = (f"{','.join(map(str, box))} {word}\n" for word, boxes in groups for box in boxes)
        return "".join(lines) or NO_OBJECTS

    def _read(self, reader: BoxReader) -> None:
        if reader.text.strip() == NO_OBJECTS:
            return
        for line in _LINE.finditer(reader.text):
            if line["numbers"]:
                label = (line.start("label"), line.start("label") + len(line["label"].rstrip()))
                reader.add(label if line["label"].strip() else None, line.span("numbers"), named=True)
            else:
                reader.unread(line.span("text"))

    def _machine(self, ordered: bool) -> Machine:
        machine, words = Machine(), ordered_words(self.classes)
        machine.final.add(machine.walk(0, NO_OBJECTS))
        lines: dict[int, int] = {}  # where a line begins, by the first class that it may name

        def line(least: int) -> int:
            if least not in lines:
                lines[least] = machine.state()
                named = machine.join(write_numbers(machine, lines[least], _DIGITS, ","), " ")
                for rank, word in enumerate(words[least:], least):
                    machine.join([machine.walk(named, word)], "\n", line(rank if ordered else 0))
                machine.final.add(lines[least])
            return lines[least]

        machine.next[0] |= machine.next[line(0)]  # apart: behind a line nobody says that there is nothing
        return machine


@dataclass(frozen=True)
class JsonCodec(_PixelCodec):
    """A list of objects."""

    @property
    def name(self) -> str:
        return "json"

    @property
    def form(self) -> TextForm:
        return TextForm(NUMBERS, self._machine, _JSON_BOX, nothing=NO_OBJECTS)

    def _write(self, groups: Sequence[tuple[str, list[list[int]]]]) -> str:
        objects = [
            json.dumps({_KEY: box, _LABEL: word}, ensure_ascii=False)
            for word, boxes in groups
            for box in boxes
        ]
        return f"{_OPENING}{f',{_GAP}'.join(objects)}{_CLOSING}" if objects else NO_OBJECTS

    def _read(self, reader: BoxReader) -> None:
        if reader.text.strip() == NO_OBJECTS:
            return
        found = _JsonObject(reader)
        for piece in _JSON_PIECE.finditer(reader.text):
            if piece["open"] or piece["close"]:
                found.finish()
                found = _JsonObject(reader)
            elif piece["numbers"]:
                found.numbers.append(piece.span())
            elif piece["string"]:
                found.take_string(piece["string"], piece.span())
            elif piece["text"]:
                reader.unread(piece.span())
        found.finish()

    def _machine(self, ordered: bool) -> Machine:
        machine, words = Machine(), ordered_words(self.classes)
        machine.final.add(machine.walk(0, NO_OBJECTS))
        over = machine.state()
        machine.final.add(over)
        opened: dict[int, int] = {}  # where the first number is expected, by the first class that may follow

        def box(least: int) -> int:
            if least not in opened:
                opened[least] = machine.state()
                ends = write_numbers(machine, opened[least], _DIGITS, ", ")
                named = machine.join(ends, f'], "{_LABEL}": "')
                for rank, word in enumerate(words[least:], least):
                    whole = machine.join(
                        [machine.walk(named, json.dumps(word, ensure_ascii=False)[1:-1])], '"}'
                    )
                    machine.join([whole], _CLOSING, over)
                    machine.join([whole], f',{_GAP}{{"{_KEY}": [', box(rank if ordered else 0))
            return opened[least]

        machine.join([0], f'{_OPENING}{{"{_KEY}": [', box(0))
        return machine


class _JsonObject:
    """One object of a JSON answer while it is read."""

    def __init__(self, reader: BoxReader) -> None:
        self._reader = reader
        self._label: Span | None = None
        self._said = ""
        self._expects_label = False
        self.numbers: list[Span] = []

    def take_string(self, written: str, span: Span) -> None:
        """A key or a value."""
        try:
            said = str(json.loads(written))
        except ValueError:  # cut off, or an escape that there is not
            said = written.strip('"')
        inside = (span[0] + 1, span[1] - written.endswith('"'))
        if self._expects_label:
            self._label, self._said, self._expects_label = (inside[0], max(inside)), said, False
        elif said == _LABEL:
            self._expects_label = True
        elif said != _KEY:
            self._reader.unread(span)

    def finish(self) -> None:
        """The object is over."""
        if self._label and not self.numbers:
            self._reader.unread(self._label)
        for place, numbers in enumerate(self.numbers):
            self._reader.add(self._label, numbers, named=not place, said=self._said if self._label else None)
