"""Pretraining a small Florence-2 from random weights on synthetic scenes, in three stages.

End to end, a small model hardly begins to learn. So first the vision tower learns to describe every cell
through a linear head, then the language model learns to write answers from imitated cells, then both are
joined and learn together.
"""

from __future__ import annotations

import shutil
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments, set_seed

from lmmrotate.codec.base import BoxCodec
from lmmrotate.codec.registry import make_codec
from lmmrotate.data.jsonl import write_text_atomic
from lmmrotate.data.synthetic.dataset import GENERATOR_VERSION
from lmmrotate.models.base import FamilyOptions
from lmmrotate.models.florence2 import Florence2Family
from lmmrotate.models.pretraining import Answering, JointStage, LanguageStage, VisionStage, join
from lmmrotate.runs import RunInfo, installed_versions, weights_digest
from lmmrotate.training.answer_places import AnswerPlaces
from lmmrotate.training.averaging import WeightAverage
from lmmrotate.training.options import config_to_yaml
from lmmrotate.training.pretrain_config import INCIDENTAL, PretrainConfig
from lmmrotate.training.run_folder import is_first_process, only_one, refuse_foreign
from lmmrotate.training.scene_batches import AnswerBatches, JointBatches, LanguageBatches, VisionBatches
from lmmrotate.training.scenes import SceneDataset, SceneMix
from lmmrotate.training.stage import StageOptions, run_stage

CONFIG_FILE = "pretrain.yaml"
STAGES = ("vision", "language", "joint")
"""Folders in the run directory."""
SCENES = "scenes"
"""Folder there for drawn pictures that come again; deleted in the end."""


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
    stored = folder / CONFIG_FILE
    first = is_first_process()
    if first:
        begun = any((folder / stage).exists() for stage in STAGES)
        refuse_foreign(stored, config, INCIDENTAL, begun)
    set_seed(config.seed)
    mix = config.mix
    codec = make_codec(config.response_format, mix.specs[0].classes)
    family = Florence2Family.from_preset(
        "tiny-random",
        codec.special_tokens,
        codec.words,
        FamilyOptions(image_square_length=config.image_square_length),
    )
    with only_one(folder) if first else nullcontext():
        if first:
            write_text_atomic(stored, [config_to_yaml(config)])
        _run_stages(folder, config, mix, family, codec)
        if first:
            _write_run(folder, config, family, codec)
            shutil.rmtree(folder / SCENES, ignore_errors=True)
    return PretrainResult(
        run_folder=folder,
        parameters=sum(p.numel() for p in family.model.parameters()),
        images=(config.vision_steps + config.joint_steps) * config.batch_size,
        seconds=time.perf_counter() - begin,
    )


def _run_stages(
    folder: Path, config: PretrainConfig, mix: SceneMix, family: Florence2Family, codec: BoxCodec
) -> None:
    """Leave the trained weights in ``family.model``."""
    model, grid = family.model, family.grid
    places = AnswerPlaces(family.tokenizer, codec)
    prompt_ids = torch.tensor(family.tokenizer(family.prompt).input_ids)
    vision = VisionStage(model, len(codec.classes))
    answering = Answering(model, prompt_ids, places.ids, codec.circular)
    language = LanguageStage(model, answering, len(codec.classes))
    pictures = VisionBatches(codec.classes, family.preprocess, grid)
    answers = AnswerBatches(family, codec)
    scenes = partial(
        SceneDataset,
        mix,
        views=config.scene_views,
        folder=folder / SCENES if config.scene_views > 1 else None,
    )

    run_stage(
        folder / STAGES[0],
        vision,
        scenes(config.seed, config.vision_steps * config.batch_size),
        pictures,
        _options(config, config.vision_steps, config.vision_learning_rate),
    )
    run_stage(
        folder / STAGES[1],
        language,
        SceneDataset(mix, config.seed + 1, config.language_steps * config.batch_size, pictures=False),
        LanguageBatches(answers, codec.classes, grid),
        _options(config, config.language_steps, config.language_learning_rate),
        [_Narrowing(answering, config.language_smoothing)],
    )
    join(model, vision.head, language.reader)
    average = WeightAverage(model, config.ema_decay) if config.ema_decay else None
    run_stage(
        folder / STAGES[2],
        JointStage(model, answering, vision.head),
        scenes(config.seed + 2, config.joint_steps * config.batch_size),
        JointBatches(pictures, answers),
        _options(config, config.joint_steps, config.joint_learning_rate),
        [_Narrowing(answering, config.joint_smoothing), *([average] if average else [])],
    )
    if average and is_first_process():  # the one that has stored it
        average.load(folder / STAGES[2])


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
