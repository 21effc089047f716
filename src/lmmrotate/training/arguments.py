"""Our options as Trainer's."""

from __future__ import annotations

import logging
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from lmmrotate.errors import ConfigError
from lmmrotate.training.checkpoints import CHECKPOINTS
from lmmrotate.training.run_config import RunConfig

log = logging.getLogger(__name__)


def trains_in_bf16(config: RunConfig) -> bool:
    """Whether products are computed in bf16."""
    able = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return config.precision == "bf16" or (config.precision == "auto" and able)


def training_arguments(config: RunConfig, folder: Path, **schedule: Any) -> TrainingArguments:
    """What Trainer is told, the schedule of the learning rate in its own words.

    Raises:
        ConfigError: for what this machine cannot do, an extra that is not installed, an effective batch
            that the devices cannot share, and options that need whole weights where they are sharded.
    """
    if config.precision == "fp16" and not torch.cuda.is_available():
        raise ConfigError("precision: fp16 needs a GPU; use auto or fp32 here")
    if config.deepspeed is not None:
        if find_spec("deepspeed") is None:
            raise ConfigError("deepspeed is not installed: pip install 'lmmrotate[deepspeed]'")
        if not Path(config.deepspeed).is_file():
            raise ConfigError(f"deepspeed: {config.deepspeed}: no such file")
    arguments = TrainingArguments(
        output_dir=str(folder / CHECKPOINTS),
        num_train_epochs=config.num_train_epochs,
        max_steps=config.max_steps,
        per_device_train_batch_size=config.per_device_train_batch_size,
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        bf16=trains_in_bf16(config),
        fp16=config.precision == "fp16",
        # Without it the ranks of a torchrun on CPUs would not find each other and all train alone.
        use_cpu=not torch.accelerator.is_available(),
        deepspeed=config.deepspeed,
        ddp_find_unused_parameters=False,
        seed=config.seed,
        save_steps=config.save_steps,
        save_total_limit=config.save_total_limit,
        logging_steps=config.logging_steps,
        logging_nan_inf_filter=False,  # we stop there
        dataloader_num_workers=config.dataloader_num_workers,
        dataloader_pin_memory=torch.cuda.is_available(),
        remove_unused_columns=False,
        disable_tqdm=True,
        report_to=_trackers(config, folder),
        **_validation(config),
        **schedule,
    )
    _use_one_gpu(arguments)
    if config.effective_batch_size is not None:
        arguments.gradient_accumulation_steps = accumulation(
            config.effective_batch_size, config.per_device_train_batch_size, arguments.world_size
        )
    if _is_sharded(arguments):
        for name in config.whole_weights:
            if getattr(config, name):
                raise ConfigError(
                    f"{name} needs whole weights on every GPU: use ZeRO-2 or plain data parallelism instead "
                    "of ZeRO-3 or FSDP"
                )
    return arguments


def images_an_update(arguments: TrainingArguments) -> int:
    """Over all devices and accumulation steps."""
    return int(
        arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size
    )


def _use_one_gpu(arguments: TrainingArguments) -> None:
    """Without a launcher Trainer would copy the model to all GPUs at every step, which is slow."""
    if arguments.n_gpu > 1:
        log.warning(
            "training on one of %d GPUs; torchrun --nproc_per_node %d -m lmmrotate … uses all",
            arguments.n_gpu,
            arguments.n_gpu,
        )
        arguments._n_gpu = 1


def _is_sharded(arguments: TrainingArguments) -> bool:
    """Whether each process holds a piece of every weight."""
    zero3 = arguments.deepspeed is not None and arguments.hf_deepspeed_config.is_zero3()
    return bool(zero3 or arguments.fsdp or os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true")


def accumulation(images_per_update: int, images_per_device: int, devices: int) -> int:
    """Steps an update; raises ConfigError where they do not come out even."""
    steps, rest = divmod(images_per_update, images_per_device * devices)
    if rest or not steps:
        raise ConfigError(
            f"effective_batch_size {images_per_update} is not a multiple of per_device_train_batch_size "
            f"{images_per_device} x {devices} devices"
        )
    return steps


def _validation(config: RunConfig) -> dict[str, Any]:
    if not (config.eval_data_path and config.eval_intermediate_checkpoints):
        return {}
    return {
        "eval_strategy": "steps",
        "eval_steps": config.save_steps,
        "load_best_model_at_end": True,
        "metric_for_best_model": config.eval_metric,
        "greater_is_better": True,
    }


def _trackers(config: RunConfig, folder: Path) -> list[str]:
    wanted = [name for name in config.report_to if name != "none"]
    if not config.report_to and find_spec("tensorboard"):
        wanted = ["tensorboard"]
    for name in wanted:
        if find_spec(name) is None:
            raise ConfigError(f"report_to: {name} is not installed: pip install {name}")
    if "tensorboard" in wanted:
        os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(folder / "tensorboard"))
    return wanted
