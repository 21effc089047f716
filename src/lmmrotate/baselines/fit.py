"""Training a baseline detector: the same loop, run directory, resume and validation as models that write."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lmmrotate.baselines.backbone import load_backbone_weights
from lmmrotate.baselines.config import BaselineConfig
from lmmrotate.baselines.dataset import DetectionDataset, collate, with_objects
from lmmrotate.baselines.detector import Detector
from lmmrotate.baselines.predictor import DEFAULT, BaselinePredictor
from lmmrotate.runs import RunInfo, installed_versions
from lmmrotate.training.arguments import images_an_update, training_arguments
from lmmrotate.training.manifests import open_training_manifests
from lmmrotate.training.order import EpochOrder
from lmmrotate.training.running import begin, describe, last_validation, run_to_end
from lmmrotate.training.trainer import RunTrainer
from lmmrotate.training.validation import validation_of

_WARM_FROM = 1 / 3
_DROP = 0.1


@dataclass(frozen=True)
class BaselineResult:
    """What ``train_baseline`` did."""

    run_folder: Path
    steps: int
    loss: float
    """Mean training loss of the updates made in this call."""
    seconds: float
    images: int
    """In the data, without those left out."""
    skipped_images: int
    """Without objects (skip_empty)."""
    parameters: int
    trainable: int
    validation: dict[str, float] | None = None
    """mF1, mAP and mAP_nc of the weights that the run ends with, where there is something to validate on."""
    resumed_from: str | None = None


def train_baseline(config: BaselineConfig) -> BaselineResult:
    """Train a detector and write a run directory; interrupted runs go on as those of ``train``.

    Raises:
        ConfigError, DataError, CheckpointError, TrainingError, Stopped: as ``training.fit.train``.
    """
    folder = Path(config.output_dir)
    begin(config)
    manifests = open_training_manifests(config.data_path, config.image_folder)
    everything = sum(map(len, manifests))
    used = with_objects(manifests) if config.skip_empty else manifests
    spec = config.spec(manifests[0].classes)
    detector = Detector(spec)
    if config.backbone_weights:
        load_backbone_weights(detector.backbone, config.backbone_weights)
    detector.freeze(config.frozen_stages, config.norm_eval)
    dataset = DetectionDataset(
        used,
        spec,
        mode=config.dataset_mode,
        weights=config.dataset_weights,
        augmentation=config.augmentation,
        seed=config.seed,
    )
    info = RunInfo(
        codec={},
        prompt="",
        image_square_length=spec.image_square_length,
        detector=spec.to_json(),
        config=asdict(config),
        data=tuple(describe(manifest) for manifest in used),
        versions=installed_versions(),
    )
    arguments = training_arguments(config, folder)
    validation = validation_of(config, BaselinePredictor(detector, info), DEFAULT, manifests[0].classes)
    order = EpochOrder(dataset, images_an_update(arguments), config.seed)
    trainer = DetectorTrainer(
        info,
        config,
        model=detector,
        order=order,
        validate=validation if config.eval_intermediate_checkpoints else None,
        args=arguments,
        train_dataset=dataset,
        data_collator=collate,
    )
    result, resume = run_to_end(trainer, config, (dataset, order))
    return BaselineResult(
        run_folder=folder,
        steps=int(trainer.state.global_step),
        loss=float(result.training_loss),
        seconds=float(result.metrics["train_runtime"]),
        images=len(dataset),
        skipped_images=everything - len(dataset),
        parameters=sum(p.numel() for p in detector.parameters()),
        trainable=sum(p.numel() for p in detector.parameters() if p.requires_grad),
        validation=last_validation(trainer, validation, config),
        resumed_from=resume.name if resume else None,
    )


class DetectorTrainer(RunTrainer):
    """The published optimizer and schedule; losses are means over an update, whatever it is divided among."""

    def __init__(self, info: RunInfo, config: BaselineConfig, **kwargs: Any) -> None:
        super().__init__(info, **kwargs)
        self._config = config
        self.model_accepts_loss_kwargs = True  # the loss is divided by what the whole update counts for

    def create_optimizer(self, model: Any = None) -> Optimizer:
        config = self._config
        if self.optimizer is None:
            trained = [p for p in self.model.parameters() if p.requires_grad]
            rate, decay = config.learning_rate, config.weight_decay
            self.optimizer: Optimizer | None = (
                SGD(trained, lr=rate, momentum=config.momentum, weight_decay=decay)
                if config.optimizer == "sgd"
                else AdamW(trained, lr=rate, weight_decay=decay)
            )
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Optimizer | None = None) -> Any:
        config = self._config
        if self.lr_scheduler is None:
            epoch = max(1, len(self._order) // images_an_update(self.args))
            drops = [round(drop * epoch) for drop in config.lr_drop_epochs]
            rate = partial(
                rate_at,
                warmup=config.warmup_steps,
                drops=drops if config.lr_schedule == "step" else None,
                total=num_training_steps,
            )
            self.lr_scheduler: Any = LambdaLR(optimizer or self.create_optimizer(), rate)
        return self.lr_scheduler

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Any:
        """What the lessons of the whole update count for, over all devices, (2,)."""
        return self._over_devices(
            torch.stack([batch["weights"] for batch in batch_samples]).sum(dim=0), device
        )

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        outputs = model(**{**inputs, "weights": num_items_in_batch})
        loss = outputs["loss"] * self.accelerator.num_processes  # whose gradients are averaged
        return (loss, outputs) if return_outputs else loss


def rate_at(step: int, *, warmup: int, drops: Sequence[int] | None, total: int) -> float:
    """The learning rate of an update, counted from 0, as a share of its peak.

    Args:
        warmup: updates in which it rises evenly from a third.
        drops: updates after which it falls to a tenth; None: it falls as half a cosine until ``total``.
    """
    warm = _WARM_FROM + (1 - _WARM_FROM) * min(1.0, step / warmup) if warmup else 1.0
    if drops is None:
        return warm * (1 + math.cos(math.pi * step / max(1, total))) / 2
    return float(warm * _DROP ** sum(step >= drop for drop in drops))
