"""mAP equal to what was recorded from mmrotate's eval_rbbox_map (golden e, and the bench's results).

``unique_scores`` and ``*_stable_argsort`` are compared with what ``score_tables`` gives. All other runs also
depend on how numpy 1.26.4's unstable sort happens to order ties; they are compared after ranking ties the
same way (``introsort``), which leaves matching, curves and AP to ours.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmmrotate.evaluation.average_precision import Curve, ap_11, ap_area, curves_of
from lmmrotate.evaluation.details import Details
from lmmrotate.evaluation.matching import Detections, Truths, best_truths, excusing, judge, ranked
from lmmrotate.evaluation.results import Evaluation
from lmmrotate.evaluation.scoring import score_tables

from .introsort import introsort_scores
from .recorded import (
    DATASETS,
    Golden,
    bench_tables,
    class_names,
    dataset_tables,
    instance_tables,
    read_json,
)

pytestmark = pytest.mark.golden
INPUTS = "ef_eval_inputs.npz"
IOUS = tuple(f"{0.5 + 0.05 * step:.2f}" for step in range(10))
IOUS_OF_NC = ("0.50", "0.75")
MODES = ("11points", "area")
SCORE_THRESHOLDS = ("0.1", "0.2", "0.25", "0.3", "0.35", "0.4", "0.45", "0.5", "0.7")
CLOSE: dict[str, Any] = {"abs": 1e-6, "rel": 0}


@pytest.fixture(params=DATASETS)
def dataset(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@lru_cache
def scored(path: Path, dataset: str, scores: str, iou: float) -> Evaluation:
    """Our numbers, as a user gets them."""
    detections, truths = dataset_tables(path, dataset, scores)
    classes = class_names(path, dataset)
    return score_tables(detections, truths, classes, images=0, iou_threshold=iou, protocol="lmmrotate")


@lru_cache
def swept(path: Path, dataset: str) -> Details:
    """Our numbers over score thresholds, as a user gets them."""
    tables, classes = dataset_tables(path, dataset), class_names(path, dataset)
    found = score_tables(*tables, classes, images=2000, protocol="lmmrotate", details=True).details
    assert found is not None
    return found


def aps_and_mean(evaluation: Evaluation, mode: str) -> tuple[list[float], float]:
    if mode == "area":
        return [c.ap_area for c in evaluation.classes], evaluation.map_area
    return [c.ap_11 for c in evaluation.classes], evaluation.map_11


def curves_in_recorded_order(detections: Detections, truths: Truths, count: int, iou: float) -> list[Curve]:
    """Curves of all classes, where ties over images rank as numpy 1.26.4 ranked them.

    Within an image the recorded runs ranked ties stably, because no image has many boxes of one class.
    """
    excuse = excusing(truths, forget_lone_difficult=True)
    ranks = introsort_scores(detections.label, detections.score)
    objects = np.bincount(truths.label[~truths.ignore], minlength=count).tolist()
    ranking = ranked(detections.with_scores(ranks), count)
    outcome = judge(ranked(detections, count), truths, best_truths(detections, truths), iou, excuse)
    return curves_of(outcome, ranking, objects)


def average_precisions(curves: list[Curve], mode: str) -> list[float]:
    return [ap_11(curve, rounded_steps=True) if mode == "11points" else ap_area(curve) for curve in curves]


def assert_ap(aps: list[float], recorded: dict[str, Any]) -> None:
    """Classes without objects are NaN to us, 0 in the recorded list, and part of neither mean."""
    assert np.nan_to_num(aps) == pytest.approx(recorded["ap"], **CLOSE)
    assert np.nanmean(aps) == pytest.approx(recorded["mAP"], **CLOSE)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("iou", IOUS)
def test_unique_scores(golden: Golden, dataset: str, iou: str, mode: str) -> None:
    recorded = read_json(golden("e_map.json"))["datasets"][dataset][f"unique_scores_{mode}"][iou]
    evaluation = scored(golden(INPUTS), dataset, "det_score_unique", float(iou))
    aps, mean = aps_and_mean(evaluation, mode)
    assert_ap(aps, recorded)
    assert mean == pytest.approx(recorded["mAP"], **CLOSE)
    if mode == "11points":
        assert [c.true_positives for c in evaluation.classes] == recorded["n_tp"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("iou", IOUS_OF_NC)
def test_ties_in_stable_order(golden: Golden, dataset: str, iou: str, mode: str) -> None:
    recorded = read_json(golden("e_map.json"))["datasets"][dataset]["real_stable_argsort"][mode][iou]
    aps, mean = aps_and_mean(scored(golden(INPUTS), dataset, "det_score", float(iou)), mode)
    assert_ap(aps, recorded)
    assert mean == pytest.approx(recorded["mAP"], **CLOSE)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("iou", IOUS_OF_NC)
def test_no_confidence_in_stable_order(golden: Golden, dataset: str, iou: str, mode: str) -> None:
    recorded = read_json(golden("e_map.json"))["datasets"][dataset]["nc_stable_argsort"][mode][iou]
    if mode == "11points":
        evaluation = scored(golden(INPUTS), dataset, "det_score", float(iou))
        aps, mean = [c.ap_nc for c in evaluation.classes], evaluation.map_nc
    else:
        detections, truths = dataset_tables(golden(INPUTS), dataset)
        even, classes = detections.with_scores(1.0), class_names(golden(INPUTS), dataset)
        evaluation = score_tables(
            even, truths, classes, images=0, iou_threshold=float(iou), protocol="lmmrotate"
        )
        aps, mean = aps_and_mean(evaluation, mode)
    assert_ap(aps, recorded)
    assert mean == pytest.approx(recorded["mAP"], **CLOSE)


def rearranged(path: Path, dataset: str, order: str, image_order: list[int]) -> Detections:
    """Detections as a recorded run got them.

    Args:
        image_order: of the run in which the images were shuffled.
    """
    detections, _ = dataset_tables(path, dataset)
    image, row = detections.image, np.arange(len(detections.image))
    if order == "real":
        return detections
    if order == "nc_image_order_reversed":
        row = np.argsort(-image, kind="stable")
    elif order == "nc_image_order_shuffled":
        row = np.argsort(np.argsort(image_order)[image], kind="stable")
    elif order == "nc_det_order_reversed_within_image":
        row = np.lexsort((-row, image))
    return Detections(
        image[row], detections.label[row], detections.quads[row], detections.score[row]
    ).with_scores(1.0)


RUNS = [
    *(("real", iou) for iou in IOUS),
    *(("nc", iou) for iou in IOUS_OF_NC),
    ("nc_image_order_reversed", "0.50"),
    ("nc_image_order_shuffled", "0.50"),
    ("nc_det_order_reversed_within_image", "0.50"),
]


@pytest.mark.parametrize(("order", "iou"), RUNS)
def test_ties_in_recorded_order(golden: Golden, dataset: str, order: str, iou: str) -> None:
    runs = read_json(golden("e_map.json"))["datasets"][dataset]
    _, truths = dataset_tables(golden(INPUTS), dataset)
    detections = rearranged(golden(INPUTS), dataset, order, runs["nc_image_order_shuffled_order"])
    count = len(class_names(golden(INPUTS), dataset))
    curves = curves_in_recorded_order(detections, truths, count, float(iou))
    for mode in MODES:
        recorded = (runs[order][mode] if order in runs else runs[f"{order}_{mode}"])[iou]
        assert_ap(average_precisions(curves, mode), recorded)
    if order in runs:
        return
    recorded = runs[f"{order}_11points"][iou]
    assert [curve.objects for curve in curves] == recorded["num_gts"]
    assert np.bincount(detections.label, minlength=count).tolist() == recorded["num_dets"]
    for k, curve in enumerate(curves):
        assert curve.found.max(initial=0) == (recorded["n_tp"][k] if curve.objects else 0)
        if len(curve.found) == recorded["num_dets"][k] > 0:  # else the recorded sums have excused boxes too
            assert curve.precision.sum() == pytest.approx(recorded["sum_precision"][k], rel=1e-6)
            assert curve.recall.sum() == pytest.approx(recorded["sum_recall"][k], rel=1e-6)
            assert curve.recall[-1] == pytest.approx(recorded["final_recall"][k], **CLOSE)
            assert curve.precision[-1] == pytest.approx(recorded["final_precision"][k], **CLOSE)


@pytest.mark.parametrize("threshold", SCORE_THRESHOLDS)
def test_no_confidence_over_score_thresholds(golden: Golden, dataset: str, threshold: str) -> None:
    recorded = read_json(golden("e_map.json"))["datasets"][dataset]["threshold_sweep_nc"][threshold]
    detections, truths = dataset_tables(golden(INPUTS), dataset)
    # As recorded: strictly above, and both float32.
    kept = detections.select(detections.score.astype(np.float32) > np.float32(threshold))
    assert len(kept.label) == recorded["n_kept"]
    classes = class_names(golden(INPUTS), dataset)
    stable = score_tables(kept, truths, classes, images=0, protocol="lmmrotate")
    assert stable.map_nc == pytest.approx(recorded["mAP_stable_argsort"], **CLOSE)
    sweep = swept(golden(INPUTS), dataset).sweep
    place = sweep.thresholds.tolist().index(float(threshold))
    assert sweep.map_nc[place] == pytest.approx(recorded["mAP_stable_argsort"], **CLOSE)
    curves = curves_in_recorded_order(kept.with_scores(1.0), truths, len(classes), 0.5)
    assert_ap(average_precisions(curves, "11points"), recorded)


def test_dota_metric(golden: Golden, dataset: str) -> None:
    recorded = read_json(golden("e_map.json"))["datasets"][dataset]["DOTAMetric_compute_metrics_iou0.5_0.75"]
    detections, truths = dataset_tables(golden(INPUTS), dataset)
    count = len(class_names(golden(INPUTS), dataset))
    means = [
        np.nanmean(average_precisions(curves_in_recorded_order(detections, truths, count, iou), "11points"))
        for iou in (0.5, 0.75)
    ]
    assert [round(float(mean), 3) for mean in means] == [recorded["AP50"], recorded["AP75"]]
    assert np.mean(means) == pytest.approx(recorded["mAP"], **CLOSE)


EDGES = (
    "empty_everything",
    "no_gt_but_ignored_covering_det",
    "ignored_and_gt_same_image",
    "dup_dets",
    "one_gt_no_det",
    "det_no_gt_class",
    "second_best_gt_is_not_tried",
    "iou_exactly_half",
)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", EDGES)
def test_edges(golden: Golden, name: str, mode: str) -> None:
    edge = read_json(golden("e_map.json"))["edge"][name]
    recorded = edge["result"][mode]
    detections, truths = instance_tables(edge["input"])
    evaluation = score_tables(detections, truths, ("a", "b"), images=1, protocol="lmmrotate")
    aps, mean = aps_and_mean(evaluation, mode)
    assert np.nan_to_num(aps) == pytest.approx(recorded["ap"], **CLOSE)
    assert mean == pytest.approx(recorded["mAP"], **CLOSE)
    assert [c.true_positives for c in evaluation.classes] == recorded["n_tp"]
    assert [c.objects for c in evaluation.classes] == recorded["num_gts"]
    assert [c.detections for c in evaluation.classes] == recorded["num_dets"]


def test_all_edges_are_compared(golden: Golden) -> None:
    assert set(EDGES) == set(read_json(golden("e_map.json"))["edge"])


BENCH_CASES = [
    ("mAP50_11p", 0.5, "11points"),
    ("mAP75_11p", 0.75, "11points"),
    ("mAP50_area", 0.5, "area"),
    ("mAP50_11p_nc_scores_all_one_numpy1264_order", 0.5, "11points"),
]


@pytest.mark.parametrize(("key", "iou", "mode"), BENCH_CASES)
def test_bench_inputs(golden: Golden, key: str, iou: float, mode: str) -> None:
    recorded = read_json(golden("bench/bench_eval_results.json"))["eval_rbbox_map"]
    detections, truths = bench_tables(golden("bench/bench_eval_inputs.npz"))
    if "nc" in key:
        detections = detections.with_scores(1.0)
    aps = average_precisions(curves_in_recorded_order(detections, truths, 15, iou), mode)
    assert np.mean(aps) == pytest.approx(recorded[key], **CLOSE)
    if key == "mAP50_11p":
        assert aps == pytest.approx(recorded["ap50_11p"], **CLOSE)
