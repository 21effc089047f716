"""The trainer of models that write: losses that are equal on any number of devices, adapters, and weights
that are saved under other names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lmmrotate.models.base import IGNORE_INDEX, ModelFamily
from lmmrotate.runs import RunInfo
from lmmrotate.training.checkpoints import AUXILIARY, CHECKPOINTS
from lmmrotate.training.dataset import Example
from lmmrotate.training.lora import Lora, trained
from lmmrotate.training.objective import Objective
from lmmrotate.training.parameters import has_frozen_rows
from lmmrotate.training.trainer import NAMES, RunTrainer

_TARGETS = "targets"  # of the objective, in a batch
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
        return batch | {NAMES: [str(item.path) for item in items]}


def _compared(batch: dict[str, Any]) -> torch.Tensor:
    """The labels (B, T) that stand beside the model's logits."""
    labels: torch.Tensor = batch.get("shift_labels", batch["labels"])
    return labels


class AnswerTrainer(RunTrainer):
    """See ``RunTrainer``."""

    def __init__(
        self,
        family: ModelFamily,
        info: RunInfo,
        *,
        objective: Objective | None,
        lora: Lora | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(info, model=family.model, **kwargs)
        self._family = family
        self._objective = objective
        self._lora = lora
        if objective:
            self.loss_is_scaled_for_ga = True  # see compute_loss

    def get_decay_parameter_names(self, model: torch.nn.Module) -> list[str]:
        names = super().get_decay_parameter_names(model)
        return [name for name in names if not has_frozen_rows(model.get_parameter(name))]

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Any:
        """With an objective: tokens and objects of the whole update, over all devices, (2,)."""
        if self._objective is None:
            return super()._get_num_items_in_batch(batch_samples, device)
        tokens = sum(int((batch["labels"] != IGNORE_INDEX).sum()) for batch in batch_samples)
        objects = sum(len(batch[_TARGETS].get("object_cells", ())) for batch in batch_samples)
        return self._over_devices(torch.tensor([tokens, objects]), device)

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

    def _weights_to_save(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        plain = self._objective.without_own_weights(state) if self._objective else state
        return self._lora.merged(plain) if self._lora else plain

    def _save_beside(self, folder: Path, state: dict[str, torch.Tensor]) -> None:
        extra = self._beside_the_model(state)
        if extra and folder.parent.name == CHECKPOINTS:
            (folder / AUXILIARY).mkdir(exist_ok=True)
            save_file(extra, folder / AUXILIARY / _TRAINED)
        self._family.save_processor(folder)

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
