import json
from pathlib import Path

import pytest
from PIL import Image

from lmmrotate.cli.main import main
from lmmrotate.data.convert import convert
from lmmrotate.data.manifest import read_manifest

LINE = "10 10 30 10 30 20 10 20 {} 0\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    Image.effect_noise((64, 48), 50).convert("RGB").save(tmp_path / "images/P1.png")
    (tmp_path / "labels/P1.txt").write_text(LINE.format("ship"))
    return tmp_path


def check(folder: Path, *options: str) -> int:
    return main(
        ["check", "--image_folder", f"{folder}/images", "--annotations", f"{folder}/labels", *options]
    )


def test_clean_data(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(folder) == 0
    out = capsys.readouterr().out
    assert "nothing found" in out
    assert "ship 1" in out
    assert "20 / 20 / 20 / 20 px" in out
    assert "11 / 11 / 11 / 11; 0 of 1 longer than 1024" in out, "start, end, eight numbers, one name"


def test_findings_set_the_exit_status(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "labels/P1.txt").write_text(LINE.format("ship") + LINE.format("barge"))
    assert check(folder, "--dataset", "dota") == 1
    out = capsys.readouterr().out
    assert "error: unknown class (1)" in out
    assert f"{folder}/labels/P1.txt:2: unknown class 'barge'; valid: plane" in out
    assert check(folder, "--dataset", "dota", "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["errors"] == len(found["findings"]) == 2  # and two classes for one object
    assert {finding["where"] for finding in found["findings"]} == {f"{folder}/labels/P1.txt:2"}


def test_warnings_count_when_asked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.effect_noise((64, 48), 50).convert("RGB").save(folder / "images/P2.png")
    assert check(folder) == 0
    assert "warning: image without labels (1)" in capsys.readouterr().out
    assert check(folder, "--strict") == 1


def test_a_manifest_against_another(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    convert(folder / "images", folder / "labels", folder / "train.jsonl")
    assert main(["check", "--annotations", str(folder / "train.jsonl")]) == 0
    convert(folder / "images", folder / "labels", folder / "test.jsonl", split="test")
    capsys.readouterr()
    command = ["check", "--annotations", str(folder / "train.jsonl"), "--against", str(folder / "test.jsonl")]
    assert main(command) == 1
    assert "train/test leakage" in capsys.readouterr().out
    assert main([*command, "--no_pixels"]) == 0


def test_wrong_use(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--annotations", str(folder / "labels")]) == 2
    assert check(folder, "--from", "pascal") == 2
    assert "unknown annotation format 'pascal'; known: manifest, dota" in capsys.readouterr().err


def test_a_corrected_copy_and_a_page(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "labels/P1.txt").write_text(
        LINE.format("shp") + LINE.replace("0 20 10 20", "0 40 10 40").format("ship")
    )
    command = ["--classes", "ship", "--fix", str(folder / "fixed"), "--report", str(folder / "check.html")]
    assert check(folder, *command) == 1
    out = capsys.readouterr().out
    assert "corrected: misspelled class (1)" in out
    assert f"{folder}/check.html" in out
    assert "misspelled class" in (folder / "check.html").read_text()
    assert check(folder / "fixed", "--classes", "ship") == 0
    assert check(folder, *command) == 1, "the same copy once more"
    assert check(folder, "--classes", "ship", "--fix", str(folder)) == 2
    assert "is not empty" in capsys.readouterr().err


def test_names_that_no_model_can_tell_apart_are_findings(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [LINE.format("ship"), "40 10 60 10 60 20 40 20 Ship 0\n", "40 30 60 30 60 40 40 40 x[/b]<y> 0\n"]
    (folder / "labels/P1.txt").write_text("".join(lines))
    assert check(folder) == 1
    out = capsys.readouterr().out
    assert "misspelled class (1)" in out
    assert "x[/b]<y> 1" in out


def test_findings_as_json_name_the_image_of_objects_that_could_not_be_read(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "labels/P1.txt").write_text(LINE.format("ship") + "1 2 3\n")
    assert check(folder, "--json") == 1
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert (finding["image"], finding["unread"]) == ("P1.png", True)
    assert finding["text"].startswith("expected 'x1 y1")


def test_manifests_beside_other_folders_of_images(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    convert(folder / "images", folder / "labels", folder / "train.jsonl")
    elsewhere = folder / "elsewhere" / "test.jsonl"
    convert(folder / "images", folder / "labels", elsewhere, dataset="mine", split="test")
    command = ["check", "--annotations", str(folder / "train.jsonl"), "--against", str(elsewhere)]
    assert main(command) == 2
    capsys.readouterr()
    assert main([*command, "--against_image_folder", str(folder / "images")]) == 1
    assert "is the same picture as P1.png of mine test" in capsys.readouterr().out


def test_a_manifest_without_images(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    convert(folder / "images", folder / "labels", folder / "train.jsonl")
    (folder / "empty.jsonl").write_text((folder / "train.jsonl").read_text().splitlines()[0] + "\n")
    assert main(["check", "--annotations", str(folder / "empty.jsonl")]) == 1
    assert "error: no images" in capsys.readouterr().out


def test_a_fixed_manifest_keeps_its_names(folder: Path) -> None:
    convert(folder / "images", folder / "labels", folder / "m.jsonl", dataset="mine", split="val")
    assert main(["check", "--annotations", str(folder / "m.jsonl"), "--fix", str(folder / "fixed")]) == 0
    fixed = read_manifest(folder / "fixed" / "manifest.jsonl")
    assert (fixed.dataset, fixed.split) == ("mine", "val")
