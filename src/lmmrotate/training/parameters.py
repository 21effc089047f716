"""Which weights are trained, and how many there are by part of the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from lmmrotate.errors import ConfigError
from lmmrotate.models.base import ModelFamily
from lmmrotate.training.arguments import trains_in_bf16
from lmmrotate.training.config import TrainConfig
from lmmrotate.training.lora import Lora

_ROWS = "_trained_rows"
"""Attribute of a table of which only some rows are trained: how many."""


@dataclass(frozen=True)
class PartSize:
    """Parameters of one part of a model; what parts share counts once, in the first."""

    part: str
    total: int
    trainable: int


def choose_parameters(family: ModelFamily, config: TrainConfig, tokens: Sequence[str]) -> Lora | None:
    """Freeze what the options say, and put adapters around the language model where they are wanted.

    With adapters, the embeddings of ``tokens`` stay trainable: coordinates, and class names of one token, are
    new words to most models.

    Raises:
        ConfigError: if nothing is left to train, or PEFT is missing.
    """
    frozen = {
        "vision": config.freeze_vision,
        "projector": config.freeze_multimodal_projection,
        "language": config.freeze_language,
    }
    parts = family.parts()
    for part, freeze in frozen.items():
        for module in parts[part] if freeze else ():
            module.requires_grad_(False)
    lora = None
    if config.language_model_lora:
        lora = Lora(
            family,
            config.lora_rank,
            config.lora_alpha,
            config.lora_dropout,
            four_bits=config.load_in_4bit,
            half=trains_in_bf16(config),
        )
        ids = family.tokenizer.convert_tokens_to_ids(list(tokens))
        ends = (family.model.get_input_embeddings(), family.model.get_output_embeddings())
        for table in {id(end.weight): end.weight for end in ends}.values() if ids else ():
            table.requires_grad_(True)
            train_rows_only(table, torch.tensor(ids))
    if config.freeze_old_positions:
        for table, old_rows in family.grown_positions():
            train_rows_only(table, torch.arange(old_rows, len(table)))
    if not any(p.requires_grad for p in family.model.parameters()):
        raise ConfigError("every part of the model is frozen: nothing is left to train")
    return lora


def train_rows_only(table: nn.Parameter, rows: torch.Tensor) -> None:
    """Let only ``rows`` (N,) of a table receive gradients."""
    keep = torch.zeros(len(table), 1)
    keep[rows] = 1

    def only(gradient: torch.Tensor) -> torch.Tensor:
        return gradient * keep.to(gradient.device, gradient.dtype)

    table.register_hook(only)  # type: ignore[no-untyped-call]
    setattr(table, _ROWS, len(rows))


def has_frozen_rows(parameter: nn.Parameter) -> bool:
    """Whether ``train_rows_only`` was called; weight decay would change the other rows."""
    return hasattr(parameter, _ROWS)


def part_sizes(family: ModelFamily) -> list[PartSize]:
    """Parameters by part, then of what belongs to none (an auxiliary loss), then of the whole."""
    seen: set[int] = set()
    sizes = []
    parts: dict[str, list[nn.Module]] = {**family.parts(), "other": [family.model]}
    for part, modules in parts.items():
        total = trainable = 0
        for parameter in (p for module in modules for p in module.parameters()):
            if id(parameter) in seen:
                continue
            seen.add(id(parameter))
            total += parameter.numel()
            if parameter.requires_grad:
                rows = getattr(parameter, _ROWS, len(parameter))
                trainable += parameter.numel() // max(1, len(parameter)) * rows
        if part != "other" or total:
            sizes.append(PartSize(part, total, trainable))
    sums = [sum(getattr(size, name) for size in sizes) for name in ("total", "trainable")]
    return [*sizes, PartSize("all", *sums)]
