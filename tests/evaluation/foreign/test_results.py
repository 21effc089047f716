"""Every kind of foreign results is read back as what was written, or refused by file and place."""

import json
import pickle
import sys
import zipfile
from collections.abc import Callable
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


def test_names_of_images_and_classes(tmp_path: Path) -> None:
    records = (ImageRecord("a/P1.png", 9, 9), ImageRecord("b/P1.png", 9, 9), ImageRecord("12.jpg", 9, 9))
    manifest = Manifest("d", "s", CLASSES, records)
    row = {"category_id": 1, "score": 0.5, "rbox": [1, 1, 2, 2, 0]}
    path = tmp_path / "r.json"

    def images(*ids: Any) -> list[str]:
        path.write_text(json.dumps([row | {"image_id": i} for i in ids]))
        return [p.image for p in read_foreign(path, manifest).images]

    assert images(12, "b/P1.png", 1) == ["a/P1.png", "b/P1.png", "12.jpg"]
    for wrong, message in (
        ("P1", "may be any of several images"),
        ("P9", r"\[0\]: 'P9' is no image of the manifest, which has a/P1.png"),
        (4, r"image_id must be a name, or 1…3, found 4"),
        (None, "found None"),
    ):
        with pytest.raises(DataError, match=message):
            images(wrong)


BAD_ROWS = [
    ({"score": 1.5}, r"scores must lie in \[0, 1\], found 1.5"),
    ({"score": "x"}, "'score' must be a number, found 'x'"),
    ({"category_id": 3}, r"category_id must lie in 1…2, found 3"),
    ({"rbox": [1, 2, 3, 4]}, "'rbox' must be 5 numbers"),
    ({"rbox": [1, 2, 3, 4, "a"]}, "'rbox' must be 5 numbers"),
    ({"rbox": 5}, "'rbox' must be 5 numbers"),
]


@pytest.mark.parametrize(("change", "message"), BAD_ROWS)
def test_bad_entries_of_coco(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    row = {"image_id": 1, "category_id": 1, "score": 0.5, "rbox": [1, 1, 2, 2, 0]} | change
    (tmp_path / "r.json").write_text(json.dumps([row]))
    with pytest.raises(DataError, match=r"r\.json: \[0\]: " + message):
        read_foreign(tmp_path / "r.json", MANIFEST)


def test_bad_tables(tmp_path: Path) -> None:
    task, line = tmp_path / "Task1_ship.txt", "P1 0.5 1 1 5 1 5 5 1 5"
    for text, message in (
        (f"{line}\nP1 0.5 1 1", r"Task1_ship\.txt:2: expected image, score and eight coordinates, found 4"),
        (line.replace("0.5", "nan"), r"scores must lie in \[0, 1\], found nan"),
        (line.replace("0.5", "x"), "expected a number, found 'x'"),
        (line.replace("1 5 5", "1 inf 5"), "not finite"),
        (line.replace("P1", "P7"), "'P7' is no image"),
    ):
        task.write_text(text)
        with pytest.raises(DataError, match=message):
            read_foreign(tmp_path, MANIFEST)
    task.rename(tmp_path / "Task1_boat.txt")
    with pytest.raises(DataError, match="unknown class 'boat'; valid: small-vehicle, ship"):
        read_foreign(tmp_path, MANIFEST)
    (tmp_path / "yolo").mkdir()
    (tmp_path / "yolo" / "P1.txt").write_text("0 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2")
    with pytest.raises(DataError, match=r"P1\.txt:1: expected class, .* \(save_conf=True\), found 9 fields"):
        read_foreign(tmp_path / "yolo", MANIFEST)
    for number, message in (("0.5", "whole numbers, found 0.5"), ("nan", "found nan"), ("2", "lie in 0…1")):
        (tmp_path / "yolo" / "P1.txt").write_text(f"{number} 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2 0.5")
        with pytest.raises(DataError, match=message):
            read_foreign(tmp_path / "yolo", MANIFEST)


def test_bad_pickles_of_mmrotate(tmp_path: Path) -> None:
    box = np.array([[1.0, 1, 2, 2, 0, 0.5]])
    for content, message in (
        ({"a": 1}, "expected a list of results, found a dict"),
        ([[box, box]], "results of 1 images in the data set's order, but the manifest has 2"),
        ([[box], [box]], r"\[0\]: expected one array for each of the 2 classes"),
        ([[box[:, :5], box]] * 2, r"\[0\]\[0\]: expected an array \(N, 6\)"),
        ([{"img_id": "P1"}], r"\[0\]: expected img_path or img_id, and pred_instances"),
        (
            [
                {
                    "img_id": "P1",
                    "pred_instances": {"bboxes": box, "scores": box[:, 0], "labels": np.array([0])},
                }
            ],
            r"boxes must be \(N, 5\) or \(N, 8\), found \(1, 6\)",
        ),
    ):
        with pytest.raises(DataError, match=message):
            read_foreign(dump(tmp_path / "r.pkl", content), MANIFEST)


def test_kinds_that_cannot_be_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.bin").write_bytes(b"")
    for path in (tmp_path / "empty", tmp_path / "x.bin"):
        with pytest.raises(ConfigError, match="does not look like results of any kind; valid: mmrotate"):
            read_foreign(path, MANIFEST)
    with pytest.raises(ConfigError, match="unknown kind of results 'voc'"):
        read_foreign(tmp_path / "empty", MANIFEST, kind="voc")
    with pytest.raises(DataError, match="no such file or folder"):
        read_foreign(tmp_path / "none", MANIFEST)
    assert set(KINDS) >= {"mmrotate", "dota_task1", "coco", "yolo_obb", "fair1m", "oriented_det"}


def test_zips_are_read_without_unpacking(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.writestr("../../Task1_ship.txt", "P1 0.5 1 1 5 1 5 5 1 5\n")
    (found,) = read_foreign(tmp_path / "t.zip", MANIFEST).images
    assert (found.image, found.labels) == ("a/P1.png", ("ship",))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.zip"]
    (tmp_path / "u.zip").write_bytes((tmp_path / "t.zip").read_bytes()[:-30])
    with pytest.raises((DataError, ConfigError)):
        read_foreign(tmp_path / "u.zip", MANIFEST)


def test_boxes_of_mmrotate_are_read_without_mmrotate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its test script leaves ``RotatedBoxes`` in the dump: objects of a class that is not installed here."""
    module = ModuleType("mmrotate.structures.bbox.rotated_boxes")

    class RotatedBoxes:
        def __init__(self, tensor: torch.Tensor) -> None:
            self.tensor = tensor

    RotatedBoxes.__module__, RotatedBoxes.__qualname__ = module.__name__, "RotatedBoxes"
    module.RotatedBoxes = RotatedBoxes  # type: ignore[attr-defined]
    names = ["mmrotate", "mmrotate.structures", "mmrotate.structures.bbox", module.__name__]
    for name in names:
        monkeypatch.setitem(sys.modules, name, module if name == module.__name__ else ModuleType(name))
    instances = {
        "bboxes": RotatedBoxes(torch.tensor([[50.0, 40, 20, 10, 0.5]])),
        "scores": torch.tensor([0.25]),
        "labels": torch.tensor([1]),
    }
    sample = {
        "img_id": "P1",
        "ori_shape": (100, 200),
        "scale_factor": (1.0, 1.0),
        "pred_instances": instances,
    }
    path = dump(tmp_path / "results.pkl", [sample])
    for name in names:
        monkeypatch.delitem(sys.modules, name)
    (found,) = read_any(path, MANIFEST).images
    assert (found.image, found.labels, found.scores) == ("a/P1.png", ("ship",), (0.25,))
    np.testing.assert_allclose(found.quads, rboxes_to_quads([(50, 40, 20, 10, 0.5)]))
