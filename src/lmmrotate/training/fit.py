"""Fine-tuning on Hugging Face Trainer: data, resume and the run directory around its loop."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from PIL import Image
from safetensors import SafetensorError
from transformers import (
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from lmmrotate.codec.registry import make_codec
from lmmrotate.data.jsonl import write_text_atomic
from lmmrotate.data.streaming import ManifestFile
from lmmrotate.errors import CheckpointError, ConfigError
from lmmrotate.models.base import ModelFamily
from lmmrotate.models.loading import load_family
from lmmrotate.runs import RunInfo, installed_versions, read_run, weights_digest
from lmmrotate.training.checkpoints import (
    CHECKPOINTS,
    last_complete_checkpoint,
    remove_incomplete_checkpoints,
)
from lmmrotate.training.config import INCIDENTAL, TrainConfig
from lmmrotate.training.dataset import AnswerCounts, AnswerDataset, build_answers
from lmmrotate.training.manifests import open_training_manifests
from lmmrotate.training.objective import Objective
from lmmrotate.training.options import config_to_yaml
from lmmrotate.training.progress import ProgressBar
from lmmrotate.training.run_folder import only_one, refuse_foreign

CONFIG_FILE = "config.yaml"
_TARGETS = "targets"  # of the objective, in a batch

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainResult:
    """What ``train`` did."""

    run_folder: Path
    steps: int
    loss: float
    """Mean training loss of the updates made in this call."""
    seconds: float
    answers: AnswerCounts
    resumed_from: str | None = None


def train(config: TrainConfig) -> TrainResult:
    """Fine-tune a model and write a run directory.

    A run that was interrupted, even by ``kill -9``, goes on from its last complete checkpoint when
    ``train`` is called again with the same options.

    Raises:
        ConfigError: for options that do not fit each other, or an ``output_dir`` that holds a finished
            run or one with other options.
        DataError: for a manifest or image that cannot be used.
        CheckpointError: if the model cannot be loaded.
    """
    folder = Path(config.output_dir)
    refuse_foreign(
        folder / CONFIG_FILE, config, INCIDENTAL, begun=last_complete_checkpoint(folder) is not None
    )
    set_seed(config.seed)
    manifests = open_training_manifests(config.data_path, config.image_folder)
    codec = make_codec(config.response_format, manifests[0].classes)
    family = load_family(
        config.model_name_or_path,
        tokens=codec.special_tokens,
        words=codec.words,
        prompt=config.prompt,
        image_square_length=config.image_square_length,
        language_model_max_length=config.language_model_max_length,
        revision=config.model_revision,
    )
    limit = min(config.language_model_max_length or family.max_answer_tokens, family.max_answer_tokens)
    dataset = build_answers(
        manifests,
        codec,
        family.answer_tokens,
        limit,
        config.over_long,
        mode=config.dataset_mode,
        weights=config.dataset_weights,
    )
    _report_counts(dataset.counts, limit)
    info = RunInfo(
        codec=codec.to_json(),
        prompt=config.prompt,
        image_square_length=family.image_square_length,
        config=asdict(config),
        data=tuple(_describe(m) for m in manifests),
        versions=installed_versions(),
    )
    objective = None
    if config.location_smoothing or config.cell_loss:
        objective = Objective(family, codec, config.location_smoothing, config.cell_loss)
    trainer = _RunTrainer(
        family,
        info,
        objective,
        model=family.model,
        args=_arguments(config, folder),
        train_dataset=dataset,
        data_collator=_Collator(family, objective),
        callbacks=[ProgressBar(), _Epochs(dataset), *(objective.callbacks if objective else [])],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    first = trainer.is_world_process_zero()
    with only_one(folder) if first else nullcontext():
        if first:
            _prepare(folder, config)
        resume = last_complete_checkpoint(folder)
        if resume:
            _refuse_other_data(resume, info)
            log.warning("going on from %s", resume)
        result = _run(trainer, resume)
        if first:
            trainer.state.save_to_json(str(folder / "trainer_state.json"))
        trainer.save_model(str(folder))
    return TrainResult(
        run_folder=folder,
        steps=int(trainer.state.global_step),
        loss=float(result.training_loss),
        seconds=float(result.metrics["train_runtime"]),
        answers=dataset.counts,
        resumed_from=resume.name if resume else None,
    )


class _Epochs(TrainerCallback):  # type: ignore[misc]
    """Tells the data set which epoch begins, before its images are read."""

    def __init__(self, dataset: AnswerDataset) -> None:
        self._dataset = dataset

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._dataset.set_epoch(int(state.epoch or 0))


def _run(trainer: Trainer, resume: Path | None) -> Any:
    """Trainer's loop; what is wrong with a checkpoint becomes an error that names it."""
    if resume is None:
        return trainer.train()
    try:
        return trainer.train(resume_from_checkpoint=str(resume))
    except (RuntimeError, ValueError, OSError, KeyError, EOFError, UnpicklingError, SafetensorError) as error:
        if trainer.state.global_step > int(resume.name.split("-")[1]):
            raise  # it went on, and failed later for another reason
        raise CheckpointError(
            f"{resume}: cannot be continued ({str(error).splitlines()[0]}); "
            "remove it to go on from the one before"
        ) from error


def _refuse_other_data(checkpoint: Path, info: RunInfo) -> None:
    before = read_run(checkpoint)
    plain = json.loads(json.dumps([info.codec, info.data]))
    if plain != json.loads(json.dumps([before.codec, before.data])):
        raise ConfigError(
            f"output_dir: {checkpoint.parents[1]} was begun with other data (the manifest has changed); "
            "choose another folder or remove it"
        )


class _Collator:
    """(image, answer) pairs to a training batch; a class so that data workers can pickle it."""

    def __init__(self, family: ModelFamily, objective: Objective | None) -> None:
        self._family = family
        self._objective = objective

    def __call__(self, items: Sequence[tuple[Image.Image, str]]) -> dict[str, Any]:
        images, answers = zip(*items, strict=True)
        batch = self._family.training_batch(images, answers)
        if self._objective is None:
            return batch
        return batch | {_TARGETS: self._objective.targets(batch["labels"], answers)}


class _RunTrainer(Trainer):  # type: ignore[misc]
    """Trainer whose every checkpoint is a run directory of its own."""

    def __init__(
        self, family: ModelFamily, info: RunInfo, objective: Objective | None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._family = family
        self._info = info
        self._objective = objective
        if objective:
            self.loss_is_scaled_for_ga = False  # a mean over each batch

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        if self._objective is None:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        targets = inputs.pop(_TARGETS)
        outputs = model(**inputs)
        loss = self._objective(outputs, inputs["labels"], targets)
        return (loss, outputs) if return_outputs else loss

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        if self._objective:
            state_dict = self._objective.without_own_weights(state_dict or self.model.state_dict())
        super()._save(output_dir, state_dict)
        if self.args.should_save:
            folder = Path(output_dir or str(self.args.output_dir))
            (folder / "training_args.bin").unlink()  # a pickle; lmmrotate.json has the options
            self._family.save_processor(folder)
            replace(self._info, weights=weights_digest(folder)).write(folder)


def _prepare(folder: Path, config: TrainConfig) -> None:
    """Make the folder this run's, only when nothing is left to go wrong with the options."""
    for name in remove_incomplete_checkpoints(folder):
        log.warning("removed %s: it was not written to its end", name)
    write_text_atomic(folder / CONFIG_FILE, [config_to_yaml(config)])


def _arguments(config: TrainConfig, folder: Path) -> TrainingArguments:
    cuda_bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    if config.precision == "fp16" and not torch.cuda.is_available():
        raise ConfigError("precision: fp16 needs a GPU; use auto or fp32 here")
    tensorboard = find_spec("tensorboard") is not None
    if tensorboard:
        os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(folder / "tensorboard"))
    return TrainingArguments(
        output_dir=str(folder / CHECKPOINTS),
        num_train_epochs=config.num_train_epochs,
        max_steps=config.max_steps,
        per_device_train_batch_size=config.per_device_train_batch_size,
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        learning_rate=config.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=config.warmup_ratio,  # below 1, Trainer reads it as a share
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        bf16=config.precision == "bf16" or (config.precision == "auto" and cuda_bf16),
        fp16=config.precision == "fp16",
        # Without it the ranks of a torchrun on CPUs would not find each other and all train alone.
        use_cpu=not torch.accelerator.is_available(),
        seed=config.seed,
        save_steps=config.save_steps,
        save_total_limit=config.save_total_limit,
        logging_steps=config.logging_steps,
        dataloader_num_workers=config.dataloader_num_workers,
        dataloader_pin_memory=torch.cuda.is_available(),
        remove_unused_columns=False,
        disable_tqdm=True,
        report_to=["tensorboard"] if tensorboard else [],
    )


def _describe(manifest: ManifestFile) -> dict[str, Any]:
    return {
        "dataset": manifest.dataset,
        "split": manifest.split,
        "images": len(manifest),
        "fingerprint": manifest.fingerprint(),
    }


def _report_counts(counts: AnswerCounts, limit: int) -> None:
    log.info(
        "%d images, %d boxes, longest answer %d of %d tokens",
        counts.images,
        counts.boxes,
        counts.longest_answer,
        limit,
    )
    if counts.dropped_boxes or counts.skipped_images:
        log.warning(
            "%d boxes left out of %d answers longer than %d tokens; %d images skipped",
            counts.dropped_boxes,
            counts.shortened_answers,
            limit,
            counts.skipped_images,
        )
