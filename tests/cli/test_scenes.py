"""From tiles to a submission, and other detectors' files, by the command line."""

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lmmrotate.cli.main import main
from lmmrotate.data.manifest import Manifest, read_manifest
from lmmrotate.data.predictions import Predictions, PredictionsHeader
from lmmrotate.data.records import ImageRecord, Prediction
from lmmrotate.data.tiling import tile_manifest
from lmmrotate.geometry.rboxes import rboxes_to_quads


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A scene, its tiles, and predictions of the tiles that are right."""
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)).save(
        tmp_path / "s.png"
    )
    quads = rboxes_to_quads([(60, 60, 40, 20, 0.4), (200, 150, 50, 25, -0.3), (330, 240, 30, 20, 1.0)])
    record = ImageRecord("s.png", 400, 300, quads, ("ship", "ship", "plane"), (0, 0, 0))
    scenes = Manifest("d", "test", ("plane", "ship"), (record,), tmp_path)
    scenes.write(tmp_path / "scenes.jsonl")
    tiles = tile_manifest(scenes, tmp_path / "tiles", 200, 100)
    answers = [
        Prediction(r.image, *r.wh, quads=r.quads, labels=r.labels, scores=(1.0,) * len(r.labels))
        for r in tiles.records
    ]
    Predictions(PredictionsHeader(("plane", "ship")), tuple(answers)).write(tmp_path / "p.jsonl")
    return tmp_path


def test_from_tiles_to_a_submission(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    merge = ["merge", f"{folder}/p.jsonl", "--tiles", f"{folder}/tiles/manifest.jsonl"]
    out = f"{folder}/merged.jsonl"
    for rule in ("nms", "edge", "cluster"):
        assert main([*merge, "--scenes", f"{folder}/scenes.jsonl", "-o", out, "--merge", rule]) == 0
        assert "1 scenes of 6 tiles, 3 of" in capsys.readouterr().out
    assert main(["evaluate", "--manifest", f"{folder}/scenes.jsonl", "--predictions", out]) == 0
    assert "mAP 1.0000" in capsys.readouterr().out
    for kind in ("dota", "fair1m"):
        assert main(["submit", out, "--format", kind, "-o", f"{folder}/{kind}.zip"]) == 0
        capsys.readouterr()
        command = [
            "evaluate",
            "--manifest",
            f"{folder}/scenes.jsonl",
            "--predictions",
            f"{folder}/{kind}.zip",
        ]
        assert main([*command, "--protocol", "dota", "--csv", f"{folder}/c.csv"]) == 0
        assert "mAP 1.0000" in capsys.readouterr().out
    assert (folder / "c.csv").read_text().count("dota,0.5") == 3
    assert zipfile.ZipFile(folder / "dota.zip").namelist() == ["Task1_plane.txt", "Task1_ship.txt"]
    assert main([*command, "--kind", "voc"]) == 2
    assert "valid: mmrotate, dota_task1" in capsys.readouterr().err


def test_comparing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = read_manifest(folder / "scenes.jsonl")
    record = manifest.records[0]
    right = Prediction(
        record.image, 400, 300, quads=record.quads, labels=record.labels, scores=(0.9, 0.8, 0.7)
    )
    for name, quads in (("right", record.quads), ("off", record.quads + 15)):
        Predictions(PredictionsHeader(manifest.classes), (replace(right, quads=quads),)).write(
            folder / f"{name}.jsonl"
        )
    command = [
        "compare",
        "--manifest",
        f"{folder}/scenes.jsonl",
        f"{folder}/right.jsonl",
        f"{folder}/off.jsonl",
    ]
    assert main([*command, "--names", "right", "off", "--report", f"{folder}/c.html"]) == 0
    out = capsys.readouterr().out
    assert "best mF1 less 1st" in out
    assert "Where they differ most" in (folder / "c.html").read_text()
    assert main([*command, "--json"]) == 0
    assert '"less_the_first"' in capsys.readouterr().out
    assert main([*command, "--names", "one"]) == 2
    assert "got 1 names for 2 results" in capsys.readouterr().err
