"""The further numbers against slow and obvious ways to get them."""

import itertools
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from lmmrotate.errors import ConfigError
from lmmrotate.evaluation.bootstrap import _weights, draw
from lmmrotate.evaluation.calibration import calibration_of
from lmmrotate.evaluation.details import Details
from lmmrotate.evaluation.matching import Detections, Outcome, Truths, best_truths, judge, ranked, unranked
from lmmrotate.evaluation.mistakes import NEAR_IOU
from lmmrotate.evaluation.results import Evaluation
from lmmrotate.evaluation.scoring import score_tables
from lmmrotate.geometry.rboxes import rboxes_to_quads

CLASSES = ("plane", "ship", "tank")
IMAGES = 6
laws = settings(deadline=None, max_examples=25)
seeds = st.integers(0, 10**6)


def tables(seed: int, *, levels: int | None = None) -> tuple[Detections, Truths]:
    """Objects, detections near some of them and elsewhere; scores are distinct, or of a few levels."""
    random = np.random.default_rng(seed)
    objects = int(random.integers(1, 40))
    boxes = np.column_stack(
        [
            random.uniform(0, 400, (objects, 2)),
            random.uniform(8, 120, (objects, 2)),
            random.uniform(-1, 1, objects),
        ]
    )
    image, label = random.integers(0, IMAGES, objects), random.integers(0, 3, objects)
    copies = random.integers(0, objects, int(random.integers(1, 60)))
    near = boxes[copies] + random.normal(0, [6, 6, 3, 3, 0.1], (len(copies), 5))
    near[:, 2:4] = np.maximum(near[:, 2:4], 2)
    near[random.random(len(near)) < 0.2, :2] += 300
    other = random.random(len(near)) < 0.25
    score = random.permutation(len(near)) / len(near)
    if levels:
        score = np.floor(score * levels) / levels
    return (
        Detections(
            image[copies],
            np.where(other, random.integers(0, 3, len(near)), label[copies]),
            rboxes_to_quads(near),
            score,
        ),
        Truths(image, label, rboxes_to_quads(boxes), random.random(objects) < 0.15),
    )


def scored(detections: Detections, truths: Truths, **options: Any) -> Evaluation:
    return score_tables(detections, truths, CLASSES, images=IMAGES, details=True, **options)


def details(evaluation: Evaluation) -> Details:
    assert evaluation.details is not None
    return evaluation.details


@laws
@given(seeds, st.sampled_from(["corrected", "lmmrotate", "dota"]))
def test_a_sweep_is_as_good_as_leaving_detections_out(seed: int, protocol: str) -> None:
    detections, truths = tables(seed, levels=7)
    sweep = details(scored(detections, truths, protocol=protocol)).sweep
    for place, threshold in enumerate(sweep.thresholds[:: len(sweep.thresholds) // 5]):
        place *= len(sweep.thresholds) // 5
        sure = detections.score >= threshold
        if protocol == "lmmrotate":
            sure = detections.score.astype(np.float32) >= np.float32(threshold)
        kept = scored(detections.select(sure), truths, protocol=protocol)
        assert sweep.mf1[place] == pytest.approx(kept.mf1, nan_ok=True)
        assert sweep.recall[place].tolist() == pytest.approx([c.recall for c in kept.classes], nan_ok=True)
        assert sweep.precision[place].tolist() == pytest.approx(
            [c.precision for c in kept.classes], nan_ok=True
        )
        if protocol == "lmmrotate":  # as published, mAP_nc takes what is above the threshold
            above = detections.score.astype(np.float32) > np.float32(threshold)
            kept = scored(detections.select(above), truths, protocol=protocol)
        assert sweep.map_nc[place] == pytest.approx(kept.map_nc, nan_ok=True)


def test_the_best_threshold_is_named() -> None:
    square = rboxes_to_quads([(10, 10, 8, 8, 0), (100, 10, 8, 8, 0)])
    truths = Truths(np.array([0]), np.array([0]), square[:1], np.array([False]))
    detections = Detections(np.array([0, 0]), np.array([0, 0]), square[::-1], np.array([0.3, 0.8]))
    sweep = details(score_tables(detections, truths, ("a",), images=1, details=True)).sweep
    assert sweep.best_mf1() == (1.0, 0.31)
    assert sweep.best_map_nc() == (1.0, 0.31)
    assert sweep.map_nc[0] == 0.5


def test_random_orders_are_centred_on_the_exact_expectation() -> None:
    """Four detections of one class: all 24 orders are tried."""
    squares = rboxes_to_quads([(50 * i, 10, 8, 8, 0) for i in range(5)])
    truths = Truths(np.zeros(2, int), np.zeros(2, int), squares[:2], np.zeros(2, bool))
    found = Detections(np.zeros(4, int), np.zeros(4, int), squares[[0, 1, 3, 4]], np.full(4, 0.7))
    exact = []
    for order in itertools.permutations(range(4)):
        rows = np.array(order)
        some = Detections(found.image, found.label, found.quads[rows], found.score)
        exact.append(score_tables(some, truths, ("a",), images=1).map_nc)
    evaluation = score_tables(found, truths, ("a",), images=1, details=True)
    even = details(evaluation).even_scores
    assert even.orders >= 100
    assert even.mean == pytest.approx(np.mean(exact), abs=4 * np.std(exact) / np.sqrt(even.orders))
    assert even.spread == pytest.approx(np.std(exact), rel=0.3)
    assert evaluation.map_nc == max(exact), "the stable order puts the right ones first"


@laws
@given(seeds)
def test_a_draw_is_the_score_of_a_set_in_which_images_are_repeated(seed: int) -> None:
    detections, truths = tables(seed)
    best = best_truths(detections, truths)
    rankings = ranked(detections, 3), unranked(detections, 3)
    by_score, even = (judge(ranking, truths, best, 0.5) for ranking in rankings)
    draws = draw(
        detections, truths, rankings, (by_score, even), IMAGES, resamples=3, seed=5,
        score_threshold=0.3, best_threshold=0.6,
    )  # fmt: skip
    for number in range(3):
        images = np.repeat(np.arange(IMAGES), _weights(5, number, IMAGES))
        d = [
            (new, row)
            for new, image in enumerate(images)
            for row in np.flatnonzero(detections.image == image)
        ]
        t = [(new, row) for new, image in enumerate(images) for row in np.flatnonzero(truths.image == image)]
        d_image, d_row = np.array(d, dtype=int).reshape(-1, 2).T
        t_image, t_row = np.array(t, dtype=int).reshape(-1, 2).T
        found = Detections(d_image, detections.label[d_row], detections.quads[d_row], detections.score[d_row])
        wanted = Truths(t_image, truths.label[t_row], truths.quads[t_row], truths.ignore[t_row])
        at_03, at_06 = (
            score_tables(found, wanted, CLASSES, images=IMAGES, score_threshold=threshold)
            for threshold in (0.3, 0.6)
        )
        assert draws.metrics["mAP"][number] == pytest.approx(at_03.map_11, nan_ok=True)
        assert draws.metrics["mF1"][number] == pytest.approx(at_03.mf1, nan_ok=True)
        assert draws.metrics["best_mF1"][number] == pytest.approx(at_06.mf1, nan_ok=True)


def test_intervals_hold_the_value_and_differences_are_told() -> None:
    detections, truths = tables(7)
    result = scored(detections, truths, resamples=200)
    draws = details(result).draws
    assert draws is not None
    low, high = draws.interval("mAP")
    assert 0 <= low < result.map_11 < high <= 1
    assert result.to_json()["intervals_95"]["mAP"] == [low, high]
    again = details(scored(detections, truths, resamples=200)).draws
    assert again is not None
    assert again.metrics["mAP"].tolist() == draws.metrics["mAP"].tolist()
    assert draws.less(again, "mAP") == (0.0, (0.0, 0.0), 1.0)
    none = details(
        scored(detections.select(np.zeros(len(detections.score), bool)), truths, resamples=200)
    ).draws
    assert none is not None
    mean, interval, p = draws.less(none, "mAP")
    assert mean > 0
    assert interval[0] > 0
    assert p < 0.02


@laws
@given(seeds, st.sampled_from([0.0, 0.4]))
def test_mistakes_add_up_and_are_those_of_a_plain_loop(seed: int, score_threshold: float) -> None:
    detections, truths = tables(seed)
    evaluation = scored(detections, truths, score_threshold=score_threshold)
    mistakes = details(evaluation).mistakes
    objects = [c.objects for c in evaluation.classes]
    counted = [c.true_positives + c.false_positives for c in evaluation.classes]
    assert mistakes.confusion.sum(axis=1)[:3].tolist() == objects
    assert mistakes.confusion.sum(axis=0)[:3].tolist() == counted
    assert np.diag(mistakes.confusion)[:3].tolist() == [c.true_positives for c in evaluation.classes]
    assert sum(mistakes.kinds.values()) == sum(c.false_positives for c in evaluation.classes)
    assert mistakes.missed == sum(objects) - sum(c.true_positives for c in evaluation.classes)

    outcome = judge(ranked(detections, 3), truths, best_truths(detections, truths), 0.5)
    kinds = dict.fromkeys(mistakes.kinds, 0)
    boxes, others = shapely.polygons(detections.quads), shapely.polygons(truths.quads)
    for d in np.flatnonzero(outcome.false & (detections.score >= score_threshold)):
        own = other = 0.0
        for t in np.flatnonzero((truths.image == detections.image[d]) & ~truths.ignore):
            iou = boxes[d].intersection(others[t]).area / boxes[d].union(others[t]).area
            if truths.label[t] == detections.label[d]:
                own = max(own, iou)
            else:
                other = max(other, iou)
        if own >= 0.5:
            kinds["duplicate"] += 1
        elif other >= 0.5:
            kinds["class"] += 1
        elif own >= NEAR_IOU:
            kinds["localisation"] += 1
        elif other >= NEAR_IOU:
            kinds["both"] += 1
        else:
            kinds["background"] += 1
    assert kinds == mistakes.kinds


def test_a_detection_of_the_wrong_class_is_paired_with_the_object_that_it_hides() -> None:
    squares = rboxes_to_quads([(10, 10, 8, 8, 0), (60, 10, 8, 8, 0)])
    truths = Truths(np.zeros(2, int), np.array([0, 1]), squares, np.zeros(2, bool))
    found = Detections(np.zeros(3, int), np.array([1, 1, 2]), squares[[0, 1, 1]], np.array([0.9, 0.8, 0.7]))
    mistakes = details(score_tables(found, truths, CLASSES, images=1, details=True)).mistakes
    assert mistakes.confusion.tolist() == [[0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]]
    assert (mistakes.kinds["class"], mistakes.missed) == (2, 1)


def test_sizes_and_densities() -> None:
    """A large object is found, a small one is not; a false detection is small."""
    quads = rboxes_to_quads([(100, 100, 150, 100, 0), (300, 300, 10, 10, 0), (500, 30, 12, 12, 0)])
    truths = Truths(np.array([0, 0]), np.zeros(2, int), quads[:2], np.zeros(2, bool))
    found = Detections(np.array([0, 0]), np.zeros(2, int), quads[[0, 2]], np.array([0.5, 0.9]))
    result = details(score_tables(found, truths, ("a",), images=1, details=True))
    assert [(p.name, p.objects, p.map_11, p.recall) for p in result.sizes if p.objects] == [
        ("small", 1, 0.0, 0.0),
        ("large", 1, 1.0, 1.0),
    ]
    assert [(p.name, p.objects) for p in result.densities] == [
        ("1 to 10", 2),
        ("11 to 50", 0),
        ("more than 50", 0),
    ]
    assert result.densities[0].recall == 0.5
    assert np.isnan(result.densities[1].map_11)


@laws
@given(seeds)
def test_recall_with_few_boxes(seed: int) -> None:
    detections, truths = tables(seed)
    recalls = details(scored(detections, truths)).recall_by_boxes
    objects = int((~truths.ignore).sum())
    for boxes in (1, 10):
        keep = np.zeros(len(detections.score), bool)
        for image in range(IMAGES):
            rows = np.flatnonzero(detections.image == image)
            keep[rows[np.argsort(-detections.score[rows])][:boxes]] = True
        kept = scored(detections.select(keep), truths)
        found = sum(c.true_positives for c in kept.classes)
        assert recalls[boxes] == pytest.approx(found / objects if objects else np.nan, nan_ok=True)


def test_calibration() -> None:
    true = np.array([True] * 8 + [False] * 2 + [True] * 3)
    outcome = Outcome(true, ~true & (np.arange(13) < 10))
    outcome.true[12] = False  # on a difficult object: neither
    calibration = calibration_of(outcome, np.array([0.8] * 10 + [1.0] * 3))
    assert calibration.ece == pytest.approx(0.0)
    assert calibration.counts[[12, 14]].tolist() == [10, 2]
    assert calibration.right[14] == 1.0
    off = calibration_of(outcome, np.full(13, 0.3))
    assert off.ece == pytest.approx(10 / 12 - 0.3)
    assert np.isnan(calibration_of(Outcome(np.zeros(0, bool), np.zeros(0, bool)), np.zeros(0)).ece)


@laws
@given(seeds, st.sampled_from(["corrected", "lmmrotate", "dota"]))
def test_the_order_of_rows_changes_nothing_bit_for_bit(seed: int, protocol: str) -> None:
    detections, truths = tables(seed)
    random = np.random.default_rng(seed)
    d, t, names = (random.permutation(n) for n in (len(detections.score), len(truths.label), IMAGES))
    shuffled = (
        Detections(names[detections.image[d]], detections.label[d], detections.quads[d], detections.score[d]),
        Truths(names[truths.image[t]], truths.label[t], truths.quads[t], truths.ignore[t]),
    )
    one, other = (
        json.dumps(without_orders(scored(*some, protocol=protocol)), sort_keys=True)
        for some in ((detections, truths), shuffled)
    )
    assert one == other


def without_orders(evaluation: Evaluation) -> dict[str, Any]:
    """All but mAP_nc, which ranks by the order of rows."""
    content = replace(evaluation).to_json()
    for name in ("mAP_nc", "best_mAP_nc", "mAP_nc_of_random_orders"):
        del content[name]
    del content["sweep"]["mAP_nc"]
    for row in content["classes"]:
        del row["AP_nc"]
    return content


def test_nothing_at_all() -> None:
    nothing = np.zeros(0, int), np.zeros(0, int), np.zeros((0, 4, 2))
    evaluation = score_tables(
        Detections(*nothing, np.zeros(0)),
        Truths(*nothing, np.zeros(0, bool)),
        CLASSES,
        images=0,
        details=True,
        resamples=5,
    )
    content = evaluation.to_json()
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert content["best_mF1"] == {"value": None, "score_threshold": None}
    assert content["missed_objects"] == 0


def test_scores_that_are_no_numbers_are_refused() -> None:
    detections, truths = tables(0)
    with pytest.raises(ValueError, match="scores contain NaN"):
        score_tables(detections.with_scores(np.nan), truths, CLASSES, images=IMAGES)


def test_the_table_of_classes_as_csv() -> None:
    evaluation = scored(*tables(3), protocol="dota")
    header, *rows, last = [line.split(",") for line in evaluation.to_csv().splitlines()]
    assert header[:5] == ["protocol", "iou_threshold", "score_threshold", "label", "objects"]
    assert [row[3] for row in rows] == list(CLASSES)
    assert all(row[0] == "dota" for row in rows)
    place = header.index("AP")
    assert (last[3], float(last[place])) == ("", evaluation.map_11)
    assert int(last[4]) == sum(c.objects for c in evaluation.classes)
    assert [float(row[place]) for row in rows if row[place]] == [
        c.ap_11 for c in evaluation.classes if c.objects
    ]


def test_map_at_any_iou() -> None:
    detections, truths = tables(11)
    result = scored(detections, truths, ious=(0.05, 0.33))
    at = {a.iou_threshold: a for a in details(result).by_iou}
    assert list(at) == [0.05, 0.33, *(round(0.5 + 0.05 * k, 2) for k in range(10))]
    for iou, found in at.items():
        alone = scored(detections, truths, iou_threshold=iou)
        assert (found.map_11, found.map_area) == (alone.map_11, alone.map_area)
    assert details(result).map_50_95 == pytest.approx(np.mean([at[i].map_area for i in list(at)[2:]]))
    with pytest.raises(ConfigError, match="iou_threshold must lie in"):
        scored(detections, truths, ious=(0.0,))
