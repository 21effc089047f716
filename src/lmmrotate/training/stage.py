"""One stage of pretraining on Hugging Face Trainer: any module whose ``forward`` returns a loss."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import Dataset, SequentialSampler
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from transformers.trainer_pt_utils import get_parameter_names

from lmmrotate.errors import CheckpointError, ConfigError
from lmmrotate.training.checkpoints import (
    CHECKPOINTS,
    last_complete_checkpoint,
    remove_incomplete_checkpoints,
)
from lmmrotate.training.muon import MuonAdamW
from lmmrotate.training.progress import ProgressBar
from lmmrotate.training.run_folder import is_first_process

WEIGHTS_FILE = "model.safetensors"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StageOptions:
    """How long and how fast a stage learns."""

    steps: int
    learning_rate: float
    batch_size: int
    """Images an update, over all processes."""
    seed: int
    workers: int
    logging_steps: int
    save_steps: int


def run_stage(
    folder: Path,
    module: nn.Module,
    dataset: Dataset[Any],
    collate: Callable[[Sequence[Any]], dict[str, torch.Tensor]],
    options: StageOptions,
    callbacks: Sequence[TrainerCallback] = (),
) -> None:
    """Train ``module`` in place, or load the weights that an earlier call has left in ``folder``.

    An interrupted stage goes on from its last complete checkpoint; it reads the samples that it would have
    read.
    """
    if (folder / WEIGHTS_FILE).exists():
        _check_loaded(module.load_state_dict(load_file(folder / WEIGHTS_FILE), strict=False))
        if is_first_process():
            log.warning("%s: finished before", folder)
        return
    trainer = _StageTrainer(
        model=module,
        args=_arguments(folder, options),
        train_dataset=dataset,
        data_collator=collate,
        callbacks=[ProgressBar(folder.name), *callbacks],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    if trainer.is_world_process_zero():
        remove_incomplete_checkpoints(folder)
    trainer.accelerator.wait_for_everyone()
    resume = last_complete_checkpoint(folder)
    if resume and is_first_process():
        log.warning("going on from %s", resume)
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    trainer.save_model(str(folder))
    if trainer.is_world_process_zero():
        trainer.state.save_to_json(str(folder / "trainer_state.json"))


class _StageTrainer(Trainer):  # type: ignore[misc]
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model_accepts_loss_kwargs = False  # a stage's **answers are not Trainer's own arguments

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """Matrices only: no biases, norms or embeddings."""
        names = get_parameter_names(model, [nn.LayerNorm, nn.Embedding], [r"bias"])
        return [name for name in names if model.get_parameter(name).ndim > 1]

    def create_optimizer(self, model: nn.Module | None = None) -> Optimizer:
        """Muon for matrices, AdamW for embeddings, convolutions, norms and biases."""
        decayed = set(self.get_decay_parameter_names(self.model))
        named = [(name in decayed, parameter) for name, parameter in self.model.named_parameters()]
        if self.optimizer is None:
            self.optimizer: Optimizer | None = MuonAdamW(
                [parameter for heavy, parameter in named if heavy and parameter.ndim == 2],
                [parameter for heavy, parameter in named if heavy and parameter.ndim != 2],
                [parameter for heavy, parameter in named if not heavy],
                lr=self.args.learning_rate,
                weight_decay=self.args.weight_decay,
                betas=(self.args.adam_beta1, self.args.adam_beta2),
            )
        return self.optimizer

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)  # the scenes are random already

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        _check_loaded(load_result)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        seen: set[int] = set()
        kept = {}
        for name, tensor in (state_dict or self.model.state_dict()).items():
            if tensor.data_ptr() not in seen:  # tied weights once: safetensors refuses them twice
                kept[name] = tensor.contiguous()
                seen.add(tensor.data_ptr())
        super()._save(output_dir, kept)
        if self.args.should_save:
            (Path(output_dir or str(self.args.output_dir)) / "training_args.bin").unlink()


def _check_loaded(result: Any) -> None:
    """Missing names are weights that share their storage with a loaded one (see ``_save``)."""
    if result.unexpected_keys:
        raise CheckpointError(f"checkpoint of another model: {', '.join(result.unexpected_keys[:3])}")


def _arguments(folder: Path, options: StageOptions) -> TrainingArguments:
    arguments = TrainingArguments(
        output_dir=str(folder / CHECKPOINTS),
        max_steps=options.steps,
        per_device_train_batch_size=1,
        learning_rate=options.learning_rate,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": 0.02},
        warmup_steps=0.05,
        adam_beta2=0.95,
        weight_decay=0.05,
        max_grad_norm=1.0,
        use_cpu=not torch.accelerator.is_available(),
        seed=options.seed,
        save_steps=options.save_steps,
        save_total_limit=2,
        logging_steps=options.logging_steps,
        dataloader_num_workers=options.workers,
        dataloader_persistent_workers=options.workers > 0,
        dataloader_pin_memory=torch.cuda.is_available(),
        remove_unused_columns=False,
        disable_tqdm=True,
        report_to=[],
        ddp_find_unused_parameters=False,
    )
    each, rest = divmod(options.batch_size, arguments.world_size)
    if rest:
        raise ConfigError(
            f"batch_size {options.batch_size} cannot be shared by {arguments.world_size} processes"
        )
    arguments.per_device_train_batch_size = each
    return arguments
