import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from lmmrotate.geometry.overlap import iof_matrix, iof_pairs, iou_matrix, iou_pairs
from lmmrotate.geometry.quads import Quads, as_quads
from lmmrotate.geometry.rboxes import rboxes_to_quads

SETTINGS = settings(deadline=None)  # the first example of a run may compile
NEAR = 1e-9

# Few whole numbers: corners and edges of two boxes often coincide.
ON_A_GRID = st.tuples(
    *[st.integers(0, 6)] * 2, *[st.integers(1, 6)] * 2, st.sampled_from([k * np.pi / 4 for k in range(8)])
)
ANYWHERE = st.tuples(*[st.floats(0, 1000)] * 2, *[st.floats(0.1, 500)] * 2, st.floats(-10, 10))


def quads(count: int) -> st.SearchStrategy[Quads]:
    """``count`` rectangles, or convex quads whose corners lie on an ellipse."""
    rectangles = st.lists(ON_A_GRID | ANYWHERE, min_size=count, max_size=count).map(rboxes_to_quads)
    return rectangles | st.integers(0, 10**6).map(lambda seed: convex_quads(seed, count))


def convex_quads(seed: int, count: int) -> Quads:
    random = np.random.default_rng(seed)
    turns = np.cumsum(random.uniform(0.2, 1.5, (count, 4)), axis=1)
    circle = np.stack([np.cos(turns), np.sin(turns)], axis=-1)
    return circle @ random.uniform(-50, 50, (2, 2)) + random.uniform(0, 100, (count, 1, 2))


def shapely_iou(a: Quads, b: Quads) -> np.ndarray:
    first, second = shapely.polygons(a), shapely.polygons(b)
    shared = shapely.area(shapely.intersection(first, second))
    iou: np.ndarray = shared / (shapely.area(first) + shapely.area(second) - shared)
    return iou


@SETTINGS
@given(a=quads(3), b=quads(3))
def test_iou_equals_shapely(a: Quads, b: Quads) -> None:
    assert iou_pairs(a, b) == pytest.approx(shapely_iou(a, b), abs=NEAR)
    matrix = iou_matrix(a, b)
    assert matrix == pytest.approx(
        shapely_iou(np.repeat(a, 3, 0), np.tile(b, (3, 1, 1))).reshape(3, 3), abs=NEAR
    )
    assert np.diag(matrix).tolist() == iou_pairs(a, b).tolist()


@SETTINGS
@given(a=quads(3), b=quads(3))
def test_iou_is_symmetric_and_a_ratio(a: Quads, b: Quads) -> None:
    matrix = iou_matrix(a, b)
    assert matrix == pytest.approx(iou_matrix(b, a).T, abs=NEAR)
    assert ((matrix >= 0) & (matrix <= 1)).all()
    assert (iou_pairs(a, a) == 1).all()


@SETTINGS
@given(a=quads(3), b=quads(3))
def test_iof_is_the_shared_part_of_the_first(a: Quads, b: Quads) -> None:
    share = iof_pairs(a, b)
    assert ((share >= 0) & (share <= 1)).all()
    shared = shapely.area(shapely.intersection(shapely.polygons(a), shapely.polygons(b)))
    assert share == pytest.approx(shared / shapely.area(shapely.polygons(a)), abs=NEAR)
    assert np.diag(iof_matrix(a, b)).tolist() == share.tolist()


@SETTINGS
@given(
    a=quads(2),
    b=quads(2),
    move=st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)),
    turn=st.floats(-7, 7),
    scale=st.floats(0.1, 10),
)
def test_iou_does_not_depend_on_the_frame(
    a: Quads, b: Quads, move: tuple[float, float], turn: float, scale: float
) -> None:
    rotation = scale * np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    assert iou_pairs(a @ rotation + move, b @ rotation + move) == pytest.approx(iou_pairs(a, b), abs=1e-7)
    mirror = np.array([-1, 1])
    assert iou_pairs(a * mirror, b * mirror) == pytest.approx(iou_pairs(a, b), abs=NEAR)


@SETTINGS
@given(
    a=quads(2),
    b=quads(2),
    shifts=st.tuples(*[st.integers(0, 3)] * 2),
    flips=st.tuples(*[st.sampled_from([1, -1])] * 2),
)
def test_iou_does_not_depend_on_the_corner_order(
    a: Quads, b: Quads, shifts: tuple[int, int], flips: tuple[int, int]
) -> None:
    again = [np.roll(q, k, axis=1)[:, ::step] for q, k, step in zip((a, b), shifts, flips, strict=True)]
    assert iou_pairs(*again) == pytest.approx(iou_pairs(a, b), abs=NEAR)


@SETTINGS
@given(a=st.lists(st.floats(-100, 100), min_size=8, max_size=8), b=quads(1))
def test_any_quad_gives_a_ratio(a: list[float], b: Quads) -> None:
    """Also one that crosses itself or lies on a line; its value means nothing, but it breaks nothing."""
    for ratios in (iou_matrix(as_quads([a]), b), iou_matrix(b, as_quads([a])), iof_matrix(as_quads([a]), b)):
        assert 0 <= ratios.item() <= 1


@pytest.mark.parametrize(
    "corners",
    [
        [5, 5, 5, 5, 5, 5, 5, 5],
        [0, 0, 10, 10, 10, 10, 0, 0],
        [0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.4],  # its area in float64 is not quite 0
        [1e6, 1e6, 1e6 + 0.1, 1e6 + 0.3, 1e6 + 0.2, 1e6 + 0.6, 1e6 + 0.3, 1e6 + 0.9],
    ],
    ids=["point", "line", "collinear", "collinear far away"],
)
def test_no_area_overlaps_nothing(corners: list[float]) -> None:
    flat, big = as_quads([corners]), as_quads([[-1, -1, 2e6, -1, 2e6, 2e6, -1, 2e6]])
    for a, b in ((flat, big), (big, flat), (flat, flat)):
        assert iou_matrix(a, b).tolist() == iof_matrix(a, b).tolist() == [[0]]


def test_boxes_that_touch_do_not_overlap() -> None:
    boxes = as_quads([[0, 0, 2, 0, 2, 2, 0, 2], [2, 0, 4, 0, 4, 2, 2, 2], [2, 2, 4, 2, 4, 4, 2, 4]])
    assert iou_matrix(boxes, boxes).tolist() == np.eye(3).tolist()


def test_empty_inputs() -> None:
    none, one = as_quads([]), as_quads([[0, 0, 1, 0, 1, 1, 0, 1]])
    assert iou_matrix(none, one).shape == (0, 1)
    assert iof_matrix(one, none).shape == (1, 0)
    assert iou_pairs(none, none).shape == iof_pairs(none, none).shape == (0,)


def test_pairs_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="got 1 and 0 quads"):
        iou_pairs(as_quads([[0, 0, 1, 0, 1, 1, 0, 1]]), as_quads([]))


def test_any_memory_layout_does() -> None:
    quads = convex_quads(0, 4)
    frozen = quads.copy()
    frozen.flags.writeable = False
    for same in (np.asfortranarray(quads), quads[::-1][::-1], frozen, quads.reshape(4, 8)):
        assert iou_matrix(same, quads).tolist() == iou_matrix(quads, quads).tolist()


@given(seeds=st.lists(st.integers(0, 10**6), min_size=1, max_size=8))
def test_concave_quads_are_exact_too(seeds: list[int]) -> None:
    quads = []
    for seed in seeds:
        random = np.random.default_rng(seed)
        corners = random.uniform(0, 100, (3, 2))
        inside = random.dirichlet((1, 1, 1)) @ corners  # the fourth lies in the triangle of the others
        quads.append(np.vstack([corners, inside])[:: random.choice((-1, 1))])
    a, b = np.stack(quads), convex_quads(seeds[0], len(quads))
    polygons, others = shapely.polygons(a), shapely.polygons(b)
    for found, one, other in ((iou_matrix(a, a), polygons, polygons), (iou_matrix(a, b), polygons, others)):
        shared = shapely.area(shapely.intersection(one[:, None], other[None]))
        union = shapely.area(one)[:, None] + shapely.area(other)[None] - shared
        np.testing.assert_allclose(found, shared / union, atol=1e-7)
