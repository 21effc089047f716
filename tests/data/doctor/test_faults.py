"""Data sets with one fault each, and ten without: the doctor names the fault and its line, and mends it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lmmrotate.data.doctor.checkup import Source, examine
from lmmrotate.data.doctor.corrections import correct
from lmmrotate.data.doctor.findings import Finding
from lmmrotate.data.doctor.fixing import write_fixed
from lmmrotate.data.formats import annotation_format
from lmmrotate.errors import ConfigError, DataError
from lmmrotate.geometry.rboxes import rboxes_to_quads

CLASSES = ("plane", "ship", "small-vehicle", "Boeing737", "Boeing747")
SIDE_PX = 128


class Folder:
    """A clean data set in DOTA's format: six images, four objects each."""

    def __init__(self, root: Path, seed: int = 0) -> None:
        self.root = root
        rng = np.random.default_rng(seed)
        for name in ("images", "labels"):
            (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(6):
            pixels = rng.integers(0, 256, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(self.image(i))
            lines = []
            for k, centre in enumerate(((32, 32), (96, 32), (32, 96), (96, 96))):
                box = [
                    *(np.array(centre) + rng.uniform(-4, 4, 2)),
                    *rng.uniform(8, 24, 2),
                    rng.uniform(-1.5, 1.5),
                ]
                numbers = " ".join(f"{v:.1f}" for v in rboxes_to_quads(np.array([box])).reshape(8))
                lines.append(f"{numbers} {CLASSES[(i + k) % 3]} {int(rng.integers(2))}")
            self.write(i, lines)

    def image(self, i: int) -> Path:
        return self.root / "images" / f"P{i}.png"

    def labels(self, i: int) -> Path:
        return self.root / "labels" / f"P{i}.txt"

    def lines(self, i: int) -> list[str]:
        return self.labels(i).read_text().splitlines()

    def write(self, i: int, lines: list[str]) -> None:
        self.labels(i).write_text("\n".join(lines) + "\n")

    def change(self, i: int, line: int, how: Callable[[list[str]], list[str]]) -> None:
        """Change the items of one line, numbered from 1."""
        lines = self.lines(i)
        lines[line - 1] = " ".join(how(lines[line - 1].split()))
        self.write(i, lines)

    def quads(self, i: int) -> np.ndarray:
        return np.array([[float(v) for v in line.split()[:8]] for line in self.lines(i)]).reshape(-1, 4, 2)

    def put_quads(self, i: int, quads: np.ndarray) -> None:
        rest = [line.split()[8:] for line in self.lines(i)]
        numbers = [" ".join(f"{v:.4f}" for v in quad.reshape(8)) for quad in quads]
        self.write(i, [" ".join([n, *r]) for n, r in zip(numbers, rest, strict=True)])

    def source(self) -> Source:
        return Source(self.root / "images", self.root / "labels", annotation_format("dota"), "train")


def named(name: str, line: int = 2, i: int = 3) -> Callable[[Folder], None]:
    return lambda f: f.change(i, line, lambda items: [*items[:8], *name.split(), "0"])


def corners(order: list[int], line: int = 2, i: int = 3) -> Callable[[Folder], None]:
    def how(items: list[str]) -> list[str]:
        points = [items[2 * k : 2 * k + 2] for k in range(4)]
        return [value for k in order for value in points[k]] + items[8:]

    return lambda f: f.change(i, line, how)


def moved(by: float, line: int = 2, i: int = 3) -> Callable[[Folder], None]:
    return lambda f: f.change(i, line, lambda t: [*(str(float(v) + by) for v in t[:8]), *t[8:]])


def numbers(text: str, line: int = 2, i: int = 3) -> Callable[[Folder], None]:
    return lambda f: f.change(i, line, lambda t: [*text.split(), *t[8:]])


def doubled(name: str | None = None) -> Callable[[Folder], None]:
    def change(f: Folder) -> None:
        lines = f.lines(3)
        items = lines[1].split()
        f.write(3, [*lines, " ".join([*items[:8], name or items[8], "0"])])

    return change


def dented(f: Folder) -> None:
    quads = f.quads(3)
    quads[1, 2] = quads[1, [0, 1, 3]].mean(axis=0)
    f.put_quads(3, quads)


def shares(f: Folder) -> None:
    f.put_quads(3, f.quads(3) / SIDE_PX)


def larger(f: Folder) -> None:
    f.put_quads(3, f.quads(3) * 8)


def twice(f: Folder) -> None:
    f.image(4).write_bytes(f.image(3).read_bytes())
    f.labels(4).write_text(f.labels(3).read_text())


def other_kind(f: Folder) -> None:
    Image.open(f.image(3)).save(f.root / "x.jpg")
    (f.root / "x.jpg").replace(f.image(3))


FAULTS: dict[str, tuple[Callable[[Folder], None], str, str]] = {
    "unknown class": (named("barge"), "unknown class", "P3.txt:2"),
    "two letters swapped": (named("samll-vehicle"), "misspelled class", "P3.txt:2"),
    "case": (named("Plane"), "misspelled class", "P3.txt:2"),
    "separator": (named("small_vehicle", 4), "misspelled class", "P3.txt:4"),
    "space": (named("small vehicle"), "misspelled class", "P3.txt:2"),
    "plural": (named("ships"), "misspelled class", "P3.txt:2"),
    "another number": (named("Boeing777"), "unknown class", "P3.txt:2"),
    "no class": (lambda f: f.change(3, 2, lambda t: t[:8]), "no class name", "P3.txt:2"),
    "outside": (moved(500, 3), "out of frame", "P3.txt:3"),
    "negative": (moved(-200, 1), "out of frame", "P3.txt:1"),
    "one point": (numbers("5 5 5 5 5 5 5 5"), "zero area", "P3.txt:2"),
    "a line": (numbers("5 5 9 9 13 13 9 9"), "zero area", "P3.txt:2"),
    "crossing": (corners([0, 2, 1, 3]), "self-crossing quad", "P3.txt:2"),
    "crossing otherwise": (corners([0, 1, 3, 2], 3), "self-crossing quad", "P3.txt:3"),
    "dented": (dented, "concave quad", "P3.txt:2"),
    "anticlockwise": (corners([0, 3, 2, 1]), "corner order", "P3.txt:2"),
    "duplicate": (doubled(), "duplicate", "P3.txt:5"),
    "two classes": (doubled("Boeing747"), "two classes for one object", "P3.txt:5"),
    "seven numbers": (lambda f: f.change(3, 2, lambda t: t[1:]), "fewer than eight numbers", "P3.txt:2"),
    "four numbers": (lambda f: f.change(3, 2, lambda t: t[4:]), "fewer than eight numbers", "P3.txt:2"),
    "not finite": (lambda f: f.change(3, 2, lambda t: ["nan", *t[1:]]), "coordinate not finite", "P3.txt:2"),
    "huge": (lambda f: f.change(3, 2, lambda t: ["1e12", *t[1:]]), "coordinate out of range", "P3.txt:2"),
    "negative difficulty": (
        lambda f: f.change(3, 2, lambda t: [*t[:-1], "-1"]),
        "negative difficulty",
        "P3.txt:2",
    ),
    "shares": (shares, "shares instead of pixels", "P3.txt:1"),
    "labels of a larger image": (larger, "labels for another image size", "P3.txt:1"),
    "no image": (lambda f: f.image(3).unlink(), "labels without image", "P3.txt"),
    "no labels": (lambda f: f.labels(3).unlink(), "image without labels", "P3.png"),
    "empty image file": (lambda f: f.image(3).write_bytes(b""), "unreadable image", "P3.png"),
    "no image at all": (lambda f: f.image(3).write_text("<html>404</html>"), "unreadable image", "P3.png"),
    "truncated image": (
        lambda f: f.image(3).write_bytes(f.image(3).read_bytes()[:20_000]),
        "unreadable image",
        "P3.png",
    ),
    "another kind of image": (other_kind, "mislabelled image", "P3.png"),
    "black image": (lambda f: Image.new("RGB", (128, 128)).save(f.image(3)), "empty picture", "P3.png"),
    "the same image twice": (twice, "duplicate image", "P4.png"),
}


def diagnosed(folder: Folder, *others: Folder, known: bool = True) -> list[Finding]:
    sources = [folder.source(), *(other.source() for other in others)]
    return list(examine(sources, classes=CLASSES if known else None).findings)


@pytest.mark.parametrize("name", FAULTS)
def test_the_fault_and_its_place_are_named(name: str, tmp_path: Path) -> None:
    spoil, kind, where = FAULTS[name]
    folder = Folder(tmp_path)
    spoil(folder)
    findings = diagnosed(folder)
    assert [finding.kind for finding in findings] == [kind], findings
    assert (findings[0].where + " " + findings[0].text).find(where) >= 0, findings


@pytest.mark.parametrize("seed", range(10))
def test_silent_on_clean_data(seed: int, tmp_path: Path) -> None:
    assert diagnosed(Folder(tmp_path, seed), known=seed % 2 == 0) == []


def test_leakage_between_splits(tmp_path: Path) -> None:
    train, test = Folder(tmp_path / "train", 0), Folder(tmp_path / "test", 1)
    Image.open(train.image(2)).save(tmp_path / "same.bmp")  # another file, the same pixels
    (tmp_path / "same.bmp").replace(test.root / "images" / "P9.bmp")
    test.labels(9).write_text("")
    (finding,) = diagnosed(train, test)
    assert finding.kind == "train/test leakage"
    assert finding.where.endswith("train/images/P2.png")
    assert "the same picture as P9.bmp" in finding.text


@pytest.mark.parametrize(("name", "meant"), [("small vehicle", "small-vehicle"), ("PLANE", "plane")])
def test_spellings_are_found_without_a_class_list(name: str, meant: str, tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    named(name)(folder)
    (finding,) = diagnosed(folder, known=False)
    assert finding.kind == "misspelled class"
    assert finding.where.endswith("P3.txt:2")
    assert repr(meant) in finding.text


def test_corners_written_as_sizes(tmp_path: Path) -> None:
    """A COCO file whose boxes are x1 y1 x2 y2 where x y width height belong."""
    folder = Folder(tmp_path)
    images: list[dict[str, object]] = []
    annotations: list[dict[str, Any]] = []
    for i in range(6):
        images.append({"id": i, "file_name": f"P{i}.png", "width": SIDE_PX, "height": SIDE_PX})
        for quad in folder.quads(i):
            box = [*quad.min(axis=0).tolist(), *quad.max(axis=0).tolist()]
            annotations.append({"id": len(annotations), "image_id": i, "category_id": 1, "bbox": box})
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "ship"}]}
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(content))
    source = Source(tmp_path / "images", path, annotation_format("coco"))
    findings = examine([source]).findings
    assert "xyxy read as xywh" in {finding.kind for finding in findings}
    for row in annotations:
        x0, y0, x1, y1 = row["bbox"]
        row["bbox"] = [x0, y0, x1 - x0, y1 - y0]
    path.write_text(json.dumps(content))
    assert examine([source]).findings == ()


BEYOND_FIXING = {"dented", "two classes", "no labels", "black image", "labels of a larger image"}
"""Somebody has to decide."""


@pytest.mark.parametrize("name", FAULTS)
def test_the_corrected_copy_has_the_fault_no_more(name: str, tmp_path: Path) -> None:
    spoil, kind, _ = FAULTS[name]
    folder = Folder(tmp_path / "data")
    spoil(folder)
    before = {path: path.read_bytes() for path in folder.root.rglob("*.*")}
    part = examine([folder.source()], classes=CLASSES).parts[0]
    fixed = write_fixed(part, tmp_path / "fixed", classes=CLASSES)
    assert {path: path.read_bytes() for path in folder.root.rglob("*.*")} == before
    remaining = examine(
        [Source(fixed.image_folder, fixed.annotations, annotation_format("dota"))], classes=CLASSES
    )
    assert bool(remaining.findings) == (name in BEYOND_FIXING - {"no labels"}), remaining.findings
    assert [finding.kind for finding in fixed.correction.remaining] == [kind] * (name in BEYOND_FIXING)
    counted = {**fixed.correction.corrected, **fixed.correction.left_out}
    assert counted == ({} if name in BEYOND_FIXING else {kind: 1})
    assert remaining.parts[0].report.object_count in (19, 20, 23, 24, 25)


def test_corrections_are_what_was_meant(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "data")
    meant = folder.quads(3)
    corners([0, 2, 1, 3], line=1)(folder)
    corners([0, 3, 2, 1], line=2)(folder)
    named("samll-vehicle", line=3)(folder)
    folder.put_quads(5, folder.quads(5) / SIDE_PX)
    part = examine([folder.source()], classes=CLASSES).parts[0]
    correction = correct(part, CLASSES)
    record = correction.manifest.records[3]
    assert np.allclose(record.quads, meant)
    assert record.labels[2] == "small-vehicle"
    assert np.allclose(correction.manifest.records[5].quads, Folder(tmp_path / "again").quads(5), atol=0.01)
    assert correction.remaining == ()


def test_what_is_shared_with_the_test_split_is_left_out_of_training(tmp_path: Path) -> None:
    train, test = Folder(tmp_path / "train", 0), Folder(tmp_path / "test", 1)
    test.image(4).write_bytes(train.image(2).read_bytes())
    checkup = examine([train.source(), test.source()], classes=CLASSES)
    fixed = write_fixed(checkup.parts[0], tmp_path / "fixed", classes=CLASSES)
    assert sorted(path.stem for path in fixed.image_folder.iterdir()) == ["P0", "P1", "P3", "P4", "P5"]
    assert fixed.correction.left_out == {"train/test leakage": 1}


def test_an_interrupted_copy_goes_on_and_other_folders_are_refused(tmp_path: Path) -> None:
    part = examine([Folder(tmp_path / "data").source()], classes=CLASSES).parts[0]
    out = tmp_path / "fixed"
    write_fixed(part, out, classes=CLASSES)
    (out / "images" / "P3.png").unlink()
    (out / "labels" / "P3.txt").unlink()
    kept = (out / "images" / "P2.png").stat().st_ino
    write_fixed(part, out, classes=CLASSES)
    assert (out / "images" / "P3.png").read_bytes() == (tmp_path / "data/images/P3.png").read_bytes()
    assert (out / "images" / "P2.png").stat().st_ino == kept
    other = examine([Folder(tmp_path / "other").source()], classes=CLASSES).parts[0]
    with pytest.raises(ConfigError, match="holds the corrected copy of something else"):
        write_fixed(other, out, classes=CLASSES)
    with pytest.raises(ConfigError, match="is not empty"):
        write_fixed(part, tmp_path / "data", classes=CLASSES)


def test_of_equal_pictures_the_labelled_one_stays(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "data")
    folder.image(4).write_bytes(folder.image(3).read_bytes())
    part = examine([folder.source()], classes=CLASSES).parts[0]
    assert [finding.kind for finding in part.findings] == ["duplicate image, other objects"]
    assert len(correct(part, CLASSES).manifest.records) == 6, "somebody has to decide"
    folder.write(3, [])
    part = examine([folder.source()], classes=CLASSES).parts[0]
    assert [finding.image for finding in part.findings] == ["P3.png"]
    assert [record.image for record in correct(part, CLASSES).manifest.records if record.labels][
        3
    ] == "P4.png"


def test_upright_boxes_beyond_the_image_are_not_taken_for_two_corners_where_there_are_no_sizes(
    tmp_path: Path,
) -> None:
    folder = Folder(tmp_path)
    for i in range(6):
        folder.write(i, ["20 30 150 30 150 150 20 150 ship 0"])
    assert "xyxy read as xywh" not in {finding.kind for finding in diagnosed(folder)}


def test_a_new_ending_does_not_take_the_name_of_another_image(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "data")
    folder.image(3).rename(folder.root / "images" / "P4.jpg")
    folder.labels(4).unlink()
    source = Source(folder.root / "images", None, annotation_format("csv"))
    part = examine([source]).parts[0]
    with pytest.raises(DataError, match=r"P4\.jpg: should be called P4\.png, which another image is"):
        write_fixed(part, tmp_path / "fixed")


def scaled(by: float) -> Callable[[Folder], None]:
    def change(f: Folder) -> None:
        for i in range(6):
            f.put_quads(i, f.quads(i) * by)

    return change


@pytest.mark.parametrize("by", [1.4, 2.0, 8.0])
@pytest.mark.parametrize("objects", [1, 4])
def test_labels_of_larger_images_are_said_once_for_the_whole_set(
    by: float, objects: int, tmp_path: Path
) -> None:
    folder = Folder(tmp_path / "data")
    scaled(by)(folder)
    for i in range(6):
        lines = folder.lines(i)
        folder.write(i, (lines[i % 4 :] + lines)[:objects])  # single objects lie anywhere
    corners([0, 2, 1, 3], line=1)(folder)
    part = examine([folder.source()], classes=CLASSES).parts[0]
    kinds = [finding.kind for finding in part.findings]
    assert sorted(kinds) == ["labels for another image size", "self-crossing quad"]
    correction = correct(part, CLASSES)
    assert (correction.left_out, len(correction.remaining)) == ({}, 1), "nothing is lost"


def test_labels_of_smaller_images(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    for i in range(6):
        folder.write(i, folder.lines(i) * 3)
    clean = {finding.kind for finding in diagnosed(folder)}
    scaled(0.5)(folder)
    assert {finding.kind for finding in diagnosed(folder)} - clean == {"labels in one corner"}


def test_a_copy_that_would_leave_out_much_is_refused(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "data")
    part = examine([folder.source()], classes=("plane", "small-vehicle")).parts[0]
    with pytest.raises(
        ConfigError, match=r"8 of 24 objects would be left out \(unknown class\), such as .*txt:"
    ):
        write_fixed(part, tmp_path / "fixed", classes=("plane", "small-vehicle"))
    for i in range(4):
        moved(-60, line=2, i=i)(folder)
    part = examine([folder.source()], classes=CLASSES).parts[0]
    with pytest.raises(ConfigError, match=r"objects would be left out \(out of frame\)"):
        write_fixed(part, tmp_path / "fixed", classes=CLASSES)
    assert not (tmp_path / "fixed").exists()


def test_a_copy_made_again_holds_no_images_that_are_no_more(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "data")
    for _ in range(2):
        part = examine([folder.source()], classes=CLASSES).parts[0]
        fixed = write_fixed(part, tmp_path / "fixed", classes=CLASSES)
        folder.image(3).unlink(missing_ok=True)
        folder.labels(3).unlink(missing_ok=True)
    names = [sorted(p.stem for p in f.iterdir()) for f in (fixed.image_folder, fixed.annotations)]
    assert names == [["P0", "P1", "P2", "P4", "P5"]] * 2


def test_images_and_labels_in_one_folder(tmp_path: Path) -> None:
    Folder(tmp_path)
    for path in (tmp_path / "labels").iterdir():
        path.rename(tmp_path / "images" / path.name)
    (tmp_path / "images" / "P3.png").write_bytes(b"<html>")
    (tmp_path / "images" / "P4.txt").write_bytes(b"\xff\xff")
    source = Source(tmp_path / "images", tmp_path / "images", annotation_format("dota"))
    findings = examine([source], classes=CLASSES).findings
    assert [(f.kind, Path(f.where).name) for f in findings] == [
        ("unreadable image", "P3.png"),
        ("unreadable label file", "P4.txt"),
    ]


def test_what_cannot_be_the_format_is_no_clean_data_set(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    yolo = Source(tmp_path / "images", tmp_path / "labels", annotation_format("hrsc"))
    kinds = {finding.kind: finding.severity for finding in examine([yolo]).findings}
    assert kinds["no objects"] == "error"
    alone = Source(folder.root / "images", None, annotation_format("dota"))
    assert [(f.kind, f.severity) for f in examine([alone]).findings] == [("no objects", "warning")]


def test_tiles_that_cut_most_of_their_objects_are_no_fault_of_size(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write(3, ["100 30 180 30 180 10 100 10 ship 2", "90 120 170 120 170 90 90 90 plane 2"])
    assert diagnosed(folder) == []
