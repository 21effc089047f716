"""Files of training answers: JSON lists in which an image's objects are one text.

``lmmrotate_sft``, the published LMMRotate system's own (``convert_dota_for_sft.py``): COCO's image rows with
the answer::

    [{"id": 1, "file_name": "P0001.png", "width": 1024, "height": 1024, "response": "ship<loc_1>…"}]

``llava``, conversations as LLaVA and many VLM trainers read them::

    [{"id": "P0001.png", "image": "P0001.png",
      "conversations": [{"from": "human", "value": "<image>\\nLocate …"},
                        {"from": "gpt", "value": "ship<loc_1>…"}]}]

Versions 1 and 2 of the published answers leave out images without objects, version 3 writes "There are
none."; all three are read.

What an answer says is ``lmmrotate.codec``'s business, which this layer does not know: whoever knows both
hands the codec in, ``answer_formats(LocTokenCodec, prompt)``. Answers give coordinates in bins (a thousandth
of the image), class names as they are spoken, no difficulty, and boxes and corners in an order of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from lmmrotate.data.formats.base import ConversionReport, Format, WriteReport
from lmmrotate.data.formats.json_files import as_object, image_under, read_json
from lmmrotate.data.formats.objects import SMALLEST_AREA, Bad, Found, read_listed
from lmmrotate.data.images import find_images
from lmmrotate.data.jsonl import dump_line, get, get_image, write_text_atomic
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.records import ImageRecord
from lmmrotate.errors import ConfigError, DataError, Problem
from lmmrotate.geometry.quads import Quads, quad_areas

_GUESSED = "corrected_label"  # the codec's note that it took a name for the class most like it
_LONGEST = 80  # characters of an answer that a message shows


class Answer(Protocol):
    """What ``codec.base.Decoded`` offers."""

    @property
    def quads(self) -> Quads: ...
    @property
    def labels(self) -> tuple[str, ...]: ...
    @property
    def problems(self) -> tuple[Problem, ...]: ...


class AnswerCodec(Protocol):
    """What ``codec.base.BoxCodec`` offers."""

    def encode(self, quads: Quads, labels: Sequence[str], image_wh: tuple[int, int]) -> str: ...
    def decode(self, text: str, image_wh: tuple[int, int]) -> Answer: ...


CodecMaker = Callable[[tuple[str, ...]], AnswerCodec]
"""Makes the codec of a class list."""
_GetAnswer = Callable[[dict[str, Any], str], tuple[str, str]]
"""From a row and its place to image name and answer."""
_MakeRow = Callable[[int, ImageRecord, str], dict[str, Any]]
"""From an image's number, the image and its answer to a row."""


def answer_formats(make_codec: CodecMaker, prompt: str) -> tuple[Format, ...]:
    """The two formats.

    Args:
        make_codec: ``LocTokenCodec``, or a function that makes it with other options.
        prompt: the question that is written into conversations; reading does not look at it.
    """
    kinds: dict[str, tuple[_GetAnswer, _MakeRow]] = {
        "lmmrotate_sft": (_sft_answer, _sft_row),
        "llava": (_llava_answer, partial(_llava_row, prompt)),
    }
    return tuple(
        Format(name, partial(_read, make_codec, get_answer), partial(_write, make_codec, make_row), "file")
        for name, (get_answer, make_row) in kinds.items()
    )


def _read(
    make_codec: CodecMaker,
    get_answer: _GetAnswer,
    image_folder: Path,
    annotations: Path | None,
    *,
    classes: Sequence[str] | None = None,
    left_out: Sequence[str] = (),
    **options: Any,
) -> tuple[Manifest, ConversionReport]:
    """Read the images of one file (see ``formats.base.Reader``, ``formats.objects.read_listed``).

    Raises:
        ConfigError: without ``classes``: what is spoken "small vehicle" may be spelled in several ways. Also,
            whatever ``on_bad`` says, for a class name that is only like one of the list, as the list is then
            probably another's.
        DataError: as ``read_listed``; also, whatever ``on_bad`` says, for a row without image or answer.
    """
    listed: dict[str, Callable[[tuple[int, int]], Iterable[Found | Bad]]] = {}
    if annotations is None:
        listed = {path.name: lambda wh: () for path in find_images([image_folder])}
    else:
        if not classes:
            raise ConfigError(f"{annotations}: answers name classes as they are spoken; give the class list")
        codec = make_codec(tuple(dict.fromkeys((*classes, *left_out))))
        rows = read_json(annotations)
        if not isinstance(rows, list):
            raise DataError(f"{annotations}: expected a list of images, found a {type(rows).__name__}")
        for index, row in enumerate(rows):
            where = f"{annotations}: [{index}]"
            name, answer = get_answer(as_object(row, where), where)
            if name in listed:
                raise DataError(f"{where}: image {name!r} stands there already")
            listed[name] = partial(_objects, codec, where, answer)
    return read_listed(image_folder, listed, classes=classes, left_out=left_out, **options)


def _objects(codec: AnswerCodec, where: str, text: str, wh: tuple[int, int]) -> Iterator[Found | Bad]:
    answer = codec.decode(text, wh)
    for problem in answer.problems:
        piece = problem.text if len(problem.text) <= _LONGEST else problem.text[:_LONGEST] + "…"
        if problem.kind == _GUESSED:
            raise ConfigError(f"{where}: {piece!r} is no class of the list, only like one")
        reason = problem.kind.replace("_", " ")
        yield Bad(where, reason, f"the answer cannot be read, {reason}: {piece!r}")
    for quad, label in zip(answer.quads, answer.labels, strict=True):
        yield Found(where, label, [float(value) for value in quad.reshape(8)])


def _sft_answer(row: dict[str, Any], where: str) -> tuple[str, str]:
    key = "file_name" if "file_name" in row else "image"
    return image_under(row, key, where), str(get(row, "response", str, where))


def _llava_answer(row: dict[str, Any], where: str) -> tuple[str, str]:
    turns = get(row, "conversations", list, where)
    answers = [turn.get("value") for turn in turns if isinstance(turn, dict) and turn.get("from") == "gpt"]
    if len(answers) != 1 or not isinstance(answers[0], str):
        raise DataError(
            f"{where}: 'conversations' must hold one answer {{'from': 'gpt', 'value': text}}, "
            f"found {len(answers)}"
        )
    return get_image(row, where), answers[0]


def _sft_row(number: int, record: ImageRecord, answer: str) -> dict[str, Any]:
    size = {"width": record.width, "height": record.height}
    return {"id": number, "file_name": record.image, **size, "response": answer}


def _llava_row(prompt: str, number: int, record: ImageRecord, answer: str) -> dict[str, Any]:
    turns = [{"from": "human", "value": f"<image>\n{prompt}"}, {"from": "gpt", "value": answer}]
    return {"id": record.image, "image": record.image, "conversations": turns}


def _write(make_codec: CodecMaker, make_row: _MakeRow, manifest: Manifest, out: Path) -> WriteReport:
    """Write one file, an image a line.

    An image for which the codec has no answer (no objects, versions 1 and 2) is left out and counted.
    """
    codec = make_codec(manifest.classes)
    lost: Counter[str] = Counter()
    rows = []
    objects = 0
    for number, record in enumerate(manifest.records, start=1):
        answer = codec.encode(record.quads, record.labels, record.wh)
        if answer:
            rows.append(dump_line(make_row(number, record, answer)).rstrip("\n"))
            objects += len(record.labels)
            _count_lost(record, codec.decode(answer, record.wh), lost)
        else:
            lost["images without objects"] += 1
    write_text_atomic(out, ["[\n", ",\n".join(rows), "\n]\n"])
    return WriteReport(out, len(rows), objects, {what: n for what, n in lost.items() if n})


def _count_lost(record: ImageRecord, read_back: Answer, lost: Counter[str]) -> None:
    quads = record.quads
    outside = ((quads < 0) | (quads > record.wh)).any(axis=(1, 2))
    lost["coordinates finer than a bin"] += len(quads)
    lost["order of objects and of corners"] += len(quads)
    lost["difficulty"] += sum(flag != 0 for flag in record.difficult)
    lost["corners outside the image"] += int(outside.sum())
    lost["area of objects thinner than a bin"] += int((quad_areas(read_back.quads) < SMALLEST_AREA).sum())
