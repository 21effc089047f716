"""manifest.jsonl, and the JSON-lines layer under it."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmmrotate.data.jsonl import write_text_atomic
from lmmrotate.data.manifest import Manifest, read_manifest
from lmmrotate.data.records import ImageRecord, SceneRef
from lmmrotate.errors import DataError
from lmmrotate.geometry.quads import as_quads

HEADER = {
    "kind": "lmmrotate-manifest",
    "schema_version": 1,
    "dataset": "dota_v1",
    "split": "train",
    "classes": ["plane", "ship"],
}
OBJECT = {"label": "ship", "quad": [0, 0, 10, 0, 10, 5, 0, 5], "difficult": 1}
ROW = {"image": "images/P1.png", "width": 64, "height": 32, "objects": [OBJECT], "scene": None}


def write(path: Path, *lines: object) -> Path:
    path.write_text("".join(x if isinstance(x, str) else json.dumps(x) + "\n" for x in lines), "utf-8")
    return path


def test_reads_the_documented_form(tmp_path: Path) -> None:
    tile = {**ROW, "image": "images/P2.png", "scene": {"name": "P2", "x": 3, "y": 4, "scale": 0.5}}
    manifest = read_manifest(write(tmp_path / "m.jsonl", HEADER, ROW, "\n", tile))
    first, second = manifest.records
    assert (manifest.dataset, manifest.split, manifest.classes) == ("dota_v1", "train", ("plane", "ship"))
    assert (first.image, first.wh, first.labels, first.difficult) == (
        "images/P1.png",
        (64, 32),
        ("ship",),
        (1,),
    )
    assert first.quads.tolist() == [[[0, 0], [10, 0], [10, 5], [0, 5]]]
    assert second.scene == SceneRef("P2", 3, 4, 0.5)
    assert manifest.image_path(first) == tmp_path / "images/P1.png"
    assert (
        read_manifest(tmp_path / "m.jsonl", tmp_path / "x").image_path(first) == tmp_path / "x/images/P1.png"
    )


def test_what_may_be_missing(tmp_path: Path) -> None:
    row = {"image": "a.png", "width": 1, "height": 1, "objects": [{"label": "ship", "quad": [0.0] * 8}]}
    (record,) = read_manifest(write(tmp_path / "m.jsonl", "\ufeff" + json.dumps(HEADER) + "\n", row)).records
    assert record.difficult == (0,)
    assert record.scene is None


NAMES = st.text(min_size=1, max_size=8)
COORDINATES = st.floats(-1e5, 1e5, allow_nan=False).map(lambda v: round(v, 3))


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    classes = tuple(draw(st.lists(NAMES, min_size=1, max_size=3, unique=True)))
    records = []
    for number in range(draw(st.integers(0, 3))):
        quads = draw(st.lists(st.lists(COORDINATES, min_size=8, max_size=8), max_size=3))
        difficult = draw(st.lists(st.integers(0, 2), min_size=len(quads), max_size=len(quads)))
        labels = draw(st.lists(st.sampled_from(classes), min_size=len(quads), max_size=len(quads)))
        scene = draw(st.none() | st.builds(SceneRef, NAMES, st.integers(), st.integers(), st.floats(0.01, 9)))
        size = draw(st.integers(1, 10**6))
        record = ImageRecord(
            f"{number}.png", size, 1, as_quads(quads), tuple(labels), tuple(difficult), scene
        )
        records.append(record)
    return Manifest(draw(st.text(max_size=5)), draw(st.text(max_size=5)), classes, tuple(records))


def plain(manifest: Manifest) -> list[Any]:
    return [
        (r.image, r.wh, r.quads.tolist(), r.labels, r.difficult, r.scene, manifest.classes)
        for r in manifest.records
    ]


@given(manifest=manifests())
def test_round_trip(manifest: Manifest, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("manifest") / "m.jsonl"
    manifest.write(path)
    again = read_manifest(path)
    assert plain(again) == plain(manifest)
    assert (again.dataset, again.split) == (manifest.dataset, manifest.split)
    assert again.fingerprint() == manifest.fingerprint()


def test_three_decimals_are_kept_and_numpy_numbers_are_plain(tmp_path: Path) -> None:
    quads = as_quads([[-0.0001, 0.12345, 9, 0, 9, 9, 0, 9]])
    size: Any = np.int64(9)
    record = ImageRecord("a.png", size, size, quads, ("ship",), (size,))
    Manifest("d", "s", ("ship",), (record,)).write(tmp_path / "m.jsonl")
    assert '"quad": [0.0, 0.123, 9.0,' in (tmp_path / "m.jsonl").read_text()


def test_fingerprint_follows_the_data() -> None:
    def fingerprint(label: str, folder: str = "") -> str:
        record = ImageRecord("a.png", 9, 9, as_quads([[0, 0, 9, 0, 9, 9, 0, 9]]), (label,), (0,))
        return Manifest("d", "s", ("plane", "ship"), (record,), Path(folder)).fingerprint()

    assert fingerprint("ship") == fingerprint("ship", "elsewhere") != fingerprint("plane")


@pytest.mark.parametrize(
    "image",
    [
        "../secret.png",
        "images/../../secret.png",
        "/etc/passwd",
        "..\\secret.png",
        "C:\\secret.png",
        "c:secret.png",
        "\\\\server\\share.png",
        "",
        ".",
        "./",
        "a\0.png",
        "..",
    ],
)
def test_paths_that_leave_the_image_folder_are_refused(image: str, tmp_path: Path) -> None:
    path = write(tmp_path / "m.jsonl", HEADER, {**ROW, "image": image})
    with pytest.raises(
        DataError, match=r"m\.jsonl:2: image path .* must name a file inside the image folder"
    ):
        read_manifest(path)


def test_back_slashes_are_slashes(tmp_path: Path) -> None:
    path = write(tmp_path / "m.jsonl", HEADER, {**ROW, "image": "images\\./P1.png"})
    assert read_manifest(path).records[0].image == "images/P1.png"


def changed(**values: object) -> dict[str, object]:
    return {**ROW, **values}


def with_object(**values: object) -> dict[str, object]:
    return {**ROW, "objects": [{**OBJECT, **values}]}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{'a': 1}\n", "not JSON"),
        ("[1, 2]\n", "expected a JSON object, found list"),
        ('{"image": NaN}\n', "NaN is not a JSON number"),
        ('{"width": ' + "9" * 5000 + "}\n", "not JSON that can be read"),
        ("[" * 100_000 + "\n", "not JSON that can be read"),
        ({"image": "a.png", "width": 1, "height": 1}, "'objects' is missing"),
        (changed(width="64"), "'width' must be int, found '64'"),
        (changed(width=True), "'width' must be int, found True"),
        (changed(height=0), "width and height must be at least 1, found 64 x 0"),
        (changed(image=3), "'image' must be str"),
        (changed(objects={}), "'objects' must be list"),
        (changed(objects=["ship"]), "expected objects in the list, found 'ship'"),
        (with_object(label="barge"), "unknown class 'barge'; the header lists plane, ship"),
        (with_object(quad=[1] * 7), "'quad' must be 8 numbers"),
        (with_object(quad=[1] * 7 + ["1"]), "'quad' must be 8 numbers"),
        (with_object(quad=[1] * 7 + [True]), "'quad' must be 8 numbers"),
        (with_object(quad=[1] * 7 + [10**400]), "not finite"),
        (with_object(difficult=0.5), "'difficult' must be int"),
        (changed(scene=[]), "'scene' must be an object or null"),
        (changed(scene={"name": "a", "x": 0, "y": 0, "scale": 0}), "'scale' must be above 0"),
        (changed(scene={"name": "a", "x": 0, "y": 0, "scale": 10**400}), "'scale' must be finite"),
        (changed(scene={"name": "a", "x": 0.5, "y": 0, "scale": 1}), "'x' must be int"),
        (ROW, r"image 'images/P1.png' stands already on line 2"),
    ],
)
def test_bad_lines_are_named(row: object, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "m.jsonl", HEADER, ROW, row)
    with pytest.raises(DataError, match=r"m\.jsonl:3: .*" + message.replace("(", r"\(")):
        read_manifest(path)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("", "empty file"),
        ("\n\n", "empty file"),
        ({**HEADER, "kind": "coco"}, "kind is 'coco', expected 'lmmrotate-manifest'"),
        ({"images": []}, "kind is None"),
        ({**HEADER, "schema_version": 2}, "schema_version 2 is not supported; this lmmrotate reads 1"),
        ({**HEADER, "classes": []}, "distinct, non-empty names"),
        ({**HEADER, "classes": ["a", "a"]}, "distinct, non-empty names"),
        ({**HEADER, "classes": [1]}, "distinct, non-empty names"),
        ({"kind": HEADER["kind"], "schema_version": 1, "classes": ["a"]}, "'dataset' is missing"),
    ],
)
def test_bad_headers_are_named(header: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"m\.jsonl(:1)?: .*" + message):
        read_manifest(write(tmp_path / "m.jsonl", header))


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.jsonl: no such file"):
        read_manifest(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="cannot be read as UTF-8 text"):
        read_manifest(tmp_path)
    (tmp_path / "m.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"m\.jsonl: cannot be read as UTF-8 text"):
        read_manifest(tmp_path / "m.jsonl")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=8,
)


@given(key=st.sampled_from([*ROW, *OBJECT]), value=ANYTHING, cut=st.integers(0, 400))
def test_damage_is_a_data_error_or_harmless(
    key: str, value: object, cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    row = {**ROW, key: value} if key in ROW else with_object(**{key: value})
    path = tmp_path_factory.mktemp("damage") / "m.jsonl"
    path.write_bytes((json.dumps(HEADER) + "\n" + json.dumps(row)[:cut]).encode())
    with suppress(DataError):
        read_manifest(path)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text("old")
    record = ImageRecord("a.png", 9, 9, np.full((1, 4, 2), np.nan), ("ship",), (0,))
    with pytest.raises(ValueError, match="not JSON compliant"):
        Manifest("d", "s", ("ship",), (record,)).write(path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["m.jsonl"]


def test_a_killed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text("old")
    # A process that dies in the middle of writing, without any clean-up.
    program = (
        "import os, sys; from pathlib import Path; from lmmrotate.data.jsonl import replacing\n"
        "with replacing(Path(sys.argv[1])) as file: file.write(b'new'); file.flush(); os._exit(3)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(path)]).returncode == 3
    assert len(os.listdir(tmp_path)) == 2
    assert path.read_text() == "old"


def test_writing_makes_folders_and_keeps_the_usual_mode(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "m.jsonl"
    write_text_atomic(path, ["ü\n"])
    assert path.read_bytes() == "ü\n".encode()
    (tmp_path / "usual").touch()
    assert path.stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_writing_where_one_cannot(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file/m\.jsonl: cannot be written"):
        write_text_atomic(tmp_path / "file" / "m.jsonl", ["x"])
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="folder: cannot be written"):
        write_text_atomic(tmp_path / "folder", ["x"])
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_records_check_their_lengths_and_select() -> None:
    quads = as_quads(np.arange(24.0).reshape(3, 8))
    record = ImageRecord("a.png", 9, 9, quads, ("a", "b", "c"), (0, 1, 2), SceneRef("s", 1, 2))
    assert record.select([2, 0]).labels == ("c", "a")
    assert record.select(np.array([False, True, False])).difficult == (1,)
    assert record.select([]).quads.shape == (0, 4, 2)
    assert record.select([0]).scene == record.scene
    assert ImageRecord("b.png", 9, 9).select([]).labels == ()
    with pytest.raises(ValueError, match=r"a\.png: 3 quads, 1 labels, 0 difficulty flags"):
        ImageRecord("a.png", 9, 9, quads, ("a",))
