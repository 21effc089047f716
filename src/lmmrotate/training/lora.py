"""Low-rank adapters on the language model: trained beside frozen weights, merged into them when saved."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

import torch
from torch import nn

from lmmrotate.errors import ConfigError
from lmmrotate.models.base import ModelFamily

Weights = dict[str, torch.Tensor]

_A, _B, _BASE = ".lora_A.default.weight", ".lora_B.default.weight", ".base_layer."


class Lora:
    """Adapters that PEFT has put around every linear layer of the language model, in place."""

    def __init__(self, family: ModelFamily, rank: int, alpha: int, dropout: float) -> None:
        """
        Args:
            family: its language model's own weights are frozen; what was added is trained.
            rank, alpha, dropout: as in PEFT's ``LoraConfig``; a layer's weight becomes W + alpha / rank · BA.

        Raises:
            ConfigError: if PEFT is not installed.
        """
        if find_spec("peft") is None:
            raise ConfigError("language_model_lora needs PEFT: pip install 'lmmrotate[lora]'")
        from peft import LoraConfig, inject_adapter_in_model

        head = family.model.get_output_embeddings()
        language = {id(m) for part in family.parts()["language"] for m in part.modules() if m is not head}
        layers = [
            name
            for name, module in family.model.named_modules()
            if isinstance(module, nn.Linear) and id(module) in language
        ]
        trainable = {name for name, p in family.model.named_parameters() if p.requires_grad}
        settings = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=layers)
        inject_adapter_in_model(settings, family.model)
        inside = {id(p) for part in family.parts()["language"] for p in part.parameters()}
        for name, parameter in family.model.named_parameters():
            adapter = ".lora_" in name
            parameter.requires_grad_(adapter or (name in trainable and id(parameter) not in inside))
        self._scale = alpha / rank

    def merged(self, state: Mapping[str, torch.Tensor]) -> Weights:
        """The plain model's weights: adapters added to the layers that they stand beside."""
        weights: Weights = {}
        for name, tensor in state.items():
            if ".lora_" in name:
                continue
            layer = name.removesuffix(".base_layer.weight")
            if layer != name:
                change = state[layer + _B].float() @ state[layer + _A].float() * self._scale
                tensor = (tensor.float() + change).to(tensor.dtype)
            weights[name.replace(_BASE, ".")] = tensor
        return weights


def trained(model: nn.Module, state: Mapping[str, torch.Tensor]) -> Weights:
    """The part of ``state`` that is being trained."""
    names = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    return {name: tensor.contiguous() for name, tensor in state.items() if name in names}
