"""IoU, IoF and NMS against values recorded from mmcv's CPU operators (golden/README.md, d_geometry.npz).

The recorded operators work in float32 on rotated boxes; ours in float64 on corners. Where they differ by
more than ``TOLERANCE`` the recorded value is the wrong one: those cases are counted here by kind, and ours
must equal shapely's.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from lmmrotate.geometry.overlap import iof_matrix, iof_pairs, iou_matrix, iou_pairs, rotated_nms
from lmmrotate.geometry.quads import Quads, as_quads
from lmmrotate.geometry.rboxes import rboxes_to_quads

pytestmark = pytest.mark.golden

TOLERANCE = 1e-4
SAME_RECTANGLE = {"angle+pi": 14, "swap_wh_angle+pi/2": 14}  # one rectangle written in two ways
AROUND_A_THOUSANDTH = {"tiny_1e-3_identical": 33, "tiny_random": 26}  # sides of about 0.001 px
NEGATIVE = {"negative_width": 125}  # not a box: mmcv finds no overlap, we see the mirrored rectangle
CLAMPED = {**SAME_RECTANGLE, "tiny_1e-3_identical": 33, "tiny_random": 29}
CLAMPED_SHARE = {**CLAMPED, "negative_width": 93, "zero_width": 62}  # ratios such as 1.0003
WRONG = SAME_RECTANGLE | AROUND_A_THOUSANDTH | NEGATIVE

# What the operator sees of a box: as it is, clamped by mmrotate's rbbox_overlaps, or turned the other way.
Change = Callable[[np.ndarray], np.ndarray]


def as_recorded(rboxes: np.ndarray) -> np.ndarray:
    return rboxes


def clamped(rboxes: np.ndarray) -> np.ndarray:
    centres = np.clip(rboxes[:, :2], -1e7, 1e7)
    return np.hstack([centres, np.maximum(rboxes[:, 2:4], np.float32(1e-3)), rboxes[:, 4:]])


def mirrored(rboxes: np.ndarray) -> np.ndarray:
    return rboxes * [1, 1, 1, 1, -1]


@pytest.fixture(scope="module")
def recorded(golden: Callable[[str], Path]) -> dict[str, Any]:
    with np.load(golden("d_geometry.npz")) as arrays:
        return dict(arrays)


def quads_of(rboxes: np.ndarray) -> Quads:
    return rboxes_to_quads(rboxes.astype(np.float64))


def exact(a: Quads, b: Quads, over_a: bool) -> np.ndarray:
    first, second = shapely.polygons(a), shapely.polygons(b)
    shared = shapely.area(shapely.intersection(first, second))
    whole = shapely.area(first) if over_a else shapely.area(first) + shapely.area(second) - shared
    ratios: np.ndarray = shared / whole
    return ratios


@pytest.mark.parametrize(
    ("name", "over_a", "swapped", "change", "wrong"),
    [
        ("pair_iou_raw", False, False, as_recorded, WRONG),
        ("pair_iou_raw_swapped", False, True, as_recorded, WRONG),
        ("pair_iof_raw", True, False, as_recorded, WRONG),
        ("pair_iou_ccw", False, False, mirrored, {
            "angle+pi": 11, "swap_wh_angle+pi/2": 11, "pm_pi/2": 7,
            "tiny_1e-3_identical": 36, "tiny_random": 24, "negative_width": 125,
        }),
        ("pair_iou_rbbox_overlaps", False, False, clamped, CLAMPED),
        ("pair_iof_rbbox_overlaps", True, False, clamped, CLAMPED_SHARE),
    ],
)  # fmt: skip
def test_pairs(
    recorded: dict[str, Any], name: str, over_a: bool, swapped: bool, change: Change, wrong: dict[str, int]
) -> None:
    a, b = (quads_of(change(recorded[key].astype(np.float64))) for key in ("pair_a", "pair_b"))
    if swapped:
        a, b = b, a
    ours = iof_pairs(a, b) if over_a else iou_pairs(a, b)
    differs = ~(np.abs(ours - recorded[name]) <= TOLERANCE)  # also where the recorded value is infinite
    assert Counter(recorded["pair_tag"][differs].tolist()) == wrong
    assert ours[differs] == pytest.approx(exact(a[differs], b[differs], over_a), abs=1e-9)


def test_pairs_equal_the_exact_values_recorded_beside_them(recorded: dict[str, Any]) -> None:
    ours = iou_pairs(quads_of(recorded["pair_a"]), quads_of(recorded["pair_b"]))
    known = np.isfinite(recorded["pair_iou_exact_shapely_f64"])  # NaN stands where w or h is 0 or less
    assert known.sum() == 3500
    assert ours[known] == pytest.approx(recorded["pair_iou_exact_shapely_f64"][known], abs=1e-9)
    assert not ours[recorded["pair_tag"] == "zero_width"].any()


def test_matrices(recorded: dict[str, Any]) -> None:
    a, b = quads_of(recorded["mat_a"]), quads_of(recorded["mat_b"])
    assert iou_matrix(a, b) == pytest.approx(recorded["mat_iou"], abs=TOLERANCE)
    assert iof_matrix(a, b) == pytest.approx(recorded["mat_iof"], abs=TOLERANCE)
    assert iou_matrix(a[:0], b).shape == tuple(recorded["empty_shape"])
    quads = as_quads(recorded["qiou_a"])
    assert iou_matrix(quads, quads[::-1]) == pytest.approx(recorded["qiou"], abs=TOLERANCE)


@pytest.mark.parametrize("threshold", ["0.1", "0.3", "0.5", "0.75"])
@pytest.mark.parametrize("case", range(7))
@pytest.mark.parametrize("kind", ["nms", "nmsq"], ids=["nms_rotated", "nms_quadri"])
def test_nms(recorded: dict[str, Any], kind: str, case: int, threshold: str) -> None:
    quads, scores = quads_of(recorded[f"nms{case}_boxes"]), recorded[f"nms{case}_scores"]
    if recorded["nms_modes"][case] in {"equal", "levels", "equal64"}:
        # mmcv's sort is not stable. At 0.75 it kept every box, so that list is the order it had them in.
        order = recorded[f"{kind}{case}_keep_0.75"]
        assert len(order) == len(quads)
    else:
        assert len(np.unique(scores)) == len(scores)
        order = np.arange(len(quads))
    kept = order[rotated_nms(quads[order], scores[order], np.zeros(len(quads), int), float(threshold))]
    assert kept.tolist() == recorded[f"{kind}{case}_keep_{threshold}"].tolist()


@pytest.mark.parametrize("case", range(7))
def test_nms_by_class(recorded: dict[str, Any], case: int) -> None:
    """Our labels do what mmcv's on a GPU do; its CPU kernel, which was recorded, does not look at them."""
    recorded_keep = recorded[f"nms{case}_multilabel_keep_0.3"].tolist()
    assert recorded_keep == recorded[f"nms{case}_keep_0.3"].tolist()
    quads, scores = quads_of(recorded[f"nms{case}_boxes"]), recorded[f"nms{case}_scores"]
    labels = recorded[f"nms{case}_labels"].astype(np.int64)
    by_class = [
        members[rotated_nms(quads[members], scores[members], labels[members], 0.3)]
        for members in (np.flatnonzero(labels == label) for label in np.unique(labels))
    ]
    kept = rotated_nms(quads, scores, labels, 0.3)
    assert sorted(kept.tolist()) == sorted(np.concatenate(by_class).tolist())
    assert (np.diff(scores[kept]) <= 0).all()


@pytest.mark.parametrize("threshold", ["0.333300", "0.333333", "0.500000", "0.510000"])
def test_nms_on_the_threshold(recorded: dict[str, Any], threshold: str) -> None:
    """Axis-aligned boxes with an IoU of exactly 1/3 and 1/2: suppressed from ``>=`` on."""
    quads, scores = quads_of(recorded["nmsx_boxes"]), recorded["nmsx_scores"]
    kept = rotated_nms(quads, scores, np.zeros(4, int), float(threshold))
    assert kept.tolist() == recorded[f"nmsx_keep_{threshold}"].tolist()
    assert iou_matrix(quads, quads) == pytest.approx(recorded["nmsx_iou"], abs=1e-7)
