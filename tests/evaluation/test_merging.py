"""Tiles to scenes, and archives for servers: against recorded values (golden g and i) and by properties."""

import io
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmmrotate.data.manifest import Manifest
from lmmrotate.data.predictions import Predictions, PredictionsHeader
from lmmrotate.data.records import ImageRecord, Prediction, SceneRef
from lmmrotate.data.tile_objects import tile_records
from lmmrotate.data.tile_windows import TilingSettings, sliding_windows
from lmmrotate.errors import ConfigError, DataError
from lmmrotate.evaluation.merging import RULES, Rule, merge_predictions, tiles_named_by
from lmmrotate.evaluation.submission import write_submission
from lmmrotate.geometry.quads import Quads, as_quads
from lmmrotate.geometry.rboxes import rboxes_to_quads

from .recorded import Golden, read_json

CLASSES = ("plane", "ship")
laws = settings(deadline=None, max_examples=30)


def header(classes: tuple[str, ...] = CLASSES) -> PredictionsHeader:
    return PredictionsHeader(classes)


# Recorded


def patch(recorded: dict[str, Any], classes: tuple[str, ...]) -> Prediction:
    """A recorded answer, whose boxes are moved in float32 there: quads such that ours arrive at the same."""
    boxes = np.array(recorded["bboxes"], dtype=np.float32).reshape(-1, 5)
    named = tiles_named_by(Predictions(header(), (Prediction(recorded["img_id"], 1024, 1024),)))
    scene = named.records[0].scene
    assert scene is not None
    moved = boxes.copy()
    moved[:, :2] += np.array([scene.x, scene.y], dtype=np.float32)
    return Prediction(
        recorded["img_id"],
        1024,
        1024,
        quads=rboxes_to_quads(moved) - (scene.x, scene.y),
        labels=tuple(classes[label] for label in recorded["labels"]),
        scores=tuple(float(np.float32(score)) for score in recorded["scores"]),
    )


@pytest.mark.golden
@pytest.mark.parametrize("number", range(4))
def test_submissions_as_recorded(golden: Golden, number: int, tmp_path: Path) -> None:
    case = read_json(golden("g_merge_submission.json"))["cases"][number]
    classes = tuple(case["classes"])
    predictions = Predictions(header(classes), tuple(patch(p, classes) for p in case["patches"]))
    merged = merge_predictions(predictions, tiles_named_by(predictions), iou_threshold=case["iou_thr_nms"])
    kind, digits = ("dota", 2) if case["metric"] == "DOTAMetric" else ("fair1m", 4)
    names = write_submission(merged, tmp_path / "out.zip", kind, score_digits=digits)
    (members,) = case["zip"].values()
    assert names == [member["name"] for member in members]
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        found = {Path(name).name: archive.read(name).decode() for name in archive.namelist()}
        assert [entry.compress_type for entry in archive.infolist()] == [
            member["compress_type"] for member in members
        ]
    recorded = {Path(name).name: text for name, text in case["files"].items()}
    assert found == recorded


@pytest.mark.golden
@pytest.mark.parametrize("number", range(6))
def test_names_of_tiles_as_recorded(golden: Golden, number: int, tmp_path: Path) -> None:
    case = read_json(golden("g_merge_submission.json"))["patch_name_cases"][number]
    content = {"img_id": case["img_id"], "bboxes": [case["bbox"]], "scores": [case["score"]], "labels": [1]}
    if "error" in case["result"]:
        with pytest.raises(DataError, match="does not say where it was cut"):
            patch(content, ("a", "b"))
        return
    predictions = Predictions(header(("a", "b")), (patch(content, ("a", "b")),))
    write_submission(
        merge_predictions(predictions, tiles_named_by(predictions)),
        tmp_path / "o.zip",
        "dota",
        score_digits=2,
    )
    with zipfile.ZipFile(tmp_path / "o.zip") as archive:
        assert {name: archive.read(name).decode() for name in archive.namelist()} == case["result"]


@pytest.mark.golden
def test_mergebypoly(golden: Golden) -> None:
    recorded = read_json(golden("i_dota_devkit.json"))["ResultMerge"]
    for name, text in recorded["src"].items():
        rows: dict[str, list[list[float]]] = {}
        for line in text.splitlines():
            image, *numbers = line.split()
            rows.setdefault(image, []).append([float(v) for v in numbers])
        images = tuple(
            Prediction(
                image,
                1024,
                1024,
                quads=as_quads([row[1:] for row in some]),
                labels=("plane",) * len(some),
                scores=tuple(row[0] for row in some),
            )
            for image, some in rows.items()
        )
        predictions = Predictions(header(), images)
        # The devkit keeps pairs of just the threshold.
        above = float(np.nextafter(0.3, 1))
        merged = merge_predictions(predictions, tiles_named_by(predictions, devkit=True), iou_threshold=above)
        wanted: dict[str, list[list[float]]] = {}
        for line in recorded["dst"][name].splitlines():
            image, *numbers = line.split()
            wanted.setdefault(image, []).append([float(v) for v in numbers])
        assert {p.image for p in merged.images} == wanted.keys()
        for p in merged.images:
            found = np.column_stack([p.scores, p.quads.reshape(-1, 8)])
            np.testing.assert_allclose(_sorted(found), _sorted(np.array(wanted[p.image])), atol=1e-6)


def _sorted(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows[np.lexsort(rows.T[::-1])])


# Properties


def tiled(quads: Quads, labels: list[str], wh: tuple[int, int] = (500, 400)) -> tuple[Manifest, Manifest]:
    """A scene and its tiles of 200 px with a gap of 100; a tile takes objects of which it shows 30 %."""
    scene = ImageRecord("images/s.png", *wh, quads, tuple(labels), (0,) * len(labels))
    rules = TilingSettings(sizes_px=(200,), gaps_px=(100,), iof_thr=0.3)
    records, _ = tile_records(scene, sliding_windows(wh, rules), rules)
    scenes = Manifest("d", "s", CLASSES, (scene,))
    return scenes, Manifest("d", "s", CLASSES, tuple(records))


def answers(tiles: Manifest, score: float = 1.0) -> Predictions:
    """A model that sees in each tile what the tile shows of every object, cut at the tile's edge."""
    images = []
    for record in tiles.records:
        cut = np.clip(record.quads, 0, record.wh)
        images.append(
            Prediction(
                record.image,
                *record.wh,
                quads=cut,
                labels=record.labels,
                scores=(score,) * len(record.labels),
            )
        )
    return Predictions(header(), tuple(images))


def boxes_on_a_grid(seed: int) -> tuple[Quads, list[str]]:
    """Upright boxes that do not overlap, no larger than what two tiles share."""
    random = np.random.default_rng(seed)
    cells = [(x, y) for x in range(0, 480, 60) for y in range(0, 360, 60)]
    chosen = random.permutation(len(cells))[: random.integers(1, 30)]
    corners = np.array([cells[i] for i in chosen]) + random.uniform(2, 10, (len(chosen), 2))
    sizes = random.uniform(10, 45, (len(chosen), 2))
    (x0, y0), (x1, y1) = corners.T, (corners + sizes).T
    quads = np.stack([x0, y0, x1, y0, x1, y1, x0, y1], axis=1)
    return as_quads(quads), [CLASSES[i] for i in random.integers(0, 2, len(chosen))]


@laws
@given(st.integers(0, 10**6), st.sampled_from(["edge", "cluster"]))
def test_every_object_is_kept_once_and_whole(seed: int, rule: Rule) -> None:
    quads, labels = boxes_on_a_grid(seed)
    scenes, tiles = tiled(quads, labels)
    merged = merge_predictions(answers(tiles), tiles, rule=rule, scenes=scenes)
    (found,) = merged.images
    assert (found.image, found.width, found.height) == ("images/s.png", 500, 400)
    assert len(found.labels) == len(labels)
    order, wanted = np.lexsort(found.quads[:, 0].T), np.lexsort(quads[:, 0].T)
    np.testing.assert_allclose(found.quads[order], quads[wanted], atol=1e-9)
    assert [found.labels[i] for i in order] == [labels[i] for i in wanted]


@laws
@given(st.integers(0, 10**6), st.sampled_from(RULES))
def test_merging_again_and_the_order_of_tiles_change_nothing(seed: int, rule: Rule) -> None:
    quads, labels = boxes_on_a_grid(seed)
    scenes, tiles = tiled(quads, labels)
    random = np.random.default_rng(seed)
    predictions = answers(tiles)
    total = sum(len(p.labels) for p in predictions.images)
    values = iter(random.permutation(total) / total)
    images = [replace(p, scores=tuple(float(next(values)) for _ in p.scores)) for p in predictions.images]
    predictions = replace(predictions, images=tuple(images))
    merged = merge_predictions(predictions, tiles, rule=rule, scenes=scenes)
    shuffled = random.permutation(len(images))
    other = merge_predictions(
        replace(predictions, images=tuple(images[i] for i in shuffled)),
        replace(tiles, records=tuple(tiles.records[i] for i in shuffled)),
        rule=rule,
        scenes=scenes,
    )
    assert_equal(merged, other)
    whole = Manifest("d", "s", CLASSES, (replace(scenes.records[0], scene=SceneRef("s", 0, 0)),))
    assert_equal(merge_predictions(merged, whole, rule=rule, scenes=scenes), merged)


def assert_equal(one: Predictions, other: Predictions) -> None:
    (a,), (b,) = one.images, other.images
    assert (a.labels, a.scores) == (b.labels, b.scores)
    assert np.array_equal(a.quads, b.quads)


def test_boxes_of_one_tile_are_never_joined() -> None:
    """Two ships side by side whose boxes overlap: the model saw two."""
    quads = rboxes_to_quads([(100, 100, 60, 20, 0), (100, 110, 60, 20, 0)])
    scenes, tiles = tiled(quads, ["ship", "ship"])
    predictions = answers(tiles)
    assert len(merge_predictions(predictions, tiles, rule="cluster", scenes=scenes).images[0].labels) == 2
    assert len(merge_predictions(predictions, tiles, rule="edge", scenes=scenes).images[0].labels) == 1


def test_a_cluster_keeps_the_whole_box_and_the_best_score() -> None:
    quads = rboxes_to_quads([(150, 100, 80, 20, 0)])
    scenes, tiles = tiled(quads, ["ship"])
    images = [
        replace(p, scores=(0.9 if "__0___" in p.image else 0.4,) * len(p.labels))
        for p in answers(tiles).images
    ]
    predictions = Predictions(header(), tuple(images))
    (found,) = merge_predictions(predictions, tiles, rule="cluster", scenes=scenes).images
    assert found.scores == (0.9,)
    np.testing.assert_allclose(found.quads, quads)


def test_scales_and_missing_tiles() -> None:
    """The same object in two tilings of a scene, one at half its size; a third tile was not predicted."""
    small = ImageRecord("small.png", 100, 100, scene=SceneRef("s", 10, 20, 0.5))
    large = ImageRecord("large.png", 100, 100, scene=SceneRef("s", 100, 100, 1.0))
    missing = ImageRecord("missing.png", 100, 100, scene=SceneRef("t", 0, 0))
    tiles = Manifest("d", "s", CLASSES, (small, large, missing))
    box = rboxes_to_quads([(50, 50, 20, 10, 0.3)])
    in_small = (box + np.array([100, 100])) * 0.5 - (10, 20)
    predictions = Predictions(
        header(),
        (
            Prediction("small.png", 100, 100, quads=in_small, labels=("ship",), scores=(0.5,), seconds=1.0),
            Prediction("large.png", 100, 100, quads=box, labels=("ship",), scores=(0.7,), seconds=2.0),
        ),
    )
    for rule in RULES:
        (found,) = merge_predictions(predictions, tiles, rule=rule).images
        assert (found.image, found.width, found.height) == ("s", 220, 240)
        np.testing.assert_allclose(found.quads, box + np.array([100, 100]))
        assert (found.scores, found.seconds) == ((0.7,), 3.0)


def test_what_does_not_fit() -> None:
    scenes, tiles = tiled(rboxes_to_quads([(50, 50, 20, 10, 0)]), ["ship"])
    predictions = answers(tiles)
    for settings_ in ({"rule": "best"}, {"iou_threshold": 1.5}):
        with pytest.raises(ConfigError, match="rule must be one of nms, edge, cluster"):
            merge_predictions(predictions, tiles, **settings_)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"images/s\.png: is predicted, but is no tile"):
        merge_predictions(Predictions(header(), (Prediction("images/s.png", 1, 1),)), scenes)
    with pytest.raises(DataError, match="is a tile of 's', which the manifest of scenes does not have"):
        merge_predictions(predictions, tiles, scenes=replace(scenes, records=()))


def test_archives(tmp_path: Path) -> None:
    box = rboxes_to_quads([(50, 50, 20, 10, 0.3), (50, 50, 20, 10, 0.3)])
    one = Prediction("a/P1.png", 9, 9, quads=box, labels=("ship", "plane"), scores=(0.123456789123, 1.0))
    predictions = Predictions(header(), (one,))
    for kind in ("dota", "fair1m"):
        write_submission(predictions, tmp_path / "one.zip", kind)
        write_submission(predictions, tmp_path / "two.zip", kind)
        assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(io.BytesIO((tmp_path / "one.zip").read_bytes())) as archive:
        assert "<probability>0.123456789</probability>" in archive.read("test/P1.xml").decode()
    with pytest.raises(ConfigError, match="valid: dota, fair1m"):
        write_submission(predictions, tmp_path / "x.zip", "hrsc")
    twice = Predictions(header(), (one, replace(one, image="b/P1.tif")))
    with pytest.raises(DataError, match=r"b/P1\.tif and a/P1\.png would both be called P1"):
        write_submission(twice, tmp_path / "x.zip", "dota")
    odd = Predictions(header(("../a", "ship", "plane")), (one,))
    with pytest.raises(DataError, match="cannot be part of a file's name"):
        write_submission(odd, tmp_path / "x.zip", "dota")
    assert not (tmp_path / "x.zip").exists()
