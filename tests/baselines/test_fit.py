"""Training detectors: from images to a run that finds their objects, interrupted, shared and judged."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from lmmrotate.baselines.backbone import build_backbone
from lmmrotate.baselines.config import BaselineConfig
from lmmrotate.baselines.fit import BaselineResult, rate_at, train_baseline
from lmmrotate.baselines.predictor import BaselinePredictor
from lmmrotate.cli.main import main
from lmmrotate.data.manifest import read_manifest
from lmmrotate.data.predictions import Predictions, read_predictions
from lmmrotate.data.records import Prediction
from lmmrotate.errors import CheckpointError, ConfigError, DataError
from lmmrotate.evaluation.evaluate import evaluate
from lmmrotate.inference.predictor import Predictor
from lmmrotate.runs import read_run
from lmmrotate.training.export import export_checkpoint

ARCHS = ("rotated_retinanet", "rotated_fcos")
Config = Callable[..., BaselineConfig]


@pytest.fixture
def config(tmp_path: Path, data: Callable[..., Path]) -> Config:
    """A configuration that trains a tiny detector in seconds."""

    def build(**options: object) -> BaselineConfig:
        settings: dict[str, object] = {
            "data_path": (str(data()),), "output_dir": str(tmp_path / "run"), "backbone": "resnet-tiny",
            "image_square_length": 128, "channels": 64, "stacked_convs": 1, "optimizer": "adamw",
            "learning_rate": 2e-3, "lr_schedule": "cosine", "warmup_steps": 5, "max_steps": 4,
            "per_device_train_batch_size": 4, "logging_steps": 1, "report_to": ("none",), "save_steps": 2,
        }  # fmt: skip
        return BaselineConfig(**(settings | options))  # type: ignore[arg-type]

    return build


@pytest.fixture
def few_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.usefixtures("few_threads")
@pytest.mark.parametrize("arch", ARCHS)
def test_a_few_images_are_memorised(config: Config, arch: str) -> None:
    options = config(arch=arch, max_steps=150, save_steps=1000, augment_flip=False, channels=64)
    result = train_baseline(options)
    assert (result.images, result.skipped_images, result.steps) == (3, 1, 150)
    log = json.loads((result.run_folder / "trainer_state.json").read_text())["log_history"]
    losses = [entry["loss"] for entry in log if "loss" in entry]
    assert losses[-1] < 0.3 * losses[0]
    manifest = read_manifest(Path(options.data_path[0]))
    predictor = BaselinePredictor.from_run(result.run_folder)
    pictures = [Image.open(manifest.image_path(record)).convert("RGB") for record in manifest.records]
    names = [record.image for record in manifest.records]
    found = predictor.predict_pictures(names, pictures)
    judged = evaluate(manifest, Predictions(predictor.header, tuple(found)))
    assert judged.map_11 > 0.99
    assert judged.details is not None
    assert judged.details.sweep.best_mf1()[0] == 1.0
    alone = [predictor.predict_pictures([n], [p])[0] for n, p in zip(names, pictures, strict=True)]
    for one, other in zip(alone, found, strict=True):
        sure = np.array(one.scores) > 0.3
        assert np.allclose(one.quads[sure], other.quads[: sure.sum()], atol=1e-2)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


@pytest.mark.usefixtures("few_threads")
@pytest.mark.parametrize("arch", ARCHS)
def test_an_interrupted_run_goes_on(config: Config, arch: str) -> None:
    options = config(arch=arch, max_steps=6, augment_turn=True)
    run = train_baseline(options).run_folder
    expected, info = weights(run), read_run(run)
    assert info.detector["arch"] == arch
    assert info.trained_seconds > 0
    with pytest.raises(ConfigError, match="holds a finished run"):
        train_baseline(options)
    (run / "lmmrotate.json").unlink()
    shutil.rmtree(run / "checkpoints" / "checkpoint-6")
    with pytest.raises(ConfigError, match=r"learning_rate: 0\.002 -> 0\.003"):
        train_baseline(config(arch=arch, max_steps=6, augment_turn=True, learning_rate=3e-3))
    result = train_baseline(options)
    assert result.resumed_from == "checkpoint-4"
    assert all(torch.equal(expected[name], tensor) for name, tensor in weights(run).items())
    again = read_run(run)
    assert again.fingerprint == info.fingerprint
    checkpoint = read_run(run / "checkpoints" / "checkpoint-6")
    assert again.trained_seconds >= checkpoint.trained_seconds > 0


def pretrained(folder: Path) -> str:
    """A backbone whose statistics stay as they are, so that batches can be divided."""
    torch.manual_seed(0)
    build_backbone("resnet-tiny").save_pretrained(folder)
    return str(folder)


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.parametrize("arch", ARCHS)
def test_processes_and_accumulation_change_nothing(
    config: Config, tmp_path: Path, data: Callable[..., Path], arch: str
) -> None:
    """An update of four images: at once, in two steps, and by two processes."""
    manifest = str(data(counts=(1, 2, 0, 3, 1)))
    options = {
        "data_path": (manifest,), "arch": arch, "max_steps": 3, "norm_eval": True, "skip_empty": False,
        "backbone_weights": pretrained(tmp_path / "backbone"), "optimizer": "sgd", "learning_rate": 1e-3,
    }  # fmt: skip
    whole = train_baseline(config(**options, output_dir=str(tmp_path / "whole")))
    parts = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
    halves = train_baseline(config(**options, output_dir=str(tmp_path / "halves"), **parts))
    shared = config(**options, output_dir=str(tmp_path / "shared"), per_device_train_batch_size=2)
    text = yaml.safe_dump({k: list(v) if isinstance(v, tuple) else v for k, v in asdict(shared).items()})
    (tmp_path / "shared.yaml").write_text(text)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
               "-m", "lmmrotate", "baseline", "train", "--config", str(tmp_path / "shared.yaml")]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-3000:]
    expected = weights(whole.run_folder)
    moved = load_file(tmp_path / "backbone" / "model.safetensors")
    assert any(not torch.equal(expected[f"backbone.{name}"], tensor) for name, tensor in moved.items())
    for folder in (halves.run_folder, tmp_path / "shared"):
        for name, tensor in weights(folder).items():
            assert torch.allclose(tensor, expected[name], atol=1e-5), f"{folder.name}: {name}"


def test_half_precision(config: Config) -> None:
    """Under autocast; the losses are computed in float32."""
    result = train_baseline(config(precision="bf16", max_steps=3))
    full = train_baseline(config(max_steps=3, output_dir=str(result.run_folder.parent / "full")))
    assert result.loss == pytest.approx(full.loss, rel=0.05)


def test_validation_chooses_the_best(
    config: Config, data: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the first of two: whatever the detector says, it then finds everything, and later nothing."""
    path = data()
    records = {str(number): record for number, record in enumerate(read_manifest(path).records)}
    calls = []

    def predict(self: BaselinePredictor, names: list[str], pictures: object, options: object) -> object:
        calls.append(names)
        last = sum(map(len, calls)) > len(records)
        return [
            Prediction(name, record.width, record.height)
            if last
            else Prediction(
                name,
                record.width,
                record.height,
                "",
                record.quads,
                record.labels,
                (0.9,) * len(record.labels),
            )
            for name, record in ((name, records[name]) for name in names)
        ]

    monkeypatch.setattr(BaselinePredictor, "predict_pictures", predict)
    options = config(eval_data_path=(str(path),), eval_metric="mAP", max_steps=4)
    result: BaselineResult = train_baseline(options)
    assert result.validation is not None
    assert set(result.validation) >= {"mF1", "mAP", "mAP_nc"}
    assert result.validation["mAP"] == 1
    checkpoints = result.run_folder / "checkpoints"
    ended, first, last = (
        weights(folder)["head.class_logits.bias"]
        for folder in (result.run_folder, checkpoints / "checkpoint-2", checkpoints / "checkpoint-4")
    )
    assert torch.equal(ended, first)
    assert not torch.equal(ended, last)


def test_what_cannot_be_trained_is_told(config: Config, data: Callable[..., Path]) -> None:
    empty = str(data(counts=(0, 0), name="empty"))
    with pytest.raises(DataError, match="no image with an object"):
        train_baseline(config(data_path=(empty,)))
    for wrong, message in (
        ({"frozen_stages": 1}, "need backbone_weights"),
        ({"norm_eval": True}, "need backbone_weights"),
        ({"frozen_stages": 7, "backbone_weights": "x"}, "from 0 to 4"),
        ({"optimizer": "adam"}, "valid: sgd, adamw"),
        ({"lr_schedule": "linear"}, "valid: step, cosine"),
        ({"lr_drop_epochs": (0.0,)}, "must be above 0"),
        ({"lr_drop_epochs": (float("nan"),)}, "lr_drop_epochs must be a finite number"),
        ({"lr_drop_epochs": (8.0, float("inf"))}, "lr_drop_epochs must be a finite number"),
        ({"momentum": 1.5}, "from 0 to below 1, got 1.5"),
        ({"padding": "white"}, "valid: mean, black"),
        ({"arch": "yolo"}, "valid: rotated_retinanet, rotated_fcos"),
    ):
        with pytest.raises(ConfigError, match=message):
            config(**wrong)
    with pytest.raises(CheckpointError, match="does not fit"):
        train_baseline(config(backbone="resnet18", backbone_weights=pretrained(Path(empty).parent / "tiny")))


def test_the_published_schedule() -> None:
    """500 updates from a third, a tenth after epochs 8 and 11 of 12 (mmengine's LinearLR and MultiStepLR)."""
    rates = [rate_at(step, warmup=500, drops=[8000, 11000], total=12000) for step in range(12000)]
    assert rates[0] == pytest.approx(1 / 3)
    assert rates[250] == pytest.approx(2 / 3)
    assert rates[500] == rates[7999] == 1
    assert rates[8000] == rates[10999] == pytest.approx(0.1)
    assert rates[11000] == pytest.approx(0.01)
    falling = [rate_at(step, warmup=0, drops=None, total=100) for step in (0, 50, 100)]
    assert falling == pytest.approx([1, 0.5, 0])


def test_the_trainer_follows_the_schedule(config: Config) -> None:
    """Two updates an epoch (3 images by twos); the rate falls after the first and the second epoch."""
    options = config(
        optimizer="sgd", learning_rate=1e-3, lr_schedule="step", lr_drop_epochs=(1, 2), warmup_steps=0,
        max_steps=-1, num_train_epochs=3, per_device_train_batch_size=2,
    )  # fmt: skip
    run = train_baseline(options).run_folder
    log = json.loads((run / "trainer_state.json").read_text())["log_history"]
    rates = [entry["learning_rate"] for entry in log if "learning_rate" in entry]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5])


def test_the_commands(config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = config(max_steps=2)
    text = yaml.safe_dump({k: list(v) if isinstance(v, tuple) else v for k, v in asdict(options).items()})
    (tmp_path / "run.yaml").write_text(text)
    assert main(["baseline", "train", "--config", str(tmp_path / "run.yaml")]) == 0
    assert "2 steps on 3 images" in capsys.readouterr().out
    run, manifest = str(tmp_path / "run"), options.data_path[0]
    output = tmp_path / "found.jsonl"
    command = ["baseline", "predict", "--model", run, "--manifest", manifest, "-o", str(output)]
    assert main([*command, "--score_threshold", "0.001", "--max_boxes", "7"]) == 0
    found = read_predictions(output)
    assert found.header.codec == ""
    assert found.header.settings["arch"] == "rotated_fcos"
    trained = BaselinePredictor.from_run(run)._detector.parameters()
    assert found.header.settings["parameters"] == sum(p.numel() for p in trained)
    assert found.header.settings["trained_seconds"] > 0
    assert found.header.settings["max_boxes"] == 7
    assert [p.image for p in found.images] == [r.image for r in read_manifest(Path(manifest)).records]
    assert all(len(p.labels) <= 7 for p in found.images)
    assert any(p.labels for p in found.images)
    assert main(["evaluate", "--manifest", manifest, "--predictions", str(output)]) == 0
    scene = tmp_path / "scene.png"
    Image.new("RGB", (500, 260), (90, 90, 90)).save(scene)
    assert main(["baseline", "predict", str(scene), "--model", run, "-o", str(tmp_path / "s.jsonl")]) == 0
    assert "tiles predicted" in capsys.readouterr().out
    assert (read_predictions(tmp_path / "s.jsonl").images[0].width) == 500


def test_each_kind_of_run_is_told_from_the_other(config: Config) -> None:
    run = train_baseline(config(max_steps=1)).run_folder
    with pytest.raises(CheckpointError, match="use lmmrotate baseline predict"):
        Predictor.from_run(run)
    with pytest.raises(CheckpointError, match="use lmmrotate predict"):
        BaselinePredictor.from_run("tiny")
    with pytest.raises(ConfigError, match="holds a baseline detector"):
        export_checkpoint(str(run), run.parent / "exported", "native")
    info = json.loads((run / "lmmrotate.json").read_text())
    info["detector"]["colour"] = "red"
    (run / "lmmrotate.json").write_text(json.dumps(info))
    with pytest.raises(CheckpointError, match=r"lmmrotate\.json.*unknown key colour"):
        BaselinePredictor.from_run(run)
    del info["detector"]["colour"]
    info["detector"]["channels"] = 96
    (run / "lmmrotate.json").write_text(json.dumps(info))
    with pytest.raises(CheckpointError, match=r"model\.safetensors: cannot be loaded"):
        BaselinePredictor.from_run(run)


@pytest.mark.slow
@pytest.mark.usefixtures("few_threads")
def test_the_published_workflow_on_rsar(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """RSAR's files: convert, train both, predict to files, best mAP_nc and best F1 over thresholds."""
    rng = np.random.default_rng(1)
    for split, count in (("trainval", 12), ("test", 6)):
        folder = tmp_path / "RSAR" / split
        for part in ("images", "annfiles"):
            (folder / part).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 40, (96, 96), dtype=np.uint8)
            x, y = rng.integers(10, 50, 2)
            pixels[y : y + 12, x : x + 30] = 230
            Image.fromarray(pixels).save(folder / "images" / f"{number:04d}.png")
            corners = f"{x}.0 {y}.0 {x + 30}.0 {y}.0 {x + 30}.0 {y + 12}.0 {x}.0 {y + 12}.0"
            (folder / "annfiles" / f"{number:04d}.txt").write_text(f"{corners} ship 0\n")
        where = ["--image_folder", str(folder / "images"), "--annotations", str(folder / "annfiles")]
        target = ["-o", str(tmp_path / f"{split}.jsonl"), "--split", split]
        assert main(["convert", *where, "--dataset", "rsar", *target]) == 0
    files = []
    for arch in ARCHS:
        train = ["baseline", "train", "--arch", arch, "--data_path", str(tmp_path / "trainval.jsonl")]
        shape = ["--backbone", "resnet-tiny", "--image_square_length", "128", "--channels", "64",
                 "--stacked_convs", "1"]  # fmt: skip
        how = ["--optimizer", "adamw", "--learning_rate", "2e-3", "--lr_schedule", "cosine", "--max_steps",
               "120", "--warmup_steps", "5", "--per_device_train_batch_size", "4"]  # fmt: skip
        assert main([*train, *shape, *how, "--output_dir", str(tmp_path / arch), "--report_to", "none"]) == 0
        files.append(str(tmp_path / f"{arch}.jsonl"))
        predict = ["baseline", "predict", "--model", str(tmp_path / arch), "-o", files[-1]]
        assert main([*predict, "--manifest", str(tmp_path / "test.jsonl")]) == 0
    capsys.readouterr()
    compare = ["compare", "--manifest", str(tmp_path / "test.jsonl"), *files, "--names", *ARCHS]
    assert main(compare) == 0
    told = capsys.readouterr().out
    for row in ("mAP", "best mAP_nc", "best mF1", "parameters", "training", "images/s"):
        assert row in told
    assert main([*compare, "--json"]) == 0
    for result in json.loads(capsys.readouterr().out)["results"]:
        assert result["mAP"] > 0.8
        assert result["best_mF1"]["value"] > 0.8
        assert result["best_mAP_nc"]["value"] > 0.8
        assert result["parameters"] > 0
