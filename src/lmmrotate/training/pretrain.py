"""Pretraining a small Florence-2 from random weights on synthetic scenes, in three stages.

End to end, a small model hardly begins to learn. So first the vision tower learns to describe every cell
through a linear head, then the language model learns to write answers from imitated cells, then both are
joined and learn together (recipe and measurements: docs/model-card.md).
"""

from __future__ import annotations

import logging
import os
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments, set_seed

from lmmrotate.codec.base import BoxCodec
from lmmrotate.codec.registry import make_codec
from lmmrotate.data.jsonl import write_text_atomic
from lmmrotate.data.synthetic.dataset import GENERATOR_VERSION
from lmmrotate.errors import ConfigError
from lmmrotate.models.florence2 import Florence2Family
from lmmrotate.models.pretraining import Answering, JointStage, LanguageStage, VisionStage, join, random_tiny
from lmmrotate.runs import RUN_FILE, RunInfo, installed_versions, weights_digest
from lmmrotate.training.answer_places import AnswerPlaces
from lmmrotate.training.averaging import WeightAverage
from lmmrotate.training.options import config_to_yaml, differences, read_config
from lmmrotate.training.pretrain_config import INCIDENTAL, PretrainConfig
from lmmrotate.training.scene_batches import AnswerBatches, JointBatches, LanguageBatches, VisionBatches
from lmmrotate.training.scenes import SceneDataset
from lmmrotate.training.stage import StageOptions, run_stage

CONFIG_FILE = "pretrain.yaml"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PretrainResult:
    """What ``pretrain`` did."""

    run_folder: Path
    parameters: int
    images: int
    """Scenes rendered for the vision and joint stages."""
    seconds: float
    """Of this call."""


def pretrain(config: PretrainConfig) -> PretrainResult:
    """Run the three stages and write a run directory.

    Stages that are finished are passed over, an interrupted one goes on from its last checkpoint. Under
    torchrun, every process takes its share of each batch.

    Raises:
        ConfigError: for options that do not fit each other, or an ``output_dir`` that holds a finished run
            or one with other options.
    """
    begin = time.perf_counter()
    folder = Path(config.output_dir)
    _claim(folder, config)
    set_seed(config.seed)
    codec = make_codec(config.response_format, config.mix.specs[0].classes)
    family = random_tiny(codec.special_tokens, codec.words, config.image_square_length)
    model, tokenizer, grid = family.model, family.tokenizer, family.grid
    places = AnswerPlaces(tokenizer, codec)
    prompt_ids = torch.tensor(tokenizer(family.prompt).input_ids)
    vision = VisionStage(model, len(codec.classes))
    answering = Answering(model, prompt_ids, places.ids, codec.circular)
    language = LanguageStage(answering, len(codec.classes))
    pictures = VisionBatches(codec.classes, family.preprocess, grid)
    answers = AnswerBatches(tokenizer, codec, grid)

    log.info("stage 1 of 3: vision")
    run_stage(
        folder / "vision",
        vision,
        SceneDataset(config.mix, config.seed, config.vision_steps * config.batch_size),
        pictures,
        _options(config, config.vision_steps, config.vision_learning_rate),
    )
    log.info("stage 2 of 3: language")
    run_stage(
        folder / "language",
        language,
        SceneDataset(config.mix, config.seed + 1, config.language_steps * config.batch_size, pictures=False),
        LanguageBatches(answers, codec.classes, grid),
        _options(config, config.language_steps, config.language_learning_rate),
        [_Narrowing(answering, config.language_smoothing)],
    )
    log.info("stage 3 of 3: joint")
    join(model, vision.head, language.reader)
    average = WeightAverage(model, config.ema_decay) if config.ema_decay else None
    run_stage(
        folder / "joint",
        JointStage(model, answering, vision.head),
        SceneDataset(config.mix, config.seed + 2, config.joint_steps * config.batch_size),
        JointBatches(pictures, answers),
        _options(config, config.joint_steps, config.joint_learning_rate),
        [_Narrowing(answering, config.joint_smoothing), *([average] if average else [])],
    )
    if average:
        average.load(folder / "joint")
    if int(os.environ.get("RANK", "0")) == 0:
        _write_run(folder, config, family, codec)
    return PretrainResult(
        run_folder=folder,
        parameters=sum(p.numel() for p in model.parameters()),
        images=(config.vision_steps + config.joint_steps) * config.batch_size,
        seconds=time.perf_counter() - begin,
    )


class _Narrowing(TrainerCallback):  # type: ignore[misc]
    """Location smoothing from a wide to a narrow Gaussian, in equal ratios until 80 % of the steps."""

    def __init__(self, answering: Answering, smoothing_bins: tuple[float, ...]) -> None:
        self._answering = answering
        self._first, self._last = smoothing_bins

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        share = min(1.0, state.global_step / state.max_steps / 0.8)
        self._answering.sigma_bins = self._first * (self._last / self._first) ** share


def _options(config: PretrainConfig, steps: int, learning_rate: float) -> StageOptions:
    return StageOptions(
        steps=steps,
        learning_rate=learning_rate,
        batch_size=config.batch_size,
        seed=config.seed,
        workers=config.dataloader_num_workers,
        logging_steps=config.logging_steps,
        save_steps=config.save_steps,
    )


def _write_run(folder: Path, config: PretrainConfig, family: Florence2Family, codec: BoxCodec) -> None:
    family.model.save_pretrained(folder)
    family.save_processor(folder)
    info = RunInfo(
        codec=codec.to_json(),
        prompt=family.prompt,
        image_square_length=family.image_square_length,
        config=asdict(config),
        data=({"dataset": "synthetic", "generator_version": GENERATOR_VERSION},),
        versions=installed_versions(),
    )
    replace(info, weights=weights_digest(folder)).write(folder)


def _claim(folder: Path, config: PretrainConfig) -> None:
    stored = folder / CONFIG_FILE
    if (folder / RUN_FILE).exists():
        raise ConfigError(f"output_dir: {folder} holds a finished run; choose another folder or remove it")
    if stored.exists():
        changed = differences(read_config(PretrainConfig, stored, {}), config, INCIDENTAL)
        if changed:
            raise ConfigError(
                f"output_dir: {folder} holds an unfinished run with other options ({'; '.join(changed)}); "
                "use the same options to go on, or choose another folder"
            )
    elif folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"output_dir: {folder} exists and is not a pretraining; choose another folder")
    write_text_atomic(stored, [config_to_yaml(config)])
