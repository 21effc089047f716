"""Trainer with what every run needs around it: run directories as checkpoints, one order for any number of
devices, validation by prediction, and clear ends."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import Trainer
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from lmmrotate.errors import TrainingError, first_line
from lmmrotate.runs import RunInfo, weights_digest
from lmmrotate.training.checkpoints import last_complete_checkpoint
from lmmrotate.training.order import EpochOrder
from lmmrotate.training.stopping import ignore_sigterm

NAMES = "names"
"""Entry of a batch that names its images, for messages."""


class RunTrainer(Trainer):  # type: ignore[misc]
    """Trainer whose every checkpoint is a run directory of its own."""

    def __init__(
        self,
        info: RunInfo,
        *,
        order: EpochOrder,
        validate: Callable[[], dict[str, float]] | None,
        **kwargs: Any,
    ) -> None:
        """
        Args:
            info: what is written beside the weights.
            order: in which images are shown.
            validate: what is asked at every checkpoint.
            kwargs: Trainer's.
        """
        if validate is not None:
            kwargs["eval_dataset"] = order  # never read; Trainer wants one where it is to evaluate
        super().__init__(**kwargs)
        self._info = info
        self._order = order
        self._validate = validate
        self._begun = time.monotonic()
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)

    @property
    def info(self) -> RunInfo:
        return self._info

    def go_on_from(self, before: RunInfo) -> None:
        """Count the time that the checkpoint to continue has taken."""
        self._begun = time.monotonic() - before.trained_seconds

    @property
    def run_folder(self) -> Path:
        return Path(self.args.output_dir).parent

    def get_train_dataloader(self) -> Any:
        loader = super().get_train_dataloader()
        if loader.num_workers:
            loader.worker_init_fn = partial(ignore_sigterm, loader.worker_init_fn)
        return loader

    def _get_train_sampler(self, train_dataset: Any = None) -> EpochOrder:
        return self._order

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Validate by prediction."""
        if self._validate is None:
            raise TrainingError("there is nothing to validate on: eval_data_path is empty")
        metrics = {f"eval_{name}": value for name, value in self._validate().items()}
        self.log(dict(metrics))
        self.control: Any = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def training_step(self, model: torch.nn.Module, inputs: dict[str, Any], *args: Any) -> torch.Tensor:
        names = inputs.pop(NAMES)
        loss: torch.Tensor = super().training_step(model, inputs, *args)
        if not isfinite(float(loss)):
            self._refuse_numbers(f"the loss is {float(loss)}", names)
        self._names = names
        return loss

    def _over_devices(self, counts: torch.Tensor, device: torch.device) -> torch.Tensor:
        """The sum over all devices of what each counts."""
        counts = counts.to(device)
        if self.args.world_size > 1:
            counts = self.accelerator.gather(counts[None]).sum(dim=0)
        return counts

    def _clip_grad_norm(self, model: torch.nn.Module) -> Any:
        norm = super()._clip_grad_norm(model)
        if norm is not None and not self.args.fp16 and not isfinite(float(norm)):
            self._refuse_numbers(f"the gradient's norm is {float(norm)}", self._names)
        return norm

    def _refuse_numbers(self, what: str, names: Sequence[str]) -> None:
        raise TrainingError(
            f"update {self.state.global_step + 1}: {what}, in a batch of {', '.join(names)}; "
            f"{self._last_checkpoint()}; a lower learning_rate or precision fp32 may help"
        )

    def _last_checkpoint(self) -> str:
        last = last_complete_checkpoint(self.run_folder)
        return f"the last good checkpoint is {last}" if last else "there is no checkpoint yet"

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        """A checkpoint that cannot be written to its end is removed: it may have filled the disk."""
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        try:
            super()._save_checkpoint(*args, **kwargs)
        except (OSError, RuntimeError, SafetensorError) as error:
            if self.args.should_save:
                shutil.rmtree(folder, ignore_errors=True)
            raise TrainingError(
                f"{folder} could not be written ({first_line(error)}); {self._last_checkpoint()}; "
                "make room, and the same command goes on from there"
            ) from error

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        folder = Path(output_dir or str(self.args.output_dir))
        state = state_dict or self.model.state_dict()
        super()._save(output_dir, self._weights_to_save(state))
        if self.args.should_save:
            self._save_beside(folder, state)
            (folder / "training_args.bin").unlink()  # a pickle; lmmrotate.json has the options
            taken = round(time.monotonic() - self._begun, 1)
            replace(self._info, weights=weights_digest(folder), trained_seconds=taken).write(folder)

    def _weights_to_save(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """What of the model's state makes the run."""
        return state

    def _save_beside(self, folder: Path, state: dict[str, torch.Tensor]) -> None:
        """Write what else a checkpoint needs; before it counts as complete."""
