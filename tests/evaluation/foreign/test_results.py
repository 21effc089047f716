"""Every kind of foreign results is read back as what was written, or refused by file and place."""

import json
import pickle
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lmmrotate.data.manifest import Manifest
from lmmrotate.data.predictions import Predictions, PredictionsHeader
from lmmrotate.data.records import ImageRecord, Prediction
from lmmrotate.errors import ConfigError, DataError
from lmmrotate.evaluation.foreign import KINDS, read_any, read_foreign
from lmmrotate.evaluation.submission import write_submission
from lmmrotate.geometry.quads import Quads
from lmmrotate.geometry.rboxes import quads_to_rboxes, rboxes_to_quads

CLASSES = ("small-vehicle", "ship")
MANIFEST = Manifest(
    "d", "s", CLASSES, (ImageRecord("a/P1.png", 200, 100), ImageRecord("b/P 2.tif", 300, 300))
)
SPOKEN = ("Small_Vehicle", "ship")


def predictions(seed: int) -> Predictions:
    random = np.random.default_rng(seed)
    images = []
    for record in MANIFEST.records:
        count = int(random.integers(0, 5))
        boxes = np.column_stack(
            [
                random.uniform(20, 90, (count, 2)),
                random.uniform(5, 15, (count, 2)),
                random.uniform(-1.5, 1.5, count),
            ]
        )
        labels = tuple(CLASSES[i] for i in random.integers(0, 2, count))
        scores = tuple(random.random(count).round(6).tolist())
        images.append(
            Prediction(record.image, *record.wh, quads=rboxes_to_quads(boxes), labels=labels, scores=scores)
        )
    return Predictions(PredictionsHeader(CLASSES), tuple(images))


def numbers(p: Prediction) -> list[int]:
    return [CLASSES.index(label) for label in p.labels]


def rboxes(quads: Quads) -> Any:
    return quads_to_rboxes(quads).reshape(-1, 5)


def dump(path: Path, content: Any) -> Path:
    path.write_bytes(pickle.dumps(content))
    return path


def mmrotate_1(p: Predictions, folder: Path) -> Path:
    samples = [
        {
            "img_path": f"/data/images/{Path(image.image).name}",
            "ori_shape": (1, 1),
            "pred_instances": {
                "bboxes": torch.tensor(rboxes(image.quads)),
                "scores": torch.tensor(image.scores, dtype=torch.float64),
                "labels": torch.tensor(numbers(image), dtype=torch.int64),
            },
        }
        for image in p.images
    ]
    return dump(folder / "results.pkl", samples)


def mmrotate_0(p: Predictions, folder: Path) -> Path:
    content = []
    for image in p.images:
        rows = np.column_stack([rboxes(image.quads), np.array(image.scores).reshape(-1, 1)])
        content.append([rows[np.array(numbers(image), dtype=int) == k] for k in range(len(CLASSES))])
    return dump(folder / "old.pkl", content)


def dota(p: Predictions, folder: Path) -> Path:
    (folder / "task1").mkdir()
    for k, name in enumerate(SPOKEN):
        lines = [
            f"{Path(image.image).stem.replace('P 2', 'P2')} {image.scores[i]} "
            + " ".join(f"{v:.4f}" for v in image.quads[i].reshape(8))
            for image in p.images
            for i in range(len(image.labels))
            if numbers(image)[i] == k
        ]
        (folder / "task1" / f"Task1_{name}.txt").write_text("\n".join(lines))
    return folder / "task1"


def coco(p: Predictions, folder: Path) -> Path:
    rows: list[dict[str, Any]] = []
    for number, image in enumerate(p.images, start=1):
        for i in range(len(image.labels)):
            box = rboxes(image.quads[i : i + 1])[0].tolist()
            shapes: list[dict[str, Any]] = [
                {"rbox": box},
                {"bbox": box},
                {"segmentation": [image.quads[i].reshape(8).tolist()]},
                {"poly": image.quads[i].tolist()},
            ]
            row = {"image_id": number, "category_id": numbers(image)[i] + 1, "score": image.scores[i]}
            rows.append(row | shapes[i % 4])
    (folder / "coco.json").write_text(json.dumps(rows))
    return folder / "coco.json"


def yolo(p: Predictions, folder: Path) -> Path:
    (folder / "labels").mkdir()
    for image in p.images:
        shares = image.quads / (image.width, image.height)
        lines = [
            f"{k} {' '.join(f'{v:.8f}' for v in quad.reshape(8))} {score}"
            for k, quad, score in zip(numbers(image), shares, image.scores, strict=True)
        ]
        (folder / "labels" / f"{Path(image.image).stem}.txt").write_text("\n".join(lines))
    return folder / "labels"


def fair1m(p: Predictions, folder: Path) -> Path:
    write_submission(p, folder / "fair.zip", "fair1m")
    return folder / "fair.zip"


def by_image(p: Predictions, folder: Path) -> Path:
    content = [
        {
            "image": image.image,
            "detections": [
                {"label": label, "score": score, "obb": rboxes(quad[None])[0].tolist()}
                for label, score, quad in zip(image.labels, image.scores, image.quads, strict=True)
            ],
        }
        for image in p.images
    ]
    (folder / "by.json").write_text(json.dumps(content))
    return folder / "by.json"


def oriented_det(p: Predictions, folder: Path) -> Path:
    results = [
        {
            "image_name": Path(image.image).name,
            "image_path": image.image,
            "image_width": image.width,
            "num_pred": len(image.labels),
            "predictions": [
                {
                    "bbox": rboxes(quad[None])[0].tolist(),
                    "score": score,
                    "label": k + 1,
                    "class_name": CLASSES[k],
                }
                for k, score, quad in zip(numbers(image), image.scores, image.quads, strict=True)
            ],
            "ground_truths": [],
        }
        for image in p.images
    ]
    content = {"metadata": {"class_names": CLASSES}, "results": results}
    (folder / "predictions.json").write_text(json.dumps(content))
    return folder / "predictions.json"


WRITERS: dict[str, tuple[Callable[[Predictions, Path], Path], float]] = {
    "mmrotate": (mmrotate_1, 1e-6),
    "mmrotate 0": (mmrotate_0, 1e-6),
    "dota_task1": (dota, 1e-3),
    "coco": (coco, 1e-6),
    "yolo_obb": (yolo, 1e-5),
    "fair1m": (fair1m, 0.01),
    "by_image": (by_image, 1e-6),
    "oriented_det": (oriented_det, 1e-6),
}


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_what_was_written_is_read(name: str, seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    write, tolerance = WRITERS[name]
    p = predictions(seed)
    manifest = MANIFEST
    if name == "dota_task1":  # its fields are told apart by spaces
        manifest = Manifest("d", "s", CLASSES, (MANIFEST.records[0], ImageRecord("b/P2.tif", 300, 300)))
        p = Predictions(p.header, (p.images[0], Prediction("b/P2.tif", 300, 300, "", *columns(p.images[1]))))
    path = write(p, tmp_path_factory.mktemp("results"))
    found = {image.image: image for image in read_any(path, manifest).images}
    for image in p.images:
        if not image.labels:
            assert image.image not in found or not found[image.image].labels
            continue
        other = found[image.image]
        assert (other.width, other.height) == (image.width, image.height)
        order = [
            sorted(range(len(i.scores)), key=lambda k: (i.scores[k], i.labels[k])) for i in (image, other)
        ]
        assert [image.labels[k] for k in order[0]] == [other.labels[k] for k in order[1]]
        assert [image.scores[k] for k in order[0]] == pytest.approx([other.scores[k] for k in order[1]])
        for a, b in zip(order[0], order[1], strict=True):
            assert corners_apart(image.quads[a], other.quads[b]) < tolerance


def columns(p: Prediction) -> Any:
    return p.quads, p.labels, p.scores


def corners_apart(one: Quads, other: Quads) -> float:
    """Between the nearest of all starting corners and both directions."""
    turns = [np.roll(other[::way], shift, axis=0) for way in (1, -1) for shift in range(4)]
    return float(min(np.abs(one - turned).max() for turned in turns))


ROW = {"image_id": 1, "category_id": 1, "score": 0.5, "rbox": [1, 1, 2, 2, 0]}


def images_of(rows: Any, records: Any, folder: Path) -> list[str]:
    path = folder / "r.json"
    path.write_text(json.dumps(rows))
    manifest = Manifest("d", "s", CLASSES, tuple(ImageRecord(name, 9, 9) for name in records))
    return [p.image for p in read_foreign(path, manifest).images]


def test_names_of_images(tmp_path: Path) -> None:
    def images(*names: Any) -> list[str]:
        records = ("a/P1.png", "b/P1.png", "P2.jpg", "c/Q1.5.tif", "Q1.5")
        return images_of([ROW | {"image_id": name} for name in names], records, tmp_path)

    assert images("b/P1.png", "P2") == ["b/P1.png", "P2.jpg"]
    assert images("/data/P2.png", "C:\\data\\P2.tif") == ["P2.jpg"]
    assert images("Q1.5.tif") == ["c/Q1.5.tif"]
    assert images("Q1.5") == ["Q1.5"]  # the whole path goes before a name without ending
    for wrong, message in (
        ("P1", r"\[0\]: 'P1' may be any of several images: a/P1.png, b/P1.png$"),
        ("z/P1.png", "may be any of several images"),
        ("P9", r"\[0\]: 'P9' is no image of the manifest, which has a/P1.png, b/P1.png, P2.jpg, …"),
        (None, r"\[0\]: 'image_id' must be int or str, found None"),
        (1.0, "must be int or str, found 1.0"),
    ):
        with pytest.raises(DataError, match=message):
            images(wrong)


def test_numbers_of_images(tmp_path: Path) -> None:
    """Ultralytics takes them from the names, COCO's writers count; where it may be both, none is guessed."""

    def images(names: list[str], *numbers: int) -> list[str]:
        return images_of([ROW | {"image_id": number} for number in numbers], names, tmp_path)

    assert images(["x.png", "y.png"], 2) == ["y.png"]
    assert images(["0007.png", "0012.png"], 12, 7) == ["0007.png", "0012.png"]
    assert images(["0.tif", "1.tif", "2.tif"], 1, 0) == ["0.tif", "1.tif"]
    assert images(["1.tif", "2.tif"], 2) == ["2.tif"]
    assert images(["0.tif", "1.tif", "2.tif"], 3, 1) == ["0.tif", "2.tif"]
    for names, candidates in (
        (["0.tif", "1.tif", "2.tif"], "1.tif, 2.tif"),  # by place and by name
        (["a/2.tif", "b/002.tif", "x.tif"], "a/2.tif, b/002.tif"),
    ):
        with pytest.raises(DataError, match=rf"\[0\]: image_id 2 may be any of .*: {candidates}; give the"):
            images(names, 2, 2)
    with pytest.raises(DataError, match="an image's name, or 1…2, found 3"):
        images(["7.png", "y.png"], 7, 3)
    named = {"file_name": "a/1.tif", "image_id": 1}
    assert images_of([ROW | named], ["a/0.tif", "a/1.tif"], tmp_path) == ["a/1.tif"]


@pytest.mark.parametrize("spoken", ["small-vehicle", "Small_Vehicle", "small vehicle", "SmallVehicle"])
def test_names_of_classes(spoken: str, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps({"P1": [{"label": spoken, "score": 1, "obb": [9, 9, 4, 2, 0]}]}))
    (found,) = read_foreign(path, MANIFEST).images
    assert found.labels == ("small-vehicle",)
    path.write_text(json.dumps({"P1": [{"label": "boat", "score": 1, "obb": [9, 9, 4, 2, 0]}]}))
    with pytest.raises(DataError, match=r"\[0\]\[0\]: unknown class 'boat'; valid: small-vehicle, ship"):
        read_foreign(path, MANIFEST)


def test_category_numbers_start_at_one_unless_a_zero_occurs(tmp_path: Path) -> None:
    def labels(*numbers: int) -> tuple[str, ...]:
        (tmp_path / "r.json").write_text(json.dumps([ROW | {"category_id": n} for n in numbers]))
        (found,) = read_foreign(tmp_path / "r.json", MANIFEST).images
        return found.labels

    assert labels(1, 2) == ("small-vehicle", "ship")
    assert labels(0, 1) == ("small-vehicle", "ship")
    with pytest.raises(DataError, match=r"category_id must lie in 0…1, found 2"):
        labels(0, 2)


def test_shapes_of_coco(tmp_path: Path) -> None:
    corners = [10, 10, 30, 10, 30, 20, 10, 20]
    shapes: list[dict[str, Any]] = [
        {"bbox": [10, 10, 20, 10]},
        {"bbox": [20, 15, 20, 10, 0]},
        {"obb": [20, 15, 20, 10, 0]},
        {"segmentation": [corners]},
        {"segmentation": [[*corners, 10, 10]]},
        {"segmentation": [[10, 10, 20, 10, 30, 10, 30, 20, 10, 20]], "bbox": [1, 1, 1, 1]},
        {"poly": corners, "rbox": [20, 15, 20, 10, 0.001]},
        {"polygon": [[10, 10], [30, 10], [30, 20], [10, 20]]},
    ]
    row = {"image_id": 1, "category_id": 2, "score": 0.5}
    (tmp_path / "r.json").write_text(json.dumps([row | shape for shape in shapes]))
    (found,) = read_foreign(tmp_path / "r.json", MANIFEST).images
    assert len(found.quads) == len(shapes)
    for quad, shape in zip(found.quads, shapes, strict=True):
        assert corners_apart(quad, np.reshape(corners, (4, 2))) < 1e-5, shape


BAD_ROWS = [
    ({"score": 1.5}, r"a score must lie in \[0, 1\], found 1.5"),
    ({"score": -0.1}, r"a score must lie in \[0, 1\], found -0.1"),
    ({"score": "x"}, "'score' must be int or float, found 'x'"),
    ({"score": None}, "'score' must be int or float, found None"),
    ({"score": 10**400}, "'score' must be finite"),
    ({"category_id": 3}, r"category_id must lie in 1…2, found 3"),
    ({"rbox": [1, 2, 3, 4]}, "'rbox' must be 5 numbers"),
    ({"rbox": [1, 2, 3, 4, "a"]}, "'rbox' must be 5 numbers"),
    ({"rbox": 5}, "'rbox' must be 5 numbers"),
    ({"rbox": [1, 2, 3, 10**400, 0]}, "'rbox' must be 5 numbers"),
    ({"poly": [1, 2, 3]}, "'poly' must be 8 numbers"),
    ({"label": True, "category_id": None}, "expected a class"),
]


@pytest.mark.parametrize(("change", "message"), BAD_ROWS)
def test_bad_entries_of_coco(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(json.dumps([ROW, ROW, ROW | change]))
    with pytest.raises(DataError, match=r"r\.json: \[2\]: " + message):
        read_foreign(tmp_path / "r.json", MANIFEST)


@pytest.mark.parametrize(
    "box", ['"rbox": [1, 1, 1e999, 1, 0]', '"segmentation": {"counts": "x"}', '"area": 1']
)
def test_bad_boxes_of_coco(box: str, tmp_path: Path) -> None:
    row = f'{{"image_id": 1, "category_id": 1, "score": 0.5, {box}}}'
    (tmp_path / "r.json").write_text(f"[{row}]")
    with pytest.raises(
        DataError, match=r"\[0\]: (coordinates must be finite|'segmentation' must|expected poly)"
    ):
        read_foreign(tmp_path / "r.json", MANIFEST)


LINE = "P1 0.5 1 1 5 1 5 5 1 5"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{LINE}\n\nP1 0.5 1 1\n", ":3: expected image, score and eight coordinates, found 4 fields"),
        (f"{LINE}\n{LINE[:-2]}\n{LINE} 9", ":2: expected image, score and eight coordinates, found 9 fields"),
        (f"\n{LINE}\n\n{LINE.replace('0.5', 'nan')}", r":4: a score must lie in \[0, 1\], found nan"),
        (
            f"{LINE.replace('P1', 'P3')}\n{LINE.replace('0.5', '2')}",
            r":2: a score must lie in \[0, 1\], found 2",
        ),
        (LINE.replace("0.5", "x"), ":1: expected a number, found 'x'"),
        (LINE.replace("1 5 5", "1 inf 5"), ":1: coordinates must be finite, found .*inf"),
        (f"{LINE}\n{LINE.replace('P1', 'P7')}", ":2: 'P7' is no image of the manifest"),
    ],
)
def test_bad_lines_of_task1(text: str, message: str, tmp_path: Path) -> None:
    records = (*MANIFEST.records, ImageRecord("P3.png", 9, 9))
    (tmp_path / "Task1_ship.txt").write_text(text)
    with pytest.raises(DataError, match=r"Task1_ship\.txt" + message):
        read_foreign(tmp_path, Manifest("d", "s", CLASSES, records))


def test_bad_files_of_task1(tmp_path: Path) -> None:
    (tmp_path / "Task1_boat.txt").write_text(LINE)
    with pytest.raises(DataError, match=r"boat.txt: unknown class 'boat'; valid: small-vehicle, ship"):
        read_foreign(tmp_path, MANIFEST)
    (tmp_path / "Task1_boat.txt").write_bytes(b"P1 \xff")
    (tmp_path / "Task1_boat.txt").rename(tmp_path / "Task1_ship.txt")
    with pytest.raises(DataError, match="cannot be read as UTF-8 text"):
        read_foreign(tmp_path, MANIFEST)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2", r"expected class, .* \(save_conf=True\), found 9 fields"),
        ("0.5 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2 0.5", "a number of 0 small-vehicle, 1 ship, found 0.5"),
        ("nan 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2 0.5", "a number of .*, found nan"),
        ("2 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2 0.5", "a number of .*, found 2"),
        ("-1 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2 0.5", "a number of .*, found -1"),
        ("0 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2 1.5", "a score must lie in"),
    ],
)
def test_bad_lines_of_yolo(line: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "P1.txt").write_text(f"1 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2 1\n{line}")
    with pytest.raises(DataError, match=r"P1\.txt:2: .*" + message):
        read_foreign(tmp_path, MANIFEST)


def test_empty_files_are_images_without_detections(tmp_path: Path) -> None:
    (tmp_path / "P1.txt").write_text("\n")
    (found,) = read_foreign(tmp_path, MANIFEST).images
    assert (found.image, found.labels, found.quads.shape) == ("a/P1.png", (), (0, 4, 2))


MISSING = [("dota_task1", r"Task1_\*\.txt"), ("yolo_obb", r"\*\.txt"), ("fair1m", r"\*\.xml")]


@pytest.mark.parametrize(("kind", "missing"), MISSING)
def test_a_folder_without_results_is_no_empty_result(kind: str, missing: str, tmp_path: Path) -> None:
    (tmp_path / "readme.md").write_text("")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.write(tmp_path / "readme.md")
    for path in (tmp_path, tmp_path / "x.zip"):
        with pytest.raises(DataError, match=f"no {missing} in it"):
            read_foreign(path, MANIFEST, kind=kind)


def test_bad_objects_of_fair1m(tmp_path: Path) -> None:
    points = "".join(f"<point>{x},{y}</point>" for x, y in ((1, 1), (5, 1), (5, 5), (1, 5), (1, 1)))
    for result, message in (
        ("<name>ship</name><probability>1.5</probability>", r"a score must lie in \[0, 1\], found 1.5"),
        ("<name>ship</name><probability>nan</probability>", "must be a finite number, found 'nan'"),
        ("<name>ship</name>", "has no <possibleresult/probability>"),
        ("<name>boat</name><probability>1</probability>", "unknown class 'boat'"),
    ):
        good = "<name>ship</name><probability>0.5</probability>"
        objects = (f"<object><possibleresult>{r}</possibleresult>{points}</object>" for r in (good, result))
        (tmp_path / "P1.xml").write_text("<annotation>\n{}\n{}</annotation>".format(*objects))
        with pytest.raises(DataError, match=r"P1\.xml:3: .*" + message):
            read_foreign(tmp_path, MANIFEST)


def sample(**changed: Any) -> dict[str, Any]:
    box = {"bboxes": np.ones((1, 5)), "scores": np.ones(1), "labels": np.zeros(1, dtype=int)}
    return {"img_id": "P1", "pred_instances": box | changed}


def test_bad_pickles_of_mmrotate(tmp_path: Path) -> None:
    box = np.array([[1.0, 1, 2, 2, 0, 0.5]])
    for content, message in (
        ({"a": 1}, "expected a list of results, found a dict"),
        ([[box, box]], "results of 1 images in the data set's order, but the manifest has 2"),
        ([[box], [box]], r"\[0\]: expected one array for each of the 2 classes"),
        ([[box[:, :5], box]] * 2, r"\[0\]\[0\]: expected an array \(N, 6\)"),
        ([{"img_id": "P1"}], r"\[0\]: expected img_path or img_id, and pred_instances"),
        ([sample(bboxes=box)], r"boxes must be \(N, 5\) or \(N, 8\), found \(1, 6\)"),
        ([sample(scores=np.array([0.5, 0.5]))], r"\[0\]: 1 boxes need as many labels and scores"),
        ([sample(scores=np.array([np.nan]))], r"\[0\]: detection 0 of this image: a score must .* nan"),
        ([sample(labels=np.array([2]))], r"a class must be a number of .*, found 2"),
        ([sample(bboxes=np.full((1, 5), np.inf))], "coordinates must be finite, found .*inf"),
        ([[box, np.empty((0, 9))]] * 2, "some arrays have 6 columns and some 9"),
    ):
        with pytest.raises(DataError, match=message):
            read_foreign(dump(tmp_path / "r.pkl", content), MANIFEST)


def test_corners_of_mmrotate(tmp_path: Path) -> None:
    quad = np.array([[10, 10, 30, 10, 30, 20, 10, 20]], dtype=np.float32)
    new = dump(tmp_path / "new.pkl", [sample(bboxes=torch.from_numpy(quad))])
    old = dump(tmp_path / "old.pkl", [[np.append(quad, [[0.5]], axis=1), np.empty((0, 9))]] * 2)
    for path, score in ((new, 1), (old, 0.5)):
        found = read_foreign(path, MANIFEST).images[0]
        assert np.array_equal(found.quads, quad.reshape(1, 4, 2))
        assert (found.labels, found.scores) == (("small-vehicle",), (score,))


def test_kinds_are_told_by_content(tmp_path: Path) -> None:
    p = predictions(3)
    count = sum(len(image.labels) for image in p.images)
    assert count
    for name, write in (("a", mmrotate_1), ("b", by_image), ("c", coco), ("d", fair1m)):
        path = write(p, tmp_path).rename(tmp_path / name)
        assert sum(len(i.labels) for i in read_foreign(path, MANIFEST).images) == count
    torch.save([sample()], tmp_path / "saved.pth")
    assert read_foreign(tmp_path / "saved.pth", MANIFEST).images[0].labels == ("small-vehicle",)
    p.write(tmp_path / "own.jsonl")
    assert read_any(tmp_path / "own.jsonl", MANIFEST).images[0].labels == p.images[0].labels


def test_kinds_that_cannot_be_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.bin").write_bytes(b"")
    for path in (tmp_path / "empty", tmp_path / "x.bin"):
        with pytest.raises(ConfigError, match="does not look like results of any kind; valid: mmrotate"):
            read_foreign(path, MANIFEST)
    for kind in ("voc", ""):
        with pytest.raises(ConfigError, match=f"unknown kind of results '{kind}'; valid: mmrotate, dota"):
            read_foreign(tmp_path / "empty", MANIFEST, kind=kind)
    with pytest.raises(DataError, match="no such file or folder"):
        read_foreign(tmp_path / "none", MANIFEST)
    assert set(KINDS) >= {"mmrotate", "dota_task1", "coco", "yolo_obb", "fair1m", "oriented_det"}


def zipped(path: Path, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def test_zips_are_read_without_unpacking(tmp_path: Path) -> None:
    path = zipped(tmp_path / "t.zip", {"../../Task1_ship.txt": LINE, "__MACOSX/._Task1_ship.txt": "\0"})
    (found,) = read_foreign(path, MANIFEST).images
    assert (found.image, found.labels) == ("a/P1.png", ("ship",))
    assert [p.name for p in tmp_path.iterdir()] == ["t.zip"]
    path = zipped(tmp_path / "y.zip", {"labels/P1.txt": "1 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2 0.5"})
    (found,) = read_foreign(path, MANIFEST).images
    assert (found.labels, found.quads[0, 0].tolist()) == (("ship",), [20, 10])


def test_zips_too_large_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lmmrotate.evaluation.foreign.files.MOST_BYTES", 10_000)
    path = zipped(tmp_path / "t.zip", {"Task1_ship.txt": f"{LINE}\n" * 1000})
    assert path.stat().st_size < 1000
    with pytest.raises(DataError, match="holds more than 10,000 bytes"):
        read_foreign(path, MANIFEST)


@settings(max_examples=200, deadline=None)
@given(place=st.integers(0, 10**6), value=st.integers(0, 255), cut=st.booleans())
def test_damaged_zips_are_errors_of_ours(
    place: int, value: int, cut: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()
    content = bytearray(zipped(folder / "good.zip", {"Task1_ship.txt": LINE}).read_bytes())
    place %= len(content)
    content[place] = value
    (folder / "bad.zip").write_bytes(content[:place] if cut else content)
    with suppress(DataError, ConfigError):
        read_foreign(folder / "bad.zip", MANIFEST)


class Absent:
    """Stands for a class of MMRotate or MMEngine, which are not installed here."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_objects_of_mmrotate_are_read_without_mmrotate(
    protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its test script leaves ``RotatedBoxes`` in the dump; others dump the whole ``DetDataSample``."""

    def absent(module: str, name: str, **attributes: Any) -> Any:
        kind = type(name, (Absent,), {"__module__": module})
        for part in [module[:i] for i, c in enumerate(f"{module}.") if c == "."]:
            monkeypatch.setitem(sys.modules, part, ModuleType(part))
        setattr(sys.modules[module], name, kind)
        return kind(**attributes)

    boxes = absent(
        "mmrotate.structures.bbox.rotated_boxes",
        "RotatedBoxes",
        tensor=torch.tensor([[50.0, 40, 20, 10, 0.5]]),
    )
    columns = {"bboxes": boxes, "scores": torch.tensor([0.25]), "labels": torch.tensor([1])}
    names = {"_metainfo_fields": set(), "_data_fields": set(columns)}
    instances = absent("mmengine.structures.instance_data", "InstanceData", **names, **columns)
    meta = {"_metainfo_fields": {"img_id"}, "_data_fields": set(), "img_id": "P1"}
    whole = absent("mmdet.structures", "DetDataSample", **meta, _pred_instances=instances)
    size = {"ori_shape": (100, 200), "scale_factor": (1.0, np.float64(1.0)), "pad_shape": torch.Size([1, 2])}
    contents = [
        pickle.dumps([results], protocol)
        for results in ({"img_id": "P1", **size, "pred_instances": columns}, whole)
    ]
    monkeypatch.undo()
    for content in contents:
        (tmp_path / "results.pkl").write_bytes(content)
        (found,) = read_any(tmp_path / "results.pkl", MANIFEST).images
        assert (found.image, found.labels, found.scores) == ("a/P1.png", ("ship",), (0.25,))
        np.testing.assert_allclose(found.quads, rboxes_to_quads([(50, 40, 20, 10, 0.5)]))
