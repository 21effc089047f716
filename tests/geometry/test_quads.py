import subprocess
import sys

import cv2
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from lmmrotate.geometry.quads import (
    Quads,
    as_quads,
    clip_quads,
    inside_fraction,
    is_convex,
    min_area_quads,
    quad_areas,
    signed_areas,
    start_at_top,
)
from lmmrotate.geometry.rboxes import rboxes_to_quads

SETTINGS = settings(deadline=None)  # the first example of a run may compile

# Millionths of a pixel at the finest: shapely, the judge here, fails on sides of 1e-250.
COORDINATE = st.integers(-8, 8) | st.floats(-500, 500).map(lambda value: round(value, 6))
ANY_QUAD = st.lists(COORDINATE, min_size=8, max_size=8).map(lambda c: as_quads([c]))
RECTANGLE = st.tuples(
    *[COORDINATE] * 2, *[st.floats(0.1, 300)] * 2, st.sampled_from([0, np.pi / 4]) | st.floats(-4, 4)
).map(lambda rbox: rboxes_to_quads([rbox]))
IMAGE = st.tuples(*[st.integers(1, 200)] * 2)

UNIT = [0, 0, 1, 0, 1, 1, 0, 1]


def test_as_quads() -> None:
    assert as_quads([UNIT]).tolist() == [[[0, 0], [1, 0], [1, 1], [0, 1]]]
    assert as_quads([]).shape == (0, 4, 2)
    with pytest.raises(ValueError, match=r"\(N, 4, 2\) or \(N, 8\), got \(1, 4\)"):
        as_quads([[0, 0, 1, 1]])
    with pytest.raises(ValueError, match="not finite"):
        as_quads([[np.nan] * 8])


def test_start_at_top() -> None:
    assert start_at_top(as_quads([[5, 9, 9, 5, 5, 1, 1, 5]]))[0].tolist() == [[5, 1], [1, 5], [5, 9], [9, 5]]
    assert start_at_top(as_quads([[1, 1, 0, 1, 0, 0, 1, 0]]))[0].tolist() == [[0, 0], [1, 0], [1, 1], [0, 1]]
    assert start_at_top(as_quads([])).shape == (0, 4, 2)


@given(quads=ANY_QUAD)
def test_areas_are_the_shoelace_sum(quads: Quads) -> None:
    x, y = quads[0].T
    shoelace = 0.5 * float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))
    assert signed_areas(quads) == pytest.approx([shoelace], abs=1e-6)
    assert quad_areas(quads[:, ::-1]) == pytest.approx([abs(shoelace)], abs=1e-6)


def test_positive_area_is_clockwise_on_screen() -> None:
    assert signed_areas(as_quads([UNIT])).tolist() == [1]


@pytest.mark.parametrize(
    ("corners", "convex"),
    [
        (UNIT, True),
        (UNIT[::-1], True),
        ([0, 0, 4, 0, 4, 4, 3, 1], False),  # a dart
        ([0, 0, 4, 4, 4, 0, 0, 4], False),  # a bow tie
        ([0, 0, 2, 0, 4, 0, 0, 4], True),  # a straight angle
        ([0, 0, 0, 0, 4, 0, 0, 4], True),  # a repeated corner
        ([3, 3] * 4, True),
    ],
)
def test_is_convex(corners: list[float], convex: bool) -> None:
    assert is_convex(as_quads([corners])).tolist() == [convex]


@SETTINGS
@given(quads=ANY_QUAD | RECTANGLE)
def test_smallest_rectangle(quads: Quads) -> None:
    rectangle = min_area_quads(quads)
    size = np.ptp(quads, axis=1).max()
    edges = np.roll(rectangle, -1, axis=1) - rectangle
    assert edges[:, 0] + edges[:, 2] == pytest.approx(0, abs=1e-9)
    assert (edges[:, 0] * edges[:, 1]).sum() == pytest.approx(0, abs=1e-9 * (1 + size**2))
    hull = shapely.convex_hull(shapely.multipoints(quads[0]))
    assert shapely.polygons(rectangle[0]).buffer(1e-6 * (1 + size)).covers(hull)
    centred = quads[0] - quads[0].mean(axis=0)  # float32 keeps few digits far from the origin
    sides = cv2.minAreaRect(centred.astype(np.float32))[1]
    assert quad_areas(rectangle) == pytest.approx([sides[0] * sides[1]], abs=1e-5 * (1 + size**2))


@SETTINGS
@given(quads=RECTANGLE)
def test_a_rectangle_is_its_own_smallest(quads: Quads) -> None:
    assert min_area_quads(quads) == pytest.approx(quads, abs=1e-8)
    assert min_area_quads(quads[:, ::-1]) == pytest.approx(quads[:, ::-1], abs=1e-8)


@SETTINGS
@given(quads=ANY_QUAD, shift=st.integers(0, 3))
def test_smallest_rectangle_does_not_depend_on_the_corner_order(quads: Quads, shift: int) -> None:
    again = min_area_quads(np.roll(quads, shift, axis=1)[:, ::-1])
    assert quad_areas(again) == pytest.approx(quad_areas(min_area_quads(quads)), rel=1e-7, abs=1e-6)


def test_of_two_smallest_rectangles_the_longer_base_wins() -> None:
    triangle = as_quads(
        [[0, 0, 3, 0, 0, 4, 0, 4]]
    )  # base 5 on the slant, or 4 and 3 on the axes: area 12 each
    sides = np.linalg.norm(np.diff(min_area_quads(triangle)[0], axis=0), axis=1)
    assert sorted(sides[:2].tolist()) == pytest.approx([2.4, 5])


def test_a_square_keeps_its_first_side() -> None:
    square = rboxes_to_quads([[5, 5, 2, 2, 0.3]])
    for shift in range(4):
        turned = np.roll(square, shift, axis=1)
        assert min_area_quads(turned) == pytest.approx(turned)


@SETTINGS
@given(quads=RECTANGLE, image_wh=IMAGE)
def test_clipping(quads: Quads, image_wh: tuple[int, int]) -> None:
    image = shapely.box(0, 0, *image_wh)
    shared = shapely.intersection(shapely.polygons(quads[0]), image)
    fraction, clipped = inside_fraction(quads, image_wh), clip_quads(quads, image_wh)
    assert fraction == pytest.approx([shared.area / quad_areas(quads)[0]], abs=1e-9)
    assert quad_areas(clipped) <= quad_areas(quads) * (1 + 1e-9)
    if image.covers(shapely.polygons(quads[0])):
        assert clipped.tolist() == quads.tolist()
        assert fraction.tolist() == [1]
    elif shared.area > 1e-6:
        assert shapely.polygons(clipped[0]).buffer(1e-6).covers(shared)
        assert signed_areas(clipped) * signed_areas(quads) > 0
    elif shared.area == 0:
        assert (clipped == clipped[:, :1]).all()
        assert ((clipped >= 0) & (clipped <= image_wh)).all()


@SETTINGS
@given(quads=ANY_QUAD, image_wh=IMAGE)
def test_clipping_takes_any_quad(quads: Quads, image_wh: tuple[int, int]) -> None:
    limit = np.maximum(quad_areas(min_area_quads(quads)), quad_areas(quads))
    assert quad_areas(clip_quads(quads, image_wh)) <= limit * (1 + 1e-9) + 1e-9
    assert 0 <= inside_fraction(quads, image_wh).item() <= 1


def test_clipping_by_example() -> None:
    quads = as_quads(
        [
            [-5, -5, 5, -5, 5, 5, -5, 5],
            [20, 4, 30, 4, 30, 6, 20, 6],
            [1, 1, 2, 1, 2, 2, 1, 2],
            [0, -8, 3, -8, 3, 0, 0, 0],  # touches the upper border from outside
            [3, 3, 3, 3, 3, 3, 3, 3],
        ]
    )
    assert clip_quads(quads, (10, 10)).reshape(-1, 8).tolist() == [
        [0, 0, 5, 0, 5, 5, 0, 5],
        [10, 5] * 4,
        [1, 1, 2, 1, 2, 2, 1, 2],
        [1.5, 0] * 4,
        [3, 3] * 4,
    ]
    assert inside_fraction(quads, (10, 10)).tolist() == [0.25, 0, 1, 0, 0]
    assert clip_quads(as_quads([]), (10, 10)).shape == (0, 4, 2)
    assert inside_fraction(as_quads([]), (10, 10)).shape == (0,)


def test_reading_annotations_does_not_load_numba() -> None:
    code = "import sys, lmmrotate.geometry.quads, lmmrotate.geometry.rboxes; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
