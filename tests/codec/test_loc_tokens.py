from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmmrotate.codec.labels import SpokenLabels
from lmmrotate.codec.loc_tokens import LocTokenCodec, corner_order
from lmmrotate.codec.quantize import dequantize, quantize
from lmmrotate.codec.registry import codec_from_json, make_codec
from lmmrotate.errors import CheckpointError, ConfigError
from lmmrotate.geometry.quads import as_quads

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
    codec = LocTokenCodec(CODEC.classes, response_version=version)
    quads = rng.uniform(0, 1, (count, 4, 2)) * (640, 480)
    labels = [str(rng.choice(codec.classes)) for _ in range(count)]
    text = codec.encode(quads, labels, (640, 480))
    if compatible and version == 1 and max(Counter(labels).values(), default=0) > 2:
        return  # the published reader loses runs of more than 16 numbers
    decoded = LocTokenCodec(CODEC.classes, compatible=compatible).decode(text, (640, 480))
    assert not decoded.problems
    wanted = sorted(
        (lab, *quantize(q, (640, 480)).reshape(-1))
        for lab, q in zip(labels, corner_order(quads), strict=True)
    )
    found = sorted(
        (lab, *quantize(q, (640, 480)).reshape(-1))
        for lab, q in zip(decoded.labels, decoded.quads, strict=True)
    )
    assert found == wanted
    for span in decoded.spans:
        assert (
            text[slice(*span.coordinates)].count("<loc_") == (16 if compatible and version == 1 else 8)
            or compatible
        )


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


PIECES = (
    """ship|dock|shipp|small vehicle|<sep>|<loc_0>|<loc_999>|<loc_1000>|<| |\n|<s>|</s>|<loc_|loc_3>\
|There are none.|\u0663|</poly>""".split("|")
    + [EIGHT]
)


@given(text=st.text() | st.lists(st.sampled_from(PIECES), max_size=40).map("".join), compatible=st.booleans())
def test_reading_never_raises_and_loses_nothing(text: str, compatible: bool) -> None:
    codec = LocTokenCodec(CODEC.classes, compatible=compatible)
    decoded = codec.decode(text, (64, 64))
    assert len(decoded.quads) == len(decoded.labels) == len(decoded.spans)
    if compatible:
        return
    plain = text
    for token in ("<s>", "</s>", "<pad>"):
        plain = plain.replace(token, "\0")
    if plain.replace("\0", "").strip() == "There are none.":
        return
    read = [text[slice(*part)] for s in decoded.spans for part in (s.opening, s.coordinates)]
    unread = [p.text for p in decoded.problems if p.kind != "corrected_label"]

    def letters(parts: list[str]) -> Counter[str]:
        return Counter("".join("".join(parts).split()).replace("\0", ""))

    accounted = letters(
        [part.replace("<s>", "").replace("</s>", "").replace("<pad>", "") for part in read + unread]
    )
    assert accounted == letters([plain])


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
    with pytest.raises(ConfigError, match="'small-vehicle', 'Small vehicle' are spoken alike"):
        SpokenLabels(("small-vehicle", "ship", "Small vehicle"))


def test_corner_order_ignores_where_a_quad_starts_and_turns() -> None:
    quad = as_quads([[5, 1, 1, 5, 5, 9, 9, 5]])
    for turned in (quad, quad[:, ::-1], np.roll(quad, 2, axis=1)):
        assert corner_order(turned)[0].tolist() == [[5, 1], [1, 5], [5, 9], [9, 5]]
    assert corner_order(as_quads([])).shape == (0, 4, 2)


def test_codecs_by_name() -> None:
    codec = make_codec("florence2", ["ship"], response_version=2)
    again = codec_from_json(codec.to_json())
    assert again == codec
    assert len(codec.special_tokens) == 1001
    assert codec.encode(np.empty((0, 4, 2)), [], (9, 9)) == ""
    with pytest.raises(ConfigError, match="valid: loc_tokens, florence2"):
        make_codec("boxes", ["ship"])
    with pytest.raises(ConfigError, match="unexpected keyword argument 'colour'"):
        make_codec("loc_tokens", ["ship"], colour=1)
    with pytest.raises(ConfigError, match="valid: 1, 2, 3"):
        make_codec("loc_tokens", ["ship"], response_version=4)
    with pytest.raises(CheckpointError, match="codec cannot be built"):
        codec_from_json({"name": "loc_tokens"})
