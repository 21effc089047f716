from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from lmmrotate.data.catalog import dataset_spec
from lmmrotate.data.convert import convert
from lmmrotate.data.formats import FORMATS, annotation_format
from lmmrotate.data.manifest import read_manifest
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


def test_classes_that_a_list_leaves_out_are_counted(folder: Path) -> None:
    (folder / "labels/P1.txt").write_text(LINE.format("Passenger Ship") + LINE.format("other-ship"))
    arguments = (folder / "images", folder / "labels", folder / "m.jsonl")
    done = convert(*arguments, dataset="fair1m", annotation_format="dota")
    assert done.report.skipped_reasons() == {"left-out class 'other-ship'": 1}
    assert done.report.object_count == 1
    assert convert(*arguments, dataset="fair1m_37", annotation_format="dota").report.object_count == 2


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
