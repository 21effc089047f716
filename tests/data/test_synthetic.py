"""The generator of synthetic scenes: annotations that are exact, and files that can be trusted."""

import itertools
import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import shapely
from PIL import Image

from lmmrotate.data.manifest import read_manifest
from lmmrotate.data.records import ImageRecord
from lmmrotate.data.synthetic.canvas import Canvas, Sun
from lmmrotate.data.synthetic.dataset import stream_scenes, synthesise
from lmmrotate.data.synthetic.dice import Dice
from lmmrotate.data.synthetic.objects import KINDS
from lmmrotate.data.synthetic.scene import CLASSES, SceneSpec, describe_scene, render_scene
from lmmrotate.errors import ConfigError
from lmmrotate.geometry.quads import inside_fraction, signed_areas

SMALL = SceneSpec(width_px=64, height_px=64)
SUN = Sun(direction_rad=0.5, length_per_m=0.5, strength=0.5)


@pytest.fixture(scope="module")
def records() -> list[ImageRecord]:
    """240 mixed tiles of 256 px and some of the other densities."""
    found = [describe_scene(SceneSpec(), 5, index) for index in range(240)]
    for density in ("sparse", "dense"):
        found += [describe_scene(SceneSpec(density=density), 6, index) for index in range(40)]
    return found


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("angle_rad", [0.0, 0.7])
def test_box_is_the_drawn_extent(name: str, angle_rad: float) -> None:
    kind = KINDS[name]
    gsd_m = kind.length_m[1] / 300
    canvas = Canvas(420, 420, gsd_m, SUN, np.random.default_rng(1))
    canvas.pixels[:] = (255, 0, 255)  # a colour that nothing has
    length, width = kind.size(Dice(2, 0, 0))
    frame = canvas.frame(211.3, 208.9, angle_rad)
    kind.draw(canvas, frame, length, width, kind.colours[0])
    y, x = np.nonzero((canvas.pixels != (255, 0, 255)).any(axis=2))
    dx, dy = (x + 0.5) / 2 - 211.3, (y + 0.5) / 2 - 208.9  # drawn at twice the size
    u = dx * math.cos(angle_rad) + dy * math.sin(angle_rad)
    v = dy * math.cos(angle_rad) - dx * math.sin(angle_rad)
    half_u, half_v = length / gsd_m / 2, width / gsd_m / 2
    # Corners that are thinner than a pixel may be missing; nothing may stick out.
    assert [u.min(), u.max()] == pytest.approx([-half_u, half_u], abs=1.3)
    assert [v.min(), v.max()] == pytest.approx([-half_v, half_v], abs=1.3)


def test_scenes_are_the_same_every_time() -> None:
    for spec in (SceneSpec(), SceneSpec(density="dense"), SMALL):
        first, record = render_scene(spec, 3, 7)
        again, second = render_scene(spec, 3, 7)
        assert first.dtype == np.uint8
        assert first.tobytes() == again.tobytes()
        assert record.quads.tobytes() == second.quads.tobytes()
        assert record.labels == second.labels
    assert render_scene(SMALL, 3, 8)[0].tobytes() != render_scene(SMALL, 3, 7)[0].tobytes()
    assert render_scene(SMALL, 4, 7)[0].tobytes() != render_scene(SMALL, 3, 7)[0].tobytes()


@pytest.mark.parametrize("density", ["sparse", "mixed", "dense"])
def test_described_scenes_are_the_rendered_ones(density: str) -> None:
    spec = SceneSpec(density=density)  # type: ignore[arg-type]
    for index in range(12):
        rendered, described = render_scene(spec, 2, index)[1], describe_scene(spec, 2, index)
        assert rendered.quads.tobytes() == described.quads.tobytes()
        assert (rendered.labels, rendered.difficult) == (described.labels, described.difficult)


@pytest.mark.parametrize(("width", "height"), [(300, 100), (64, 64), (100, 300), (33, 500), (901, 700)])
def test_any_size(width: int, height: int) -> None:
    pixels, record = render_scene(SceneSpec(width_px=width, height_px=height), 0, 1)
    assert pixels.shape == (height, width, 3)
    assert record.wh == (width, height)
    assert pixels.std() > 2  # something is to be seen


def test_no_two_objects_overlap(records: list[ImageRecord]) -> None:
    for record in records:
        polygons = shapely.polygons(record.quads)
        tree = shapely.STRtree(polygons)
        first, second = tree.query(polygons, predicate="intersects")
        pairs = first < second
        shared = shapely.area(shapely.intersection(polygons[first[pairs]], polygons[second[pairs]]))
        assert shared.max(initial=0) < 1e-6, record.image


def test_quads_are_rectangles_in_or_on_the_edge(records: list[ImageRecord]) -> None:
    for record in records:
        quads = record.quads
        assert quads.dtype == np.float64
        assert (signed_areas(quads) > 0).all()  # clockwise on screen
        np.testing.assert_allclose(quads[:, 0] + quads[:, 2], quads[:, 1] + quads[:, 3], atol=1e-6)
        assert (inside_fraction(quads, record.wh) >= 0.7).all()
        inside = ((quads >= 0) & (quads <= record.wh)).all(axis=(1, 2))
        assert record.difficult == tuple(np.where(inside, 0, 2).tolist())


def test_round_objects_have_axis_aligned_squares(records: list[ImageRecord]) -> None:
    for record in records:
        for quad, label in zip(record.quads, record.labels, strict=True):
            if label in ("storage-tank", "roundabout"):
                width, height = np.ptp(quad, axis=0)
                assert width == pytest.approx(height)
                assert len(np.unique(quad.round(6))) <= 4


def test_every_class_appears(records: list[ImageRecord]) -> None:
    counts = Counter(label for record in records[:240] for label in record.labels)
    assert set(counts) == set(CLASSES)
    assert {kind.label for kind in KINDS.values()} == set(CLASSES)


def test_sizes_are_those_of_the_real_things() -> None:
    spec = SceneSpec(gsd_m=0.5)
    longest = {"small-vehicle": 6, "large-vehicle": 18, "plane": 70, "helicopter": 18, "storage-tank": 42}
    shortest = {"small-vehicle": 4, "plane": 7, "ground-track-field": 118, "soccer-ball-field": 60}
    seen = Counter[str]()
    for index in range(120):
        record = describe_scene(spec, 9, index)
        for quad, label in zip(record.quads, record.labels, strict=True):
            sides = [math.dist(quad[0], quad[1]) * 0.5, math.dist(quad[1], quad[2]) * 0.5]
            seen[label] += 1
            assert max(sides) <= longest.get(label, 181) + 0.01
            assert max(sides) >= shortest.get(label, 2)
            if label == "tennis-court":
                assert sorted(sides) == pytest.approx([10.97, 23.77], abs=0.05)
    assert len(seen) >= 12


def test_densities(records: list[ImageRecord]) -> None:
    counts = [len(record.labels) for record in records]
    assert 0 in counts[:240]  # empty tiles are part of the mix
    assert max(counts[:240]) > 50
    sparse, dense = counts[240:280], counts[280:]
    assert max(sparse) <= 6
    assert min(sparse) == 0
    assert np.median(dense) > 25


def test_density_may_be_the_most_objects_of_a_scene() -> None:
    counts = {
        limit: [len(describe_scene(SceneSpec(density=limit), 2, i).labels) for i in range(40)]
        for limit in (0, 3, 12)
    }
    assert max(counts[0]) == 0
    assert max(counts[3]) == 3
    assert np.mean(counts[3]) > 1.5
    assert 3 < max(counts[12]) <= 12
    many = describe_scene(SceneSpec(), 2, int(np.argmax(counts[12])))
    few = describe_scene(SceneSpec(density=3), 2, int(np.argmax(counts[12])))
    places = {quad.tobytes() for quad in many.quads}
    assert all(quad.tobytes() in places for quad in few.quads)  # the same scene with fewer objects


def test_large_scenes_have_many_themes() -> None:
    record = describe_scene(SceneSpec(width_px=2400, height_px=2000, gsd_m=0.5), 0, 0)
    assert len(record.labels) > 100
    assert len(set(record.labels)) >= 5


def test_only_wanted_classes_appear() -> None:
    for classes in (("plane",), ("ship", "harbor"), ("tennis-court", "small-vehicle"), ("swimming-pool",)):
        for density in ("sparse", "mixed", "dense"):
            spec = SceneSpec(classes=classes, density=density)
            found = Counter(label for i in range(25) for label in describe_scene(spec, 1, i).labels)
            assert set(found) <= set(classes)
            assert found, (classes, density)


def test_data_set_is_the_same_for_any_number_of_workers(tmp_path: Path) -> None:
    one = synthesise(tmp_path / "one", 20, SMALL, seed=4, workers=1)
    two = synthesise(tmp_path / "two", 20, SMALL, seed=4, workers=2)
    assert one.fingerprint() == two.fingerprint()
    for record in one.records:
        assert one.image_path(record).read_bytes() == two.image_path(record).read_bytes()
    manifest = read_manifest(tmp_path / "one" / "train.jsonl")
    assert manifest.fingerprint() == one.fingerprint()
    assert (manifest.dataset, manifest.split, manifest.classes) == ("synthetic", "train", CLASSES)
    pixels, record = render_scene(SMALL, 4, 3)
    assert record.image == "images/train_000003.png"
    with Image.open(tmp_path / "one" / record.image) as image:
        np.testing.assert_array_equal(np.asarray(image), pixels)


def test_stream_is_in_order_and_can_be_left() -> None:
    stream = stream_scenes(SMALL, 4, 10, 40, workers=2)
    for index, (pixels, record) in zip(range(10, 14), stream, strict=False):
        expected, same = render_scene(SMALL, 4, index)
        np.testing.assert_array_equal(pixels, expected)
        assert record.image == same.image
        np.testing.assert_array_equal(record.quads, same.quads)
    stream.close()  # type: ignore[attr-defined]
    assert len(list(stream_scenes(SMALL, 0, 0, 5))) == 5
    assert len(list(itertools.islice(stream_scenes(SMALL), 9))) == 9


def test_resuming_keeps_what_is_there(tmp_path: Path) -> None:
    first = synthesise(tmp_path, 6, SMALL, workers=1)
    paths = [first.image_path(record) for record in first.records]
    before = paths[0].read_bytes()
    paths[0].write_bytes(b"kept as it is")
    paths[3].unlink()
    again = synthesise(tmp_path, 8, SMALL, workers=1)
    assert paths[0].read_bytes() == b"kept as it is"
    paths[0].write_bytes(before)
    fresh = synthesise(tmp_path / "fresh", 8, SMALL, workers=1)
    assert again.fingerprint() == fresh.fingerprint()
    assert paths[3].read_bytes() == fresh.image_path(fresh.records[3]).read_bytes()
    assert not list(tmp_path.rglob("*.tmp"))


def test_other_settings_are_refused(tmp_path: Path) -> None:
    synthesise(tmp_path, 2, SMALL, seed=1, workers=1)
    with pytest.raises(ConfigError, match="seed is 1 there, 2 now"):
        synthesise(tmp_path, 2, SMALL, seed=2, workers=1)
    with pytest.raises(ConfigError, match="density is 'mixed' there, 'dense' now"):
        synthesise(tmp_path, 2, SceneSpec(64, 64, density="dense"), seed=1, workers=1)
    synthesise(tmp_path, 2, SMALL, seed=2, split="val", workers=1)  # another split is another set
    saved = json.loads((tmp_path / "val.spec.json").read_text())
    assert (saved["seed"], saved["width_px"]) == (2, 64)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width_px": 5}, "width_px must be from 32"),
        ({"height_px": 100_000}, "height_px must be from 32 to 12000"),
        ({"width_px": 9000, "height_px": 9000, "gsd_m": 1.0}, "81 square kilometres; at most 40"),
        ({"gsd_m": 0.0}, "gsd_m must be"),
        ({"gsd_m": (0.8, 0.3)}, "gsd_m must be"),
        ({"gsd_m": (0.3, 0.5, 0.8)}, "gsd_m must be"),
        ({"density": "crowded"}, "unknown density 'crowded'; known: sparse, mixed, dense"),
        ({"density": -1}, "unknown density -1"),
        ({"density": True}, "unknown density True"),
        ({"classes": ("plane", "aeroplane")}, "unknown class 'aeroplane'; known: plane, baseball-diamond"),
        ({"classes": ()}, "classes must be"),
        ({"classes": ("plane", "plane")}, "classes must be distinct"),
    ],
)
def test_bad_specs(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        SceneSpec(**options)  # type: ignore[arg-type]


def test_bad_numbers(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="count"):
        synthesise(tmp_path, 0, SMALL)
    with pytest.raises(ConfigError, match="workers"):
        synthesise(tmp_path, 1, SMALL, workers=0)
    with pytest.raises(ConfigError, match="seed"):
        render_scene(SMALL, -1, 0)
    with pytest.raises(ConfigError, match="seed and index"):
        stream_scenes(SMALL, 0, -1)
    with pytest.raises(ConfigError, match="split"):
        synthesise(tmp_path, 1, SMALL, split="../up")
