"""Kills, signals, full disks, numbers that are none."""

import json
import multiprocessing
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerState

from lmmrotate.cli.main import main
from lmmrotate.errors import TrainingError
from lmmrotate.inference.predictor import Predictor
from lmmrotate.training.checkpoints import last_complete_checkpoint
from lmmrotate.training.config import TrainConfig
from lmmrotate.training.fit import train
from lmmrotate.training.options import config_to_yaml
from lmmrotate.training.trainer import RunTrainer

Config = Callable[..., TrainConfig]


def command(settings: TrainConfig, folder: Path) -> list[str]:
    path = folder / f"{Path(settings.output_dir).name}.yaml"
    path.write_text(config_to_yaml(settings))
    return [sys.executable, "-m", "lmmrotate", "train", "--config", str(path), "--json"]


def weights(settings: TrainConfig) -> dict[str, torch.Tensor]:
    return load_file(Path(settings.output_dir) / "model.safetensors")


def updates_done(settings: TrainConfig) -> int:
    last = last_complete_checkpoint(Path(settings.output_dir))
    return int(last.name.split("-")[1]) if last else 0


def wait_for(condition: Callable[[], bool], process: BaseProcess) -> None:
    end = time.monotonic() + 120
    while not condition() and process.is_alive():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.slow
def test_ten_kills_at_random_moments(config: Config, tmp_path: Path) -> None:
    """Bit by bit the weights of a run that nobody disturbed."""
    steps = 150
    settings = config(
        max_steps=steps, save_steps=3, location_smoothing=2.0, cell_loss=True, augment_flip=True,
        augment_colour=0.5, group_by_length=True,
    )  # fmt: skip
    rng = random.Random(0)
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["lmmrotate.training.fit"])  # imported once, not before every kill
    for kill in range(10):
        process = processes.Process(target=main, args=(command(settings, tmp_path)[3:],))
        process.start()
        before = updates_done(settings)
        wait_for(lambda before=before: updates_done(settings) > before, process)  # type: ignore[misc]
        time.sleep(rng.uniform(0, 0.4))  # in a step, or while a checkpoint is being written
        assert process.is_alive(), f"finished before kill {kill}; make it longer"
        process.kill()
        process.join()
    done = subprocess.run(
        command(settings, tmp_path), capture_output=True, text=True, check=True, timeout=300
    )
    assert json.loads(done.stdout)["steps"] == steps
    assert json.loads(done.stdout)["resumed_from"].startswith("checkpoint-")
    assert "going on from" in done.stderr
    assert Predictor.from_run(settings.output_dir).classes
    whole = replace(settings, output_dir=str(tmp_path / "whole"))
    train(whole)
    alone, killed = weights(whole), weights(settings)
    assert all(torch.equal(alone[name], killed[name]) for name in alone)


@pytest.mark.parametrize("workers", [0, 2])
def test_sigterm_saves_and_the_run_goes_on(config: Config, tmp_path: Path, workers: int) -> None:
    """Sent to all processes, those that read images among them, as Slurm does."""
    settings = config(max_steps=30, save_steps=1000, dataloader_num_workers=workers)
    with subprocess.Popen(
        command(settings, tmp_path), stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "step 3/30" in line:
                break
        os.killpg(process.pid, signal.SIGTERM)
        rest = process.stderr.read()
    assert process.returncode == 143
    assert "told to stop; saved at update" in rest
    assert "the same command goes on" in rest
    saved = updates_done(settings)
    assert 3 <= saved < 30
    assert not (Path(settings.output_dir) / "lmmrotate.json").exists(), "the run is not finished"
    assert train(settings).resumed_from == f"checkpoint-{saved}"
    whole = replace(settings, output_dir=str(tmp_path / "whole"))
    train(whole)
    alone, stopped = weights(whole), weights(settings)
    assert all(torch.equal(alone[name], stopped[name]) for name in alone)


def test_a_full_disk_leaves_the_checkpoint_before(config: Config, tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk: writing fails in the middle of a file."""
    settings = config(max_steps=4, save_steps=2)
    first = subprocess.run(
        [sys.executable, "-c", LIMITED, *command(settings, tmp_path)[3:]],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert first.returncode == 2
    error = first.stderr.strip().splitlines()[-1]
    assert "checkpoint-4 could not be written" in error
    assert "the last good checkpoint is" in error
    assert "checkpoint-2; make room, and the same command goes on" in error
    assert [p.name for p in (Path(settings.output_dir) / "checkpoints").iterdir()] == ["checkpoint-2"]
    assert train(settings).resumed_from == "checkpoint-2"


LIMITED = f"""
import sys, resource
from lmmrotate.cli.main import main
from lmmrotate.training.trainer import RunTrainer
save = RunTrainer._save_checkpoint
def limited(self, *args, **kwargs):
    if self.state.global_step == 4:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, {resource.RLIM_INFINITY}))
    save(self, *args, **kwargs)
RunTrainer._save_checkpoint = limited
sys.exit(main(sys.argv[1:]))
"""


def test_numbers_that_are_none_stop_it(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config(save_steps=1, max_steps=8)
    original = RunTrainer.compute_loss

    def spoiled(self: RunTrainer, *args: object, **kwargs: object) -> object:
        loss = original(self, *args, **kwargs)  # type: ignore[arg-type]
        return loss * float("nan") if self.state.global_step == 2 else loss

    monkeypatch.setattr(RunTrainer, "compute_loss", spoiled)
    with pytest.raises(
        TrainingError, match=r"update 3: the loss is nan, in a batch of .*train\d\.png"
    ) as error:
        train(settings)
    assert f"the last good checkpoint is {settings.output_dir}/checkpoints/checkpoint-2" in str(error.value)
    assert os.listdir(Path(settings.output_dir) / "checkpoints")


def test_gradients_that_are_none_do_not_reach_the_weights(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(save_steps=1, max_steps=8)
    original = RunTrainer.training_step

    def spoiled(self: RunTrainer, model: torch.nn.Module, *args: object) -> torch.Tensor:
        loss = original(self, model, *args)  # type: ignore[arg-type]
        if self.state.global_step == 2:
            next(p for p in model.parameters() if p.grad is not None).grad.fill_(float("inf"))
        return loss

    monkeypatch.setattr(RunTrainer, "training_step", spoiled)
    with pytest.raises(TrainingError, match=r"update 3: the gradient's norm is (nan|inf)"):
        train(settings)
    assert updates_done(settings) == 2


def test_nothing_is_missing_when_a_checkpoint_counts_as_complete(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill right after ``trainer_state.json`` once left a checkpoint without the cell loss's weights."""
    seen: list[bool] = []
    original = TrainerState.save_to_json

    def look(self: TrainerState, path: str) -> None:
        if "checkpoint-" in path:
            seen.append((Path(path).parent / "auxiliary" / "trained.safetensors").exists())
        original(self, path)

    monkeypatch.setattr(TrainerState, "save_to_json", look)
    train(config(cell_loss=True))
    assert seen == [True, True]
