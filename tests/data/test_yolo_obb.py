from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lmmrotate.data.formats.yolo_obb import parse, read_folder, write_folder
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.records import ImageRecord
from lmmrotate.errors import ConfigError, DataError
from lmmrotate.geometry.quads import as_quads
from lmmrotate.geometry.rboxes import rboxes_to_quads

QUAD = "0 0 0.5 0 0.5 0.5 0 0.5"  # of an image of 20 x 10
CORNERS = [[0, 0], [10, 0], [10, 5], [0, 5]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("images", "labels/train"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("P1.png", "P2.png"):
        Image.new("L", (20, 10)).save(tmp_path / "images" / name)
    (tmp_path / "labels/train/P1.txt").write_text(f"1 {QUAD}\r\n\n0.0 {QUAD}\n")
    (tmp_path / "labels/train/P9.txt").write_text(f"1 {QUAD}\n")
    return tmp_path


def read(folder: Path, **options: Any) -> tuple[Manifest, Any]:
    return read_folder(folder / "images", folder / "labels/train", **options)


def test_names_from_the_class_list(folder: Path) -> None:
    manifest, report = read(folder, classes=("plane", "ship", "tank"), dataset="d", split="s")
    assert [(r.image, r.wh, r.labels) for r in manifest.records] == [
        ("P1.png", (20, 10), ("ship", "plane")),
        ("P2.png", (20, 10), ()),
    ]
    assert manifest.records[0].quads.tolist() == [CORNERS, CORNERS]
    assert manifest.classes == ("plane", "ship", "tank")
    assert (report.unlabelled, report.orphans) == (("P2.png",), ("P9.txt",))


@pytest.mark.parametrize(
    "place", ["data.yaml", "labels/dataset.yaml", "labels/train/any.yaml", "dataset.yaml", "dota8.yaml"]
)
@pytest.mark.parametrize(
    "names", ["[plane, no]", "{1: no, 0: plane}", "\n  0: plane\n  1: no", "\n- plane\n- 'no'"]
)
def test_names_from_a_yaml(place: str, names: str, folder: Path) -> None:
    (folder / place).write_text(f"path: /etc\ntrain: ../../images\nval:\nnames: {names}\n")
    (folder / ".hidden.yaml").write_text("names: [x]")
    manifest, _ = read(folder)
    assert (manifest.classes, manifest.records[0].labels) == (("plane", "no"), ("no", "plane"))


def test_a_yaml_says_what_an_index_means(folder: Path) -> None:
    (folder / "data.yaml").write_text("names: [Storage Tank, other-ship, plane]")
    manifest, report = read(folder, classes=("plane", "storage-tank"), left_out=["other-ship"])
    assert (manifest.classes, manifest.records[0].labels) == (("plane", "storage-tank"), ("storage-tank",))
    assert report.skipped_reasons() == {"left-out class 'other-ship'": 1}
    with pytest.raises(DataError, match=r"P1\.txt:1: unknown class 'other-ship'; valid: plane, storage-tank"):
        read(folder, classes=("plane", "storage-tank"))


def test_without_names(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"train: YOLO labels hold class numbers; give .* or a data\.yaml"):
        read(folder)
    (folder / "a.yaml").write_text("names: [a, b]")
    (folder / "b.yaml").write_text("names: [b, a]")
    with pytest.raises(ConfigError, match="give the class names in their order"):
        read(folder)
    (folder / "labels/data.yaml").write_text("nc: 2")  # no names: not the one
    assert read(folder, classes=("a", "b"))[0].classes == ("a", "b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("names: [a", "not YAML that can be read"),
        ('names: ["\\UFFFFFFFF"]', "not YAML that can be read"),
        ("names: " + "[" * 1500, "not YAML that can be read"),
        ("names: ship", "'names' must be a list"),
        ("names:", "'names' must be a list"),
        ("names: [a, [b]]", "'names' must be a list"),
        ("names: {a: 0}", "'names' must be a list"),
        ("names: {-1: a}", "'names' must be a list"),
    ],
)
def test_bad_yaml(text: str, message: str, folder: Path) -> None:
    (folder / "data.yaml").write_text(text)
    with pytest.raises(DataError, match=r"data\.yaml: " + message):
        read(folder)


def test_tags_make_no_objects(folder: Path) -> None:
    (folder / "data.yaml").write_text("names: [a, !!python/object/apply:os.getcwd [], b]")
    with pytest.raises(DataError, match="'names' must be a list"):
        read(folder)


BAD_LINES = [
    ("0 0.5 0.5 0.1 0.2", "upright box", "found 5 numbers: an upright box of YOLO detect"),
    (f"0 {QUAD} 0.9", "not nine numbers", "expected 'class_index x1 .* found 10 items"),
    ("0 0.5 0.5 0.1 0.2 0.3", "not nine numbers", "found 6 items"),
    (f"0 {QUAD} 0 0.1", "not nine numbers", "found 11 items"),
    (f"ship {QUAD}", "not a number", "found 'ship'"),
    (f"-1 {QUAD}", "not a number", "found '-1'"),
    ("0 0 0 nan 0 0.5 0.5 0 0.5", "not a number", "found 'nan'"),
    ("0 0 0 10 0 10 5 0 5", "pixels instead of shares of the image", "0 to 1, found 10: .* pixels"),
    ("0 0 0 1e999 0 0.5 0.5 0 0.5", "pixels instead of shares of the image", "found inf"),
    ("0 -0.6 0 0.5 0 0.5 0.5 0 0.5", "pixels instead of shares of the image", "found -0.6"),
    (f"2 {QUAD}", "class index out of range", "no class has index 2; valid: 0 plane, 1 ship"),
    ("0 0.1 0.1 0.1 0.1 0.1 0.1 0.1 0.1", "zero area", "'plane' has no area"),
]


@pytest.mark.parametrize(("line", "reason", "message"), BAD_LINES)
def test_bad_lines_are_named(line: str, reason: str, message: str, folder: Path) -> None:
    path = folder / "labels/train/P1.txt"
    path.write_text(f"0 {QUAD}\n{line}\n1 {QUAD}\n")
    with pytest.raises(DataError, match=r"P1\.txt:2: .*" + message):
        read(folder, classes=("plane", "ship"))
    manifest, report = read(folder, classes=("plane", "ship"), on_bad="skip")
    assert manifest.records[0].labels == ("plane", "ship")
    assert [(entry.where, entry.reason) for entry in report.skipped] == [(f"{path}:2", reason)]


def test_objects_cut_by_the_edge_are_read(folder: Path) -> None:
    (folder / "labels/train/P1.txt").write_text("0 -0.25 0 1.25 0 1.25 1 -0.25 1\n")
    assert read(folder, classes=("a",))[0].records[0].quads.tolist() == [
        [[-5, 0], [25, 0], [25, 10], [-5, 10]]
    ]


def test_bad_folders_and_no_labels(folder: Path) -> None:
    with pytest.raises(DataError, match="none: no such folder; expected the folder of label files"):
        read_folder(folder / "images", folder / "none")
    manifest, _ = read_folder(folder / "images", None, classes=("ship",))
    assert (manifest.classes, len(manifest.records)) == (("ship",), 2)


@given(text=st.text(alphabet="0123456789 .-\ne"))
@settings(max_examples=50)
def test_any_line_is_read_or_bad(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("any") / "a.txt"
    path.write_text(text)
    names: Mapping[int, str] = {0: "ship"}
    assert len(list(parse(path, (10, 10), names=names))) == sum(bool(n.strip()) for n in text.split("\n"))


RBOXES = st.tuples(
    st.floats(200, 800), st.floats(200, 800), st.floats(1, 200), st.floats(1, 200), st.floats(-1.57, 1.57)
)
OBJECTS = st.lists(st.tuples(RBOXES, st.sampled_from(["no", "Café 7"]), st.integers(0, 2)), max_size=4)


@settings(max_examples=30)
@given(objects=OBJECTS)
def test_round_trip(objects: list[Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("round")
    (folder / "images").mkdir()
    Image.new("1", (1000, 1100)).save(folder / "images/P1.png")
    quads = rboxes_to_quads([box for box, _, _ in objects])
    labels, flags = tuple(label for _, label, _ in objects), tuple(flag for _, _, flag in objects)
    record = ImageRecord("P1.png", 1000, 1100, quads, labels, flags)
    report = write_folder(Manifest("d", "s", ("no", "unseen", "Café 7"), (record,)), folder)
    hard = sum(flag != 0 for flag in flags)
    assert (report.images, report.objects) == (1, len(objects))
    assert report.lost == ({"difficulty": hard} if hard else {})
    again, account = read_folder(folder / "images", folder / "labels")
    assert again.classes == ("no", "unseen", "Café 7")
    assert again.records[0].labels == labels
    assert np.abs(again.records[0].quads - quads).max(initial=0) < 1e-4
    assert not account.skipped


def test_objects_that_leave_the_image_are_cut(tmp_path: Path) -> None:
    quads = [
        [-10, 2, 10, 2, 10, 8, -10, 8],
        [30, 30, 40, 30, 40, 40, 30, 40],
        [0, 0, 20, 0, 20, 10, 0, 10],
    ]
    record = ImageRecord("P1.png", 20, 10, as_quads(quads), ("ship",) * 3, (1, 1, 0))
    report = write_folder(Manifest("d", "s", ("plane", "ship"), (record,)), tmp_path)
    assert (tmp_path / "labels/P1.txt").read_text() == "1 0 0.2 0.5 0.2 0.5 0.8 0 0.8\n1 0 0 1 0 1 1 0 1\n"
    assert (report.objects, report.lost) == (
        2,
        {
            "objects without area in the image": 1,
            "parts of objects outside the image": 1,
            "difficulty": 1,
        },
    )
    assert yaml.safe_load((tmp_path / "data.yaml").read_text()) == {
        "path": str(tmp_path),
        "train": "images",
        "val": "images",
        "names": {0: "plane", 1: "ship"},
    }
