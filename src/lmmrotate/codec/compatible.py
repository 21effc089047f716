"""Reading answers exactly as the published code does, quirks included.

Kept for parity with recorded results; the default reader loses nothing silently, this one does: a newline
or ``</poly>`` after a class name drops the instance, a text that begins with locations loses the first,
9 to 15 numbers give one box, any name is taken for the nearest class, and bins beyond the last are accepted.
"""

from __future__ import annotations

import re

import numpy as np

from lmmrotate.codec.base import BoxSpans, Decoded
from lmmrotate.codec.labels import SpokenLabels
from lmmrotate.codec.quantize import dequantize

_IGNORED = re.compile(r"</?s>|<pad>")
_INSTANCE = re.compile(r"[^<]+(?:<loc_\d+>|<sep>|<poly>|</poly>){4,}", re.ASCII)
_LEADING_REST = re.compile(r"^loc_\d+>", re.ASCII)  # what [^<]+ leaves of a location token
_NAME = re.compile(r"^\s*(.*?)(?=<od>|</od>|<box>|</box>|<bbox>|</bbox>|<loc_|<poly>)")
_ENCLOSED = re.compile(r"<poly>(.*?)</poly>", re.DOTALL)
_RUN = re.compile(r"((?:<loc_\d+>)+)(?:<sep>|$)", re.ASCII)
_NUMBER = re.compile(r"<loc_(\d{1,18})>", re.ASCII)


def read_compatible(text: str, image_wh: tuple[int, int], bins: int, known: SpokenLabels) -> Decoded:
    """Boxes as the published ``post_process_generation`` and ``postprocess_parsed_answer`` give them.

    Spans are those of ``text`` without start, end and padding tokens. Problems are not recorded.
    """
    plain = _IGNORED.sub("", text)
    boxes: list[list[int]] = []
    labels: list[str] = []
    spans: list[BoxSpans] = []
    for instance in _INSTANCE.finditer(plain):
        phrase = _LEADING_REST.sub("", instance[0], count=1)
        offset = instance.end() - len(phrase)
        name = _NAME.search(phrase)
        if not name:
            continue
        match = known.match(name[1].strip()) if name[1].strip() else None
        if not match:
            continue
        parts = [(m.start(1), m[1]) for m in _ENCLOSED.finditer(phrase)]
        if "<poly>" not in phrase or "</poly>" not in phrase:
            parts = [(0, phrase)]
        opening = (offset + name.start(1), offset + name.end(1))
        for shift, part in parts:
            for run in _RUN.finditer(part):
                numbers = [int(n) for n in _NUMBER.findall(run[1])]
                for start in range(0, 16 if len(numbers) == 16 else 8, 8):
                    if len(numbers) < start + 8:
                        continue
                    boxes.append(numbers[start : start + 8])
                    labels.append(match.name)
                    spans.append(
                        BoxSpans(opening, (offset + shift + run.start(1), offset + shift + run.end(1)))
                    )
    points = np.asarray(boxes, dtype=np.int64).reshape(-1, 4, 2)
    return Decoded(dequantize(points, image_wh, bins), tuple(labels), tuple(spans))
