"""Conversions against values recorded from mmrotate's box code (golden/README.md, d_geometry.npz).

Left out: ``*_hbox`` (upright boxes) and ``regularize_le135`` / ``regularize_oc``, which this package has no
functions for.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lmmrotate.geometry.quads import Quads, as_quads, quad_areas
from lmmrotate.geometry.rboxes import (
    quads_to_rboxes,
    quads_to_rboxes_opencv,
    rboxes_to_quads,
    regularize_le90,
)

pytestmark = pytest.mark.golden


@pytest.fixture(scope="module")
def recorded(golden: Callable[[str], Path]) -> dict[str, Any]:
    with np.load(golden("d_geometry.npz")) as arrays:
        return dict(arrays)


def corner_gap(a: Quads, b: Quads) -> np.ndarray:
    """Largest distance (N,) from a corner of ``a`` to the nearest corner of ``b``: 0 for one rectangle."""
    distances = np.linalg.norm(a[:, :, None] - b[:, None], axis=-1)
    gap: np.ndarray = distances.min(axis=2).max(axis=1)
    return gap


def test_rboxes_to_quads(recorded: dict[str, Any]) -> None:
    ours = rboxes_to_quads(recorded["rbox"].astype(np.float64)).reshape(-1, 8)
    assert ours == pytest.approx(recorded["rbox_qbox_f64"], rel=1e-12, abs=1e-6)
    assert ours == pytest.approx(recorded["rbox_qbox"], rel=1e-6, abs=3e-3)  # angles up to 40, sides to 1e5
    ours = rboxes_to_quads(recorded["quad_rbox"].astype(np.float64)).reshape(-1, 8)
    assert ours == pytest.approx(recorded["quad_rbox_qbox"], rel=1e-6, abs=3e-4)


def test_regularize_le90(recorded: dict[str, Any]) -> None:
    rboxes = recorded["rbox"].astype(np.float64)
    ours, theirs = regularize_le90(rboxes), recorded["regularize_le90"].astype(np.float64)
    # mmrotate turns a square by a quarter, and a second call turns it back; we leave squares alone.
    square = rboxes[:, 2] == rboxes[:, 3]
    assert square.sum() == 8
    theirs[square] = regularize_le90(theirs[square] + [0, 0, 0, 0, np.pi / 2])
    assert ours == pytest.approx(theirs, abs=3e-6)


@pytest.mark.parametrize(
    ("quads", "rboxes", "wrong"),
    [("quad", "quad_rbox", ["collinear"]), ("rbox_qbox", "rbox_qbox_rbox", [])],
)
def test_quads_to_rboxes_opencv(recorded: dict[str, Any], quads: str, rboxes: str, wrong: list[str]) -> None:
    """The very rectangles of the recording, ties included, but for one line without a direction."""
    ours = rboxes_to_quads(quads_to_rboxes_opencv(as_quads(recorded[quads])))
    theirs = rboxes_to_quads(recorded[rboxes].astype(np.float64))
    differs = corner_gap(ours, theirs) > 1e-6 * np.abs(theirs).max(axis=(1, 2)) + 1e-4
    assert [recorded["quad_tag"][i] for i in np.flatnonzero(differs)] == wrong


def test_quads_to_rboxes(recorded: dict[str, Any]) -> None:
    """The recorded rectangles, but for exact ties, which float32 rounding decided there."""
    quads = as_quads(recorded["quad"])
    ours = rboxes_to_quads(quads_to_rboxes(quads))
    theirs = rboxes_to_quads(recorded["quad_rbox"].astype(np.float64))
    length = np.ptp(quads, axis=1).max(axis=1)
    assert (np.abs(quad_areas(ours) - quad_areas(theirs)) <= 1e-6 * length**2).all()
    # Where the rectangles differ, equal areas make both of them smallest ones.
    assert (corner_gap(ours, theirs) > 1e-2).sum() == 114


def test_areas_equal_opencv(recorded: dict[str, Any]) -> None:
    quads = as_quads(recorded["quad"])
    sides = np.array([cv2.minAreaRect(corners)[1] for corners in quads.astype(np.float32)])
    ours = quads_to_rboxes(quads)
    length = np.ptp(quads, axis=1).max(axis=1)
    assert (np.abs(ours[:, 2] * ours[:, 3] - sides.prod(axis=1)) <= 1e-6 * length**2 + 1e-12).all()
