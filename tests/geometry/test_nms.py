import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmmrotate.geometry.overlap import iou_matrix, rotated_nms
from lmmrotate.geometry.quads import Quads, as_quads
from lmmrotate.geometry.rboxes import rboxes_to_quads

SQUARE = as_quads([[0, 0, 2, 0, 2, 2, 0, 2]])


def naive_nms(quads: Quads, scores: np.ndarray, labels: np.ndarray, threshold: float) -> list[int]:
    ious = iou_matrix(quads, quads)
    kept: list[int] = []
    for i in sorted(range(len(quads)), key=lambda i: -scores[i]):  # stable
        rivals = [k for k in kept if labels[k] == labels[i] and ious[k, i] > 0]
        if all(ious[k, i] < threshold for k in rivals):
            kept.append(i)
    return kept


def scattered(seed: int, count: int, extent: float, levels: int) -> tuple[Quads, np.ndarray, np.ndarray]:
    """Boxes of all sizes, on a grid so that some coincide; scores with ties; labels from -1 to 1."""
    random = np.random.default_rng(seed)
    places = random.integers(0, round(extent), (count, 2))
    sizes = random.choice([1, 2, 4, 8, 60], (count, 2))
    rboxes = np.column_stack([places, sizes, random.integers(0, 6, count) * np.pi / 6])
    return rboxes_to_quads(rboxes), random.integers(0, levels, count) / levels, random.integers(-1, 2, count)


@settings(deadline=None)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(0, 40),
    levels=st.sampled_from([1, 5, 1000]),
    threshold=st.sampled_from([0.0, 0.1, 1 / 3, 0.5, 0.9, 1.0]) | st.floats(0, 1),
)
def test_equals_the_naive_way(seed: int, count: int, levels: int, threshold: float) -> None:
    quads, scores, labels = scattered(seed, count, 12, levels)
    kept = rotated_nms(quads, scores, labels, threshold)
    assert kept.dtype == np.int64
    assert kept.tolist() == naive_nms(quads, scores, labels, threshold)


@pytest.mark.parametrize("threshold", [0.1, 0.5])
def test_equals_the_naive_way_for_many_boxes(threshold: float) -> None:
    quads, scores, labels = scattered(7, 1500, 300, 50)
    assert rotated_nms(quads, scores, labels, threshold).tolist() == naive_nms(
        quads, scores, labels, threshold
    )


def test_of_equal_scores_the_first_is_kept() -> None:
    quads = np.repeat(SQUARE, 3, axis=0)
    assert rotated_nms(quads, [0.5, 0.5, 0.5], [0, 0, 0], 0.5).tolist() == [0]
    assert rotated_nms(quads, [0.5, 0.5, 0.5], [0, 1, 0], 0.5).tolist() == [0, 1]
    assert rotated_nms(quads, [0.1, 0.5, 0.9], [0, 1, 0], 0.5).tolist() == [2, 1]


def test_an_overlap_on_the_threshold_is_suppressed() -> None:
    quads = np.concatenate([SQUARE, SQUARE + np.array([1, 0])])  # IoU 2 / 6
    assert rotated_nms(quads, [0.9, 0.8], [0, 0], 2 / 6).tolist() == [0]
    assert rotated_nms(quads, [0.9, 0.8], [0, 0], 0.34).tolist() == [0, 1]
    assert rotated_nms(np.repeat(SQUARE, 2, axis=0), [0.9, 0.8], [0, 0], 1.0).tolist() == [0]


def test_apart_boxes_are_kept_whatever_the_threshold() -> None:
    quads = np.concatenate([SQUARE, SQUARE + np.array([2, 0]), np.zeros((2, 4, 2))])  # and two points
    assert rotated_nms(quads, [0.9, 0.8, 0.7, 0.6], [0] * 4, 0.0).tolist() == [0, 1, 2, 3]


def test_infinite_scores_have_an_order() -> None:
    assert rotated_nms(np.repeat(SQUARE, 2, axis=0), [0.0, np.inf], [0, 1], 0.5).tolist() == [1, 0]


def test_empty() -> None:
    assert rotated_nms(as_quads([]), [], [], 0.5).tolist() == []


@pytest.mark.parametrize(
    ("scores", "labels", "threshold", "message"),
    [
        ([0.5, 0.5], [0], 0.5, "1 quads, 2 scores and 1 labels"),
        ([0.5], [], 0.5, "1 quads, 1 scores and 0 labels"),
        ([np.nan], [0], 0.5, "NaN"),
        ([0.5], [0], 50, "between 0 and 1, got 50"),
        ([0.5], [0], np.nan, "between 0 and 1, got nan"),
        ([0.5], [0.5], 0.5, "labels must be integers"),
    ],
)
def test_wrong_arguments_are_named(
    scores: list[float], labels: list[int], threshold: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        rotated_nms(SQUARE, scores, labels, threshold)
