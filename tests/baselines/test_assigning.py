"""Which prior is taught what, against the rules written as loops, and by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmmrotate.baselines.assigning import (
    BACKGROUND,
    IGNORED,
    REACH_PX,
    Assignment,
    assign_by_iou,
    assign_by_place,
)
from lmmrotate.baselines.priors import anchors, points
from lmmrotate.baselines.spec import DetectorSpec
from lmmrotate.geometry.overlap import iou_matrix
from lmmrotate.geometry.quads import Quads
from lmmrotate.geometry.rboxes import RBoxes, rboxes_to_quads, regularize_le90

GRIDS = DetectorSpec(arch="rotated_fcos", classes=("a",), image_square_length=128).grids
SIDE = st.floats(2, 150)
RBOXES = st.lists(
    st.tuples(st.floats(-20, 150), st.floats(-20, 150), SIDE, SIDE, st.floats(-2, 2)), max_size=8
)


def boxes_of(values: list[tuple[float, ...]]) -> RBoxes:
    return regularize_le90(values) if values else np.empty((0, 5))


def by_iou(anchor_quads: Quads, object_quads: Quads, labels: np.ndarray) -> list[tuple[int, int]]:
    """(label, object) of every anchor: mmdet's ``MaxIoUAssigner``, step by step."""
    found = [(IGNORED, -1)] * len(anchor_quads)
    if not len(object_quads):
        return [(BACKGROUND, -1)] * len(anchor_quads)
    ious = iou_matrix(anchor_quads, object_quads)
    for anchor, row in enumerate(ious):
        nearest = int(row.argmax())
        if row[nearest] < 0.4:
            found[anchor] = (BACKGROUND, -1)
        if row[nearest] >= 0.5:
            found[anchor] = (int(labels[nearest]), nearest)
    for number in range(len(object_quads)):
        best = ious[:, number].max()
        for anchor in np.flatnonzero(ious[:, number] == best) if best > 0 else []:
            found[anchor] = (int(labels[number]), number)
    return found


def as_pairs(assignment: Assignment) -> list[tuple[int, int]]:
    owners = np.full(len(assignment.labels), -1)
    owners[assignment.labels >= 0] = assignment.objects
    return list(zip(assignment.labels.tolist(), owners.tolist(), strict=True))


@settings(max_examples=40)
@given(values=RBOXES)
def test_anchors_as_mmdet_assigns_them(values: list[tuple[float, ...]]) -> None:
    objects = rboxes_to_quads(boxes_of(values))
    labels = np.arange(len(objects)) % 3
    quads = rboxes_to_quads(anchors(GRIDS)[::7])
    assert as_pairs(assign_by_iou(quads, objects, labels)) == by_iou(quads, objects, labels)


def by_place(places: np.ndarray, strides: np.ndarray, objects: RBoxes) -> list[int]:
    """The object of every point or -1: ``RotatedFCOSHead``'s rule, step by step."""
    found = []
    levels = sorted(set(strides.tolist()))
    for (x, y), stride in zip(places.tolist(), strides.tolist(), strict=True):
        near, far = REACH_PX[levels.index(stride)]
        best, smallest = -1, math.inf
        for number, (cx, cy, w, h, angle) in enumerate(objects.tolist()):
            turned = complex(x - cx, y - cy) * complex(math.cos(angle), -math.sin(angle))
            sides = [w / 2 + turned.real, w / 2 - turned.real, h / 2 + turned.imag, h / 2 - turned.imag]
            central = max(abs(turned.real), abs(turned.imag)) < 1.5 * stride
            if min(sides) > 0 and central and near <= max(sides) <= far and w * h < smallest:
                best, smallest = number, w * h
        found.append(best)
    return found


@settings(max_examples=60)
@given(values=RBOXES)
def test_points_as_mmrotate_assigns_them(values: list[tuple[float, ...]]) -> None:
    objects = boxes_of(values)
    labels = np.arange(len(objects)) % 3
    expected = by_place(*points(GRIDS), objects)
    pairs = as_pairs(assign_by_place(GRIDS, objects, labels))
    assert [owner for _, owner in pairs] == expected
    assert [label for label, _ in pairs] == [labels[n] if n >= 0 else BACKGROUND for n in expected]


def test_by_hand() -> None:
    square = np.array([[[0.0, 0], [10, 0], [10, 10], [0, 10]]])
    shifted = [square[0] + (shift, 0) for shift in (0, 3, 4, 5, 20)]  # IoU 1, 0.54, 0.43, 0.33, 0
    found = assign_by_iou(np.array(shifted), square, np.array([2]))
    assert found.labels.tolist() == [2, 2, IGNORED, BACKGROUND, BACKGROUND]
    far = assign_by_iou(np.array(shifted[3:]), square, np.array([2]))
    assert far.labels.tolist() == [2, BACKGROUND], (
        "the nearest anchor is taught it, however little they share"
    )
    crossed = np.array([[36.0, 36.0, 60.0, 6.0, math.pi / 4]])  # a thin box along the diagonal
    labels = assign_by_place(GRIDS, crossed, np.array([1])).labels
    places = points(GRIDS)[0][labels >= 0]
    assert places.tolist() == [[28, 28], [36, 36], [44, 44]], "in it, and 1.5 strides of 8 px from its centre"


def test_levels_share_objects_by_size() -> None:
    _, strides = points(GRIDS)
    for size, stride in ((40, 8), (100, 8), (130, 16), (300, 32)):
        box = np.array([[64.0, 64.0, size, size, 0.0]])
        taught = assign_by_place(GRIDS, box, np.array([0])).labels >= 0
        assert stride in set(strides[taught])


def test_anchors_by_hand() -> None:
    found = anchors((128, 64, 32, 16, 8))
    assert len(found) == 196_416
    assert found[0].tolist() == [0, 0, 32, 32, 0]
    assert found[1].tolist() == pytest.approx([0, 0, 32 * 2 ** (1 / 3), 32 * 2 ** (1 / 3), 0])
    assert found[3].tolist() == pytest.approx([0, 0, 32 * 2**0.5, 32 / 2**0.5, 0]), "ratio 0.5 is wide"
    assert found[6].tolist() == pytest.approx([0, 0, 32 * 2**0.5, 32 / 2**0.5, -math.pi / 2]), "2 is tall"
    assert found[9, :2].tolist() == [8, 0], "the next cell to the right"
    assert found[9 * 128, :2].tolist() == [0, 8], "the next row"
    assert found[9 * 128 * 128].tolist() == [0, 0, 64, 64, 0], "the next level"
    assert found[-1, :2].tolist() == [7 * 128, 7 * 128]
    places, strides = points((4, 2, 1, 1, 1))
    assert places[:2].tolist() == [[4, 4], [12, 4]]
    assert strides.tolist() == [8] * 16 + [16] * 4 + [32, 64, 128]
