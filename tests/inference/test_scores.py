import numpy as np
import pytest

from lmmrotate.codec.base import BoxSpans
from lmmrotate.inference.scores import box_scores
from lmmrotate.models.base import Generated


def test_score_is_the_geometric_mean_of_opening_and_coordinates() -> None:
    # "<s>", a class name of two tokens, three coordinates, a separator, three coordinates, "</s>"
    pieces = ["", "small ", "ship", "<1>", "<2>", "<3>", "<sep>", "<4>", "<5>", "<6>", ""]
    probs = np.array([0.9, 0.5, 0.8, 0.9, 0.7, 0.6, 0.3, 0.9, 0.9, 0.2, 0.99])
    ends = np.cumsum([len(p) for p in pieces])
    answer = Generated("".join(pieces), np.arange(11), ends, np.log(probs), False)
    spans = (BoxSpans((0, 10), (10, 19)), BoxSpans((19, 24), (24, 33)))
    first, second = box_scores(answer, spans)
    assert first == pytest.approx((0.5 * 0.8 * 0.9 * 0.7 * 0.6) ** (1 / 4))
    assert second == pytest.approx((0.3 * 0.9 * 0.9 * 0.2) ** (1 / 4))


def test_no_boxes_no_scores_and_an_empty_opening() -> None:
    answer = Generated("<1>", np.arange(2), np.array([0, 3]), np.log([0.9, 0.4]), True)
    assert box_scores(answer, ()) == ()
    assert box_scores(answer, (BoxSpans((0, 0), (0, 3)),)) == (pytest.approx(0.4 ** (1 / 2)),)
