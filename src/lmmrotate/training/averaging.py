"""A running average of weights, which is often better than the last ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

AVERAGE_FILE = "average.safetensors"


class WeightAverage(TrainerCallback):  # type: ignore[misc]
    """Exponential moving average of a module's parameters, kept beside each checkpoint."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        """
        Args:
            module: trained by Trainer, or a part of what is.
            decay: share of the old average that stays in each update; in the beginning less, so that the
                first weights are soon forgotten.
        """
        self._module = module
        self._decay = decay
        self._average: dict[str, torch.Tensor] = {}

    @torch.no_grad()
    def load(self, folder: Path) -> None:
        """Give the module the average that was stored in ``folder``."""
        stored = load_file(folder / AVERAGE_FILE)
        for name, parameter in self._module.named_parameters():
            parameter.copy_(stored[name])

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        stored = Path(args.output_dir) / f"checkpoint-{state.global_step}" / AVERAGE_FILE
        source = load_file(stored) if stored.exists() else dict(self._module.named_parameters())
        self._average = {name: source[name].detach().clone() for name, _ in self._module.named_parameters()}

    @torch.no_grad()
    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        share = 1 - min(self._decay, (1 + state.global_step) / (10 + state.global_step))
        for name, parameter in self._module.named_parameters():
            self._average[name].lerp_(parameter.detach(), share)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._save(state, Path(args.output_dir) / f"checkpoint-{state.global_step}")

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._save(state, Path(args.output_dir).parent)

    def _save(self, state: TrainerState, folder: Path) -> None:
        if state.is_world_process_zero:
            folder.mkdir(parents=True, exist_ok=True)
            save_file(self._average, folder / AVERAGE_FILE)
