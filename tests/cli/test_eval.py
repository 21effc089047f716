"""The published evaluation command."""

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lmmrotate.cli.main import main
from lmmrotate.data.manifest import Manifest, read_manifest
from lmmrotate.data.predictions import read_predictions
from lmmrotate.data.records import ImageRecord, SceneRef
from lmmrotate.training.config import TrainConfig
from lmmrotate.training.fit import train

FLAGS = ["--max_new_tokens", "30", "--overflow", "keep", "--device", "cpu"]
Config = Callable[..., TrainConfig]


def evaluate(*words: object) -> int:
    return main(["eval", *map(str, words), *FLAGS])


@pytest.fixture
def run(config: Config) -> Path:
    return train(config(max_steps=6, save_steps=2, save_total_limit=5)).run_folder


def test_checkpoints_are_compared_in_one_table_and_a_curve(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, results = tmp_path / "data" / "train.jsonl", tmp_path / "results"
    command = ("--model_ckpt_path", run, "--manifest", manifest, "--result_path", results)
    assert evaluate(*command, "--eval_intermediate_checkpoints") == 0
    printed = capsys.readouterr().out
    listed = json.loads((results / "results.json").read_text())
    assert [row["step"] for row in listed] == [2, 4, 6, None]
    assert {row["split"] for row in listed} == {"train"}
    assert all(0 <= row[name] <= 1 for row in listed for name in ("mAP", "mAP_nc", "mF1"))
    assert "checkpoint-4" in printed
    assert "<svg" in (results / "run-train.html").read_text()
    for name in ("run", "run-checkpoint-2"):
        assert {p.suffix for p in (results / name).iterdir() if p.name[0] != "."} == {
            ".jsonl",
            ".json",
            ".html",
        }
    assert evaluate(*command) == 0
    assert "all taken over" in capsys.readouterr().out


def test_predictions_are_used_again_only_if_everything_is_the_same(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, results = tmp_path / "data" / "train.jsonl", tmp_path / "results"
    command = ("--model_ckpt_path", run, "--manifest", manifest, "--result_path", results)

    def taken_over(*more: object) -> bool:
        assert evaluate(*command, *more) == 0
        return "all taken over" in capsys.readouterr().out

    assert not taken_over()
    assert taken_over("--iou", "0.7"), "scoring is not predicting"
    assert not taken_over("--num_beams", "2")
    assert not taken_over("--grammar", "boxes")
    assert not taken_over("--attn_implementation", "eager")
    assert not taken_over("--torch_dtype", "bfloat16")
    assert not taken_over()
    weights = run / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    assert not taken_over(), "another model"
    image = tmp_path / "data" / "images" / "train0.png"
    image.write_bytes(image.read_bytes())
    assert not taken_over(), "another image"
    assert not taken_over("--clip_num", "2")
    assert taken_over(), "a clip has a file of its own"
    clip = read_predictions(results / "run" / "train-clip2-seed0.jsonl")
    assert len(clip.images) == 2
    assert taken_over("--clip_num", "2", "--shuffle_seed", "0")
    assert not taken_over("--clip_num", "2", "--shuffle_seed", "5")


def test_a_known_data_set_without_labels_ends_in_an_archive(
    config: Config, data: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = read_manifest(data())
    from lmmrotate.data.catalog import dataset_spec

    classes = dataset_spec("dota_v1").classes
    labels = {"ship": "ship", "small-vehicle": "small-vehicle"}
    assert set(labels) <= set(classes)
    replace(manifest, classes=classes).write(tmp_path / "data" / "trainval.jsonl")
    run = train(config(data_path=(str(tmp_path / "data" / "trainval.jsonl"),), max_steps=2)).run_folder
    tiles = []
    for x in (0, 50):
        name = f"images/P0001__64__{x}___0.png"
        Image.fromarray(np.random.default_rng(x).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(
            tmp_path / "data" / name
        )
        tiles.append(ImageRecord(name, 64, 64, scene=SceneRef("P0001", x, 0)))
    Manifest("dota_v1", "test", classes, tuple(tiles), tmp_path / "data").write(
        tmp_path / "data" / "test.jsonl"
    )
    results = tmp_path / "results"
    command = (
        "--model_ckpt_path",
        run,
        "--dataset_type",
        "dota_v1",
        "--data_root",
        tmp_path / "data",
        "--result_path",
        results,
    )
    assert evaluate(*command, "--split", "trainval", "test", "--vis") == 0
    assert "for the dota evaluation server" in capsys.readouterr().out
    with zipfile.ZipFile(results / "run" / "test.zip") as archive:
        assert sorted(archive.namelist()) == sorted(f"Task1_{name}.txt" for name in classes)
    assert [row["split"] for row in json.loads((results / "results.json").read_text())] == ["trainval"]
    assert len(list((results / "run" / "test").glob("*.png"))) == 2
    assert evaluate(*command, "--split", "val") == 2
    assert evaluate(*command, "--split", "trainval", "--pass_evaluate") == 0


def test_the_data_set_is_never_guessed(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = tmp_path / "data" / "train.jsonl"
    for words, message in (
        ((), "say which data"),
        (("--dataset_type", "dota_v1"), "needs --data_root"),
        (
            ("--dataset_type", "dota_v1", "--data_root", tmp_path / "data", "--split", "train"),
            "has the classes ship",
        ),
        (("--manifest", manifest, manifest), "would share their names"),
        (("--manifest", manifest, "--torch_dtype", "int4"), "torch_dtype is 'int4'; valid: float32"),
        (("--manifest", manifest, "--attn_implementation", "slow"), "attn_implementation is 'slow'"),
    ):
        assert evaluate("--model_ckpt_path", run, "--result_path", tmp_path / "r", *words) == 2
        assert message in capsys.readouterr().err


def test_runs_of_one_name_do_not_collide(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / "run"
    other.parent.mkdir()
    other.symlink_to(run)
    copy = tmp_path / "b" / "run"
    copy.mkdir(parents=True)
    for path in run.iterdir():
        if path.is_file():
            (copy / path.name).write_bytes(path.read_bytes())
    manifest = tmp_path / "data" / "train.jsonl"
    assert (
        evaluate("--model_ckpt_path", run, copy, "--manifest", manifest, "--result_path", tmp_path / "r") == 0
    )
    assert {p.name for p in (tmp_path / "r").iterdir() if p.is_dir()} == {"run", "run-2"}
