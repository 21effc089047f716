"""Low-rank adapters on the language model: trained beside frozen weights, merged into them when saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from lmmrotate.errors import ConfigError
from lmmrotate.models.base import ModelFamily

Weights = dict[str, torch.Tensor]

_STATISTICS = ".base_layer.weight."  # of 4-bit weights
_A, _B, _BASE = ".lora_A.default.weight", ".lora_B.default.weight", ".base_layer."


class Lora:
    """Adapters that PEFT has put around every linear layer of the language model, in place."""

    def __init__(
        self,
        family: ModelFamily,
        rank: int,
        alpha: int,
        dropout: float,
        *,
        four_bits: bool = False,
        half: bool = False,
    ) -> None:
        """
        Args:
            family: its language model's own weights are frozen; what was added is trained.
            rank, alpha, dropout: as in PEFT's ``LoraConfig``; a layer's weight becomes W + alpha / rank · BA.
            four_bits: keep frozen layers as 4-bit NormalFloats (QLoRA, arXiv 2305.14314).
            half: keep them in bf16: training in bf16 rounds them at every use anyway.

        Raises:
            ConfigError: if PEFT, or bitsandbytes for 4 bits, is not installed.
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
        if four_bits:
            quantise(family.model, layers, torch.bfloat16 if half else torch.float32)
            family.model.is_loaded_in_4bit = True  # PEFT asks for it; Trainer would refuse to go on
        inject_adapter_in_model(settings, family.model)
        if four_bits:
            del family.model.is_loaded_in_4bit
        for name in layers if half and not four_bits else ():
            adapted: Any = family.model.get_submodule(name)
            adapted.base_layer = HalfLinear(adapted.base_layer)
        self._model = family.model
        inside = {id(p) for part in family.parts()["language"] for p in part.parameters()}
        for name, parameter in family.model.named_parameters():
            adapter = ".lora_" in name
            parameter.requires_grad_(adapter or (name in trainable and id(parameter) not in inside))
        self._scale = alpha / rank

    def merged(self, state: Mapping[str, torch.Tensor]) -> Weights:
        """The plain model's weights: adapters added to the layers that they stand beside."""
        weights: Weights = {}
        for name, tensor in state.items():
            if ".lora_" in name or _STATISTICS in name:
                continue
            layer = name.removesuffix(".base_layer.weight")
            if layer != name:
                change = state[layer + _B].float() @ state[layer + _A].float() * self._scale
                tensor = plain_weight(self._model.get_submodule(layer).base_layer, tensor) + change
            weights[name.replace(_BASE, ".")] = tensor
        return weights


class HalfLinear(nn.Linear):
    """A frozen linear layer kept in bf16, for inputs of any precision: validation may come in float32."""

    def __init__(self, plain: nn.Linear) -> None:
        super().__init__(plain.in_features, plain.out_features, bias=False, device="meta")
        self.weight = nn.Parameter(plain.weight.data.bfloat16(), requires_grad=False)
        self.bias = plain.bias

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        mixed = torch.is_autocast_enabled(input.device.type)  # which brings both to bf16
        weight = self.weight if mixed else self.weight.to(input.dtype)
        return functional.linear(input, weight, self.bias)


def quantise(model: nn.Module, layers: Sequence[str], dtype: torch.dtype) -> None:
    """Exchange linear layers for such that keep their weights in 4 bits and compute in ``dtype``.

    Raises:
        ConfigError: if bitsandbytes is not installed.
    """
    if find_spec("bitsandbytes") is None:
        raise ConfigError("load_in_4bit needs bitsandbytes: pip install 'lmmrotate[qlora]'")
    from bitsandbytes.nn import Linear4bit  # type: ignore[attr-defined]

    small_linear: Any = Linear4bit
    for name in layers:
        plain: Any = model.get_submodule(name)
        small = small_linear(
            plain.in_features,
            plain.out_features,
            bias=plain.bias is not None,
            compute_dtype=dtype,
            quant_type="nf4",
        )
        small.load_state_dict(plain.state_dict())
        small.requires_grad_(False)
        model.set_submodule(name, small.to(plain.weight.device))


def plain_weight(layer: Any, stored: torch.Tensor) -> torch.Tensor:
    """float32 weight (out, in) of a linear layer, of what its state holds."""
    if stored.dtype != torch.uint8:
        return stored.float()
    from bitsandbytes.functional import dequantize_4bit

    weight: torch.Tensor = dequantize_4bit(stored, layer.weight.quant_state)
    return weight.float()


def trained(model: nn.Module, state: Mapping[str, torch.Tensor]) -> Weights:
    """The part of ``state`` that is being trained."""
    names = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    return {name: tensor.contiguous() for name, tensor in state.items() if name in names}
