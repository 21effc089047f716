"""Fine-tuning on Hugging Face Trainer: data, resume and the run directory around its loop."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from safetensors import SafetensorError
from transformers import (
    EarlyStoppingCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

from lmmrotate.codec.base import BoxCodec
from lmmrotate.codec.registry import make_codec
from lmmrotate.codec.shown import as_shown
from lmmrotate.data.jsonl import write_text_atomic
from lmmrotate.data.streaming import ManifestFile
from lmmrotate.errors import CheckpointError, ConfigError, Stopped
from lmmrotate.models.base import ModelFamily
from lmmrotate.models.loading import load_family
from lmmrotate.runs import RunInfo, installed_versions, read_run
from lmmrotate.training.arguments import training_arguments
from lmmrotate.training.checkpoints import last_complete_checkpoint, remove_incomplete_checkpoints
from lmmrotate.training.config import INCIDENTAL, TrainConfig
from lmmrotate.training.dataset import AnswerCounts, AnswerDataset, build_answers
from lmmrotate.training.manifests import open_training_manifests
from lmmrotate.training.objective import Objective
from lmmrotate.training.options import config_to_yaml
from lmmrotate.training.order import EpochOrder
from lmmrotate.training.parameters import PartSize, choose_parameters, part_sizes
from lmmrotate.training.progress import ProgressBar
from lmmrotate.training.run_folder import only_one, refuse_foreign
from lmmrotate.training.stopping import StopOnSignal
from lmmrotate.training.trainer import Collator, RunTrainer
from lmmrotate.training.validation import Validation

CONFIG_FILE = "config.yaml"

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
    parameters: tuple[PartSize, ...]
    """By part of the model, then all."""
    validation: dict[str, float] | None = None
    """mF1, mAP and mAP_nc of the weights that the run ends with, where there is something to validate on."""
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
        TrainingError: if the loss is no number any more, or a checkpoint cannot be written.
        Stopped: after SIGTERM, when a checkpoint has been saved.
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
        system_prompt=config.system_prompt,
        image_square_length=config.image_square_length,
        min_pixels=config.min_pixels,
        max_pixels=config.max_pixels,
        packing=config.packing,
        language_model_max_length=config.language_model_max_length,
        revision=config.model_revision,
        attn_implementation=config.attn_implementation,
    )
    found_type = family.model.config.model_type
    if config.model_type not in (None, found_type):
        raise ConfigError(
            f"model_type is {config.model_type!r}, but {config.model_name_or_path} is {found_type!r}"
        )
    limit = min(config.language_model_max_length or family.max_answer_tokens, family.max_answer_tokens)
    dataset = build_answers(
        manifests,
        as_shown(codec, family.shown_wh),
        lambda answer: len(family.answer_ids(answer)),
        limit,
        config.over_long,
        mode=config.dataset_mode,
        weights=config.dataset_weights,
        augmentation=config.augmentation,
        seed=config.seed,
    )
    _report_counts(dataset.counts, limit)
    info = RunInfo(
        codec=codec.to_json(),
        prompt=config.prompt,
        system_prompt=config.system_prompt,
        image_square_length=_tile_px(family, dataset.counts),
        config=asdict(config),
        data=tuple(_describe(m) for m in manifests),
        versions=installed_versions(),
    )
    if config.gradient_checkpointing:
        family.enable_gradient_checkpointing()
    added = family.tokenizer.get_added_vocab()  # coordinates, and class names that were made one token
    lora = choose_parameters(family, config, [t for t in (*codec.special_tokens, *codec.words) if t in added])
    sizes = tuple(part_sizes(family))
    objective = None
    if config.location_smoothing or config.cell_loss:
        objective = Objective(family, codec, config.location_smoothing, config.cell_loss)
    arguments = training_arguments(config, folder)
    images_per_update = (
        config.per_device_train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size
    )
    validation = _validation(config, family, codec, info, manifests[0].classes)
    lengths = dataset.lengths if config.group_by_length else None
    order = EpochOrder(dataset, images_per_update, config.seed, lengths)
    stop = StopOnSignal()
    trainer = RunTrainer(
        family,
        info,
        objective=objective,
        lora=lora,
        order=order,
        validate=validation if config.eval_intermediate_checkpoints else None,
        args=arguments,
        train_dataset=dataset,
        data_collator=Collator(family, objective),
        callbacks=[
            ProgressBar(),
            _Epochs(dataset, order),
            stop,
            *(
                [EarlyStoppingCallback(config.early_stopping_patience)]
                if config.early_stopping_patience
                else []
            ),
        ],
    )
    first = trainer.is_world_process_zero()
    with only_one(folder) if first else nullcontext():
        if first:
            _prepare(folder, config)
        resume = last_complete_checkpoint(folder)
        if resume:
            _refuse_other_data(resume, info)
            log.warning("going on from %s", resume)
        result = _run(trainer, resume)
        if stop.stopped:
            raise Stopped(
                f"told to stop; saved at update {trainer.state.global_step} of {trainer.state.max_steps}"
            )
        if first:
            trainer.state.save_to_json(str(folder / "trainer_state.json"))
        trainer.save_model(str(folder))
    return TrainResult(
        run_folder=folder,
        steps=int(trainer.state.global_step),
        loss=float(result.training_loss),
        seconds=float(result.metrics["train_runtime"]),
        answers=dataset.counts,
        parameters=sizes,
        validation=_last_validation(trainer, validation, config),
        resumed_from=resume.name if resume else None,
    )


def _tile_px(family: ModelFamily, counts: AnswerCounts) -> int:
    """Side of the tiles that prediction should cut: where a model keeps sizes, as large as it was shown."""
    side = family.image_square_length
    return min(side, counts.largest_side_px) if family.keeps_size else side


def _validation(
    config: TrainConfig, family: ModelFamily, codec: BoxCodec, info: RunInfo, classes: Sequence[str]
) -> Validation | None:
    if not config.eval_data_path:
        return None
    manifests = open_training_manifests(config.eval_data_path, config.eval_image_folder)
    if manifests[0].classes != tuple(classes):
        raise ConfigError(
            f"{manifests[0].path}: its class list differs from that of {config.data_path[0]}: "
            f"{', '.join(manifests[0].classes)} against {', '.join(classes)}"
        )
    return Validation(family, codec, info, manifests, config.eval_images, config.per_device_train_batch_size)


def _last_validation(
    trainer: RunTrainer, validation: Validation | None, config: TrainConfig
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

    def __init__(self, dataset: AnswerDataset, order: EpochOrder) -> None:
        self._dataset = dataset
        self._order = order

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        epoch = int(state.epoch or 0)
        self._dataset.set_epoch(epoch)
        self._order.set_epoch(epoch)


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


def _prepare(folder: Path, config: TrainConfig) -> None:
    """Make the folder this run's, only when nothing is left to go wrong with the options."""
    for name in remove_incomplete_checkpoints(folder):
        log.warning("removed %s: it was not written to its end", name)
    write_text_atomic(folder / CONFIG_FILE, [config_to_yaml(config)])


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
