"""Validation while training, and what follows from it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lmmrotate.data.manifest import read_manifest
from lmmrotate.data.predictions import read_predictions
from lmmrotate.errors import ConfigError
from lmmrotate.evaluation.evaluate import evaluate
from lmmrotate.inference.batch import predict_to_file
from lmmrotate.inference.decoding import DecodingOptions
from lmmrotate.inference.predictor import Predictor
from lmmrotate.inference.sources import FileSource
from lmmrotate.training.config import TrainConfig
from lmmrotate.training.fit import train
from lmmrotate.training.trainer import RunTrainer
from lmmrotate.training.validation import Validation

Config = Callable[..., TrainConfig]


def history(settings: TrainConfig) -> list[dict[str, float]]:
    state = json.loads((Path(settings.output_dir) / "trainer_state.json").read_text())
    return [entry for entry in state["log_history"] if "eval_mF1" in entry]


def test_numbers_are_those_of_predict_and_evaluate(
    config: Config, data: Callable[..., Path], tmp_path: Path
) -> None:
    manifest = data((2, 1, 3), name="val")
    settings = config(
        model_name_or_path="tiny", eval_data_path=(str(manifest),), max_steps=20, save_steps=10,
        location_smoothing=2.0, learning_rate=2e-3,
    )  # fmt: skip
    result = train(settings)
    assert len(history(settings)) == 2
    records = read_manifest(manifest)
    images = [(r.image, FileSource(manifest.parent / r.image)) for r in records.records]
    output = tmp_path / "predictions.jsonl"
    predict_to_file(
        Predictor.from_run(settings.output_dir),
        images,
        output,
        batch_size=4,
        options=DecodingOptions(overflow="keep"),
    )
    expected = evaluate(records, read_predictions(output))
    assert result.validation == pytest.approx(
        {"mF1": expected.mf1, "mAP": expected.map_11, "mAP_nc": expected.map_nc}
    )


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Let validation give these numbers, one after the other; returns the updates at which it was asked."""

    def give(*values: float) -> list[int]:
        left, asked = list(values), []

        def validate(self: Validation) -> dict[str, float]:
            asked.append(len(asked))
            return dict.fromkeys(("mF1", "mAP", "mAP_nc"), left.pop(0))

        monkeypatch.setattr(Validation, "__call__", validate)
        return asked

    return give


def test_the_best_checkpoint_is_kept_and_is_what_training_ends_with(
    config: Config, data: Callable[..., Path], scores: Callable[..., list[int]]
) -> None:
    scores(0.1, 0.5, 0.4, 0.3, 0.2, 0.1)
    settings = config(eval_data_path=(str(data((1, 1), name="val")),), max_steps=6, save_steps=1)
    result = train(settings)
    run = Path(settings.output_dir)
    kept = sorted(path.name for path in (run / "checkpoints").iterdir())
    assert kept == ["checkpoint-2", "checkpoint-6"], "save_total_limit is 2"
    best = run / "checkpoints" / "checkpoint-2" / "model.safetensors"
    assert best.read_bytes() == (run / "model.safetensors").read_bytes()
    assert result.validation is not None
    assert result.validation["mF1"] == 0.5


def test_the_last_weights_may_be_the_best(
    config: Config, data: Callable[..., Path], scores: Callable[..., list[int]]
) -> None:
    asked = scores(0.1, 0.5)
    settings = config(eval_data_path=(str(data((1, 1), name="val")),), max_steps=5, save_steps=3)
    result = train(settings)
    assert len(asked) == 2
    assert result.validation is not None
    assert result.validation["mF1"] == 0.5


def test_training_stops_when_nothing_gets_better(
    config: Config, data: Callable[..., Path], scores: Callable[..., list[int]]
) -> None:
    asked = scores(0.3, 0.2, 0.3, 0.9)
    settings = config(
        eval_data_path=(str(data((1, 1), name="val")),), max_steps=9, save_steps=1, early_stopping_patience=2
    )
    assert train(settings).steps == 3
    assert len(asked) == 3


def test_intermediate_checkpoints_can_go_without(
    config: Config, data: Callable[..., Path], scores: Callable[..., list[int]]
) -> None:
    asked = scores(0.3)
    settings = config(
        eval_data_path=(str(data((1, 1), name="val")),), eval_intermediate_checkpoints=False, save_steps=1
    )
    assert train(settings).validation == {"mF1": 0.3, "mAP": 0.3, "mAP_nc": 0.3}
    assert len(asked) == 1


def test_a_subset_is_spread_evenly(config: Config, data: Callable[..., Path], tmp_path: Path) -> None:
    settings = config(eval_data_path=(str(data((1,) * 10, name="val")),), eval_images=4, max_steps=2)
    seen: list[str] = []
    original = RunTrainer.evaluate

    def watch(self: RunTrainer, *args: object, **kwargs: object) -> dict[str, float]:
        assert isinstance(self._validate, Validation)
        seen.extend(record.image for _, record in self._validate._items)
        return original(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunTrainer, "evaluate", watch)
        train(settings)
    assert seen == [f"images/val{i}.png" for i in (0, 3, 6, 9)]


def test_impossible_options(config: Config, data: Callable[..., Path]) -> None:
    with pytest.raises(ConfigError, match="early_stopping_patience needs eval_data_path"):
        config(early_stopping_patience=1)
    with pytest.raises(ConfigError, match="eval_metric is 'f1'; valid: mF1, mAP, mAP_nc"):
        config(eval_metric="f1")
    with pytest.raises(ConfigError, match="effective_batch_size 6 is not a multiple"):
        train(config(effective_batch_size=6))
    with pytest.raises(ConfigError, match="report_to: wandb is not installed"):
        train(config(report_to=("wandb",)))
