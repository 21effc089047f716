"""Boxes as numbers and back."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lmmrotate.baselines.coding import (
    centreness,
    decode_deltas,
    decode_distances,
    encode_deltas,
    encode_distances,
)
from lmmrotate.geometry.overlap import iou_pairs
from lmmrotate.geometry.rboxes import rboxes_to_quads, regularize_le90

PLACE = st.floats(0, 1000)
SIDE = st.floats(2, 200)
RBOX = st.tuples(PLACE, PLACE, SIDE, SIDE, st.floats(-4, 4)).map(lambda box: regularize_le90([box])[0])
"""In le90 form."""


def row(values: object) -> torch.Tensor:
    return torch.tensor(np.array(values), dtype=torch.float64).reshape(1, -1)


def same(a: torch.Tensor, b: torch.Tensor) -> None:
    assert iou_pairs(rboxes_to_quads(a.numpy()), rboxes_to_quads(b.numpy()))[0] == pytest.approx(1, abs=1e-6)


@given(anchor=RBOX, box=RBOX)
def test_deltas_lead_back(anchor: np.ndarray, box: np.ndarray) -> None:
    if (np.abs(np.log(np.outer(anchor[2:4], 1 / box[2:4]))) > math.log(1000 / 16)).any():
        return  # decoding cuts such sizes
    deltas = encode_deltas(row(anchor), row(box))
    found = decode_deltas(row(anchor), deltas)
    same(found, row(box))
    assert found[0, 2] >= found[0, 3]
    assert -math.pi / 2 <= found[0, 4] < math.pi / 2
    assert abs(deltas[0, 4]) <= math.pi / 4 + 1e-9


@given(anchor=RBOX, deltas=st.tuples(*[st.floats(-2, 2)] * 4, st.floats(-0.7, 0.7)))
def test_boxes_lead_back(anchor: np.ndarray, deltas: tuple[float, ...]) -> None:
    box = decode_deltas(row(anchor), row(deltas))
    if abs(box[0, 2] - box[0, 3]) < 1e-6:
        return  # of a square, either side is the longer one
    assert np.allclose(encode_deltas(row(anchor), box).numpy(), row(deltas).numpy(), atol=1e-8)


@pytest.mark.parametrize("beyond", [-0.02, 0.0, 0.02])
def test_the_end_of_the_angles_range_is_a_small_step(beyond: float) -> None:
    """Boxes just beyond pi/2 are written with an angle just above -pi/2; their deltas do not jump."""
    anchor = row([0, 0, 40, 10, math.pi / 2 - 0.01])
    angle = math.pi / 2 + beyond
    box = row(regularize_le90([[0, 0, 40, 10, angle]]))
    deltas = encode_deltas(anchor, box)
    assert deltas[0].tolist() == pytest.approx([0, 0, 0, 0, beyond + 0.01], abs=1e-9)
    same(decode_deltas(anchor, deltas), box)


def test_deltas_by_hand() -> None:
    anchor, box = row([10, 20, 8, 4, 0]), row([14, 18, 16, 2, math.pi / 6])
    expected = [4 / 8, -2 / 4, math.log(2), math.log(1 / 2), math.pi / 6]
    assert encode_deltas(anchor, box)[0].tolist() == pytest.approx(expected)
    upright = row([10, 20, 8, 4, -math.pi / 2])  # its w points up: dx is along it
    deltas = encode_deltas(upright, row([14, 18, 16, 2, 0]))  # turned a quarter: sides change names
    assert deltas[0].tolist() == pytest.approx(
        [2 / 8, 4 / 4, math.log(2 / 8), math.log(16 / 4), 0], abs=1e-12
    )


def test_sizes_are_cut() -> None:
    found = decode_deltas(row([0, 0, 10, 10, 0]), row([0, 0, 50, -50, 0]))
    assert found[0, 2:4].tolist() == pytest.approx([10 * 1000 / 16, 10 * 16 / 1000])


@given(box=RBOX, place=st.tuples(st.floats(-0.49, 0.49), st.floats(-0.49, 0.49)))
def test_distances_lead_back(box: np.ndarray, place: tuple[float, float]) -> None:
    x, y, w, h, angle = box
    cos, sin = math.cos(angle), math.sin(angle)
    along, across = place[0] * w, place[1] * h
    point = row([x + along * cos - across * sin, y + along * sin + across * cos])
    distances = encode_distances(point, row(box))
    expected = [w / 2 + along, h / 2 + across, w / 2 - along, h / 2 - across]
    assert distances[0].tolist() == pytest.approx(expected, abs=1e-9)
    assert np.allclose(decode_distances(point, distances, row(angle)[:, 0]).numpy(), box, atol=1e-8)
    centre = float(centreness(distances))
    by_hand = [min(a, b) / max(a, b) for a, b in (expected[::2], expected[1::2])]
    assert centre == pytest.approx(math.sqrt(by_hand[0] * by_hand[1]))


def test_centreness() -> None:
    assert centreness(row([3, 2, 3, 2])).tolist() == [1]
    assert centreness(row([1, 2, 4, 2])).tolist() == [0.5]
    assert centreness(row([0, 2, 4, 2])).tolist() == [0]
