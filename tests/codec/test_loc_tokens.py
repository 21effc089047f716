import json
import re
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from lmmrotate.codec.labels import SpokenLabels
from lmmrotate.codec.loc_tokens import LocTokenCodec, corner_order
from lmmrotate.codec.quantize import dequantize, quantize
from lmmrotate.codec.registry import codec_from_json, make_codec
from lmmrotate.errors import CheckpointError, ConfigError, DataError
from lmmrotate.geometry.quads import Quads, as_quads

CODEC = LocTokenCodec(classes=("small-vehicle", "ship", "tennis-court"))
SIZE = st.integers(1, 20_000)
EIGHT = "<loc_1>" * 8


def locs(*numbers: int) -> str:
    return "".join(f"<loc_{n}>" for n in numbers)


@given(width=SIZE, height=SIZE, bins=st.sampled_from([2, 100, 1000]), seed=st.integers(0, 9999))
def test_round_trip_is_within_half_a_bin(width: int, height: int, bins: int, seed: int) -> None:
    wh = (width, height)
    points = np.random.default_rng(seed).uniform(0, 1, (5, 4, 2)) * wh
    again = dequantize(quantize(points, wh, bins), wh, bins)
    assert (np.abs(again - points) <= np.asarray(wh) / (2 * bins) * (1 + 1e-9)).all()
    assert (quantize(again, wh, bins) == quantize(points, wh, bins)).all()


@given(
    seed=st.integers(0, 9999),
    count=st.integers(0, 12),
    version=st.sampled_from([1, 2, 3]),
    compatible=st.booleans(),
)
def test_what_is_written_is_read_back(seed: int, count: int, version: int, compatible: bool) -> None:
    rng = np.random.default_rng(seed)
    quads = rng.uniform(0, 1, (count, 4, 2)) * (640, 480)
    labels = [str(rng.choice(CODEC.classes)) for _ in range(count)]
    # The published reader loses runs of more than 16 numbers, so more than two boxes without <sep>.
    assume(not compatible or version > 1 or max(Counter(labels).values(), default=0) <= 2)
    codec = LocTokenCodec(CODEC.classes, response_version=version, compatible=compatible)
    decoded = codec.decode(codec.encode(quads, labels, (640, 480)), (640, 480))
    assert not decoded.problems
    # The answer has its own order of boxes: compare them by class and bins, which the reader gets exactly.
    assert sorted(rows(decoded.labels, decoded.quads)) == sorted(rows(labels, corner_order(quads)))


def rows(labels: Sequence[str], quads: Quads) -> list[tuple[str, list[int]]]:
    return [(label, quantize(q, (640, 480)).ravel().tolist()) for label, q in zip(labels, quads, strict=True)]


@pytest.mark.parametrize(
    ("text", "boxes", "kinds"),
    [
        ("", 0, []),
        ("  \n", 0, []),
        ("There are none.", 0, []),
        ("<s>There are none.</s><pad>", 0, []),
        (f"There are none.ship{EIGHT}", 0, ["unknown_label"]),
        (f"ship{EIGHT}There are none.", 1, ["unread_text"]),
        (f"ship{EIGHT}", 1, []),
        (f"</s><s> ship \n{EIGHT}</s>", 1, []),
        (f"SHIP{EIGHT}", 1, []),
        (f"ship{EIGHT}<sep>{EIGHT}", 2, []),
        (f"ship{EIGHT}{EIGHT}{EIGHT}", 3, []),
        (f"ship{EIGHT}<sep><loc_2><loc_3>", 1, ["incomplete_box"]),
        (f"ship{EIGHT}<loc_2>", 1, ["incomplete_box"]),
        (f"ship{locs(1, 2)}<sep>{EIGHT}", 1, ["incomplete_box"]),
        ("ship" + locs(1, 2, 3, 4, 5, 6, 7, 1000), 0, ["out_of_range"]),
        (f"dock{EIGHT}<sep>{EIGHT}", 0, ["unknown_label", "unknown_label"]),
        (f"shipp{EIGHT}", 1, ["corrected_label"]),
        (f"tennis courts{EIGHT}<sep>{EIGHT}", 2, ["corrected_label"]),
        (f"small-vehicle{EIGHT}Small Vehicle{EIGHT}", 2, []),
        (EIGHT, 0, ["no_label"]),
        (f"<sep>{EIGHT}", 0, ["no_label"]),
        (f"ship{EIGHT}tennis court", 1, ["unread_text"]),
        (f"ship{EIGHT}<sep>", 1, ["unread_text"]),
        (f"ship{EIGHT}<sep><sep>{EIGHT}", 2, ["unread_text"]),
        (f"ship{EIGHT}<sep>ship{EIGHT}", 2, ["unread_text"]),
        (f"ship<sep>{EIGHT}", 1, ["unread_text"]),
        ("ship<sep><loc_1>", 0, ["incomplete_box"]),
        ("<sep>ship<loc_1>", 0, ["incomplete_box", "unread_text"]),
        (f"ship<loc_>{EIGHT}", 0, ["unknown_label"]),
        (f"ship<loc_{'9' * 5000}>{EIGHT}", 0, ["unknown_label"]),
        (f"ship{EIGHT}<loc_٣>", 1, ["unread_text"]),
        ("ship", 0, ["unread_text"]),
    ],
)
def test_reading_keeps_what_it_can_and_reports_the_rest(text: str, boxes: int, kinds: list[str]) -> None:
    decoded = CODEC.decode(text, (100, 50))
    assert decoded.quads.shape == (boxes, 4, 2)
    assert len(decoded.labels) == len(decoded.spans) == boxes
    assert [p.kind for p in decoded.problems] == kinds


def test_spans_point_at_what_wrote_the_box() -> None:
    text = f"<s>small vehicle{locs(*range(8))}<sep>{locs(*range(8, 16))}{locs(*range(16, 24))}"
    decoded = CODEC.decode(text, (1000, 1000))
    assert decoded.labels == ("small-vehicle",) * 3
    openings = [text[slice(*s.opening)] for s in decoded.spans]
    assert openings == ["small vehicle", "<sep>", ""]
    assert [text[slice(*s.coordinates)] for s in decoded.spans] == [
        locs(*range(8)),
        locs(*range(8, 16)),
        locs(*range(16, 24)),
    ]
    assert decoded.quads[1].reshape(-1).tolist() == [n + 0.5 for n in range(8, 16)]


def test_spans_are_those_of_the_text_with_its_special_tokens() -> None:
    first, second, third = (locs(*range(n, n + 8)) for n in (0, 8, 16))
    text = f"</s><s>ship{first}{second}<sep>{third}</s><pad>"
    for compatible in (False, True):
        decoded = LocTokenCodec(CODEC.classes, compatible=compatible).decode(text, (1000, 1000))
        assert [text[slice(*s.opening)] for s in decoded.spans] == ["ship", "", "<sep>"]
        assert [text[slice(*s.coordinates)] for s in decoded.spans] == [first, second, third]


TOKENS = ("<s>", "</s>", "<pad>")
PIECES = [
    *("ship", "dock", "shipp", "small vehicle", "There are none.", " ", "\n", "\u0663", "<", ">"),
    *("<sep>", "<loc_0>", "<loc_999>", "<loc_1000>", "<loc_", "loc_3>", "<poly>", "</poly>", EIGHT),
    *TOKENS,
]
TEXTS = st.text() | st.lists(st.sampled_from(PIECES), max_size=40).map("".join)


def without_tokens(text: str) -> str:
    return re.sub("|".join(TOKENS), "", text)


@given(text=TEXTS)
@example("ship<sep><loc_1>")
@example("0<sep><sep><loc_0>")
@settings(max_examples=400)
def test_reading_never_raises_and_loses_nothing(text: str) -> None:
    decoded = CODEC.decode(text, (64, 64))
    assert len(decoded.quads) == len(decoded.labels) == len(decoded.spans)
    if without_tokens(text).strip() == "There are none.":
        assert not decoded.problems
        return
    read = [text[slice(*part)] for s in decoded.spans for part in (s.opening, s.coordinates)]
    assert not any(part.strip() == "" for part in read if part)
    unread = [p.text for p in decoded.problems if p.kind != "corrected_label"]
    assert all(piece in text for piece in unread)

    def characters(parts: list[str]) -> Counter[str]:
        return Counter("".join("".join(without_tokens(part) for part in parts).split()))

    # Each character once: nothing is lost and nothing told twice. Removing a token can join two halves
    # into another, so the whole text is cut at the tokens, as the reader does.
    assert characters(read + unread) == characters(re.split("|".join(TOKENS), text))


@given(text=TEXTS)
@settings(max_examples=400)
def test_compatible_reading_never_raises_and_points_at_eight_numbers(text: str) -> None:
    decoded = LocTokenCodec(CODEC.classes, compatible=True).decode(text, (64, 64))
    assert len(decoded.quads) == len(decoded.labels) == len(decoded.spans)
    for span in decoded.spans:
        assert re.fullmatch(r"(<loc_\d+>){8}", without_tokens(text[slice(*span.coordinates)]))
        assert 0 <= span.opening[0] <= span.opening[1] <= span.coordinates[0] < span.coordinates[1]


@pytest.mark.parametrize("compatible", [False, True])
@pytest.mark.parametrize(
    "text",
    [
        "a" * 100_000,
        ">" * 100_000,
        " " * 100_000 + "<sep>" * 4,
        "<poly>" * 20_000,
        EIGHT * 5_000,
        "a" + "<loc_1>" * 20_000 + "</poly>",
        "a</poly>" + "<poly>" * 20_000,
    ],
    ids=lambda text: text[:8] + "…" + text[-8:],
)
def test_time_grows_in_line_with_the_text(text: str, compatible: bool) -> None:
    codec = LocTokenCodec(CODEC.classes, compatible=compatible)
    begin = time.process_time()
    codec.decode(text, (64, 64))
    assert time.process_time() - begin < 1.5  # quadratic patterns took above 10 s, these about 0.05 s


def test_labels_are_matched_with_a_cutoff() -> None:
    names = SpokenLabels(("plane", "small-vehicle", "harbor", "roundabout"))
    assert names.words == ("plane", "small vehicle", "harbor", "roundabout")
    for said, name in [
        ("small  vehicle", "small-vehicle"),
        ("harbour", "harbor"),
        ("smallvehicle", "small-vehicle"),
    ]:
        match = names.match(said)
        assert match is not None
        assert match.name == name
    assert [names.match(said) for said in ("boat", "xyz", "12", "vehicle", "")] == [None] * 5


def test_a_label_equally_near_to_two_classes_is_unknown() -> None:
    codec = LocTokenCodec(("boeing737", "boeing747", "ship"))
    decoded = codec.decode(f"boeing757{EIGHT}", (9, 9))
    assert [p.kind for p in decoded.problems] == ["unknown_label"]
    assert codec.decode(f"boeing 747{EIGHT}", (9, 9)).labels == ("boeing747",)


def test_white_space_in_class_names_is_read_back() -> None:
    codec = LocTokenCodec((" ship", "sea - plane"))
    text = codec.encode(np.ones((2, 4, 2)), codec.classes, (9, 9))
    decoded = codec.decode(text, (9, 9))
    assert set(decoded.labels) == set(codec.classes)
    assert not decoded.problems


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("small-vehicle", "ship", "Small vehicle"), "'small-vehicle', 'Small vehicle' are spoken alike"),
        (("ship", " Ship"), "spoken alike"),
        (("ship", "-"), "class '-' cannot be spoken"),
        (("a<loc_1>b",), "cannot be spoken"),
    ],
)
def test_classes_that_a_model_cannot_say_are_refused(classes: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LocTokenCodec(classes)


def test_writing_refuses_what_it_cannot_write() -> None:
    quads = np.ones((1, 4, 2))
    with pytest.raises(DataError, match="label 'dock' is not in the class list: 'small-vehicle', 'ship'"):
        CODEC.encode(quads, ["dock"], (9, 9))
    for labels in ([], ["ship", "ship"]):
        with pytest.raises(ValueError, match="1 quads, but"):
            CODEC.encode(quads, labels, (9, 9))
    with pytest.raises(ValueError, match="not finite"):
        CODEC.encode(quads * np.nan, ["ship"], (9, 9))


@pytest.mark.parametrize(("version", "answer"), [(1, ""), (2, ""), (3, "There are none.")])
def test_answers_for_images_without_objects(version: int, answer: str) -> None:
    codec = LocTokenCodec(CODEC.classes, response_version=version)
    assert codec.encode(np.empty((0, 4, 2)), [], (9, 9)) == answer
    assert codec.decode(answer, (9, 9)).problems == ()


def test_corner_order_ignores_where_a_quad_starts_and_turns() -> None:
    quad = as_quads([[5, 1, 1, 5, 5, 9, 9, 5]])
    for turned in (quad, quad[:, ::-1], np.roll(quad, 2, axis=1)):
        assert corner_order(turned)[0].tolist() == [[5, 1], [1, 5], [5, 9], [9, 5]]
    assert corner_order(as_quads([])).shape == (0, 4, 2)


def test_codecs_by_name() -> None:
    codec = make_codec("florence2", ["ship"], response_version=2)
    assert codec.name == "loc_tokens"
    assert codec.special_tokens == (*(f"<loc_{i}>" for i in range(1000)), "<sep>")
    assert codec_from_json(json.loads(json.dumps(codec.to_json()))) == codec


@pytest.mark.parametrize(
    ("name", "classes", "options", "message"),
    [
        ("boxes", ["ship"], {}, "valid: loc_tokens, florence2, rbox"),
        ("loc_tokens", ["ship"], {"colour": 1}, "unknown option colour; valid: bins, response_version, comp"),
        ("loc_tokens", ["ship"], {"response_version": 4}, "valid: 1, 2, 3"),
        ("loc_tokens", ["ship"], {"bins": 1}, "bins must be a whole number from 2 to 1000000, got 1"),
        ("loc_tokens", "ship", {}, "classes must be a list of names"),
    ],
)
def test_wrong_options_are_refused(name: str, classes: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_codec(name, classes, **options)


@pytest.mark.parametrize(
    "values",
    [
        None,
        {},
        {"name": "loc_tokens"},
        {"name": ["x"], "classes": ["ship"]},
        {"name": "loc_tokens", "classes": [1]},
        {"name": "loc_tokens", "classes": None},
        {"name": "loc_tokens", "classes": ["ship"], "bins": "9"},
        {"name": "loc_tokens", "classes": ["ship"], "bins": 9.5},
        {"name": "from_the_future", "classes": ["ship"]},
    ],
)
def test_a_damaged_description_is_a_checkpoint_error(values: Any) -> None:
    with pytest.raises(CheckpointError, match="the run's codec cannot be built"):
        codec_from_json(values)


@given(numbers=st.lists(st.floats(-9, 70), min_size=8, max_size=8))
def test_coordinates_are_the_numbers_that_are_written(numbers: list[float]) -> None:
    quad = np.reshape(numbers, (1, 4, 2))
    written = re.findall(r"<loc_(\d+)>", CODEC.encode(quad, ["ship"], (64, 48)))
    assert [int(number) for number in written] == CODEC.coordinates(quad, (64, 48))[0].tolist()
    assert len(CODEC.circular) == len(written)
