"""Numbers equal to those recorded from mmrotate's eval_rbbox_map (golden e) and f1_metric (golden f).

Detections are ranked stably here. The recorded ``real_*`` and ``nc_*`` runs rank ties by numpy's unstable
sort and are compared through their recorded ``*_stable_argsort`` variants instead; the recorded runs in
other image orders depend on that sort too.
"""

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmmrotate.evaluation.average_precision import ap_11, ap_area, curve_of
from lmmrotate.evaluation.f1 import published_f1
from lmmrotate.evaluation.matching import Detections, Truths, best_truths, judge
from lmmrotate.geometry.rboxes import rboxes_to_quads

Golden = Callable[[str], Path]
pytestmark = pytest.mark.golden
DATASETS = ("dota15", "dior20", "rsar6")
IOUS = [f"{0.5 + 0.05 * step:.2f}" for step in range(10)]


@lru_cache
def _json(path: Path) -> Any:
    return json.loads(path.read_text())


@lru_cache
def _tables(path: Path, dataset: str, scores: str) -> tuple[Detections, Truths, int]:
    data = np.load(path)

    def column(name: str) -> Any:
        return data[f"{dataset}/{name}"]

    detections = Detections(
        column("det_img"),
        column("det_label"),
        rboxes_to_quads(column("det_box")),
        column(scores).astype(np.float64),
    )
    truths = Truths(
        column("gt_img"), column("gt_label"), rboxes_to_quads(column("gt_box")), column("gt_ignore")
    )
    return detections, truths, int(column("ncls"))


def mean_ap(
    detections: Detections, truths: Truths, count: int, iou: float, mode: str
) -> tuple[float, list[float], list[int]]:
    """mAP over classes with objects, AP of every class (0 without objects, as recorded), true positives."""
    outcome = judge(detections, truths, best_truths(detections, truths), iou, forget_lone_difficult=True)
    aps, trues, objects = [], [], []
    for label in range(count):
        rows = detections.label == label
        objects.append(int(((truths.label == label) & ~truths.ignore).sum()))
        curve = curve_of(outcome, detections.score, rows, objects[-1])
        ap = ap_11(curve, rounded_steps=True) if mode == "11points" else ap_area(curve)
        aps.append(ap if objects[-1] else 0.0)
        trues.append(int((outcome.true & rows).sum()))
    present = [ap for ap, n in zip(aps, objects, strict=True) if n]
    return float(np.mean(present)) if present else 0.0, aps, trues


@pytest.mark.parametrize("mode", ["11points", "area"])
@pytest.mark.parametrize("iou", IOUS)
@pytest.mark.parametrize("dataset", DATASETS)
def test_map_with_unique_scores(golden: Golden, dataset: str, iou: str, mode: str) -> None:
    recorded = _json(golden("e_map.json"))["datasets"][dataset][f"unique_scores_{mode}"][iou]
    tables = _tables(golden("ef_eval_inputs.npz"), dataset, "det_score_unique")
    value, aps, trues = mean_ap(*tables, float(iou), mode)
    assert value == pytest.approx(recorded["mAP"], abs=1e-6)
    assert aps == pytest.approx(recorded["ap"], abs=1e-6)
    assert trues == recorded.get("n_tp", trues)


@pytest.mark.parametrize("mode", ["11points", "area"])
@pytest.mark.parametrize("iou", ["0.50", "0.75"])
@pytest.mark.parametrize("kind", ["real", "nc"])
@pytest.mark.parametrize("dataset", DATASETS)
def test_map_with_ties_in_stable_order(golden: Golden, dataset: str, kind: str, iou: str, mode: str) -> None:
    recorded = _json(golden("e_map.json"))["datasets"][dataset][f"{kind}_stable_argsort"][mode][iou]
    detections, truths, count = _tables(golden("ef_eval_inputs.npz"), dataset, "det_score")
    if kind == "nc":
        detections = detections.with_scores(1.0)
    value, aps, _ = mean_ap(detections, truths, count, float(iou), mode)
    assert value == pytest.approx(recorded["mAP"], abs=1e-6)
    assert aps == pytest.approx(recorded["ap"], abs=1e-6)


@pytest.mark.parametrize("dataset", DATASETS)
def test_map_nc_over_score_thresholds(golden: Golden, dataset: str) -> None:
    sweep = _json(golden("e_map.json"))["datasets"][dataset]["threshold_sweep_nc"]
    detections, truths, count = _tables(golden("ef_eval_inputs.npz"), dataset, "det_score")
    assert sweep
    for threshold, recorded in sweep.items():
        above = detections.score.astype(np.float32) > np.float32(threshold)  # as recorded
        kept = detections.select(above).with_scores(1.0)
        assert len(kept.label) == recorded["n_kept"]
        value, _, _ = mean_ap(kept, truths, count, 0.5, "11points")
        assert value == pytest.approx(recorded["mAP_stable_argsort"], abs=1e-6)


def from_instances(images: list[dict[str, Any]]) -> tuple[Detections, Truths]:
    """Tables from mmdet-like instances; every part may be absent."""
    rows: dict[str, list[Any]] = {key: [] for key in ("di", "dl", "db", "ds", "ti", "tl", "tb", "tg")}
    for number, image in enumerate(images):
        found = image["pred_instances"]
        for box, label, score in zip(found["bboxes"], found["labels"], found["scores"], strict=True):
            for key, value in zip(("di", "db", "dl", "ds"), (number, box, label, score), strict=True):
                rows[key].append(value)
        for part, ignored in (("gt_instances", False), ("ignored_instances", True)):
            some = image.get(part, {"bboxes": [], "labels": []})
            for box, label in zip(some["bboxes"], some["labels"], strict=True):
                for key, value in zip(("ti", "tb", "tl", "tg"), (number, box, label, ignored), strict=True):
                    rows[key].append(value)

    def ints(key: str) -> Any:
        return np.asarray(rows[key], dtype=np.int64)

    detections = Detections(
        ints("di"), ints("dl"), rboxes_to_quads(rows["db"]), np.asarray(rows["ds"], dtype=float)
    )
    return detections, Truths(
        ints("ti"), ints("tl"), rboxes_to_quads(rows["tb"]), np.asarray(rows["tg"], dtype=bool)
    )


EDGES_E = ("empty_everything", "no_gt_but_ignored_covering_det", "ignored_and_gt_same_image", "dup_dets",
           "one_gt_no_det", "det_no_gt_class", "second_best_gt_is_not_tried", "iou_exactly_half")  # fmt: skip


@pytest.mark.parametrize("mode", ["11points", "area"])
@pytest.mark.parametrize("name", EDGES_E)
def test_map_edges(golden: Golden, name: str, mode: str) -> None:
    recorded = _json(golden("e_map.json"))["edge"][name]
    detections, truths = from_instances(recorded["input"])
    value, aps, trues = mean_ap(detections, truths, 2, 0.5, mode)
    result = recorded["result"][mode]
    assert value == pytest.approx(result["mAP"], abs=1e-6)
    assert aps == pytest.approx(result["ap"], abs=1e-6)
    assert trues == result["n_tp"]


SWEEPS = (
    "default_sweep",
    "tp0.75",
    "nc_scores_all_one",
    "num_classes_forced_to_dataset_num_classes",
    "nms0.1",
)


@pytest.mark.parametrize("sweep", SWEEPS)
@pytest.mark.parametrize("dataset", DATASETS)
def test_f1(golden: Golden, dataset: str, sweep: str) -> None:
    recorded = _json(golden("f_f1.json"))["datasets"][dataset]
    detections, truths, count = _tables(golden("ef_eval_inputs.npz"), dataset, "det_score")
    if sweep == "nc_scores_all_one":
        detections = detections.with_scores(1.0)
    guess = count if sweep.startswith("num_classes") else recorded["num_classes_from_get_num_classes"]
    assert recorded[sweep]
    for row in recorded[sweep]:
        if "error" in row:
            # With its own NMS the published code indexes past its arrays: there is nothing to reproduce.
            assert row["nms_iou_thr"] is not None or guess < detections.label.max()
            assert "IndexError" in row["error"]
            continue
        assert_f1(detections, truths, guess, row)


def assert_f1(detections: Detections, truths: Truths, count: int, row: dict[str, Any]) -> None:
    result = published_f1(detections, truths, count, row.get("tp_iou_thr", 0.5), row.get("score_thr", 0.0))
    assert result.confusion.tolist() == row["confusion"]
    assert result.average_precision == pytest.approx(row["average_precision"], abs=1e-6)
    assert result.average_recall == pytest.approx(row["average_recall"], abs=1e-6)
    expected = float("nan") if row["f1"] is None else row["f1"]
    assert result.f1 == pytest.approx(expected, abs=1e-6, nan_ok=True)


EDGES_F = ("no_gt_no_det", "no_gt_one_det", "one_gt_no_det", "perfect", "det_label_equals_num_classes",
           "det_label_above_num_classes", "gt_labels_start_at_2", "two_dets_one_gt", "one_det_two_gts",
           "one_det_two_gts_other_class", "wrong_class", "all_missed")  # fmt: skip


@pytest.mark.parametrize("name", EDGES_F)
def test_f1_edges(golden: Golden, name: str) -> None:
    recorded = _json(golden("f_f1.json"))["edge"][name]
    detections, truths = from_instances(recorded["input"])
    guess = int(truths.label.max()) + 1 if len(truths.label) else 0
    if "error" in recorded:
        with pytest.raises(IndexError):
            published_f1(detections, truths, guess, 0.5, 0.0)
    else:
        assert_f1(detections, truths, guess, recorded)
