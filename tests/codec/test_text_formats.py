"""Formats that spell their numbers: what is written is read, what is not read is told."""

import json
import random
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmmrotate.codec.allseeing import AllSeeingCodec
from lmmrotate.codec.base import BoxCodec, TextForm
from lmmrotate.codec.loc_tokens import corner_order
from lmmrotate.codec.machine import Machine
from lmmrotate.codec.registry import codec_from_json, make_codec
from lmmrotate.codec.shown import as_shown
from lmmrotate.errors import ConfigError

from ..conftest import FindFile

CLASSES = ("ship", "Small-Vehicle", "ship yard", "boeing737")
NAMES = ("allseeing", "plain", "json")
SIZE = (640, 480)


def made(name: str, classes: tuple[str, ...] = CLASSES) -> BoxCodec:
    return make_codec(name, classes)


def form(codec: BoxCodec) -> TextForm:
    found = codec.form
    assert isinstance(found, TextForm)
    return found


@st.composite
def boxes(draw: st.DrawFn) -> tuple[np.ndarray, list[str]]:
    labels = draw(st.lists(st.sampled_from(CLASSES), max_size=5))
    corners = st.tuples(st.floats(0, SIZE[0]), st.floats(0, SIZE[1]))
    quads = [draw(st.tuples(*[corners] * 4)) for _ in labels]
    return np.array(quads, dtype=np.float64).reshape(-1, 4, 2), labels


@pytest.mark.parametrize("name", NAMES)
@given(data=boxes())
def test_what_is_written_is_read(name: str, data: tuple[np.ndarray, list[str]]) -> None:
    quads, labels = data
    codec = made(name)
    text = codec.encode(quads, labels, SIZE)
    for ordered in (False, True):
        assert form(codec).machine(ordered).accepts(text)
    decoded = codec.decode(text, SIZE)
    assert not decoded.problems
    assert sorted(decoded.labels) == sorted(labels)
    half = np.array(SIZE) / 2000 if name == "allseeing" else np.full(2, 0.5)
    truth = sorted(zip(labels, corner_order(quads).tolist(), strict=True))
    for label, found in zip(decoded.labels, decoded.quads, strict=True):
        errors = [np.abs(np.array(quad) - found).max(axis=0) for other, quad in truth if other == label]
        assert any((error <= half + 1e-9).all() for error in errors)
    for span, quad in zip(decoded.spans, decoded.quads, strict=True):
        numbers = [float(text[slice(*number)]) for number in span.numbers]
        assert np.array_equal(codec.quads(np.array([numbers]), SIZE)[0], quad)
        assert span.coordinates == (span.numbers[0][0], span.numbers[-1][1])
    assert codec_from_json(json.loads(json.dumps(codec.to_json()))) == codec


def test_the_formats_look_as_published() -> None:
    quads = np.array([[[10, 20], [30, 20], [30, 50], [10, 50]], [[1, 2], [3, 2], [3, 5], [1, 5]]], float)
    labels = ["Small-Vehicle", "ship"]
    expected = {
        "allseeing": "<ref>small vehicle</ref><box>[[15, 41, 15, 104, 46, 104, 46, 41]]</box>"
        "<ref>ship</ref><box>[[1, 4, 1, 10, 4, 10, 4, 4]]</box>",
        "plain": "10,20,10,50,30,50,30,20 small vehicle\n1,2,1,5,3,5,3,2 ship\n",
        "json": '```json\n[\n\t{"quadrant bbox": [10, 20, 10, 50, 30, 50, 30, 20], "label": "small vehicle"}'
        ',\n\t{"quadrant bbox": [1, 2, 1, 5, 3, 5, 3, 2], "label": "ship"}\n]\n```',
    }
    nothing = {"allseeing": "", "plain": "There are none.", "json": "There are none."}
    for name in NAMES:
        codec = made(name)
        assert codec.encode(quads, labels, SIZE) == expected[name]
        assert codec.encode(np.empty((0, 4, 2)), [], SIZE) == nothing[name] == form(codec).nothing
        assert not codec.decode(nothing[name], SIZE).problems


FIRST = [10, 20, 30, 20, 30, 50, 10, 50]
TEN = ", ".join(map(str, FIRST))


@pytest.mark.parametrize(
    ("name", "text", "labels", "problems"),
    [
        ("allseeing", f"<ref>ships</ref><box>[[{TEN}]]</box>", ["ship"], ["corrected_label"]),
        ("allseeing", f"<ref> ship </ref> <box> [ [{TEN}] , [{TEN}", ["ship", "ship"], []),
        ("allseeing", f"<ref>ship</ref><box>[[{TEN}], [1, 2", ["ship"], ["incomplete_box"]),
        ("allseeing", f"<ref>ship</ref><box>[[{TEN}, {TEN}]]</box>", ["ship", "ship"], []),
        ("allseeing", "<ref>ship</ref><box>[[1, 2, 3, 4, 5, 6, 7, 1000]]</box>", [], ["out_of_range"]),
        ("allseeing", f"<box>[[{TEN}]]</box>", [], ["no_label"]),
        ("allseeing", f"<ref>zebra</ref><box>[[{TEN}]]</box><ref>ship</ref><box>[[{TEN}]]</box>",
         ["ship"], ["unknown_label"]),
        ("allseeing", "<ref>ship</ref>", [], ["unread_text"]),
        ("plain", f"{TEN} ship\n\nhello\n{TEN} ship yard", ["ship", "ship yard"], ["unread_text"]),
        ("plain", f"{TEN} ship\n1,2,3", ["ship"], ["no_label"]),
        ("plain", "1,2,3,4,5 ship", [], ["incomplete_box"]),
        ("plain", "1,2,3,4,5,6,7.5,8 ship", ["ship"], []),
        ("plain", "1,2,3,4,5,6,-7,8 ship\n1,2,3,4,5,6,641,8 ship", [], ["out_of_range"] * 2),
        ("plain", f"{TEN} boeing737", ["boeing737"], []),
        ("json", f'```json\n[{{"label": "ship", "quadrant bbox": [{TEN}]}}]\n```', ["ship"], []),
        ("json", f'[{{"quadrant bbox": [{TEN}], "label": "ship"}}, {{"quadrant bbox": [1, 2',
         ["ship"], ["no_label"]),
        ("json", f'[{{"quadrant bbox": [{TEN}], "label": "sh', [], ["unknown_label"]),
        ("json", f'[{{"quadrant bbox": [{TEN}]}}]', [], ["no_label"]),
        ("json", f'[{{"box": [{TEN}], "label": "ship"}}]', ["ship"], ["unread_text"]),
        ("json", '[{"label": "ship"}]', [], ["unread_text"]),
        ("json", "sorry", [], ["unread_text"]),
        ("json", "[]", [], []),
    ],
)  # fmt: skip
def test_broken_answers(name: str, text: str, labels: list[str], problems: list[str]) -> None:
    decoded = made(name).decode(text, SIZE)
    assert list(decoded.labels) == labels
    assert [problem.kind for problem in decoded.problems] == problems
    assert all(quad.shape == (4, 2) for quad in decoded.quads)


PIECES = [
    "<ref>", "</ref>", "<box>", "</box>", "[", "]", "[[", ", ", ",", "\n", " ", "ship", "yard", "12", "700",
    "-3.5", '"label"', '"quadrant bbox"', ": ", "{", "}", '"', "\\", TEN, "zebra", "<", "boeing737",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=300)
@given(text=st.lists(st.sampled_from(PIECES), max_size=40).map("".join) | st.text(max_size=60))
def test_nothing_is_lost_silently(name: str, text: str) -> None:
    decoded = made(name).decode(text, SIZE)
    assert len(decoded.quads) == len(decoded.labels) == len(decoded.spans)
    told = sum(text[slice(*s.coordinates)].count(d) for s in decoded.spans for d in "0123456789")
    told += sum(p.text.count(d) for p in decoded.problems for d in "0123456789")
    numbers_in_names = sum(text[slice(*s.opening)].count(d) for s in decoded.spans for d in "0123456789")
    assert told + numbers_in_names >= sum(text.count(d) for d in "0123456789")
    for word in ("zebra",):
        assert sum(p.text.count(word) for p in decoded.problems) >= text.count(word)


def walk(machine: Machine, seed: int) -> str:
    """A random text that the machine lets be written, ending as soon as it may when it gets long."""
    rng, state, out = random.Random(seed), 0, bytearray()
    while state not in machine.final or rng.random() > 0.2:
        if not machine.next[state]:
            break
        byte = rng.choice(sorted(machine.next[state]))
        out.append(byte)
        state = machine.next[state][byte]
    return out.decode()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ordered", [False, True])
@settings(max_examples=50)
@given(seed=st.integers(0, 10**9))
def test_what_the_grammar_allows_can_be_read(name: str, ordered: bool, seed: int) -> None:
    codec = made(name)
    text = walk(form(codec).machine(ordered), seed)
    decoded = codec.decode(text, (10**6, 10**6))
    assert not decoded.problems
    if ordered:
        plain = [label.replace("-", " ") for label in decoded.labels]
        assert plain == sorted(plain)
    found = form(codec).box.findall(text + "\n")
    assert len(found) == len(decoded.labels)


def test_json_escapes_names() -> None:
    codec = make_codec("json", ['say "ship"', "back\\slash", "größe"])
    quads = np.tile(np.array(FIRST, float).reshape(1, 4, 2), (3, 1, 1))
    text = codec.encode(quads, codec.classes, SIZE)
    assert sorted(codec.decode(text, SIZE).labels) == sorted(codec.classes)
    assert form(codec).machine(True).accepts(text)
    inside = text.removeprefix("```json\n").removesuffix("\n```")
    assert [entry["label"] for entry in json.loads(inside)] == sorted(codec.words)
    with pytest.raises(ConfigError, match="line break"):
        make_codec("plain", ["a\nb"])


@pytest.mark.parametrize("name", ["plain", "json"])
@given(
    wh=st.tuples(st.integers(30, 4000), st.integers(30, 4000)),
    shown=st.tuples(st.integers(28, 2000), st.integers(28, 2000)),
    share=st.lists(st.floats(0, 1), min_size=8, max_size=8),
)
def test_coordinates_come_back_through_the_resize(
    name: str, wh: tuple[int, int], shown: tuple[int, int], share: list[float]
) -> None:
    codec = as_shown(make_codec(name, ["ship"]), lambda _: shown)
    quad = np.array(share).reshape(1, 4, 2) * wh
    found = codec.decode(codec.encode(quad, ["ship"], wh), wh)
    pixel = np.array(wh) / shown  # of the image as shown, in pixels of the image as it is
    assert (np.abs(found.quads - corner_order(quad * shown / wh) * wh / shown) <= pixel / 2 + 1e-6).all()
    assert as_shown(made("allseeing"), lambda _: shown) == made("allseeing")


def _entries(golden: FindFile, part: str) -> list[dict[str, object]]:
    return list(json.loads(golden("c_allseeing.json").read_text(encoding="utf-8"))[part])


WELL_FORMED = re.compile(r"(?:[a-z][a-z0-9 ]*(?:(?:<loc_\d+>){8}(?:<sep>(?=<loc))?)+)+")


def test_golden_answers_are_written_alike(golden: FindFile) -> None:
    """Groups as they stand; the published converter also turns broken answers, which no codec writes."""
    same = 0
    for entry in _entries(golden, "encode"):
        answer = str(entry["florence"])
        if not WELL_FORMED.fullmatch(answer):
            continue
        text = AllSeeingCodec(("ship",))._write(
            [
                (word, [[*map(int, re.findall(r"\d+", box))] for box in rest.split("<sep>")])
                for word, rest in re.findall(r"([a-z][a-z0-9 ]*)((?:<loc_\d+>|<sep>)+)", answer)
            ]
        )
        assert text == entry["allseeing"]
        same += 1
    assert same >= 45


def test_golden_boxes_are_read(golden: FindFile) -> None:
    read = 0
    for entry in _entries(golden, "decode"):
        rod = entry.get("rod")
        if not isinstance(rod, dict):
            continue
        labels = [str(label).split("<")[0] for label in rod["labels"]]
        width, height = entry["image_size_wh"]  # type: ignore[misc]
        codec = make_codec("allseeing", sorted(set(filter(str.strip, labels))) or ["ship"])
        decoded = codec.decode(str(entry["text"]), (width, height))
        mine = [
            (label, tuple(np.float32(quad).ravel().tolist()))
            for label, quad in zip(decoded.labels, decoded.quads, strict=True)
        ]
        for label, polygons in zip(labels, rod["polygons"], strict=True):
            for polygon in (np.array(polygon[:8]) for polygon in polygons if len(polygon) >= 8):
                if (polygon.reshape(-1, 2) > (width, height)).any():  # bins that do not exist
                    continue
                near = [np.abs(np.subtract(quad, polygon)).max() for name, quad in mine if name == label]
                assert near, entry["text"]
                assert min(near) <= 1e-3 * max(width, height), entry["text"]
                read += 1
    assert read > 100
