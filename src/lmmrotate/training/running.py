"""The life of a run directory around Trainer's loop: who may write, where it goes on, how it ends."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol

from safetensors import SafetensorError
from transformers import (
    EarlyStoppingCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

from lmmrotate.data.jsonl import write_text_atomic
from lmmrotate.data.streaming import ManifestFile
from lmmrotate.errors import CheckpointError, ConfigError, Stopped, first_line
from lmmrotate.runs import RunInfo, read_run
from lmmrotate.training.checkpoints import last_complete_checkpoint, remove_incomplete_checkpoints
from lmmrotate.training.options import config_to_yaml
from lmmrotate.training.progress import ProgressBar
from lmmrotate.training.run_config import INCIDENTAL, RunConfig
from lmmrotate.training.run_folder import only_one, refuse_foreign
from lmmrotate.training.stopping import StopOnSignal
from lmmrotate.training.trainer import RunTrainer
from lmmrotate.training.validation import Validation

CONFIG_FILE = "config.yaml"

log = logging.getLogger(__name__)


class Epochs(Protocol):
    """Data that differs from epoch to epoch."""

    def set_epoch(self, epoch: int) -> None: ...


def begin(config: RunConfig) -> None:
    """Refuse a folder that is not this run's, and set the seed.

    Raises:
        ConfigError: for an ``output_dir`` that holds a finished run or one with other options.
    """
    folder = Path(config.output_dir)
    refuse_foreign(
        folder / CONFIG_FILE, config, INCIDENTAL, begun=last_complete_checkpoint(folder) is not None
    )
    set_seed(config.seed)


def describe(manifest: ManifestFile) -> dict[str, Any]:
    """What the run directory says about data."""
    return {
        "dataset": manifest.dataset,
        "split": manifest.split,
        "images": len(manifest),
        "fingerprint": manifest.fingerprint(),
    }


def run_to_end(trainer: RunTrainer, config: RunConfig, epochs: Sequence[Epochs]) -> tuple[Any, Path | None]:
    """Train, from the last complete checkpoint if there is one, and write the run directory.

    Args:
        epochs: what is to be told which epoch begins, before images are read.

    Returns:
        Trainer's result, and the checkpoint from which it went on.

    Raises:
        ConfigError: if the run was begun with other data, or another process is training in it.
        CheckpointError: if its checkpoint cannot be continued.
        Stopped: after SIGTERM, when a checkpoint has been saved.
    """
    folder = trainer.run_folder
    stop = StopOnSignal()
    for callback in (ProgressBar(), _Epochs(epochs), stop):
        trainer.add_callback(callback)
    if config.early_stopping_patience:
        trainer.add_callback(EarlyStoppingCallback(config.early_stopping_patience))
    first = trainer.is_world_process_zero()
    with only_one(folder) if first else nullcontext():
        if first:
            _prepare(folder, config)
        resume = last_complete_checkpoint(folder)
        if resume:
            before = read_run(resume)
            _refuse_other_data(resume, before, trainer.info)
            trainer.go_on_from(before)
            log.warning("going on from %s", resume)
        result = _run(trainer, resume)
        if stop.stopped:
            raise Stopped(
                f"told to stop; saved at update {trainer.state.global_step} of {trainer.state.max_steps}"
            )
        if first:
            trainer.state.save_to_json(str(folder / "trainer_state.json"))
        trainer.save_model(str(folder))
    return result, resume


def last_validation(
    trainer: RunTrainer, validation: Validation | None, config: RunConfig
) -> dict[str, float] | None:
    """Of the weights that training ends with: the best checkpoint's, or the last ones."""
    if validation is None:
        return None
    best = trainer.state.best_global_step if config.eval_intermediate_checkpoints else None
    for entry in trainer.state.log_history if best else ():
        if entry["step"] == best and f"eval_{config.eval_metric}" in entry:
            return {name[5:]: value for name, value in entry.items() if name.startswith("eval_")}
    return validation()


class _Epochs(TrainerCallback):  # type: ignore[misc]
    """Tells the data set and its order which epoch begins, before images are read."""

    def __init__(self, told: Sequence[Epochs]) -> None:
        self._told = told

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        epoch = int(state.epoch or 0)
        for one in self._told:
            one.set_epoch(epoch)


def _run(trainer: RunTrainer, resume: Path | None) -> Any:
    """Trainer's loop; what is wrong with a checkpoint becomes an error that names it."""
    if resume is None:
        return trainer.train()
    try:
        return trainer.train(resume_from_checkpoint=str(resume))
    except (RuntimeError, ValueError, OSError, KeyError, EOFError, UnpicklingError, SafetensorError) as error:
        if trainer.state.global_step > int(resume.name.split("-")[1]):
            raise  # it went on, and failed later for another reason
        raise CheckpointError(
            f"{resume}: cannot be continued ({first_line(error)}); remove it to go on from the one before"
        ) from error


def _refuse_other_data(checkpoint: Path, before: RunInfo, info: RunInfo) -> None:
    plain = json.loads(json.dumps([info.codec, info.data]))
    if plain != json.loads(json.dumps([before.codec, before.data])):
        raise ConfigError(
            f"output_dir: {checkpoint.parents[1]} was begun with other data (the manifest has changed); "
            "choose another folder or remove it"
        )


def _prepare(folder: Path, config: RunConfig) -> None:
    """Make the folder this run's, only when nothing is left to go wrong with the options."""
    for name in remove_incomplete_checkpoints(folder):
        log.warning("removed %s: it was not written to its end", name)
    write_text_atomic(folder / CONFIG_FILE, [config_to_yaml(config)])
