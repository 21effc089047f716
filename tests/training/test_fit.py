import inspect
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from PIL import Image
from safetensors.torch import load_file

from lmmrotate.data.manifest import read_manifest
from lmmrotate.data.mixing import epoch_items
from lmmrotate.errors import CheckpointError, ConfigError, DataError
from lmmrotate.inference.decoding import DecodingOptions
from lmmrotate.inference.predictor import Predictor
from lmmrotate.runs import read_run, weights_digest
from lmmrotate.training.config import TrainConfig
from lmmrotate.training.dataset import AnswerDataset, Example
from lmmrotate.training.fit import train
from lmmrotate.training.options import config_to_yaml

Config = Callable[..., TrainConfig]


def test_run_directory_is_all_that_predict_needs(config: Config) -> None:
    settings = config()
    result = train(settings)
    assert result.steps == 4
    assert result.answers.images == 4
    run = result.run_folder
    info = read_run(run)
    assert info.config["learning_rate"] == 1e-3
    assert info.weights == weights_digest(run)
    assert info.data[0]["fingerprint"] == read_manifest(Path(settings.data_path[0])).fingerprint()
    history = json.loads((run / "trainer_state.json").read_text())["log_history"]
    assert [row["step"] for row in history if "loss" in row] == [1, 2, 3, 4]
    for folder in (run, run / "checkpoints" / "checkpoint-2"):
        predictor = Predictor.from_run(folder)
        assert predictor.classes == ("ship", "small-vehicle")
        assert (
            len(predictor.predict([Image.new("RGB", (30, 20))], options=DecodingOptions(max_new_tokens=4)))
            == 1
        )
    with pytest.raises(ConfigError, match="holds a finished run"):
        train(settings)


def test_training_is_reproducible_and_resumes_to_the_same_weights(config: Config, tmp_path: Path) -> None:
    whole = train(config(output_dir=str(tmp_path / "whole")))
    again = train(config(output_dir=str(tmp_path / "again")))
    assert read_run(whole.run_folder).weights == read_run(again.run_folder).weights

    # As if killed after the checkpoint at step 2, while writing the one at step 4.
    run = again.run_folder
    for path in run.iterdir():
        if path.is_file() and path.name != "config.yaml":
            path.unlink()
    (run / "checkpoints" / "checkpoint-4" / "trainer_state.json").write_text('{"global_step": 4')
    resumed = train(config(output_dir=str(run)))
    assert resumed.resumed_from == "checkpoint-2"
    left, right = (load_file(folder / "model.safetensors") for folder in (whole.run_folder, run))
    for name, tensor in left.items():
        torch.testing.assert_close(right[name], tensor)


def test_every_epoch_is_drawn_anew(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """The data set is told the epoch before the epoch's images are read, whatever made Trainer begin it."""
    told: list[int] = []
    read: list[int] = []
    set_epoch, item = AnswerDataset.set_epoch, AnswerDataset.__getitem__

    def listen(dataset: AnswerDataset, epoch: int) -> None:
        told.append(epoch)
        set_epoch(dataset, epoch)

    def watch(dataset: AnswerDataset, index: int) -> tuple[Image.Image, str]:
        read.append(told[-1])
        return item(dataset, index)

    monkeypatch.setattr(AnswerDataset, "set_epoch", listen)
    monkeypatch.setattr(AnswerDataset, "__getitem__", watch)
    train(config(dataset_mode="balanced concat", per_device_train_batch_size=2))
    assert read == [0] * 4 + [1] * 4


def record_reading(path: str, replace_attribute: Callable[[object, str, object], None]) -> None:
    """From now on, write down every answer that is read: epoch, index in it, name of the image."""
    epochs: list[int] = []
    set_epoch, get = AnswerDataset.set_epoch, AnswerDataset.__getitem__

    def listen(dataset: AnswerDataset, epoch: int) -> None:
        epochs.append(epoch)
        set_epoch(dataset, epoch)

    def watch(dataset: AnswerDataset, index: int) -> Example:
        found = get(dataset, index)
        with open(path, "a") as file:
            file.write(json.dumps([epochs[-1], index, found.path.stem]) + "\n")
        return found

    replace_attribute(AnswerDataset, "set_epoch", listen)
    replace_attribute(AnswerDataset, "__getitem__", watch)


RANK = f"""
import json, os, sys
from pathlib import Path
from typing import Callable
from lmmrotate.cli.main import main
from lmmrotate.training.dataset import AnswerDataset, Example

{inspect.getsource(record_reading)}
record_reading("rank" + os.environ["RANK"], setattr)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.distributed
def test_ranks_train_together(
    config: Config, data: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes on this CPU share the very epochs that one would see, and end with its weights."""
    settings = config(
        data_path=(str(data((1, 1), name="small")), str(data((1,) * 6, name="large"))),
        dataset_mode="balanced concat",
        max_steps=-1,
        num_train_epochs=2,
        per_device_train_batch_size=1,
        effective_batch_size=2,
        location_smoothing=2.0,
        cell_loss=True,
    )
    (tmp_path / "run.yaml").write_text(config_to_yaml(settings))
    (tmp_path / "rank.py").write_text(RANK)
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone", "rank.py"]
    done = subprocess.run(
        [sys.executable, *launcher, "train", "--config", "run.yaml", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert json.loads(done.stdout)["steps"] == 2 * 8 / 2
    assert Predictor.from_run(settings.output_dir).classes

    record_reading(str(tmp_path / "alone"), monkeypatch.setattr)
    assert train(replace(settings, output_dir=str(tmp_path / "alone_run"))).steps == 2 * 8 / 2
    together = load_file(Path(settings.output_dir) / "model.safetensors")
    for name, tensor in load_file(tmp_path / "alone_run" / "model.safetensors").items():
        torch.testing.assert_close(together[name], tensor, atol=2e-4, rtol=0, msg=name)
    first, second, whole = (
        [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
        for name in ("rank0", "rank1", "alone")
    )
    assert [item for pair in zip(first, second, strict=True) for item in pair] == whole
    for epoch in (0, 1):
        items = epoch_items((2, 6), "balanced concat", epoch).tolist()
        published = {i: f"{('small', 'large')[which]}{place}" for i, (which, place) in enumerate(items)}
        assert {index: name for number, index, name in whole if number == epoch} == published
        halves = [{index for number, index, _ in rank if number == epoch} for rank in (first, second)]
        assert [len(half) for half in halves] == [4, 4]
        assert not halves[0] & halves[1]
    names = [name for _, _, name in whole]
    assert names[:8] != names[8:]


def test_other_options_in_the_same_folder_are_refused(config: Config, tmp_path: Path) -> None:
    settings = config(save_steps=1)
    train(settings)
    run = Path(settings.output_dir)
    (run / "lmmrotate.json").unlink()
    with pytest.raises(ConfigError, match=r"other options \(seed: 0 -> 5\)"):
        train(replace(settings, seed=5))
    with FileLock(run / ".lock"), pytest.raises(ConfigError, match="another process is training in"):
        train(settings)
    manifest = read_manifest(Path(settings.data_path[0]))
    replace(manifest, records=manifest.records[:2]).write(Path(settings.data_path[0]))
    with pytest.raises(ConfigError, match="begun with other data"):
        train(settings)
    manifest.write(Path(settings.data_path[0]))
    (run / "checkpoints" / "checkpoint-4" / "optimizer.pt").write_bytes(b"cut")
    with pytest.raises(CheckpointError, match="checkpoint-4: cannot be continued"):
        train(settings)
    shutil.rmtree(run / "checkpoints")
    assert train(replace(settings, seed=5)).steps == 4, "without a checkpoint nothing would be lost"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    with pytest.raises(ConfigError, match="exists and is not a run directory"):
        train(replace(settings, output_dir=str(tmp_path / "full")))


def test_user_errors_leave_nothing_behind(config: Config, tmp_path: Path) -> None:
    settings = config()
    run = Path(settings.output_dir)
    with pytest.raises(DataError, match=r"none\.jsonl: no such file"):
        train(replace(settings, data_path=(str(tmp_path / "none.jsonl"),)))
    with pytest.raises(CheckpointError, match="no such directory"):
        train(replace(settings, model_name_or_path="./none"))
    with pytest.raises(ConfigError, match="valid: loc_tokens"):
        train(replace(settings, response_format="boxes"))
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="fp16 needs a GPU"):
            train(replace(settings, precision="fp16"))
    assert not run.exists()


def test_fine_tuning_starts_from_a_run(config: Config, tmp_path: Path) -> None:
    first = train(config())
    start = str(first.run_folder)
    second = train(config(model_name_or_path=start, output_dir=str(tmp_path / "second"), max_steps=2))
    assert second.loss < first.loss - 0.1
