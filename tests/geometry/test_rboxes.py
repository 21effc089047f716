import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmmrotate.geometry.quads import is_convex, quad_areas
from lmmrotate.geometry.rboxes import (
    RBoxes,
    as_rboxes,
    quads_to_rboxes,
    quads_to_rboxes_opencv,
    rboxes_to_quads,
    regularize_le90,
)

QUARTER = np.pi / 2
ANGLE = st.floats(-50, 50) | st.sampled_from(
    [k * np.pi / 4 for k in range(-8, 9)] + [-QUARTER - 1e-17, -1e-17]
)
SIDE = st.floats(0.1, 500) | st.sampled_from([1.0, 7.0])
RBOX = st.tuples(st.floats(-1000, 1000), st.floats(-1000, 1000), SIDE, SIDE, ANGLE).map(
    lambda r: as_rboxes([r])
)


def corner_gap(a: RBoxes, b: RBoxes) -> float:
    """Largest distance from a corner of one rectangle to the nearest of the other: 0 for the same one."""
    distances = np.linalg.norm(rboxes_to_quads(a)[:, :, None] - rboxes_to_quads(b)[:, None], axis=-1)
    return float(distances.min(axis=2).max(initial=0))


@given(rboxes=RBOX)
def test_le90_is_the_same_rectangle_in_the_right_range(rboxes: RBoxes) -> None:
    regular = regularize_le90(rboxes)
    assert (regular[:, 2] >= regular[:, 3]).all()
    assert ((regular[:, 4] >= -QUARTER) & (regular[:, 4] < QUARTER)).all()
    assert corner_gap(regular, rboxes) < 1e-9
    assert regularize_le90(regular) == pytest.approx(regular, abs=1e-12)


@given(rboxes=RBOX)
def test_round_trip_through_quads(rboxes: RBoxes) -> None:
    quads = rboxes_to_quads(rboxes)
    again = quads_to_rboxes(quads)
    assert (again[:, 2] >= again[:, 3]).all()
    assert ((again[:, 4] >= -QUARTER) & (again[:, 4] < QUARTER)).all()
    assert corner_gap(again, rboxes) < 1e-8
    assert is_convex(quads).all()
    assert quad_areas(quads) == pytest.approx(rboxes[:, 2] * rboxes[:, 3])


@given(rboxes=RBOX)
def test_opencv_finds_the_same_rectangle(rboxes: RBoxes) -> None:
    assert corner_gap(quads_to_rboxes_opencv(rboxes_to_quads(rboxes)), rboxes) < 5e-3


def test_angle_turns_x_towards_y() -> None:
    corners = rboxes_to_quads([[10, 20, 4, 2, 0]])[0].tolist()
    assert corners == [[12, 21], [12, 19], [8, 19], [8, 21]]
    # A long box turned by 45 degrees points down right, where x and y both grow.
    far = rboxes_to_quads([[0, 0, 10, 0, np.pi / 4]])[0, 0]
    assert far.tolist() == pytest.approx([np.sqrt(12.5)] * 2)


@pytest.mark.parametrize(
    ("rbox", "regular"),
    [
        ([0, 0, 2, 1, 0], [0, 0, 2, 1, 0]),
        ([0, 0, 1, 2, 0], [0, 0, 2, 1, -QUARTER]),
        ([0, 0, 2, 1, QUARTER], [0, 0, 2, 1, -QUARTER]),
        ([0, 0, 2, 1, np.pi], [0, 0, 2, 1, 0]),
        ([0, 0, 2, 2, 0.1], [0, 0, 2, 2, 0.1]),  # a square is left alone
        ([0, 0, 2, 1, -QUARTER - 1e-17], [0, 0, 2, 1, -QUARTER]),
    ],
)
def test_le90_by_example(rbox: list[float], regular: list[float]) -> None:
    assert regularize_le90([rbox])[0] == pytest.approx(regular, abs=1e-12)


@pytest.mark.parametrize(
    ("corners", "rbox"),
    [
        ([[3, 3]] * 4, [3, 3, 0, 0, 0]),
        ([[0, 0], [0, 4], [0, 4], [0, 0]], [0, 2, 4, 0, -QUARTER]),
        ([[0, 0], [4, 0], [2, 0], [1, 0]], [2, 0, 4, 0, 0]),
        ([[0, 0], [4, 0], [4, 2], [1, 1]], [2, 1, 4, 2, 0]),
    ],
    ids=["point", "vertical line", "line", "dart"],
)
def test_quads_that_are_no_rectangles(corners: list[list[float]], rbox: list[float]) -> None:
    assert quads_to_rboxes([corners])[0] == pytest.approx(rbox)


def test_empty_and_wrong_shapes() -> None:
    assert rboxes_to_quads([]).shape == (0, 4, 2)
    assert (
        quads_to_rboxes([]).shape == quads_to_rboxes_opencv([]).shape == regularize_le90([]).shape == (0, 5)
    )
    with pytest.raises(ValueError, match=r"\(N, 5\), got \(1, 4\)"):
        regularize_le90([[0, 0, 1, 1]])
    with pytest.raises(ValueError, match="not finite"):
        rboxes_to_quads([[0, 0, 1, 1, np.inf]])
