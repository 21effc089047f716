from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lmmrotate.data.catalog import dataset_spec
from lmmrotate.data.convert import convert
from lmmrotate.data.formats import FORMATS, annotation_format
from lmmrotate.data.manifest import Manifest, read_manifest
from lmmrotate.data.records import ImageRecord, SceneRef
from lmmrotate.errors import ConfigError, DataError

LINE = "0 0 10 0 10 5 0 5 {} 0\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("images", "labels"):
        (tmp_path / "data" / name).mkdir(parents=True)
    Image.new("RGB", (30, 20)).save(tmp_path / "data/images/P1.png")
    (tmp_path / "data/labels/P1.txt").write_text(LINE.format("ship") + LINE.format("plane"))
    return tmp_path / "data"


def test_a_manifest_beside_its_images_needs_no_more(folder: Path) -> None:
    done = convert(
        folder / "images", folder / "labels", folder / "train.jsonl", dataset="DOTA", split="train"
    )
    manifest = read_manifest(folder / "train.jsonl")
    assert (manifest.dataset, manifest.split) == ("dota_v1", "train")
    assert manifest.classes == dataset_spec("dota").classes
    assert manifest.records[0].image == "images/P1.png"
    assert manifest.image_path(manifest.records[0]).is_file()
    assert manifest.fingerprint() == done.manifest.fingerprint()
    assert done.report.object_count == 2
    assert "class list: catalog (dota_v1)" in done.summary()
    assert "relative to" not in done.summary()


def test_a_manifest_elsewhere_says_where_its_images_are(folder: Path) -> None:
    out = folder.parent / "out" / "m.jsonl"
    done = convert(folder / "images", folder / "labels", out)
    manifest = read_manifest(out, folder / "images")
    assert (manifest.dataset, manifest.split, manifest.classes) == ("custom", "all", ("plane", "ship"))
    assert manifest.records[0].image == "P1.png"
    assert manifest.image_path(manifest.records[0]).is_file()
    assert f"image paths are relative to {folder / 'images'}" in done.summary()
    assert "class list: annotation files" in done.summary()


def test_relative_paths(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    convert(Path("images"), Path("labels"), Path("m.jsonl"))
    assert read_manifest(folder / "m.jsonl").records[0].image == "images/P1.png"
    convert(Path("images"), Path("labels"), Path("images/m.jsonl"))
    assert read_manifest(folder / "images/m.jsonl").records[0].image == "P1.png"
    convert(Path("../data/images"), Path("labels"), Path("m.jsonl"))
    assert read_manifest(folder / "m.jsonl").records[0].image == "images/P1.png"


FAIR1M_OBJECT = """    <object>
      <coordinate>pixel</coordinate>
      <type>rectangle</type>
      <description>None</description>
      <possibleresult>
        <name>{}</name>
      </possibleresult>
      <points>
        <point>10.000000,2.000000</point>
        <point>20.500000,3.000000</point>
        <point>19.500000,12.000000</point>
        <point>9.000000,11.000000</point>
        <point>10.000000,2.000000</point>
      </points>
    </object>
"""


@pytest.fixture
def fair1m(tmp_path: Path) -> Path:
    """A part of FAIR1M as it is published: ``images`` and ``labelXml``."""
    for name in ("images", "labelXml"):
        (tmp_path / name).mkdir()
    Image.new("RGB", (30, 20)).save(tmp_path / "images/0.tif")
    names = ("Boeing737", "other-airplane", "Passenger Ship", "other-ship", "other-vehicle", "Roundabout")
    (tmp_path / "labelXml/0.xml").write_text(
        '<?xml version="1.0" encoding="utf-8"?>\n<annotation>\n  <source>\n    <filename>0.tif</filename>\n'
        "    <origin>GF2/GF3</origin>\n  </source>\n  <research>\n    <version>1.0</version>\n"
        "    <provider>FAIR1M</provider>\n  </research>\n  <size>\n    <width>30</width>\n"
        "    <height>20</height>\n    <depth>3</depth>\n  </size>\n  <objects>\n"
        + "".join(map(FAIR1M_OBJECT.format, names))
        + "  </objects>\n</annotation>\n"
    )
    return tmp_path


@pytest.mark.parametrize("name", ["fair1m", "fair1m_34", "FAIR1M-1.0", "fair1m_2.0", "fair1m_2.0_train"])
def test_the_34_classes_of_fair1m_leave_others_out(name: str, fair1m: Path) -> None:
    done = convert(fair1m / "images", fair1m / "labelXml", fair1m / "m.jsonl", dataset=name)
    manifest = read_manifest(fair1m / "m.jsonl")
    assert (manifest.dataset, len(manifest.classes)) == ("fair1m", 34)
    assert manifest.records[0].labels == ("Boeing737", "Passenger Ship", "Roundabout")
    assert manifest.records[0].quads[0].tolist() == [[10, 2], [20.5, 3], [19.5, 12], [9, 11]]
    assert done.report.skipped_reasons() == {
        f"left-out class 'other-{kind}'": 1 for kind in ("airplane", "ship", "vehicle")
    }


@pytest.mark.parametrize(
    ("dataset", "says"),
    [
        ("dota", "trainval trains and test evaluates"),
        ("dota_train", "train trains and val evaluates"),
        ("fair1m_2.0", "train trains and test evaluates"),
        ("fair1m_2.0_train", "train trains and val evaluates"),
        ("mine", ""),
    ],
)
def test_published_splits_are_named(dataset: str, says: str, folder: Path) -> None:
    done = convert(
        folder / "images", None, folder / "m.jsonl", dataset=dataset, classes=["ship"], split="train"
    )
    assert f"as published, {says}" in done.summary() if says else "as published" not in done.summary()


def test_the_37_classes_of_fair1m_hold_everything(fair1m: Path) -> None:
    done = convert(fair1m / "images", fair1m / "labelXml", fair1m / "m.jsonl", dataset="fair1m_37")
    manifest = read_manifest(fair1m / "m.jsonl")
    assert len(manifest.classes) == 37
    assert manifest.records[0].labels[1::2] == ("other-airplane", "other-ship", "Roundabout")
    assert not done.report.skipped


@pytest.mark.parametrize(
    ("dataset", "text", "labels"),
    [
        ("rsar", "1.0 2.0 9.5 2.0 9.5 8.0 1.0 8.0 aircraft 0\n", ("aircraft",)),
        ("srsdd", "imagesource:GF-3\ngsd:1\n1 2 9 2 9 8 1 8 Cell-Container 0\n1 2 9 2 9 8 1 8 ore-oil 1\n",
         ("Cell-Container", "ore-oil")),
    ],
)  # fmt: skip
def test_sar_data_sets_are_dota_like_text(
    dataset: str, text: str, labels: tuple[str, ...], folder: Path
) -> None:
    (folder / "labels/P1.txt").write_text(text)
    convert(folder / "images", folder / "labels", folder / "m.jsonl", dataset=dataset)
    manifest = read_manifest(folder / "m.jsonl")
    assert manifest.classes == dataset_spec(dataset).classes
    assert manifest.records[0].labels == labels


@pytest.mark.parametrize("annotation_format", ["dota", "coco"])
@pytest.mark.parametrize("names", [["P1", "P3"], ["P3.png", "P1.png"]])
def test_a_split_may_be_a_list_of_images(annotation_format: str, names: list[str], folder: Path) -> None:
    """As DIOR-R and HRSC2016 are published: one folder of label files, and a list for each split."""
    for number in (2, 3):
        Image.new("RGB", (30, 20), (0, 0, number)).save(folder / f"images/P{number}.png")
        (folder / f"labels/P{number}.txt").write_text(LINE.format("ship") if number == 3 else "damaged")
    annotations = folder / "labels"
    if annotation_format == "coco":
        annotations = folder / "all.json"
        convert(folder / "images", folder / "labels", annotations, to="coco", on_bad="skip")
    read = partial(
        convert, folder / "images", annotations, folder / "m.jsonl", annotation_format=annotation_format
    )
    report = read(only=names).report
    assert [r.image for r in read_manifest(folder / "m.jsonl").records] == ["images/P1.png", "images/P3.png"]
    assert report.objects == {"plane": 1, "ship": 2}
    assert (report.orphans, report.skipped) == ((), ())
    with pytest.raises(DataError, match="images: 2 of the 3 images of the list are not here, such as 'P8'"):
        read(only=["P9", "P1", "P8"])


def test_given_classes_win(folder: Path) -> None:
    done = convert(
        folder / "images", folder / "labels", folder / "m.jsonl", dataset="dota", classes=["ship", "plane"]
    )
    assert read_manifest(folder / "m.jsonl").classes == ("ship", "plane")
    assert "class list: given" in done.summary()


def test_an_error_leaves_the_old_manifest(folder: Path) -> None:
    (folder / "m.jsonl").write_text("old")
    (folder / "labels/P1.txt").write_text(LINE.format("barge"))
    with pytest.raises(DataError, match=r"P1\.txt:1: unknown class 'barge'; valid: plane, baseball"):
        convert(folder / "images", folder / "labels", folder / "m.jsonl", dataset="dota")
    assert (folder / "m.jsonl").read_text() == "old"


def test_options_that_make_no_sense(folder: Path) -> None:
    arguments = (folder / "images", folder / "labels", folder / "m.jsonl")
    with pytest.raises(ConfigError, match="unknown annotation format 'yolo'; known: manifest, dota, "):
        convert(*arguments, annotation_format="yolo")
    for classes in ([], ["a", "a"], [""]):
        with pytest.raises(ConfigError, match="classes must be distinct, non-empty names"):
            convert(*arguments, classes=classes)
    with pytest.raises(ConfigError, match="on_bad must be"):
        convert(*arguments, on_bad="ignore")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no objects to take class names from; give classes or a data set"):
        convert(folder / "images", None, folder / "m.jsonl")


def test_test_images_without_labels(folder: Path) -> None:
    convert(folder / "images", None, folder / "m.jsonl", dataset="dota", split="test")
    assert read_manifest(folder / "m.jsonl").records[0].labels == ()


def test_formats_are_found_by_name() -> None:
    assert all(annotation_format(name).name == name for name in FORMATS)


@pytest.mark.real
def test_real_scenes(real: Callable[[str], Path], tmp_path: Path) -> None:
    done = convert(real("dota/images"), real("dota/labelTxt"), tmp_path / "m.jsonl", dataset="dota")
    manifest = read_manifest(tmp_path / "m.jsonl", real("dota/images"))
    assert [(r.image, r.wh, len(r.labels)) for r in manifest.records] == [
        ("P0706.png", (1111, 1182), 536),
        ("P1888.png", (712, 557), 64),
    ]
    assert done.report.orphans == ("P0770.txt", "P1234.txt", "P2709.txt")
    assert done.report.difficult == 6
    assert not done.report.skipped
    assert manifest.fingerprint() == done.manifest.fingerprint()


def test_tiles_of_a_manifest_keep_their_scene(tmp_path: Path) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    quads = np.array([[[1.0, 1], [9, 1], [9, 5], [1, 5]]])
    record = ImageRecord("a.png", 64, 48, quads, ("ship",), (0,), SceneRef("P1", 10, 20))
    Manifest("d", "s", ("ship",), (record,)).write(tmp_path / "m.jsonl")
    convert(tmp_path, tmp_path / "m.jsonl", tmp_path / "again.jsonl", annotation_format="manifest")
    assert read_manifest(tmp_path / "again.jsonl").records[0].scene == SceneRef("P1", 10, 20)
