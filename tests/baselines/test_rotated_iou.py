"""Overlap in torch: as exact as geometry's, and with gradients."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lmmrotate.baselines.losses import iou_losses
from lmmrotate.baselines.rotated_iou import intersection_area, rotated_iou
from lmmrotate.geometry.overlap import iou_pairs
from lmmrotate.geometry.rboxes import rboxes_to_quads

PLACE = st.floats(-50, 50)
SIDE = st.floats(0.01, 80)
RBOX = st.tuples(PLACE, PLACE, SIDE, SIDE, st.floats(-7, 7))


def ious(a: object, b: object, dtype: torch.dtype = torch.float64) -> np.ndarray:
    first, second = (torch.tensor(np.array(boxes), dtype=dtype).reshape(-1, 5) for boxes in (a, b))
    return rotated_iou(first, second).double().numpy()


def exact(a: object, b: object) -> np.ndarray:
    return iou_pairs(rboxes_to_quads(a), rboxes_to_quads(b))  # type: ignore[arg-type]


@settings(max_examples=300)
@given(pairs=st.lists(st.tuples(RBOX, RBOX), min_size=1, max_size=20))
def test_it_is_geometrys_overlap(pairs: list[tuple[tuple[float, ...], tuple[float, ...]]]) -> None:
    a, b = zip(*pairs, strict=True)
    assert np.allclose(ious(a, b), exact(a, b), atol=1e-11)
    assert np.allclose(ious(a, b), ious(b, a), atol=1e-11)


@settings(max_examples=200)
@given(box=RBOX, turns=st.integers(-3, 3), share=st.floats(0, 1))
def test_shared_edges_and_equal_boxes(box: tuple[float, ...], turns: int, share: float) -> None:
    x, y, w, h, angle = box
    same = (x, y, *((w, h) if turns % 2 == 0 else (h, w)), angle + turns * math.pi / 2)
    assert ious([box], [same]) == pytest.approx(1, abs=1e-9)
    for distance, expected in ((share, (1 - share) / (1 + share)), (1, 0), (1.5, 0)):
        moved = (x + distance * w * math.cos(angle), y + distance * w * math.sin(angle), w, h, angle)
        assert ious([box], [moved]) == pytest.approx(expected, abs=1e-9)
    half = (x, y, w / 2, h, angle)  # inside, on two of its edges
    assert ious([box], [half]) == pytest.approx(0.5, abs=1e-9)


def test_a_square_and_its_turned_self() -> None:
    """They share a regular octagon."""
    square = torch.tensor([[3.0, 4.0, 2.0, 2.0, 0.0]], dtype=torch.float64)
    turned = square + torch.tensor([0, 0, 0, 0, math.pi / 4])
    octagon = 8 * (math.sqrt(2) - 1)
    assert float(intersection_area(square, turned)) == pytest.approx(octagon, abs=1e-12)
    assert float(rotated_iou(square, turned)) == pytest.approx(octagon / (8 - octagon), abs=1e-12)


def test_gradients_are_those_of_the_overlap() -> None:
    rng = np.random.default_rng(0)
    low, high = [0, 0, 3, 3, -4], [30, 30, 30, 20, 4]
    a, b = (torch.tensor(rng.uniform(low, high, (40, 5)), requires_grad=True) for _ in range(2))
    found = rotated_iou(a, b)
    assert (found > 0).sum() > 20
    assert (found == 0).sum() > 1
    assert torch.autograd.gradcheck(rotated_iou, (a, b))
    overlapping = found > 0.01
    assert torch.autograd.gradcheck(lambda a: -rotated_iou(a, b[overlapping]).log(), (a[overlapping],))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_numbers_where_corners_and_edges_meet(dtype: torch.dtype) -> None:
    box = [5.0, 5.0, 4.0, 2.0, 0.0]
    others = [
        box, [5, 5, 2, 4, math.pi / 2], [9, 5, 4, 2, 0], [5, 7, 4, 2, 0], [9, 7, 4, 2, 0], [50, 50, 4, 2, 1],
        [5, 5, 0, 0, 0], [5, 5, 4, 0, 0], [5, 5, 8, 8, math.pi / 4],
    ]  # fmt: skip
    a = torch.tensor([box] * len(others), dtype=dtype, requires_grad=True)
    b = torch.tensor(others, dtype=dtype, requires_grad=True)
    rotated_iou(a, b).sum().backward()
    iou_losses(a, b).sum().backward()
    for tensor in (a, b):
        assert tensor.grad is not None
        assert torch.isfinite(tensor.grad).all()


def test_gradients_where_edges_are_parallel() -> None:
    """Those of the overlap, and at its kinks, where edges coincide, none beyond those of the two sides."""
    pairs = [
        ([5, 5, 20, 4, 0.3], [6, 6, 15, 5, 0.3]), ([5, 5, 10, 4, 0], [8, 6, 9, 7, 0]),
        ([5, 5, 20, 4, 0], [4, 6, 5, 15, 0]), ([5, 5, 4, 2, 0], [8, 6, 20, 15, 0]),
        ([5, 5, 10, 4, 0], [6, 5.5, 4, 9, math.pi / 2]), ([5, 5, 20, 4, 0.3], [5, 5, 20, 4, 0.3]),
        ([5, 5, 4, 2, 0], [5, 6, 4, 2, 0]),
    ]  # fmt: skip
    both = torch.tensor(pairs, dtype=torch.float64).reshape(-1, 10)

    def value(rows: torch.Tensor) -> torch.Tensor:
        return rotated_iou(rows[:, :5], rows[:, 5:])

    leaf = both.clone().requires_grad_()
    value(leaf).sum().backward()
    assert leaf.grad is not None
    for place in range(10):
        step = torch.zeros(10, dtype=torch.float64)
        step[place] = 1e-7
        here = value(both)
        sides = torch.stack([(value(both + step) - here) / 1e-7, (here - value(both - step)) / 1e-7])
        assert (leaf.grad[:, place] > sides.min(0).values - 1e-5).all()
        assert (leaf.grad[:, place] < sides.max(0).values + 1e-5).all()


def test_descent_finds_a_box() -> None:
    """What the loss is for: from a box that barely overlaps to the wanted one."""
    wanted = torch.tensor([[20.0, 12.0, 30.0, 9.0, 0.6]])
    found = torch.tensor([[12.0, 20.0, 20.0, 20.0, 0.0]], requires_grad=True)
    optimizer = torch.optim.Adam([found], lr=0.1)
    for _ in range(800):
        optimizer.zero_grad()
        iou_losses(found, wanted).sum().backward()
        optimizer.step()
    assert float(rotated_iou(found.detach(), wanted)) > 0.97


def test_half_precision_is_computed_in_full() -> None:
    box = torch.tensor([[500.0, 500.0, 33.0, 7.0, 0.3]], dtype=torch.bfloat16)
    assert float(iou_losses(box, box)) == pytest.approx(0, abs=1e-5)


@pytest.mark.golden
def test_recorded_values(golden: Callable[[str], Path]) -> None:
    """mmcv's values where they are right (tests/geometry/test_golden_overlap.py counts the others), and
    shapely's everywhere."""
    with np.load(golden("d_geometry.npz")) as arrays:
        a, b, mmcv, shapely, tags = (
            arrays[f"pair_{name}"] for name in ("a", "b", "iou_raw", "iou_exact_shapely_f64", "tag")
        )
    proper = ~np.isnan(shapely)
    found = ious(a[proper].astype(np.float64), b[proper].astype(np.float64))
    assert np.abs(found - shapely[proper]).max() < 1e-9
    wrong = {"angle+pi", "swap_wh_angle+pi/2", "tiny_1e-3_identical", "tiny_random"}
    right = np.array([tag not in wrong for tag in tags[proper].astype(str)])
    assert right.sum() > 1000
    difference = np.abs(ious(a[proper], b[proper], torch.float32) - mmcv[proper])[right]
    assert (difference > 1e-4).sum() <= 1
