from pathlib import Path

import numpy as np
import pytest

from lmmrotate.data.records import ImageRecord
from lmmrotate.data.synthetic.scene import SceneSpec
from lmmrotate.geometry.quads import signed_areas
from lmmrotate.training.scenes import VIEWS, SceneDataset, SceneMix, turned, turned_pixels

MIX = SceneMix((SceneSpec(64, 64, (0.2, 0.4), "sparse", ("small-vehicle", "storage-tank")),), (1.0,))


@pytest.mark.parametrize("view", range(VIEWS))
def test_boxes_turn_with_the_picture(view: int) -> None:
    """A box drawn as a bright rectangle still frames it; its first edge stays the one that was marked."""
    quad = np.asarray([[[10.0, 4], [22, 4], [22, 30], [10, 30]]])
    pixels = np.zeros((40, 40, 3), dtype=np.uint8)
    pixels[4:30, 10:22, 0] = 255
    pixels[4:8, 10:22, 1] = 255  # the front: between the first two corners
    record = turned(ImageRecord("a", 40, 40, quad, ("ship",), (0,)), view)
    seen = turned_pixels(pixels, view)
    for channel, corners in ((0, record.quads[0]), (1, record.quads[0, :2])):
        rows, columns = np.nonzero(seen[..., channel])
        least, most = corners.min(axis=0), corners.max(axis=0)
        edges = np.asarray([columns.min(), rows.min()]), np.asarray([columns.max(), rows.max()]) + 1
        if channel == 0:
            np.testing.assert_array_equal(edges, (least, most))
        else:  # the front lies along the strip's outer side
            assert ((edges[0] <= least) & (most <= edges[1])).all()
    assert (np.sign(signed_areas(record.quads)) == np.sign(signed_areas(quad))).all()


def test_all_views_differ() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    assert len({turned_pixels(pixels, view).tobytes() for view in range(VIEWS)}) == VIEWS


def test_kept_pictures_are_those_that_would_be_drawn(tmp_path: Path) -> None:
    """A view read back from the folder is the one made of a fresh drawing, whatever was drawn before."""
    kept = SceneDataset(MIX, 3, 4, views=2, folder=tmp_path / "scenes")
    afresh = SceneDataset(MIX, 3, 4, views=2, folder=tmp_path / "others")
    for index in range(4):  # 0 and 1 are drawn, 2 and 3 are read
        kept[index]
    assert len(list((tmp_path / "scenes").iterdir())) == 2
    for index in (3, 2):
        read, drawn = kept[index], afresh[index]
        assert read.pixels is not None
        assert drawn.pixels is not None
        np.testing.assert_array_equal(read.pixels, drawn.pixels)
        np.testing.assert_array_equal(read.record.quads, drawn.record.quads)
        assert read.record.labels == drawn.record.labels


def test_views_repeat_scenes_turned() -> None:
    annotations = SceneDataset(MIX, 3, 6, pictures=False, views=2)
    for index in range(3):
        first, second = annotations[index], annotations[index + 3]
        np.testing.assert_allclose(second.record.quads, turned(first.record, 1).quads)
