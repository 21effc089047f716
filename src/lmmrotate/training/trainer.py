"""Trainer with what a run needs around it: run directories as checkpoints, equal losses on any number of
devices, validation by generation, and clear ends."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from transformers import Trainer
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from lmmrotate.errors import TrainingError
from lmmrotate.models.base import IGNORE_INDEX, ModelFamily
from lmmrotate.runs import RunInfo, weights_digest
from lmmrotate.training.checkpoints import AUXILIARY, CHECKPOINTS, last_complete_checkpoint
from lmmrotate.training.dataset import Example
from lmmrotate.training.lora import Lora, trained
from lmmrotate.training.objective import Objective
from lmmrotate.training.order import EpochOrder
from lmmrotate.training.parameters import has_frozen_rows
from lmmrotate.training.stopping import ignore_sigterm

_TARGETS, _NAMES = "targets", "names"  # of the objective and of the images, in a batch
_TRAINED = "trained.safetensors"


class Collator:
    """Examples to a training batch; a class so that data workers can pickle it."""

    def __init__(self, family: ModelFamily, objective: Objective | None) -> None:
        self._family = family
        self._objective = objective

    def __call__(self, items: Sequence[Example]) -> dict[str, Any]:
        answers = [item.answer for item in items]
        batch: dict[str, Any] = self._family.training_batch([item.image for item in items], answers)
        if self._objective is not None:
            batch[_TARGETS] = self._objective.targets(_compared(batch), answers)
        return batch | {_NAMES: [str(item.path) for item in items]}


def _compared(batch: dict[str, Any]) -> torch.Tensor:
    """The labels (B, T) that stand beside the model's logits."""
    labels: torch.Tensor = batch.get("shift_labels", batch["labels"])
    return labels


class RunTrainer(Trainer):  # type: ignore[misc]
    """Trainer whose every checkpoint is a run directory of its own."""

    def __init__(
        self,
        family: ModelFamily,
        info: RunInfo,
        *,
        objective: Objective | None,
        lora: Lora | None,
        order: EpochOrder,
        validate: Callable[[], dict[str, float]] | None,
        **kwargs: Any,
    ) -> None:
        if validate is not None:
            kwargs["eval_dataset"] = order  # never read; Trainer wants one where it is to evaluate
        super().__init__(model=family.model, **kwargs)
        self._family = family
        self._info = info
        self._objective = objective
        self._lora = lora
        self._order = order
        self._validate = validate
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)
        if objective:
            self.loss_is_scaled_for_ga = True  # see compute_loss

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

    def get_decay_parameter_names(self, model: torch.nn.Module) -> list[str]:
        names = super().get_decay_parameter_names(model)
        return [name for name in names if not has_frozen_rows(model.get_parameter(name))]

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Validate by generation."""
        if self._validate is None:
            raise TrainingError("there is nothing to validate on: eval_data_path is empty")
        metrics = {f"eval_{name}": value for name, value in self._validate().items()}
        self.log(dict(metrics))
        self.control: Any = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Any:
        """With an objective: tokens and objects of the whole update, over all devices, (2,)."""
        if self._objective is None:
            return super()._get_num_items_in_batch(batch_samples, device)
        tokens = sum(int((batch["labels"] != IGNORE_INDEX).sum()) for batch in batch_samples)
        objects = sum(len(batch[_TARGETS].get("object_cells", ())) for batch in batch_samples)
        counts = torch.tensor([tokens, objects], device=device)
        if self.args.world_size > 1:
            counts = self.accelerator.gather(counts[None]).sum(dim=0)
        return counts

    def training_step(self, model: torch.nn.Module, inputs: dict[str, Any], *args: Any) -> torch.Tensor:
        names = inputs.pop(_NAMES)
        loss: torch.Tensor = super().training_step(model, inputs, *args)
        if not isfinite(float(loss)):
            self._refuse_numbers(f"the loss is {float(loss)}", names)
        self._names = names
        return loss

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """A mean over all tokens of the update, whatever devices and steps it is divided among."""
        if self._objective is None:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        targets = inputs.pop(_TARGETS)
        outputs = model(**inputs)
        tokens, objects = num_items_in_batch
        loss = self._objective(outputs, _compared(inputs), targets, tokens, objects)
        loss = loss * self.accelerator.num_processes  # whose gradients are averaged
        return (loss, outputs) if return_outputs else loss

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
                f"{folder} could not be written ({str(error).splitlines()[0]}); {self._last_checkpoint()}; "
                "make room, and the same command goes on from there"
            ) from error

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        folder = Path(output_dir or str(self.args.output_dir))
        state = state_dict or self.model.state_dict()
        plain = self._objective.without_own_weights(state) if self._objective else state
        super()._save(output_dir, self._lora.merged(plain) if self._lora else plain)
        if self.args.should_save:
            extra = self._beside_the_model(state)
            if extra and folder.parent.name == CHECKPOINTS:
                (folder / AUXILIARY).mkdir(exist_ok=True)
                save_file(extra, folder / AUXILIARY / _TRAINED)
            (folder / "training_args.bin").unlink()  # a pickle; lmmrotate.json has the options
            self._family.save_processor(folder)
            replace(self._info, weights=weights_digest(folder)).write(folder)

    def _beside_the_model(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """What going on needs and the run does not; written before the checkpoint counts as complete."""
        if self._lora:
            return trained(self.model, state)
        return self._objective.own_weights(state) if self._objective else {}

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        checkpoint = Path(resume_from_checkpoint)
        # With adapters, frozen weights come from where training began: those are merged.
        if self._lora is None and not self._load_renamed(checkpoint):
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        self._load_trained(checkpoint)

    def _load_best_model(self) -> None:
        best = Path(str(self.state.best_model_checkpoint))
        if self._lora is not None:
            self._load_trained(best)
        elif not self._load_renamed(best):
            super()._load_best_model()

    @torch.no_grad()
    def _load_renamed(self, checkpoint: Path) -> bool:
        """Load weights that are saved under other names than the model's own; whether they are.

        Transformers saves most chat models under the names of older versions. Its Trainer would look for the
        model's own, find none, and go on with the weights as they are.
        """
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            return False  # they keep files of their own
        names = {name for path in checkpoint.glob("*.safetensors") for name in safe_open(path, "pt").keys()}  # type: ignore[no-untyped-call]
        if names <= self.model.state_dict().keys():
            return False
        stored = type(self.model).from_pretrained(checkpoint, dtype=torch.float32).state_dict()
        self.model.load_state_dict(stored)
        return True

    @torch.no_grad()
    def _load_trained(self, checkpoint: Path) -> None:
        path = checkpoint / AUXILIARY / _TRAINED
        for name, tensor in (load_file(path) if path.exists() else {}).items():
            self.model.get_parameter(name).copy_(tensor)
