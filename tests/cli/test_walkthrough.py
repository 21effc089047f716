"""The path of the README, verb by verb, on data made on the spot."""

import json
from pathlib import Path

import pytest

from lmmrotate.cli.main import main


def test_from_nothing_to_a_report(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: str | Path) -> str:
        assert main([str(a) for a in arguments]) == 0
        return capfd.readouterr().out

    data = tmp_path / "data"
    manifest = data / "train.jsonl"
    printed = run("synth", data, "--count", "6", "--size", "96", "--density", "sparse", "--workers", "1")
    assert "6 images" in printed
    tiles = tmp_path / "tiles"
    assert "6 scenes, 24 tiles" in run(
        "tile", manifest, tiles, "--size", "64", "--gap", "32", "--workers", "1"
    )

    config = tmp_path / "run.yaml"
    config.write_text(
        f"data_path: {tiles / 'manifest.jsonl'}\noutput_dir: {tmp_path / 'run'}\nimage_square_length: 64\n"
        "learning_rate: 1e-3\nsave_steps: 100\n"
    )
    result = json.loads(run("train", "--config", config, "--max_steps", "3", "--json"))
    assert result["steps"] == 3
    assert result["answers"]["images"] == 24

    predictions = tmp_path / "predictions.jsonl"
    printed = run(
        "predict", "--model", tmp_path / "run", "--manifest", tiles / "manifest.jsonl", "-o", predictions
    )
    assert "24 images predicted" in printed
    scoring = ("--manifest", tiles / "manifest.jsonl", "--predictions", predictions)
    evaluation = json.loads(run("evaluate", *scoring, "--json"))
    assert evaluation["images"] == 24
    assert evaluation["protocol"] == "corrected"
    table = run("evaluate", *scoring, "--protocol", "lmmrotate")
    assert "protocol lmmrotate" in table
    assert "\x1b" not in table, "no colour codes in a pipe"
    run("report", *scoring, "-o", tmp_path / "report.html", "--max_images", "3")
    assert (tmp_path / "report.html").read_text().count("<img") == 3


def test_own_data_needs_no_code(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    Image.new("RGB", (40, 30)).save(tmp_path / "images" / "a.png")
    label = tmp_path / "labels" / "a.txt"
    label.write_text("1 1 9 1 9 5 1 5 fishing boat 0\n1 1 9 1 9 5 1 buoy 0\n")
    command = [
        "convert",
        "--image_folder",
        str(tmp_path / "images"),
        "--annotations",
        str(tmp_path / "labels"),
    ]
    command += ["-o", str(tmp_path / "m.jsonl")]
    assert main(command) == 2
    printed = capfd.readouterr().err
    assert "a.txt:2" in printed
    assert not (tmp_path / "m.jsonl").exists()
    assert main([*command, "--on_bad", "skip"]) == 0
    printed = capfd.readouterr().out
    assert "1 objects left out" in printed
    assert "fishing boat" in printed
