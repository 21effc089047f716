"""Fine-tuning on Hugging Face Trainer: from options to a run directory."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from pathlib import Path

from lmmrotate.codec.registry import make_codec
from lmmrotate.codec.shown import as_shown
from lmmrotate.errors import ConfigError
from lmmrotate.inference.decoding import DecodingOptions
from lmmrotate.inference.predictor import Predictor
from lmmrotate.models.base import ModelFamily
from lmmrotate.models.loading import load_family
from lmmrotate.runs import RunInfo, installed_versions
from lmmrotate.training.answer_trainer import AnswerTrainer, Collator
from lmmrotate.training.arguments import images_an_update, training_arguments
from lmmrotate.training.config import TrainConfig
from lmmrotate.training.dataset import AnswerCounts, build_answers
from lmmrotate.training.manifests import open_training_manifests
from lmmrotate.training.objective import Objective
from lmmrotate.training.order import EpochOrder
from lmmrotate.training.parameters import PartSize, choose_parameters, part_sizes
from lmmrotate.training.running import begin, describe, last_validation, run_to_end
from lmmrotate.training.validation import validation_of

_VALIDATION = DecodingOptions(overflow="keep")
"""A model that has not learned to stop would be asked about every image up to 21 times."""

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
    begin(config)
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
        check_shape=family.shown_wh,
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
        data=tuple(describe(m) for m in manifests),
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
    arguments = training_arguments(
        config,
        folder,
        lr_scheduler_type="cosine",
        warmup_steps=config.warmup_ratio,  # below 1, Trainer reads it as a share
    )
    validation = validation_of(config, Predictor(family, codec, info), _VALIDATION, manifests[0].classes)
    lengths = dataset.lengths if config.group_by_length else None
    order = EpochOrder(dataset, images_an_update(arguments), config.seed, lengths)
    trainer = AnswerTrainer(
        family,
        info,
        objective=objective,
        lora=lora,
        order=order,
        validate=validation if config.eval_intermediate_checkpoints else None,
        args=arguments,
        train_dataset=dataset,
        data_collator=Collator(family, objective),
    )
    result, resume = run_to_end(trainer, config, (dataset, order))
    return TrainResult(
        run_folder=folder,
        steps=int(trainer.state.global_step),
        loss=float(result.training_loss),
        seconds=float(result.metrics["train_runtime"]),
        answers=dataset.counts,
        parameters=sizes,
        validation=last_validation(trainer, validation, config),
        resumed_from=resume.name if resume else None,
    )


def _tile_px(family: ModelFamily, counts: AnswerCounts) -> int:
    """Side of the tiles that prediction should cut: where a model keeps sizes, that of the largest image in
    the training data, so that objects are shown, reduced or not, as large as they were then."""
    return counts.largest_side_px if family.keeps_size else family.image_square_length


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
