"""Reading answers exactly as the published code does, quirks included.

Kept for parity with recorded results; the default reader loses nothing silently, this one does: a newline
or ``</poly>`` after a class name drops the instance, a text that begins with locations loses the first,
9 to 15 numbers give one box, any name is taken for the nearest class, and bins beyond the last are accepted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from lmmrotate.codec.base import BoxSpans, Decoded, Span
from lmmrotate.codec.labels import SpokenLabels
from lmmrotate.codec.quantize import dequantize

# The patterns are written so that time grows in line with the text, whatever a model writes.
IGNORED = re.compile(r"</?s>|<pad>")
_INSTANCE = re.compile(r"[^<]+(?P<tokens>(?:<loc_\d+>|<sep>|<poly>|</poly>){4,})?", re.ASCII)
_LEADING_REST = re.compile(r"loc_\d+>", re.ASCII)  # what [^<]+ leaves of a location token
_NAME = re.compile(r".*?(?=<loc_|<poly>)")
_ENCLOSED = re.compile(r"<poly>(.*?)(</poly>|\Z)", re.DOTALL)
_RUN = re.compile(r"((?:<loc_\d+>)+)(<sep>|\Z)?", re.ASCII)
# More digits than int64 has make a token that fills no place in a box.
_LOCATION = re.compile(r"<loc_(\d{1,18})>", re.ASCII)


def read_compatible(text: str, image_wh: tuple[int, int], bins: int, known: SpokenLabels) -> Decoded:
    """Boxes as the published ``post_process_generation`` and ``postprocess_parsed_answer`` give them.

    Never raises. Problems are not recorded.
    """
    plain = IGNORED.sub("", text)
    places = _places_kept(text)
    boxes: list[list[int]] = []
    labels: list[str] = []
    spans: list[BoxSpans] = []
    for instance in _INSTANCE.finditer(plain):
        if not instance["tokens"]:
            continue
        start, end = instance.span()
        if rest := _LEADING_REST.match(plain, start):
            start = rest.end()
        while plain[start].isspace():
            start += 1
        name = _NAME.match(plain, start, end)
        said = name[0].rstrip() if name else ""
        match = known.match(said) if said else None
        if not match:
            continue
        for run in _runs(plain, start, end):
            opening: Span = (start, start + len(said))
            if plain.endswith("<sep>", start, run[0]):
                opening = (run[0] - len("<sep>"), run[0])
            locations = list(_LOCATION.finditer(plain, *run))
            for first in (0, 8) if len(locations) == 16 else (0,):
                box = locations[first : first + 8]
                if len(box) < 8:
                    continue
                coordinates = (box[0].start(), box[-1].end())
                if first:
                    opening = (coordinates[0], coordinates[0])
                boxes.append([int(location[1]) for location in box])
                labels.append(match.name)
                spans.append(BoxSpans(_in_text(opening, places), _in_text(coordinates, places)))
    points = np.asarray(boxes, dtype=np.int64).reshape(-1, 4, 2)
    return Decoded(dequantize(points, image_wh, bins), tuple(labels), tuple(spans))


def _runs(plain: str, start: int, end: int) -> Iterator[Span]:
    """Unbroken locations that a ``<sep>`` or the end follows; inside ``<poly>`` pairs where there are any."""
    parts = [m.span(1) for m in _ENCLOSED.finditer(plain, start, end) if m[2]]
    if "<poly>" not in plain[start:end] or "</poly>" not in plain[start:end]:
        parts = [(start, end)]
    for part in parts:
        yield from (run.span(1) for run in _RUN.finditer(plain, *part) if run[2] is not None)


def _places_kept(text: str) -> npt.NDArray[np.int64]:
    """Where in ``text`` each character stands that is not of an ignored token."""
    kept = np.ones(len(text), dtype=np.bool_)
    for token in IGNORED.finditer(text):
        kept[token.start() : token.end()] = False
    return np.flatnonzero(kept)


def _in_text(span: Span, places: npt.NDArray[np.int64]) -> Span:
    """The same characters, counted in the text with its ignored tokens."""
    start = int(places[span[0]])
    return (start, int(places[span[1] - 1]) + 1) if span[0] < span[1] else (start, start)
