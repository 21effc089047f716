import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmmrotate.codec.rbox_tokens import NEAR_SQUARE, RBoxTokenCodec
from lmmrotate.codec.registry import codec_from_json, make_codec
from lmmrotate.errors import DataError
from lmmrotate.geometry.overlap import iou_pairs
from lmmrotate.geometry.quads import Quads
from lmmrotate.geometry.rboxes import quads_to_rboxes, rboxes_to_quads

CODEC = RBoxTokenCodec(classes=("small-vehicle", "ship"))
WH = (640, 480)
SIDE = st.floats(8, 300)
ANGLE = st.floats(-4, 4)


def quad(w: float, h: float, angle: float) -> Quads:
    return rboxes_to_quads([[320, 240, w, h, angle]])


def angle_bin(w: float, h: float, angle: float) -> int:
    return int(CODEC.coordinates(quad(w, h, angle), WH)[0, 4])


@given(
    boxes=st.lists(
        st.tuples(st.floats(0, 639), st.floats(0, 479), SIDE, SIDE, ANGLE, st.sampled_from(CODEC.classes)),
        max_size=9,
    )
)
def test_what_is_written_is_read_back(boxes: list[tuple[float, float, float, float, float, str]]) -> None:
    quads = rboxes_to_quads([box[:5] for box in boxes])
    labels = [box[5] for box in boxes]
    decoded = CODEC.decode(CODEC.encode(quads, labels, WH), WH)
    assert not decoded.problems
    assert sorted(decoded.labels) == sorted(labels)
    # Half a bin of the centre, and of the diagonal's thousandth in width and height.
    for label, box in zip(labels, quads_to_rboxes(quads), strict=True):
        same = decoded.quads[[name == label for name in decoded.labels]]
        near = np.abs(quads_to_rboxes(same)[:, :4] - box[:4]) <= [0.321, 0.241, 0.401, 0.401]
        assert near.all(axis=1).any()


@given(w=SIDE, h=SIDE, angle=ANGLE)
def test_a_box_survives_but_for_rounding(w: float, h: float, angle: float) -> None:
    before = quad(w, h, angle)
    after = CODEC.decode(CODEC.encode(before, ["ship"], WH), WH).quads
    assert iou_pairs(before, after)[0] > 0.8  # 8 px wide boxes lose most
    if min(w, h) > 100:
        assert iou_pairs(before, after)[0] > 0.98


@given(w=SIDE, h=SIDE, angle=st.floats(-1.5, 1.5))
def test_the_same_rectangle_is_written_in_one_way(w: float, h: float, angle: float) -> None:
    written = CODEC.encode(quad(w, h, angle), ["ship"], WH)
    bins = CODEC.coordinates(quad(w, h, angle), WH)
    for other in (quad(w, h, angle + np.pi), quad(h, w, angle + np.pi / 2)):
        assert np.abs(_around(CODEC.coordinates(other, WH) - bins)).max() <= 1
    for turned in (quad(w, h, angle)[:, ::-1], np.roll(quad(w, h, angle), 1, axis=1)):
        assert np.abs(_around(CODEC.coordinates(turned, WH) - bins)).max() <= 1
    assert written.count("<loc_") == len(CODEC.circular) == 5


def _around(difference: np.ndarray) -> np.ndarray:
    """Differences of bins, the angle's around the circle."""
    return np.column_stack([difference[:, :4], (difference[:, 4] + 500) % 1000 - 500])


def test_the_angle_wraps_around_and_is_exact_for_upright_boxes() -> None:
    assert [angle_bin(90, 30, np.deg2rad(a)) for a in (-90, 90, 0, 89.999, 9, -9)] == [0, 0, 500, 0, 550, 450]
    upright = CODEC.decode(CODEC.encode(quad(30, 90, 0), ["ship"], WH), WH).quads
    assert len({round(x, 9) for x in upright[0, :, 0]}) == 2
    assert CODEC.circular == (False, False, False, False, True)


@given(short=st.floats(NEAR_SQUARE + 1e-6, 1 / NEAR_SQUARE - 1e-6), degrees=st.floats(-44, 44))
def test_near_squares_do_not_jump_when_the_longer_side_changes(short: float, degrees: float) -> None:
    square = angle_bin(100, 100, np.deg2rad(degrees))
    assert abs(angle_bin(100, 100 * short, np.deg2rad(degrees)) - square) <= 1


def test_order_words_and_faults() -> None:
    quads = rboxes_to_quads([[320, 249, 60, 20, 0], [320, 240, 60, 20, 0], [311, 240, 60, 20, 0]])
    text = CODEC.encode(quads, ["ship", "ship", "small-vehicle"], WH)
    assert re.sub(r"(<loc_\d+>)+", "#", text) == "ship#<sep>#small vehicle#"
    assert CODEC.decode(text, WH).quads[0, :, 1].mean() < CODEC.decode(text, WH).quads[1, :, 1].mean()
    assert CODEC.encode(np.empty((0, 4, 2)), [], WH) == "There are none."
    short = CODEC.decode("ship<loc_1><loc_2><loc_3><loc_4>", WH)
    assert [p.kind for p in short.problems] == ["incomplete_box"]
    assert not short.labels
    assert len(CODEC.decode("ship" + "<loc_5>" * 10, WH).labels) == 2
    with pytest.raises(DataError, match="label 'boat' is not in the class list"):
        CODEC.encode(quad(9, 9, 0), ["boat"], WH)


@given(st.lists(st.sampled_from(["ship", "<sep>", "<loc_1>", "<loc_1000>", "</s>", "x", " "])))
def test_reading_never_raises(pieces: list[str]) -> None:
    decoded = CODEC.decode("".join(pieces), WH)
    assert len(decoded.quads) == len(decoded.labels) == len(decoded.spans)


def test_by_name() -> None:
    codec = make_codec("rbox", ["ship"], bins=500)
    assert codec.name == "rbox"
    assert codec_from_json(json.loads(json.dumps(codec.to_json()))) == codec
