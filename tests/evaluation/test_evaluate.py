"""Scores of small scenes worked out by hand, and laws that hold for any scene."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmmrotate.data.manifest import Manifest
from lmmrotate.data.predictions import Predictions, PredictionsHeader
from lmmrotate.data.records import ImageRecord, Prediction
from lmmrotate.errors import ConfigError, DataError, Problem
from lmmrotate.evaluation.evaluate import detections_of, evaluate, truths_of
from lmmrotate.evaluation.matching import Detections, Truths, best_truths, excusing, judge, ranked
from lmmrotate.evaluation.results import ClassResult, Evaluation
from lmmrotate.geometry.overlap import iou_matrix
from lmmrotate.geometry.quads import Quads, as_quads, is_convex, min_area_quads
from lmmrotate.geometry.rboxes import rboxes_to_quads

Corners = Sequence[float]  # x1, y1, …, x4, y4
Object = tuple[str, Corners, int]  # class, corners, difficulty
Found = tuple[str, Corners, float]  # class, corners, score

CLASSES = ("plane", "ship", "tank")
PROTOCOLS = pytest.mark.parametrize("protocol", ["corrected", "lmmrotate"])
FAR = 90  # nothing else lies here


def box(x: float, y: float = 0, w: float = 10, h: float = 10) -> Corners:
    """An upright rectangle from its top left corner."""
    return [x, y, x + w, y, x + w, y + h, x, y + h]


def image_of(name: str, objects: Sequence[Object]) -> ImageRecord:
    return ImageRecord(
        name,
        100,
        100,
        as_quads([quad for _, quad, _ in objects]),
        tuple(label for label, _, _ in objects),
        tuple(difficult for _, _, difficult in objects),
    )


def answer_of(name: str, found: Sequence[Found], **more: Any) -> Prediction:
    return Prediction(
        name,
        100,
        100,
        quads=as_quads([quad for _, quad, _ in found]),
        labels=tuple(label for label, _, _ in found),
        scores=tuple(score for _, _, score in found),
        **more,
    )


def manifest_of(records: Sequence[ImageRecord], classes: Sequence[str] = CLASSES) -> Manifest:
    return Manifest("toy", "test", tuple(classes), tuple(records))


def predictions_of(answers: Sequence[Prediction], classes: Sequence[str] = CLASSES) -> Predictions:
    return Predictions(PredictionsHeader(tuple(classes)), tuple(answers))


def scored(
    objects: Mapping[str, Sequence[Object]],
    found: Mapping[str, Sequence[Found]],
    classes: Sequence[str] = CLASSES,
    **options: Any,
) -> Evaluation:
    """Evaluate images given as name: contents."""
    records = [image_of(name, content) for name, content in objects.items()]
    answers = [answer_of(name, content) for name, content in found.items()]
    return evaluate(manifest_of(records, classes), predictions_of(answers, classes), **options)


def one(objects: Sequence[Object], found: Sequence[Found], **options: Any) -> ClassResult:
    """The first class in a data set of one image."""
    return scored({"1.png": objects}, {"1.png": found}, **options).classes[0]


def test_a_perfect_answer_scores_one() -> None:
    objects = {"1.png": [("plane", box(0), 0), ("ship", box(0), 0)], "2.png": [("plane", box(50), 0)]}
    found = {"1.png": [("plane", box(0), 0.2), ("ship", box(0), 0.9)], "2.png": [("plane", box(50), 0.5)]}
    result = scored(objects, found)
    assert (result.map_11, result.map_area, result.map_nc, result.mf1) == (1, 1, 1, 1)
    assert [(c.label, c.objects, c.detections) for c in result.classes] == [
        ("plane", 2, 2),
        ("ship", 1, 1),
        ("tank", 0, 0),
    ]
    for c in result.classes[:2]:
        assert (c.ap_11, c.ap_area, c.ap_nc, c.precision, c.recall, c.f1) == (1,) * 6
    assert (result.protocol, result.iou_threshold, result.score_threshold) == ("corrected", 0.5, 0)
    assert (result.images, result.missing_images) == (2, 0)


def test_a_second_detection_of_an_object_is_false() -> None:
    objects = [("plane", box(0), 0), ("plane", box(50), 0)]
    plane = one(objects, [("plane", box(0), 0.9), ("plane", box(0), 0.8), ("plane", box(50), 0.7)])
    assert (plane.true_positives, plane.false_positives) == (2, 1)
    assert plane.curve_recall == pytest.approx([1 / 2, 1 / 2, 1])
    assert plane.curve_precision == pytest.approx([1, 1 / 2, 2 / 3])
    assert plane.ap_11 == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)  # recall 0 … 0.5, then 0.6 … 1
    assert plane.ap_area == pytest.approx(1 / 2 * 1 + 1 / 2 * 2 / 3)
    assert (plane.precision, plane.recall) == (pytest.approx(2 / 3), 1)
    assert plane.f1 == pytest.approx(2 * 2 / (3 + 2))


def test_the_better_score_finds_the_object_even_if_it_fits_worse() -> None:
    plane = one([("plane", box(0), 0)], [("plane", box(0), 0.8), ("plane", box(2), 0.9)])
    assert (plane.true_positives, plane.false_positives) == (1, 1)
    assert plane.ap_11 == 1  # the false one comes last


def test_of_equal_scores_the_first_finds_the_object() -> None:
    objects = {"1.png": [("plane", box(0), 0)]}
    right, wrong = ("plane", box(0), 0.5), ("plane", box(FAR), 0.5)
    assert scored(objects, {"1.png": [right, wrong]}).map_11 == 1
    assert scored(objects, {"1.png": [wrong, right]}).map_11 == pytest.approx(1 / 2)


def test_only_the_most_overlapped_object_is_tried() -> None:
    # The second detection has IoU 9.5 / 10.5 with the first object and 8.5 / 11.5 with the other one.
    objects = [("plane", box(0), 0), ("plane", box(2), 0)]
    plane = one(objects, [("plane", box(0), 0.9), ("plane", box(0.5), 0.8)])
    assert (plane.true_positives, plane.false_positives) == (1, 1)


@PROTOCOLS
def test_difficult_objects_excuse_detections_and_are_not_missed(protocol: str) -> None:
    objects = [("plane", box(0), 0), ("plane", box(30), 1), ("plane", box(60), 2)]
    found = [("plane", box(30), 0.9), ("plane", box(30), 0.8), ("plane", box(0), 0.5)]
    plane = one(objects, found, protocol=protocol)
    assert (plane.objects, plane.detections) == (1, 3)
    assert (plane.true_positives, plane.false_positives) == (1, 0)
    assert (plane.precision, plane.recall, plane.ap_11) == (1, 1, 1)
    assert len(plane.curve_recall) == 1


def test_difficult_objects_of_another_class_excuse_nothing() -> None:
    objects = [("plane", box(0), 0), ("ship", box(30), 1)]
    plane = one(objects, [("plane", box(0), 0.5), ("plane", box(30), 0.9)])
    assert (plane.true_positives, plane.false_positives) == (1, 1)


def test_a_regular_object_goes_before_a_difficult_one_in_the_same_place() -> None:
    objects = [("plane", box(0), 1), ("plane", box(0), 0)]
    plane = one(objects, [("plane", box(0), 0.9), ("plane", box(0), 0.8)])
    assert (plane.true_positives, plane.false_positives) == (1, 1)


@pytest.mark.parametrize("ship", [[], [("ship", box(50), 1)]], ids=["no object", "only a difficult one"])
def test_classes_without_objects_are_nan_and_not_in_the_means(ship: list[Object]) -> None:
    objects = {"1.png": [("plane", box(0), 0), *ship]}
    result = scored(objects, {"1.png": [("plane", box(0), 0.5), ("ship", box(FAR), 0.9)]})
    assert (result.map_11, result.map_area, result.map_nc, result.mf1) == (1, 1, 1, 1)
    _, with_detection, without = result.classes
    assert (with_detection.objects, with_detection.false_positives) == (0, 1)
    assert (with_detection.precision, with_detection.f1) == (0, 0)
    assert np.isnan([with_detection.ap_11, with_detection.ap_area, with_detection.recall]).all()
    assert np.isnan([without.precision, without.recall, without.f1, without.ap_nc]).all()


@pytest.mark.parametrize("objects", [{}, {"1.png": []}], ids=["no image", "an empty image"])
def test_means_without_objects(objects: dict[str, list[Object]]) -> None:
    """mmrotate's mean over no class is 0; the published F1 is 0 / 0."""
    corrected, published = (scored(objects, {}, protocol=p) for p in ("corrected", "lmmrotate"))
    assert np.isnan([corrected.map_11, corrected.map_area, corrected.map_nc, corrected.mf1]).all()
    assert (published.map_11, published.map_area, published.map_nc) == (0, 0, 0)
    assert np.isnan(published.mf1)
    for result in (corrected, published):
        assert (result.images, result.missing_images, result.seconds_per_image) == (len(objects),) * 2 + (0,)


@PROTOCOLS
@pytest.mark.parametrize("found", [{}, {"1.png": []}], ids=["no image", "an empty answer"])
def test_predicting_nothing_scores_nothing(found: dict[str, list[Found]], protocol: str) -> None:
    result = scored({"1.png": [("plane", box(0), 0)]}, found, protocol=protocol)
    assert (result.map_11, result.map_area, result.map_nc) == (0, 0, 0)
    plane = result.classes[0]
    assert np.isnan(plane.precision)
    assert (plane.recall, plane.f1, plane.curve_recall.size) == (0, 0, 0)
    # With nothing found the published F1 is 0 / 0.
    assert np.isnan(result.mf1) if protocol == "lmmrotate" else result.mf1 == 0
    assert (result.missing_images, result.seconds_per_image) == (0 if found else 1, 0)


def test_images_without_predictions_count_as_missed() -> None:
    objects = {name: [("plane", box(0), 0)] for name in ("1.png", "2.png", "3.png", "4.png")}
    result = scored(objects, {"3.png": [("plane", box(0), 0.9)]})
    assert (result.images, result.missing_images) == (4, 3)
    assert result.classes[0].recall == 1 / 4
    assert result.map_11 == pytest.approx(3 / 11)  # recall 0, 0.1, 0.2


def test_the_wrong_class_is_both_false_and_missed() -> None:
    plane, ship, _ = scored({"1.png": [("plane", box(0), 0)]}, {"1.png": [("ship", box(0), 0.9)]}).classes
    assert (plane.true_positives, plane.false_positives, plane.recall, plane.f1) == (0, 0, 0, 0)
    assert (ship.true_positives, ship.false_positives, ship.precision) == (0, 1, 0)


def test_an_object_of_another_image_is_not_found() -> None:
    objects = {"1.png": [("plane", box(0), 0)], "2.png": [("plane", box(50), 0)]}
    plane = scored(objects, {"1.png": [("plane", box(50), 0.9)], "2.png": [("plane", box(0), 0.9)]}).classes[
        0
    ]
    assert (plane.true_positives, plane.false_positives) == (0, 2)


def test_the_score_threshold_acts_on_f1_alone() -> None:
    objects = {"1.png": [("plane", box(0), 0), ("plane", box(30), 0)]}
    found = {"1.png": [("plane", box(0), 0.5), ("plane", box(FAR), 0.3), ("plane", box(30), 0.2)]}
    all_of_them, sure, none = (scored(objects, found, score_threshold=t) for t in (0.0, 0.5, 0.51))
    for result in (sure, none):
        assert (result.map_11, result.map_area, result.map_nc) == (
            all_of_them.map_11,
            all_of_them.map_area,
            all_of_them.map_nc,
        )
    planes = [result.classes[0] for result in (all_of_them, sure, none)]
    assert [(c.true_positives, c.false_positives) for c in planes] == [(2, 1), (1, 0), (0, 0)]
    assert [c.detections for c in planes] == [3, 3, 3]
    assert [c.recall for c in planes] == [1, 1 / 2, 0]
    assert [c.precision for c in planes] == [pytest.approx(2 / 3), 1, pytest.approx(np.nan, nan_ok=True)]
    assert [result.mf1 for result in (all_of_them, sure, none)] == pytest.approx([4 / 5, 2 / 3, 0])


@PROTOCOLS
@pytest.mark.parametrize(("threshold", "true"), [(0.5, 1), (np.nextafter(0.5, 1), 0), (0.49, 1)])
def test_the_iou_threshold_itself_is_enough(threshold: float, true: int, protocol: str) -> None:
    found: list[Found] = [("plane", box(0, h=5), 0.9)]  # half of the object
    plane = one([("plane", box(0), 0)], found, iou_threshold=threshold, protocol=protocol)
    assert (plane.true_positives, plane.false_positives) == (true, 1 - true)


@PROTOCOLS
def test_an_iou_threshold_of_one_takes_equal_boxes(protocol: str) -> None:
    plane = one([("plane", box(0), 0)], [("plane", box(0), 0.9)], iou_threshold=1, protocol=protocol)
    assert plane.true_positives == 1


def test_points_and_lines_find_nothing() -> None:
    objects = [("plane", box(0), 0), ("plane", [50, 50] * 4, 0)]
    found = [("plane", [5, 5] * 4, 0.9), ("plane", box(0, h=0), 0.8), ("plane", [50, 50] * 4, 0.7)]
    plane = one(objects, found, iou_threshold=0.01)
    assert (plane.objects, plane.true_positives, plane.false_positives) == (2, 0, 3)


def test_map_nc_ranks_in_the_order_of_the_manifest() -> None:
    objects = {"1.png": [("plane", box(0), 0)], "2.png": []}
    right, wrong = {"1.png": [("plane", box(0), 0.9)]}, {"2.png": [("plane", box(0), 0.1)]}
    for found in ({**right, **wrong}, {**wrong, **right}):  # whatever the order of the predictions
        result = scored(objects, found)
        assert (result.map_nc, result.map_11) == (1, 1)
    assert scored(dict(reversed(objects.items())), {**right, **wrong}).map_nc == pytest.approx(1 / 2)
    sure_of_the_wrong = {"1.png": [("plane", box(0), 0.1)], "2.png": [("plane", box(0), 0.9)]}
    result = scored(objects, sure_of_the_wrong)
    assert (result.map_nc, result.map_11) == (1, pytest.approx(1 / 2))


TRAPEZOID = [0, 0, 10, 0, 8, 5, 2, 5]  # area 40, in a rectangle of area 50


@PROTOCOLS
@pytest.mark.parametrize(
    ("true", "found"),
    [(TRAPEZOID, box(0, h=5)), (box(0, h=5), TRAPEZOID), (TRAPEZOID, TRAPEZOID)],
    ids=["object", "detection", "both"],
)
def test_other_quads_become_their_smallest_rectangle(true: Corners, found: Corners, protocol: str) -> None:
    plane = one([("plane", true, 0)], [("plane", found, 0.9)], iou_threshold=0.99, protocol=protocol)
    assert plane.true_positives == 1


# --- protocol "lmmrotate" ---


@pytest.mark.parametrize("count", range(11))
def test_recall_steps(count: int) -> None:
    """The published steps 0.3, 0.6 and 0.7 are a hair too large."""
    places = [box(10 * k, 0, 8, 8) for k in range(10)]
    objects: list[Object] = [("plane", place, 0) for place in places]
    found: list[Found] = [("plane", place, 0.9) for place in places[:count]]
    exact = one(objects, found)
    rounded = one(objects, found, protocol="lmmrotate")
    steps = count + 1 if count else 0
    assert exact.ap_11 == pytest.approx(steps / 11)
    assert rounded.ap_11 == pytest.approx((steps - (count in {3, 6, 7})) / 11)
    assert (exact.ap_nc, rounded.ap_nc) == (exact.ap_11, rounded.ap_11)
    assert exact.ap_area == rounded.ap_area == pytest.approx(count / 10)


@pytest.mark.parametrize(("protocol", "false", "ap"), [("corrected", 0, 1), ("lmmrotate", 1, 1 / 2)])
def test_difficult_objects_alone_in_an_image(protocol: str, false: int, ap: float) -> None:
    objects = {"1.png": [("plane", box(0), 1)], "2.png": [("plane", box(0), 0)]}
    found = {"1.png": [("plane", box(0), 0.9)], "2.png": [("plane", box(0), 0.8)]}
    plane = scored(objects, found, protocol=protocol).classes[0]
    assert (plane.objects, plane.true_positives, plane.false_positives) == (1, 1, false)
    assert plane.ap_11 == pytest.approx(ap)


@PROTOCOLS
def test_a_difficult_object_beside_a_regular_one_of_another_class(protocol: str) -> None:
    objects = {"1.png": [("plane", box(0), 1), ("ship", box(50), 0)], "2.png": [("plane", box(0), 0)]}
    found = {"1.png": [("plane", box(0), 0.9)], "2.png": [("plane", box(0), 0.8)]}
    assert scored(objects, found, protocol=protocol).classes[0].false_positives == 0


def published_mf1(objects: Sequence[Object], found: Sequence[Found], **options: Any) -> float:
    return scored({"1.png": objects}, {"1.png": found}, protocol="lmmrotate", **options).mf1


def test_background_is_a_class_of_the_published_f1() -> None:
    both: list[Object] = [("plane", box(0), 0), ("ship", box(50), 0)]
    found: list[Found] = [("plane", box(0), 0.9), ("ship", box(50), 0.9)]
    assert published_mf1(both, found) == pytest.approx(2 / 3)
    assert published_mf1(both[:1], found[:1]) == pytest.approx(1 / 2)
    assert published_mf1(both, found, classes=[*CLASSES, "car"]) == pytest.approx(2 / 3)  # only those seen


def test_the_published_f1_takes_duplicates_for_true() -> None:
    found: list[Found] = [("plane", box(0), 0.9), ("plane", box(0), 0.8)]
    assert published_mf1([("plane", box(0), 0)], found) == pytest.approx(1 / 2)  # as one alone
    assert one([("plane", box(0), 0)], found).f1 == pytest.approx(2 / 3)


def test_the_published_f1_and_classes_beyond_those_of_the_objects() -> None:
    plane: Object = ("plane", box(0), 0)
    right: Found = ("plane", box(0), 0.9)
    # The class after the last one seen is taken for background: precision (1 + 1) / 2, recall likewise.
    assert published_mf1([plane], [right, ("ship", box(FAR), 0.9)]) == pytest.approx(1)
    # One further on, the published code fails; here three classes and background: 1 / 4.
    assert published_mf1([plane], [right, ("tank", box(FAR), 0.9)]) == pytest.approx(1 / 4)


def test_the_published_f1_does_not_know_difficult_objects() -> None:
    objects: list[Object] = [("plane", box(0), 0), ("plane", box(50), 1)]
    found: list[Found] = [("plane", box(0), 0.9), ("plane", box(50), 0.9)]
    # Plane: precision 1 / 2, recall 1; background: 0 and 0. Means 1 / 4 and 1 / 2.
    assert published_mf1(objects, found) == pytest.approx(1 / 3)


def test_the_published_f1_and_the_score_threshold() -> None:
    objects: list[Object] = [("plane", box(0), 0)]
    found: list[Found] = [("plane", box(0), 0.5), ("plane", box(FAR), 0.4)]
    assert published_mf1(objects, found, score_threshold=0.5) == pytest.approx(1 / 2)
    assert published_mf1(objects, found) == pytest.approx(2 * 1 / 4 * 1 / 2 / (1 / 4 + 1 / 2))


# --- what else the result says ---


def test_problems_truncated_answers_and_time_are_summed_up() -> None:
    records = [image_of(name, [("plane", box(0), 0)]) for name in ("1.png", "2.png", "3.png")]
    answers = [
        answer_of(
            "1.png",
            [("plane", box(0), 0.9)],
            problems=(Problem("unread_text", "?"), Problem("incomplete_box", "<loc_1>")),
            truncated=True,
            seconds=1.0,
        ),
        answer_of("2.png", [], problems=(Problem("incomplete_box", "<loc_2>"),), seconds=2.0),
    ]
    result = evaluate(manifest_of(records), predictions_of(answers))
    assert result.problems == {"incomplete_box": 2, "unread_text": 1}
    assert list(result.problems) == ["incomplete_box", "unread_text"]  # the most frequent first
    assert (result.truncated, result.missing_images, result.seconds_per_image) == (1, 1, 1.5)


@PROTOCOLS
def test_to_json_is_plain_json(protocol: str) -> None:
    objects = {"1.png": [("plane", box(0), 0)], "2.png": [("ship", box(0), 0)]}
    result = scored(objects, {"1.png": [("plane", box(0), 0.9)]}, protocol=protocol)
    row = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert row == result.to_json()
    assert (row["protocol"], row["images"], row["missing_images"]) == (protocol, 2, 1)
    assert [row[key] for key in ("mAP", "mAP_area", "mAP_nc")] == [0.5, 0.5, 0.5]
    assert row["mF1"] == result.mf1
    plane, ship, tank = row["classes"]
    assert plane["label"] == "plane"
    assert [plane[key] for key in ("AP", "AP_area", "AP_nc", "precision", "recall", "F1")] == [1] * 6
    assert (ship["precision"], ship["recall"], ship["F1"], ship["AP"]) == (None, 0, 0, 0)
    assert [tank[key] for key in ("AP", "AP_area", "AP_nc", "precision", "recall", "F1")] == [None] * 6
    assert [tank[key] for key in ("objects", "detections", "true_positives", "false_positives")] == [0] * 4


def test_to_json_of_nothing_is_plain_json() -> None:
    row = json.loads(json.dumps(scored({}, {}).to_json(), allow_nan=False))
    assert [row[key] for key in ("mAP", "mAP_area", "mAP_nc", "mF1")] == [None] * 4


# --- what is refused ---

RECORD = image_of("1.png", [("plane", box(0), 0)])
ANSWER = answer_of("1.png", [("plane", box(0), 0.9)])


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ([answer_of("x.png", [])], r"that the manifest does not have: x\.png; .*1\.png"),
        ([answer_of(f"{k}.png", []) for k in range(2, 7)], r"name 5 .*2\.png, 3\.png, 4\.png, …"),
        ([ANSWER, ANSWER], r"1 images have more than one prediction: 1\.png"),
        ([replace(ANSWER, width=200)], r"1\.png: predicted at 200 x 100 px, .*100 x 100"),
        ([replace(ANSWER, height=99)], r"1\.png: predicted at 100 x 99 px"),
        ([replace(ANSWER, labels=("car",))], r"not in the manifest's class list: car; .*plane, ship, tank"),
        ([replace(ANSWER, labels=("Plane",))], "class list: Plane; "),
    ],
    ids=[
        "unknown image",
        "five unknown images",
        "twice",
        "width",
        "height",
        "unknown class",
        "other spelling",
    ],
)
def test_predictions_that_do_not_fit_the_manifest(answers: list[Prediction], says: str) -> None:
    with pytest.raises(DataError, match=says):
        evaluate(manifest_of([RECORD]), predictions_of(answers))


def test_predictions_for_an_empty_manifest() -> None:
    with pytest.raises(DataError, match="no image at all"):
        evaluate(manifest_of([]), predictions_of([ANSWER]))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"protocol": "voc"}, "'voc'.*corrected, lmmrotate"),
        ({"iou_threshold": 0.0}, "iou_threshold"),
        ({"iou_threshold": 1.01}, "iou_threshold"),
        ({"iou_threshold": float("nan")}, "iou_threshold"),
        ({"score_threshold": -0.1}, "score_threshold"),
        ({"score_threshold": 50.0}, "score_threshold"),
        ({"score_threshold": float("nan")}, "score_threshold"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        evaluate(manifest_of([RECORD]), predictions_of([ANSWER]), **options)


# --- laws ---

Scene = tuple[list[ImageRecord], list[Prediction]]
laws = partial(settings, deadline=None)  # the first call may compile
seeds = st.integers(0, 10**6)


def scene(seed: int, images: int = 4, most: int = 8, difficult: bool = True) -> Scene:
    """Boxes of three classes that overlap a lot; detections near objects or anywhere; unique scores."""
    random = np.random.default_rng(seed)
    records, answers = [], []
    counts = random.integers(0, most + 1, (images, 2))
    scores = random.permutation(np.linspace(0.01, 0.99, max(2, counts[:, 1].sum()))).tolist()
    for number, (objects, detections) in enumerate(counts.tolist()):
        true = _rboxes(random, objects)
        anywhere = np.concatenate([true, _rboxes(random, 3)])
        guesses = anywhere[random.integers(0, len(anywhere), detections)]
        guesses = guesses + random.normal(0, [1, 1, 1, 1, 0.05], (detections, 5)) * random.integers(0, 2)
        records.append(
            ImageRecord(
                f"{number}.png",
                100,
                100,
                rboxes_to_quads(true),
                tuple(random.choice(CLASSES, objects).tolist()),
                tuple(random.choice([0, 0, 0, 1 if difficult else 0], objects).tolist()),
            )
        )
        answers.append(
            Prediction(
                f"{number}.png",
                100,
                100,
                quads=rboxes_to_quads(guesses),
                labels=tuple(random.choice(CLASSES, detections).tolist()),
                scores=tuple(scores.pop() for _ in range(detections)),
            )
        )
    return records, answers


def _rboxes(random: np.random.Generator, count: int) -> np.ndarray:
    columns = [(10, 50), (10, 50), (10, 30), (5, 15), (0, np.pi)]
    return np.stack([random.uniform(*bounds, count) for bounds in columns], axis=1)


def numbers(result: Evaluation) -> list[float]:
    """Everything that ranks by score or not at all; mAP_nc ranks by place."""
    means = [result.map_11, result.map_area, result.mf1]
    per_class = [[c.ap_11, c.ap_area, c.precision, c.recall, c.f1] for c in result.classes]
    return [*means, *(value for values in per_class for value in values)]


@PROTOCOLS
@laws(max_examples=40)
@given(seed=seeds)
def test_the_order_of_images_does_not_matter(seed: int, protocol: str) -> None:
    records, answers = scene(seed)
    random = np.random.default_rng(seed)
    shuffled = [records[i] for i in random.permutation(len(records))]
    other = [answers[i] for i in random.permutation(len(answers))]
    expected = evaluate(manifest_of(records), predictions_of(answers), protocol=protocol)
    result = evaluate(manifest_of(shuffled), predictions_of(other), protocol=protocol)
    assert numbers(result) == pytest.approx(numbers(expected), abs=1e-12, nan_ok=True)


@laws(max_examples=40)
@given(seed=seeds, power=st.sampled_from([0.5, 2.0, 3.0]))
def test_only_the_order_of_scores_matters(seed: int, power: float) -> None:
    records, answers = scene(seed)
    bent = [replace(a, scores=tuple(s**power for s in a.scores)) for a in answers]
    expected = evaluate(manifest_of(records), predictions_of(answers))
    result = evaluate(manifest_of(records), predictions_of(bent))
    assert numbers(result) == pytest.approx(numbers(expected), abs=0, nan_ok=True)
    assert result.map_nc == pytest.approx(expected.map_nc, abs=0, nan_ok=True)


@laws(max_examples=40)
@given(seed=seeds, threshold=st.floats(0.05, 0.99), difficult=st.booleans())
def test_the_truth_scores_one(seed: int, threshold: float, difficult: bool) -> None:
    records, _ = scene(seed, difficult=difficult)
    random = np.random.default_rng(seed)
    truth = [
        Prediction(
            r.image, r.width, r.height, "", r.quads, r.labels, tuple(random.uniform(0, 1, len(r.labels)))
        )
        for r in records
    ]
    protocols = ("corrected",) if difficult else ("corrected", "lmmrotate")
    for protocol in protocols:
        result = evaluate(
            manifest_of(records), predictions_of(truth), iou_threshold=threshold, protocol=protocol
        )
        for c in result.classes:
            if c.objects:
                assert (c.ap_11, c.ap_nc, c.precision, c.recall, c.f1) == (1, 1, 1, 1, 1)
                assert c.ap_area == pytest.approx(1)
                assert (c.true_positives, c.false_positives) == (c.objects, 0)
    if any(c.objects for c in result.classes):
        assert result.map_11 == 1


@PROTOCOLS
@laws(max_examples=40)
@given(seed=seeds, score=st.floats(0, 1))
def test_a_further_false_detection_never_helps(seed: int, score: float, protocol: str) -> None:
    records, answers = scene(seed)
    wrong: Found = ("ship", box(FAR, FAR, 5, 5), score)
    more = _with_detection(answers[0], wrong)
    last = _with_detection(answers[0], (*wrong[:2], 0.0))
    before, after, at_the_end = (
        evaluate(manifest_of(records), predictions_of([first, *answers[1:]]), protocol=protocol)
        for first in (answers[0], more, last)
    )
    for old, new, lowest in zip(before.classes, after.classes, at_the_end.classes, strict=True):
        if old.objects:
            assert new.ap_11 <= old.ap_11
            assert new.ap_nc <= old.ap_nc
            assert new.ap_area <= old.ap_area + 1e-12
            assert new.f1 <= old.f1
            # Below all others it changes no precision that the curve reaches.
            assert lowest.ap_11 == old.ap_11
            assert lowest.ap_area == pytest.approx(old.ap_area)


def _with_detection(answer: Prediction, found: Found) -> Prediction:
    label, quad, score = found
    return replace(
        answer,
        quads=np.concatenate([answer.quads, as_quads([quad])]),
        labels=(*answer.labels, label),
        scores=(*answer.scores, score),
    )


def naive_outcome(
    detections: Detections, truths: Truths, threshold: float, forget_lone_difficult: bool
) -> tuple[list[bool], list[bool]]:
    """True and false detections, one after the other and from the whole IoU matrix."""
    ious = iou_matrix(detections.quads, truths.quads)
    count = len(detections.label)
    true, false, taken = [False] * count, [False] * count, set()
    for d in sorted(range(count), key=lambda d: -detections.score[d]):  # stable
        best, best_iou = -1, 0.0
        for t in sorted(range(len(truths.label)), key=lambda t: bool(truths.ignore[t])):
            same = truths.image[t] == detections.image[d] and truths.label[t] == detections.label[d]
            if same and ious[d, t] > best_iou:
                best, best_iou = t, ious[d, t]
        here = truths.image == detections.image[d]
        if best < 0 or best_iou < threshold:
            false[d] = True
        elif truths.ignore[best]:
            false[d] = forget_lone_difficult and bool(truths.ignore[here].all())
        else:
            true[d], false[d] = best not in taken, best in taken
            taken.add(best)
    return true, false


@laws(max_examples=100)
@given(
    seed=seeds,
    levels=st.sampled_from([1, 3, 1000]),
    threshold=st.sampled_from([0.1, 0.25, 1 / 3, 0.5, 0.75, 1.0]),
    forget=st.booleans(),
)
def test_matching_equals_the_naive_way(seed: int, levels: int, threshold: float, forget: bool) -> None:
    """On a grid, so that boxes coincide and IoUs are simple fractions; scores tie."""
    random = np.random.default_rng(seed)
    objects, found = random.integers(0, 12, 2).tolist()

    def quads(count: int) -> Quads:
        places, sizes = random.integers(0, 4, (count, 2)), random.choice([2, 4, 6], (count, 2))
        return rboxes_to_quads(
            np.column_stack([places, sizes, random.choice([0, np.pi / 2, np.pi / 4], count)])
        )

    truths = Truths(
        random.integers(0, 3, objects),
        random.integers(0, 2, objects),
        quads(objects),
        random.random(objects) < 0.3,
    )
    detections = Detections(
        random.integers(0, 3, found),
        random.integers(0, 2, found),
        quads(found),
        random.integers(0, levels, found) / levels,
    )
    excuse = excusing(truths, forget_lone_difficult=forget)
    outcome = judge(ranked(detections, 2), truths, best_truths(detections, truths), threshold, excuse)
    assert (outcome.true.tolist(), outcome.false.tolist()) == naive_outcome(
        detections, truths, threshold, forget
    )


@laws(max_examples=40)
@given(seed=seeds)
def test_evaluating_quads_is_evaluating_their_rectangles(seed: int) -> None:
    random = np.random.default_rng(seed)
    records, answers = scene(seed)
    bent = [replace(r, quads=r.quads + random.normal(0, 2, r.quads.shape)) for r in records]
    found = [replace(a, quads=a.quads + random.normal(0, 2, a.quads.shape)) for a in answers]
    truths, detections = truths_of(bent, CLASSES), detections_of(found, CLASSES)
    for table, given_quads in ((truths, bent), (detections, found)):
        raw = np.concatenate([one_image.quads for one_image in given_quads])
        assert np.array_equal(table.quads, min_area_quads(raw))
        assert is_convex(table.quads).all()
        sides = np.roll(table.quads, -1, axis=1) - table.quads
        corners = (sides * np.roll(sides, -1, axis=1)).sum(axis=2)
        assert np.abs(corners).max(initial=0) < 1e-6  # right angles
    straight = [replace(r, quads=min_area_quads(r.quads)) for r in bent]
    answers = [replace(a, quads=min_area_quads(a.quads)) for a in found]
    expected = evaluate(manifest_of(bent), predictions_of(found))
    result = evaluate(manifest_of(straight), predictions_of(answers))
    assert numbers(result) == pytest.approx(numbers(expected), abs=1e-12, nan_ok=True)


def test_detections_below_the_threshold_leave_the_published_f1_alone() -> None:
    """The published class count is guessed from objects; only detections that count can overturn it."""
    right: Found = ("plane", box(0), 0.9)
    faint: Found = ("tank", box(FAR), 0.1)
    objects = {"1.png": [("plane", box(0), 0)]}
    settings = {"protocol": "lmmrotate", "score_threshold": 0.5}
    assert scored(objects, {"1.png": [right, faint]}, **settings).mf1 == 0.5
    assert scored(objects, {"1.png": [right]}, **settings).mf1 == 0.5
