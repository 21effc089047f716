import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmmrotate.codec.base import BoxCodec
from lmmrotate.codec.loc_tokens import LocTokenCodec
from lmmrotate.codec.rbox_tokens import RBoxTokenCodec
from lmmrotate.geometry.overlap import iou_pairs
from lmmrotate.inference.decoding import Answer
from lmmrotate.inference.scores import FORMULAS, Evidence, evidence_of, expected_ious

CODEC = LocTokenCodec(("small-ship",))
LOCS = [f"<loc_{number}>" for number in (100, 100, 100, 300, 400, 300, 400, 100)]


def answer(pieces: list[str], probabilities: list[float], spread: float = 3.0) -> Answer:
    bins = np.array([int(p[5:-1]) if re.fullmatch("<loc_[0-9]+>", p) else -1 for p in pieces], dtype=np.int64)
    spreads = np.where(bins < 0, np.nan, spread)
    return Answer(
        text="".join(pieces),
        token_ids=np.arange(len(pieces)),
        token_ends=np.cumsum([len(p) for p in pieces]),
        bins=bins,
        log_probs=np.log(probabilities),
        spreads=np.stack([spreads, spreads], axis=1),
        truncated=False,
        repetition="",
    )


def evidence(written: Answer, codec: BoxCodec = CODEC) -> Evidence:
    return evidence_of(written, codec.decode(written.text, (1000, 1000)).spans, codec, (1000, 1000))


def test_every_box_is_judged_by_the_tokens_that_wrote_it() -> None:
    # a start token, a class name of two tokens, a box, a separator, a box, the end
    pieces = ["", "small ", "ship", *LOCS, "<sep>", *LOCS, ""]
    first, second = [0.9] * 7 + [0.7], [0.8] * 7 + [0.2]
    found = evidence(answer(pieces, [0.1, 0.5, 0.8, *first, 0.3, *second, 0.1]))
    np.testing.assert_allclose(found.opening, [0.4, 0.3])
    np.testing.assert_allclose(found.numbers, [first, second])
    assert FORMULAS["minimum"](found) == pytest.approx([0.4, 0.2])
    assert FORMULAS["product"](found)[1] == pytest.approx(0.3 * 0.8**7 * 0.2)
    assert FORMULAS["geometric_mean"](found)[1] == pytest.approx((0.3 * 0.8**7 * 0.2) ** (1 / 9))
    assert FORMULAS["opening_iou"](found) == pytest.approx(found.opening * found.expected_iou)


def test_answers_without_boxes_have_no_scores() -> None:
    for written in (answer([], []), answer(["There are none."], [0.9])):
        found = evidence(written)
        for formula in FORMULAS.values():
            assert formula(found).shape == (0,)


def test_a_box_that_nothing_opens() -> None:
    older = LocTokenCodec(("ship",), response_version=1)
    found = evidence(answer(["ship", *LOCS, *LOCS], [0.5, *[0.9] * 16]), older)
    np.testing.assert_allclose(found.opening, [0.5, 1.0])


def test_a_location_that_is_spelled_letter_by_letter() -> None:
    """As models without a grammar may: the whole is known, and shared out evenly."""
    found = evidence(answer(["small-ship", *LOCS[:7], "<loc_1", "00>"], [0.5, *[0.9] * 7, 0.5, 0.5]))
    assert found.numbers.prod() == pytest.approx(0.9**7 * 0.25)
    assert found.expected_iou.tolist() == [0.0]


@pytest.mark.parametrize("codec", [CODEC, RBoxTokenCodec(("ship",))], ids=lambda c: c.name)
@given(data=st.data())
def test_expected_iou_is_the_mean_over_noisy_numbers(codec: BoxCodec, data: st.DataObject) -> None:
    """Against drawing the numbers: the formula's first order is good for boxes known to some bins."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    centre, side = rng.uniform(300, 700, 2), rng.uniform((80, 60), (200, 120))
    angle = rng.uniform(0, np.pi)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    corners = (np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * side / 2) @ turn + centre
    bins = codec.coordinates(corners[None], (1000, 1000)).astype(np.float64)
    spreads = np.full(bins.shape, data.draw(st.floats(0.1, 4.0)))
    found = expected_ious(codec, bins, spreads, (1000, 1000))[0]
    drawn = codec.quads(bins + rng.normal(size=(400, bins.shape[1])) * spreads, (1000, 1000))
    truth = np.repeat(codec.quads(bins, (1000, 1000)), 400, axis=0)
    assert found == pytest.approx(iou_pairs(truth, drawn).mean(), abs=0.03)


def test_wider_spread_means_less_overlap_and_no_area_none() -> None:
    bins = np.repeat(
        CODEC.coordinates(np.array([[[0, 0], [100, 0], [100, 50], [0, 50.0]]]), (500, 500)), 4, axis=0
    )
    spreads = np.repeat(np.array([[0.0], [2.0], [20.0], [500.0]]), 8, axis=1)
    found = expected_ious(CODEC, bins.astype(float), spreads, (500, 500))
    assert found[0] == 1
    assert (np.diff(found) < 0).all()
    assert found[-1] > 0
    assert expected_ious(CODEC, np.full((1, 8), 7.0), np.ones((1, 8)), (500, 500)).tolist() == [0.0]
