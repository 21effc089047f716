import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lmmrotate.data.catalog import dataset_spec
from lmmrotate.data.formats.dota import read_folder, read_labels, write_labels
from lmmrotate.errors import ConfigError, DataError
from lmmrotate.geometry.quads import as_quads

QUAD = "0 0 10 0 10 5 0 5"
CORNERS = [[0, 0], [10, 0], [10, 5], [0, 5]]


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("text", "name", "difficulty"),
    [
        (f"{QUAD} plane 0\n", "plane", 0),
        (f"{QUAD} plane 2", "plane", 2),
        (f"{QUAD} plane\n", "plane", 0),
        (f"imagesource:GoogleEarth\ngsd:0.15\n{QUAD} plane 1\n", "plane", 1),
        (f"imagesource:GF-2\r\ngsd:null\r\n{QUAD} plane 1\r\n", "plane", 1),
        (f"gsd:null\n{QUAD} plane 1\n", "plane", 1),
        (f"\ufeffimagesource:GoogleEarth\n{QUAD} plane 1\n", "plane", 1),
        (f"\ufeff{QUAD} plane 1\n", "plane", 1),
        (f"\n\n  \n{QUAD} plane 1\n\n", "plane", 1),
        (f"\t{QUAD}   plane\t1  \n", "plane", 1),
        (f"{QUAD} Passenger Ship 1\n", "Passenger Ship", 1),
        (f"{QUAD} Passenger  Ship\n", "Passenger Ship", 0),
        (f"{QUAD} Boeing 737 0\n", "Boeing 737", 0),
        ("0.0 0. +10 0e0 1e1 5.0 .0 5 plane 0\n", "plane", 0),
    ],
)
def test_forms_of_a_line(text: str, name: str, difficulty: int, tmp_path: Path) -> None:
    labels = read_labels(write(tmp_path / "a.txt", text))
    assert labels.quads.tolist() == [CORNERS]
    assert (labels.names, labels.difficult, labels.skipped) == ((name,), (difficulty,), ())


@pytest.mark.parametrize("text", ["", "\n\n", "imagesource:GoogleEarth\ngsd:0.1\n", "\ufeff"])
def test_files_without_objects(text: str, tmp_path: Path) -> None:
    labels = read_labels(write(tmp_path / "a.txt", text))
    assert labels.quads.shape == (0, 4, 2)
    assert labels.names == ()


def test_a_class_that_ends_in_a_number(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", f"{QUAD} Boeing 737\n{QUAD} Boeing 737 1\n")
    labels = read_labels(path, ["Boeing 737"])
    assert (labels.names, labels.difficult) == (("Boeing 737", "Boeing 737"), (0, 1))
    assert read_labels(path, ["Boeing", "Boeing 737"]).difficult == (737, 1)
    labels = read_labels(path)
    assert (labels.names, labels.difficult) == (("Boeing 737", "Boeing 737"), (0, 1)), "no list is needed"
    with pytest.raises(DataError, match="a difficulty must be from 0 to 9, got 10"):
        write_labels(path, labels.quads, labels.names, (10, 0))


BAD_LINES = [
    ("1 2 3 4 5 6 7 plane 0", "expected 'x1 y1 .* found 7 numbers before 'plane 0'"),
    ("1 2 3", "found 3 numbers before ''"),
    ("plane 0 0 10 0 10 5 0 5", "found 0 numbers before 'plane 0'"),
    ("0.5 0.5 0.1 0.1 0 ship", "found 5 numbers before 'ship'"),
    ("0,0,10,0,10,5,0,5 plane", "found 0 numbers before '0,0,10,0,10,5,0,5 plane'"),
    ("0 0 ten 0 10 5 0 5 plane 0", "found 2 numbers before 'ten 0'"),
    ("nan 0 10 0 10 5 0 5 plane 0", "finite numbers up to 1e9, found 'nan'"),
    ("0 0 inf 0 10 5 0 5 plane 0", "finite numbers up to 1e9, found 'inf'"),
    ("0 0 -Infinity 0 10 5 0 5 plane 0", "found '-Infinity'"),
    ("0 0 1e999 0 10 5 0 5 plane 0", "found '1e999'"),
    ("0 0 1e10 0 10 5 0 5 plane 0", "found '1e10'"),
    ("0 0 1_0 0 10 5 0 5 plane 0", "found '1_0'"),
    ("0 0 \u0661\u0660 0 10 5 0 5 plane 0", "found '\u0661\u0660'"),
    (QUAD, "no class name after the eight numbers"),
    (f"{QUAD} 0", "no class name after the eight numbers"),
    (f"{QUAD} plane -1", "difficulty must be 0 or more, found -1"),
    (f"{QUAD} plane 0.98", "found 'plane 0.98': are these detections with scores"),
    (f"{QUAD} plane 0 0.98", "found 'plane 0 0.98': are these detections with scores"),
    ("5 5 5 5 5 5 5 5 plane 0", "'plane' has no area: corners 5 5 5 5"),
    ("0 0 10 10 20 20 5 5 plane 0", "'plane' has no area"),
]


@pytest.mark.parametrize(("line", "message"), BAD_LINES)
def test_bad_lines_are_named(line: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "P1.txt", f"gsd:1\n{QUAD} ship 0\n{line}\n{QUAD} plane 1\n")
    with pytest.raises(DataError, match=r"P1\.txt:3: .*" + message):
        read_labels(path)
    labels = read_labels(path, on_bad="skip")
    assert labels.names == ("ship", "plane")
    assert [entry.where for entry in labels.skipped] == [f"{path}:3"]


def test_unknown_classes_are_named_with_the_valid_ones(tmp_path: Path) -> None:
    path = write(tmp_path / "P1.txt", f"{QUAD} plane 0\n{QUAD} barge 0\n{QUAD} other-ship 0\n")
    with pytest.raises(DataError, match=r"P1\.txt:2: unknown class 'barge'; valid: plane, ship"):
        read_labels(path, ("plane", "ship"))
    labels = read_labels(path, ("plane", "ship"), left_out=["other-ship"], on_bad="skip")
    assert labels.names == ("plane",)
    assert [e.reason for e in labels.skipped] == ["unknown class 'barge'", "left-out class 'other-ship'"]
    assert len(read_labels(path, ("plane", "barge"), left_out=["other-ship"]).skipped) == 1


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.txt: no such file"):
        read_labels(tmp_path / "none.txt")
    with pytest.raises(DataError, match="cannot be read as UTF-8 text"):
        read_labels(tmp_path)
    with pytest.raises(DataError, match=r"a\.txt: cannot be read as UTF-8 text"):
        read_labels(write(tmp_path / "a.txt", b"\xff\xfe0\x000"))
    with pytest.raises(ConfigError, match="on_bad must be 'error' or 'skip', got 'ignore'"):
        read_labels(tmp_path / "a.txt", on_bad="ignore")  # type: ignore[arg-type]


@given(text=st.text() | st.text(alphabet="0123456789 .-\nplane:\r"))
def test_any_text_is_read_or_a_data_error(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = write(tmp_path_factory.mktemp("any") / "a.txt", text)
    labels = read_labels(path, on_bad="skip")
    assert len(labels.quads) == len(labels.names) == len(labels.difficult)
    if not labels.skipped:
        assert read_labels(path).names == labels.names


WORDS = st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1, max_size=6)
NAMES = st.lists(WORDS, min_size=1, max_size=3).map(" ".join)
ROUNDED = st.floats(-500, 5000).map(lambda v: round(v, 3))
RECTANGLES = st.tuples(ROUNDED, ROUNDED, st.floats(1, 500), st.floats(1, 500), st.floats(0, 7))


def rectangle(x: float, y: float, width: float, height: float, angle: float) -> np.ndarray:
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (width / 2, height / 2)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.asarray(corners @ turn + (x, y))


@given(objects=st.lists(st.tuples(RECTANGLES, NAMES, st.integers(0, 2)), max_size=4))
def test_round_trip(
    objects: list[tuple[tuple[float, ...], str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("round") / "a.txt"
    quads = as_quads([rectangle(*box) for box, _, _ in objects])
    names = [name for _, name, _ in objects]
    write_labels(path, quads, names, [d for _, _, d in objects], header=["imagesource:test", "gsd:0.5"])
    labels = read_labels(path)
    assert np.abs(labels.quads - quads).max(initial=0) <= 5.1e-4
    assert list(labels.names) == names
    assert list(labels.difficult) == [d for _, _, d in objects]


def test_written_form(tmp_path: Path) -> None:
    path = tmp_path / "labels" / "a.txt"
    quad = [[-0.0001, 0, 100, 0.5, 99.1236, 50, 0, 50]]
    write_labels(path, as_quads(quad), ["Small Car"], [1], header=["gsd:1"])
    assert path.read_text() == "gsd:1\n0 0 100 0.5 99.124 50 0 50 Small Car 1\n"
    write_labels(path, as_quads(quad), ["Small Car"], [1], digits=0)
    assert path.read_text() == "0 0 100 0 99 50 0 50 Small Car 1\n"
    write_labels(path, as_quads([]), [], [])
    assert path.read_text() == ""


@pytest.mark.parametrize("name", ["", " ", "two\nlines", "two  spaces", "end ", "no\u00a0break"])
def test_names_that_could_not_be_read_back(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be written to a DOTA label file"):
        write_labels(tmp_path / "a.txt", as_quads([CORNERS]), [name], [0])
    assert not (tmp_path / "a.txt").exists()


def test_lengths_must_agree(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="zip"):
        write_labels(tmp_path / "a.txt", as_quads([CORNERS]), ["ship"], [])
    assert not (tmp_path / "a.txt").exists()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    for name, size in {"P1.png": (20, 10), "P2.PNG": (9, 9), "P3.tif": (5, 6)}.items():
        Image.new("RGB", size).save(tmp_path / "images" / name)
    write(tmp_path / "images" / "Thumbs.db", b"\0")
    write(tmp_path / "images" / "._P1.png", b"\0")  # macOS leaves these behind
    write(tmp_path / "labels" / "P1.txt", f"{QUAD} ship 1\n{QUAD} plane 0\n1 1 1 1 1 1 1 1 ship 0\n")
    write(tmp_path / "labels" / "P2.txt", "")
    write(tmp_path / "labels" / "P9.txt", f"{QUAD} ship 0\n")
    return tmp_path


def test_folders_are_matched_and_everything_is_counted(folder: Path) -> None:
    manifest, report = read_folder(
        folder / "images",
        folder / "labels",
        classes=("ship", "plane", "tank"),
        on_bad="skip",
        dataset="d",
        split="s",
    )
    assert [(r.image, r.wh, len(r.labels)) for r in manifest.records] == [
        ("P1.png", (20, 10), 2),
        ("P2.PNG", (9, 9), 0),
        ("P3.tif", (5, 6), 0),
    ]
    assert (manifest.dataset, manifest.split, manifest.classes) == ("d", "s", ("ship", "plane", "tank"))
    assert (report.images, report.objects, report.difficult, report.empty_images) == (
        3,
        {"ship": 1, "plane": 1, "tank": 0},
        1,
        2,
    )
    assert (report.unlabelled, report.orphans) == (("P3.tif",), ("P9.txt",))
    assert report.skipped_reasons() == {"zero area": 1}
    summary = report.summary()
    assert "3 images (2 without objects), 2 objects (1 difficult) of 3 classes" in summary
    assert "1 images without a label file: P3.tif" in summary
    assert "1 annotations without an image, left out: P9.txt" in summary
    assert f"1 objects left out, zero area: {folder / 'labels' / 'P1.txt'}:3" in summary


def test_errors_are_the_default(folder: Path) -> None:
    with pytest.raises(DataError, match=r"P1\.txt:3: 'ship' has no area"):
        read_folder(folder / "images", folder / "labels")


def test_classes_are_collected_where_none_are_given(folder: Path) -> None:
    assert read_folder(folder / "images", folder / "labels", on_bad="skip")[0].classes == ("plane", "ship")


def test_images_without_labels(folder: Path) -> None:
    manifest, report = read_folder(folder / "images", None, classes=("ship",))
    assert (len(manifest.records), report.object_count, report.unlabelled) == (3, 0, ())


def test_bad_folders(folder: Path) -> None:
    with pytest.raises(DataError, match="none: no such folder; expected the folder of images"):
        read_folder(folder / "none", folder / "labels")
    with pytest.raises(DataError, match="none: no such folder; expected the folder of label files"):
        read_folder(folder / "images", folder / "none")
    with pytest.raises(DataError, match=r"labels: no images in this folder; looked for \.png"):
        read_folder(folder / "labels", folder / "labels")
    write(folder / "images" / "P2.jpg", b"x")
    with pytest.raises(DataError, match=r"P2\.jpg: has the same name but for its ending as P2\.PNG"):
        read_folder(folder / "images", folder / "labels", on_bad="skip")
    (folder / "images" / "P2.jpg").unlink()
    write(folder / "images" / "P2.PNG", b"x")
    with pytest.raises(DataError, match=r"P2\.PNG: not an image"):
        read_folder(folder / "images", None, classes=("ship",))


def test_unreadable_images_are_left_out_and_counted(folder: Path) -> None:
    write(folder / "images" / "P2.PNG", b"x")
    manifest, report = read_folder(folder / "images", folder / "labels", on_bad="skip")
    assert [r.image for r in manifest.records] == ["P1.png", "P3.tif"]
    assert len(report.unreadable) == 1
    assert "1 images left out, unreadable: " in report.summary()
    assert "P2.PNG: not an image" in report.summary()


def test_every_object_knows_its_line(folder: Path) -> None:
    _, report = read_folder(folder / "images", folder / "labels", on_bad="skip")
    path = folder / "labels" / "P1.txt"
    assert report.places == ((f"{path}:1", f"{path}:2"), (), ())


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("P0706", {"ship": 531, "harbor": 5}),
        ("P0770", {"tennis-court": 10, "swimming-pool": 9, "baseball-diamond": 2, "ground-track-field": 1}),
        ("P1234", {"storage-tank": 110, "ship": 24, "bridge": 6, "harbor": 4}),
        ("P1888", {"large-vehicle": 50, "small-vehicle": 14}),
        ("P2709", {"storage-tank": 145, "large-vehicle": 7, "ship": 6}),
    ],
)
def test_real_label_files(name: str, counts: dict[str, int], real: Callable[[str], Path]) -> None:
    labels = read_labels(real(f"dota/labelTxt/{name}.txt"), dataset_spec("dota").classes)
    assert {label: labels.names.count(label) for label in set(labels.names)} == counts
    assert not labels.skipped


@pytest.mark.real
def test_real_tiles_without_headers(real: Callable[[str], Path]) -> None:
    for name in ("P0004__1__0___0", "P2805__1024__0___0"):
        labels = read_labels(real(f"tiles/{name}.txt"), dataset_spec("dota").classes)
        assert labels.names == ("plane",) * 4


def test_two_label_files_of_one_name_are_refused(folder: Path) -> None:
    write(folder / "labels" / "P1.TXT", "")
    with pytest.raises(
        DataError, match=r"P1\.(txt|TXT): has the same name but for its ending as P1\.(txt|TXT)"
    ):
        read_folder(folder / "images", folder / "labels")


def test_images_in_folders_below_are_counted(folder: Path) -> None:
    for below in ("part1", ".cache", "part1/.thumbs"):
        (folder / "images" / below).mkdir(parents=True)
        shutil.copy(folder / "images" / "P1.png", folder / "images" / below / "P8.png")
    report = read_folder(folder / "images", folder / "labels", on_bad="skip")[1]
    assert report.deeper == ("part1/P8.png",)
    assert "1 images in folders below, not read: part1/P8.png" in report.summary()
    with pytest.raises(
        DataError, match=r"no images in this folder; .*; 4 lie in folders below, such as images/P"
    ):
        read_folder(folder, folder / "labels")


@pytest.mark.parametrize("size", [1e-3, 1e-4])
def test_shares_of_small_objects_have_an_area(size: float, tmp_path: Path) -> None:
    numbers = f"0.5 0.5 {0.5 + size} 0.5 {0.5 + size} {0.5 + size} 0.5 {0.5 + size}"
    assert len(read_labels(write(tmp_path / "a.txt", f"{numbers} plane 0")).quads) == 1
    with pytest.raises(DataError, match="has no area"):
        read_labels(write(tmp_path / "a.txt", "0.5 0.5 0.6 0.5 0.6 0.5 0.5 0.5 plane 0"))
