from pathlib import Path

import pytest
from PIL import Image

from lmmrotate.cli.main import main
from lmmrotate.data.manifest import read_manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set of one's own: images and DOTA-like text, no class list."""
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    for name, label in (("a.png", "solar panel"), ("b.jpg", "pier 1"), ("c.tif", "pier")):
        Image.new("RGB", (30, 20)).save(tmp_path / "images" / name)
        (tmp_path / "labels" / name).with_suffix(".txt").write_text(f"0 0 10 0 10 5 0 5 {label}\n")
    return tmp_path


def convert(folder: Path, *options: str) -> int:
    files = ["--image_folder", f"{folder}/images", "--annotations", f"{folder}/labels"]
    return main(["convert", *files, "-o", f"{folder}/m.jsonl", *options])


def test_a_folder_is_enough(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert(folder) == 0
    assert "3 images (0 without objects), 3 objects (1 difficult) of 2 classes" in capsys.readouterr().out
    assert read_manifest(folder / "m.jsonl").classes == ("pier", "solar panel")


def test_a_class_list_fixes_the_order(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert(folder, "--classes", "solar panel", "pier", "crane") == 0
    assert read_manifest(folder / "m.jsonl").classes == ("solar panel", "pier", "crane")
    assert convert(folder, "--classes", "pier") == 2
    assert "a.txt:1: unknown class 'solar panel'; valid: pier" in capsys.readouterr().err


def test_a_file_may_say_which_images(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "train.txt").write_text("c\na.png\n\n")
    assert convert(folder, "--only", f"{folder}/train.txt") == 0
    assert [r.image for r in read_manifest(folder / "m.jsonl").records] == ["images/a.png", "images/c.tif"]
    for content, message in (("", "names no image"), ("d\n", "1 of the 1 images of the list are not here")):
        (folder / "train.txt").write_text(content)
        assert convert(folder, "--only", f"{folder}/train.txt") == 2
        assert message in capsys.readouterr().err


def test_a_manifest_needs_no_folder_and_keeps_its_names(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert convert(folder, "--dataset", "mine", "--split", "val") == 0
    source = ["convert", "--annotations", f"{folder}/m.jsonl"]
    assert main([*source, "-o", f"{folder}/again.jsonl"]) == 0
    again = read_manifest(folder / "again.jsonl")
    assert (again.dataset, again.split) == ("mine", "val")
    assert again.fingerprint() == read_manifest(folder / "m.jsonl").fingerprint()
    assert main([*source, "-o", f"{folder}/test.jsonl", "--split", "test"]) == 0
    assert read_manifest(folder / "test.jsonl").split == "test"
    capsys.readouterr()
    for wrong in (["--to", "coco", "-o", f"{folder}/x.jsonl"], ["-o", f"{folder}/x.json"]):
        assert main([*source, *wrong]) == 2
        assert "manifests, and nothing else, end in .jsonl" in capsys.readouterr().err
    assert main(["convert", "--annotations", f"{folder}/labels", "-o", f"{folder}/y.jsonl"]) == 2
    assert "--image_folder must be given" in capsys.readouterr().err
