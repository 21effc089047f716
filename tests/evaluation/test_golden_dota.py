"""The "dota" protocol equal to what was recorded from DOTA_devkit's voc_eval and polyiou (golden i)."""

import math
from typing import Any

import numpy as np
import pytest

from lmmrotate.data.catalog import dataset_spec
from lmmrotate.evaluation.matching import Detections, Truths
from lmmrotate.evaluation.results import Evaluation
from lmmrotate.evaluation.scoring import score_tables
from lmmrotate.geometry.overlap import iou_pairs
from lmmrotate.geometry.quads import as_quads

from .introsort import introsort_scores
from .recorded import Golden, dataset_tables, read_json

pytestmark = pytest.mark.golden
CLASSES = dataset_spec("dota").classes


def as_written(golden: Golden, scores: str) -> tuple[Detections, Truths]:
    """The recorded boxes with the digits that the text files have; ties rank as numpy 1.26.4 ranked them."""
    detections, truths = dataset_tables(golden("ef_eval_inputs.npz"), "dota15")
    score = np.ones(len(detections.score)) if scores == "ones" else detections.score.round(4)
    ranked = introsort_scores(detections.label, score)
    found = Detections(detections.image, detections.label, detections.quads.round(2), ranked)
    return found, Truths(truths.image, truths.label, truths.quads.round(2), truths.ignore)


@pytest.mark.parametrize("scores", ["real", "ones"])
@pytest.mark.parametrize("iou", ["0.5", "0.75"])
def test_voc_eval(golden: Golden, scores: str, iou: str) -> None:
    recorded = read_json(golden("i_dota_devkit.json"))["results"][scores]
    tables = as_written(golden, scores)
    evaluation = score_tables(*tables, CLASSES, images=0, iou_threshold=float(iou), protocol="dota")
    for mode in ("11points", "area"):
        assert_equal(evaluation, recorded[f"iou{iou}_{mode}"], mode)


def assert_equal(evaluation: Evaluation, recorded: dict[str, dict[str, Any]], mode: str) -> None:
    for found in evaluation.classes:
        wanted = recorded[found.label]
        if "error" in wanted:  # the devkit fails on a class without detections
            assert found.detections == 0
            continue
        assert found.detections == wanted["n"]
        if found.objects == 0:  # 0 / 0 there; it has no part in our means
            assert math.isnan(found.ap_11)
            continue
        ap = found.ap_11 if mode == "11points" else found.ap_area
        assert ap == pytest.approx(wanted["ap"], abs=1e-6)
        assert found.curve_recall[-1] == pytest.approx(wanted["final_recall"], abs=1e-9)
        assert found.curve_precision[-1] == pytest.approx(wanted["final_precision"], abs=1e-9)


def test_polyiou(golden: Golden) -> None:
    recorded = read_json(golden("i_dota_devkit.json"))["polyiou"]
    found = iou_pairs(as_quads(recorded["a"]), as_quads(recorded["b"]))
    np.testing.assert_allclose(found, recorded["iou"], atol=1e-6)
