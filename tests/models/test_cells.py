import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from lmmrotate.geometry.rboxes import rboxes_to_quads
from lmmrotate.models.cells import CORNERS, box_numbers, cell_targets
from lmmrotate.models.location_loss import answer_loss, location_targets
from lmmrotate.models.pretraining import half_width


@given(
    w=st.floats(0.2, 6),
    h=st.floats(0.2, 6),
    angle=st.floats(-1.5, 1.5),
    turn=st.sampled_from([0.0, 1e-7, -1e-7]),
)
def test_numbers_do_not_jump_and_tell_the_short_side(w: float, h: float, angle: float, turn: float) -> None:
    origin = np.array([[4.5, 4.5]])
    boxes = [rboxes_to_quads([[4.7, 4.2, w, h, a]]) for a in (angle, angle + turn, angle + np.pi)]
    numbers = [box_numbers(quad, origin)[0, CORNERS:] for quad in boxes]
    assert np.allclose(numbers[0], numbers[1], atol=1e-4)
    assert np.allclose(numbers[0], numbers[2], atol=1e-4)
    assert np.isclose(
        half_width(torch.from_numpy(box_numbers(boxes[0], origin)))[0], min(w, h) / 2, atol=1e-3
    )


def test_of_two_objects_in_a_cell_the_larger_one_is_kept() -> None:
    quads = rboxes_to_quads([[24, 24, 4, 2, 0], [25, 25, 8, 6, 0.3], [300, -5, 4, 4, 0]])
    targets = cell_targets(quads, [3, 1, 2], side_px=256, grid=16)
    assert targets.boxes.tolist() == [1, 2]
    assert targets.cells.tolist() == [17, 15], "a centre outside goes to the nearest cell"
    assert targets.classes.tolist() == [1, 2]


def test_no_objects() -> None:
    assert len(cell_targets(np.empty((0, 4, 2)), [], 256, 16).cells) == 0


def test_location_targets_are_gaussians_that_wrap_where_asked() -> None:
    plain, wrapped = location_targets(torch.tensor([0, 0]), 10, 1.0, torch.tensor([False, True]))
    assert torch.isclose(plain.sum(), torch.tensor(1.0))
    assert plain.argmax() == 0
    assert plain[9] < 1e-6
    assert torch.isclose(wrapped[9], wrapped[1])
    assert torch.isclose(plain[1] / plain[0], torch.exp(torch.tensor(-0.5)))


def test_smoothing_forgives_neighbours_and_leaves_words_alone() -> None:
    locations = torch.arange(5, 15)
    near, far = torch.zeros(1, 20), torch.zeros(1, 20)
    near[0, 10], far[0, 14] = 8.0, 8.0
    label = torch.tensor([9])
    assert answer_loss(near, label, locations, 1.0) < answer_loss(far, label, locations, 1.0)
    assert torch.isclose(answer_loss(near, label, locations, 0.0), answer_loss(far, label, locations, 0.0))
    word = torch.tensor([2])
    assert torch.isclose(answer_loss(near, word, locations, 1.0), answer_loss(near, word, locations, 0.0))
