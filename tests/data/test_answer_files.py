import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lmmrotate.codec.loc_tokens import LocTokenCodec
from lmmrotate.data.formats.answer_files import answer_formats
from lmmrotate.data.formats.base import Format
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.records import ImageRecord
from lmmrotate.errors import ConfigError, DataError
from lmmrotate.geometry.quads import quad_areas
from lmmrotate.geometry.rboxes import rboxes_to_quads

CLASSES = ("small-vehicle", "ship")
BOX = "".join(f"<loc_{v}>" for v in (100, 100, 100, 200, 200, 200, 200, 100))
SFT, LLAVA = answer_formats(LocTokenCodec, "Where?")


def row(kind: Format, name: str, answer: str) -> dict[str, Any]:
    if kind is SFT:
        return {"id": 1, "file_name": name, "response": answer}
    turns = [{"from": "human", "value": "<image>\nQ"}, {"from": "gpt", "value": answer}]
    return {"id": name, "image": name, "conversations": turns}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    (tmp_path / "images/below").mkdir(parents=True)
    for name in ("P1.png", "below/P2.png"):
        Image.new("L", (20, 10)).save(tmp_path / "images" / name)
    return tmp_path / "images"


def write(images: Path, rows: Any) -> Path:
    path = images.parent / "answers.json"
    path.write_text(json.dumps(rows))
    return path


def test_the_names_of_the_formats() -> None:
    assert [kind.name for kind in (SFT, LLAVA)] == ["lmmrotate_sft", "llava"]
    assert {kind.layout for kind in (SFT, LLAVA)} == {"file"}


@pytest.mark.parametrize("kind", [SFT, LLAVA])
def test_answers_become_objects(kind: Format, images: Path) -> None:
    answer = f"ship{BOX}<sep>{BOX}small vehicle{BOX}"
    path = write(images, [row(kind, "below/P2.png", answer), row(kind, "P1.png", "There are none.")])
    manifest, report = kind.read(images, path, classes=CLASSES, dataset="d", split="s")
    assert [(r.image, r.labels) for r in manifest.records] == [
        ("below/P2.png", ("ship", "ship", "small-vehicle")),
        ("P1.png", ()),
    ]
    assert np.allclose(
        manifest.records[0].quads[0], [[2.01, 1.005], [2.01, 2.005], [4.01, 2.005], [4.01, 1.005]]
    )
    assert (manifest.dataset, manifest.classes, report.empty_images) == ("d", CLASSES, 1)
    left, report = kind.read(images, path, classes=["ship"], left_out=["small-vehicle"])
    assert (left.records[0].labels, report.skipped_reasons()) == (
        ("ship", "ship"),
        {"left-out class 'small-vehicle'": 1},
    )


def test_the_image_of_a_row_without_file_name(images: Path) -> None:
    path = write(images, [{"id": 1, "image": "P1.png", "response": f"ship{BOX}"}])
    assert SFT.read(images, path, classes=CLASSES)[1].object_count == 1


@pytest.mark.parametrize("kind", [SFT, LLAVA])
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (f"zebra{BOX}", "unknown label"),
        ("ship<loc_1><loc_2>", "incomplete box"),
        (BOX, "no label"),
        (f"ship{BOX}".replace("<loc_200>", "<loc_1000>"), "out of range"),
        ("ship" + "<loc_7>" * 8, "zero area"),
    ],
)
def test_what_cannot_be_read_is_named(kind: Format, answer: str, reason: str, images: Path) -> None:
    path = write(
        images, [row(kind, "P1.png", "There are none."), row(kind, "below/P2.png", f"{answer}ship{BOX}")]
    )
    with pytest.raises(DataError, match=r"answers\.json: \[1\]: "):
        kind.read(images, path, classes=CLASSES)
    manifest, report = kind.read(images, path, classes=CLASSES, on_bad="skip")
    assert manifest.records[1].labels == ("ship",)
    assert [(entry.where, entry.reason) for entry in report.skipped] == [(f"{path}: [1]", reason)]


def test_text_without_boxes_is_no_answer(images: Path) -> None:
    path = write(images, [row(SFT, "P1.png", "x" * 200)])
    with pytest.raises(DataError, match=r"\[0\]: the answer cannot be read, unread text: 'x{80}…'$"):
        SFT.read(images, path, classes=CLASSES)


def test_class_names_are_not_guessed(images: Path) -> None:
    path = write(images, [row(SFT, "P1.png", f"ships{BOX}")])
    with pytest.raises(ConfigError, match=r"\[0\]: 'ships' is no class of the list, only like one"):
        SFT.read(images, path, classes=CLASSES, on_bad="skip")


@pytest.mark.parametrize("kind", [SFT, LLAVA])
def test_without_classes_or_annotations(kind: Format, images: Path) -> None:
    with pytest.raises(ConfigError, match=r"answers\.json: .* give the class list"):
        kind.read(images, write(images, []))
    manifest, report = kind.read(images, None, classes=CLASSES)
    assert ([r.image for r in manifest.records], report.object_count) == (["P1.png"], 0)


@pytest.mark.parametrize("kind", [SFT, LLAVA])
@pytest.mark.parametrize("name", ["../P1.png", "/etc/passwd", "below/../../x.png", "C:\\x.png", ""])
def test_names_outside_the_image_folder_are_refused(kind: Format, name: str, images: Path) -> None:
    path = write(images, [row(kind, name, f"ship{BOX}")])
    with pytest.raises(DataError, match=r"answers\.json: \[0\]: image path .* inside the image folder"):
        kind.read(images, path, classes=CLASSES, on_bad="skip")


@pytest.mark.parametrize(
    ("kind", "rows", "message"),
    [
        (SFT, {}, "expected a list of images, found a dict"),
        (SFT, [5], r"\[0\]: expected an object"),
        (SFT, [{"file_name": "P1.png"}], r"\[0\]: 'response' is missing"),
        (SFT, [{"response": ""}], r"\[0\]: 'image' is missing"),
        (SFT, [row(SFT, "P1.png", "")] * 2, r"\[1\]: image 'P1.png' stands there already"),
        (LLAVA, [{"image": "P1.png"}], r"\[0\]: 'conversations' is missing"),
        (LLAVA, [{"image": "P1.png", "conversations": []}], r"\[0\]: .* must hold one answer .* found 0"),
        (LLAVA, [{"image": "P1.png", "conversations": [{"from": "gpt"}] * 2}], "found 2"),
        (
            LLAVA,
            [{"image": "P1.png", "conversations": [{"from": "gpt", "value": 5}]}],
            "must hold one answer",
        ),
        (LLAVA, [{"conversations": [{"from": "gpt", "value": ""}]}], r"\[0\]: 'image' is missing"),
    ],
)
def test_bad_files(kind: Format, rows: Any, message: str, images: Path) -> None:
    with pytest.raises(DataError, match=message):
        kind.read(images, write(images, rows), classes=CLASSES, on_bad="skip")


RBOXES = st.tuples(
    st.floats(100, 300), st.floats(100, 300), st.floats(9, 90), st.floats(5, 60), st.floats(-1.57, 1.57)
)
OBJECTS = st.lists(st.tuples(RBOXES, st.sampled_from(CLASSES), st.integers(0, 2)), max_size=4)


@settings(max_examples=30)
@given(objects=OBJECTS, kind=st.sampled_from([SFT, LLAVA]))
def test_round_trip(objects: list[Any], kind: Format, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("round")
    Image.new("1", (400, 500)).save(folder / "P1.png")
    quads = rboxes_to_quads([box for box, _, _ in objects])
    labels, flags = tuple(label for _, label, _ in objects), tuple(flag for _, _, flag in objects)
    record = ImageRecord("P1.png", 400, 500, quads, labels, flags)
    report = kind.write(Manifest("d", "s", CLASSES, (record,), folder), folder / "out.json")
    assert (report.images, report.objects) == (1, len(objects))
    assert report.lost.get("difficulty", 0) == sum(flag != 0 for flag in flags)
    assert report.lost.get("coordinates finer than a bin", 0) == len(objects)
    found = kind.read(folder, report.path, classes=CLASSES)[0].records[0]
    assert sorted(found.labels) == sorted(labels)

    def corners(quads: np.ndarray, labels: tuple[str, ...]) -> list[tuple[Any, ...]]:
        return [(label, *c) for quad, label in zip(quads, labels, strict=True) for c in quad.tolist()]

    left = corners(found.quads, found.labels)
    for label, x, y in corners(quads, labels):  # every corner once, within half a bin
        near = [c for c in left if c[0] == label and abs(c[1] - x) <= 0.201 and abs(c[2] - y) <= 0.251]
        assert near
        left.remove(near[0])
    assert not left


def test_what_a_file_cannot_hold_is_counted(tmp_path: Path) -> None:
    quads = np.array([[-5, 0, 9, 0, 9, 9, -5, 9], [1, 1, 1.01, 1, 1.01, 1.01, 1, 1.01]]).reshape(2, 4, 2)
    records = (
        ImageRecord("P1.png", 100, 100, quads, ("ship", "ship"), (0, 1)),
        ImageRecord("P2.png", 100, 100),
    )
    manifest = Manifest("d", "s", CLASSES, records)
    older = answer_formats(partial(LocTokenCodec, response_version=2), "Where?")[0]
    report = older.write(manifest, tmp_path / "sft.json")
    assert (report.images, report.objects, dict(report.lost)) == (
        1,
        2,
        {
            "coordinates finer than a bin": 2,
            "order of objects and of corners": 2,
            "difficulty": 1,
            "corners outside the image": 1,
            "area of objects thinner than a bin": 1,
            "images without objects": 1,
        },
    )
    assert [r["file_name"] for r in json.loads(report.path.read_text())] == ["P1.png"]
    LLAVA.write(manifest, tmp_path / "llava.json")
    assert json.loads((tmp_path / "llava.json").read_text())[1] == {
        "id": "P2.png",
        "image": "P2.png",
        "conversations": [
            {"from": "human", "value": "<image>\nWhere?"},
            {"from": "gpt", "value": "There are none."},
        ],
    }


@pytest.mark.golden
@pytest.mark.parametrize("case", range(4))
@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_published_files_are_read(
    case: int, version: str, golden: Callable[[str], Path], tmp_path: Path
) -> None:
    recorded = json.loads(golden("a_response_encoding.json").read_text())["encode"][case]
    # Without any object the published statistics fail, after an empty list has been written.
    answers = [] if "error" in recorded[version] else recorded[version]
    listed = {image["id"]: image for image in recorded["input"]["images"]}
    rows = [listed[r["id"]] | {"response": r["response"]} for r in answers]
    for entry in rows:
        Image.new("1", (entry["width"], entry["height"])).save(tmp_path / entry["file_name"])
    (tmp_path / "sft.json").write_text(json.dumps(rows))
    classes = tuple(dict.fromkeys(c["name"] for c in recorded["input"]["categories"]))
    alike = len({name.replace("-", " ").lower() for name in classes}) < len(classes)
    if alike:
        with pytest.raises(ConfigError, match="spoken alike"):
            SFT.read(tmp_path, tmp_path / "sft.json", classes=classes)
        return
    manifest, report = SFT.read(tmp_path, tmp_path / "sft.json", classes=classes, on_bad="skip")
    assert set(report.skipped_reasons()) <= {"zero area"}
    assert [r.image for r in manifest.records] == [entry["file_name"] for entry in rows]
    for record, entry in zip(manifest.records, rows, strict=True):
        bins = np.array(re.findall(r"<loc_(\d+)>", entry["response"]), dtype=float).reshape(-1, 4, 2)
        quads = (bins + 0.5) * record.wh / 1000
        quads = quads[quad_areas(quads) > 1e-6]
        np.testing.assert_allclose(record.quads, quads, rtol=1e-12)
        objects = [o for o in recorded["input"]["annotations"] if o["image_id"] == entry["id"]]
        assert len(objects) == len(bins)
    assert report.object_count + len(report.skipped) == len(recorded["input"]["annotations"])
