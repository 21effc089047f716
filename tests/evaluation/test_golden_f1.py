"""F1 equal to what was recorded from the published f1_metric (golden f, and the bench's results).

Its runs with its own NMS (``nms0.1``) all failed with an IndexError: there is no number to be equal to.
"""

from typing import Any

import numpy as np
import pytest

from lmmrotate.evaluation.f1 import PublishedF1, guessed_class_count, published_f1
from lmmrotate.evaluation.scoring import score_tables

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
CLOSE: dict[str, Any] = {"abs": 1e-6, "rel": 0}
FORCED = "num_classes_forced_to_dataset_num_classes"
RUNS = [
    *(("default_sweep", row) for row in range(10)),
    *((FORCED, row) for row in range(10)),
    *(("tp0.75", row) for row in range(2)),
    ("nc_scores_all_one", 0),
]


def assert_equal(result: PublishedF1, recorded: dict[str, Any]) -> None:
    assert result.confusion.tolist() == recorded["confusion"]
    assert result.average_precision == pytest.approx(recorded["average_precision"], **CLOSE)
    assert result.average_recall == pytest.approx(recorded["average_recall"], **CLOSE)
    expected = np.nan if recorded["f1"] is None else recorded["f1"]
    assert result.f1 == pytest.approx(expected, **CLOSE, nan_ok=True)


@pytest.mark.parametrize(("run", "row"), RUNS)
@pytest.mark.parametrize("dataset", DATASETS)
def test_sweeps(golden: Golden, dataset: str, run: str, row: int) -> None:
    recorded = read_json(golden("f_f1.json"))["datasets"][dataset][run][row]
    detections, truths = dataset_tables(golden(INPUTS), dataset)
    classes = class_names(golden(INPUTS), dataset)
    if run == "nc_scores_all_one":
        detections = detections.with_scores(1.0)
    thresholds: Any = {
        "iou_threshold": recorded["tp_iou_thr"],
        "score_threshold": recorded["score_thr"],
    }
    count = len(classes) if run == FORCED else guessed_class_count(truths)
    assert_equal(published_f1(detections, truths, count, **thresholds), recorded)
    if run != FORCED:
        evaluation = score_tables(detections, truths, classes, images=0, protocol="lmmrotate", **thresholds)
        assert evaluation.mf1 == pytest.approx(recorded["f1"], **CLOSE)


@pytest.mark.parametrize("dataset", DATASETS)
def test_all_runs_are_compared(golden: Golden, dataset: str) -> None:
    recorded = read_json(golden("f_f1.json"))["datasets"][dataset]
    runs = {
        (run, row) for run, rows in recorded.items() if isinstance(rows, list) for row in range(len(rows))
    }
    failed = {(run, row) for run, row in runs if "IndexError" in recorded[run][row].get("error", "")}
    assert failed == {("nms0.1", 0), ("nms0.1", 1)}
    assert runs - failed == set(RUNS)


@pytest.mark.parametrize("dataset", DATASETS)
def test_guessed_class_count(golden: Golden, dataset: str) -> None:
    recorded = read_json(golden("f_f1.json"))["datasets"][dataset]["num_classes_from_get_num_classes"]
    assert guessed_class_count(dataset_tables(golden(INPUTS), dataset)[1]) == recorded


EDGES = (
    "no_gt_no_det",
    "no_gt_one_det",
    "one_gt_no_det",
    "perfect",
    "det_label_equals_num_classes",
    "det_label_above_num_classes",
    "gt_labels_start_at_2",
    "two_dets_one_gt",
    "one_det_two_gts",
    "one_det_two_gts_other_class",
    "wrong_class",
    "all_missed",
)


@pytest.mark.parametrize("name", EDGES)
def test_edges(golden: Golden, name: str) -> None:
    recorded = read_json(golden("f_f1.json"))["edge"][name]
    detections, truths = instance_tables(recorded["input"])
    count = guessed_class_count(truths)
    if "error" in recorded:
        with pytest.raises(IndexError):
            published_f1(detections, truths, count, iou_threshold=0.5, score_threshold=0)
    else:
        result = published_f1(detections, truths, count, iou_threshold=0.5, score_threshold=0)
        assert_equal(result, recorded)


def test_all_edges_are_compared(golden: Golden) -> None:
    assert set(EDGES) == set(read_json(golden("f_f1.json"))["edge"])


def test_bench_inputs(golden: Golden) -> None:
    recorded = read_json(golden("bench/bench_eval_results.json"))["f1_metric"]
    detections, truths = bench_tables(golden("bench/bench_eval_inputs.npz"))
    assert_equal(published_f1(detections, truths, 15, iou_threshold=0.5, score_threshold=0), recorded)
