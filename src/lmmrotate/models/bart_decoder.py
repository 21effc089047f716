"""Writing with BART's decoder, a token of every answer at a time.

The same numbers as ``BartDecoder`` of Transformers, without what its general form costs: keys and values of
the encoder's states are computed once, queries, keys and values of a layer by one product, the caches are
written in place, and no module is called.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional

_FIRST_CAPACITY = 64  # tokens; doubled when full


Linear = tuple[torch.Tensor, torch.Tensor]  # weight and bias
Norm = tuple[torch.Tensor, torch.Tensor, float]  # weight, bias and epsilon


@dataclass(frozen=True, eq=False)
class _Layer:
    """The numbers of a decoder layer, and what is computed with them once a batch."""

    qkv: Linear
    own_out: Linear
    own_norm: Norm
    ask: Linear
    """For queries to the encoder's states, scaled for the softmax."""
    other_out: Linear
    other_norm: Norm
    first: Linear
    second: Linear
    last_norm: Norm
    keys: torch.Tensor
    """(B, heads, d / heads, P) of the encoder's states."""
    values: torch.Tensor
    """(B, heads, P, d / heads)."""


class BartAnswerDecoder:
    """See ``AnswerDecoder``."""

    def __init__(
        self,
        decoder: Any,
        head: nn.Linear,
        states: torch.Tensor,
        *,
        start_token: int,
        alphabet: torch.Tensor | None,
        beams: int,
    ) -> None:
        """
        Args:
            decoder: a ``BartDecoder``.
            head: from its states to the vocabulary.
            states: (B, P, d) of the encoder.
            start_token: what stands before every answer.
            alphabet: (A,) ids of the tokens that logits are wanted for; default: the whole vocabulary.
            beams: answers an image.
        """
        self._decoder = decoder
        self._beams = beams
        self._heads = int(decoder.layers[0].self_attn.num_heads)
        self._activation = decoder.layers[0].activation_fn
        self._table = decoder.embed_tokens.weight * decoder.embed_tokens.embed_scale
        self._head_weight = head.weight if alphabet is None else head.weight[alphabet]
        self._head_bias = head.bias if alphabet is None or head.bias is None else head.bias[alphabet]
        self._layers = [self._prepared(layer, states) for layer in decoder.layers]
        rows, width = len(states) * beams, states.shape[2]
        shape = (len(self._layers), 2, rows, self._heads, _FIRST_CAPACITY, width // self._heads)
        self._cache = states.new_empty(shape)
        self._length = 0
        self._start = torch.full((rows,), start_token, device=states.device)

    def _prepared(self, layer: Any, states: torch.Tensor) -> _Layer:
        own, other = layer.self_attn, layer.encoder_attn
        qkv = [_linear(part) for part in (own.q_proj, own.k_proj, own.v_proj)]
        weight, bias = _linear(other.q_proj)
        scale = (states.shape[2] // self._heads) ** -0.5
        keys, values = (
            self._split(functional.linear(states, *_linear(p))) for p in (other.k_proj, other.v_proj)
        )
        return _Layer(
            qkv=(torch.cat([weight for weight, _ in qkv]), torch.cat([bias for _, bias in qkv])),
            own_out=_linear(own.out_proj),
            own_norm=_norm(layer.self_attn_layer_norm),
            ask=(weight * scale, bias * scale),
            other_out=_linear(other.out_proj),
            other_norm=_norm(layer.encoder_attn_layer_norm),
            first=_linear(layer.fc1),
            second=_linear(layer.fc2),
            last_norm=_norm(layer.final_layer_norm),
            keys=keys.transpose(2, 3).contiguous(),
            values=values.contiguous(),
        )

    def _split(self, states: torch.Tensor) -> torch.Tensor:
        """(B, T, d) to (B, heads, T, d / heads)."""
        return states.view(*states.shape[:2], self._heads, -1).transpose(1, 2)

    def begin(self) -> torch.Tensor:
        return self.step(self._start)

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        place = self._length
        if place == self._cache.shape[4]:
            self._cache = torch.cat([self._cache, torch.empty_like(self._cache)], dim=4)
        self._length += 1
        positions = self._decoder.embed_positions
        x = self._table[tokens] + positions.weight[place + positions.offset]
        x = _normed(x, _norm(self._decoder.layernorm_embedding))
        for layer, cache in zip(self._layers, self._cache, strict=True):
            x = self._through(layer, cache, x, place)
        return functional.linear(x, self._head_weight, self._head_bias).float()

    def _through(self, layer: _Layer, cache: torch.Tensor, x: torch.Tensor, place: int) -> torch.Tensor:
        """One layer: states (R, d) of the tokens at ``place`` in, states out."""
        rows, width = x.shape
        qkv = functional.linear(x, *layer.qkv)
        query, key, value = qkv.view(rows, 3, self._heads, 1, -1).unbind(1)
        cache[0, :, :, place], cache[1, :, :, place] = key[:, :, 0], value[:, :, 0]
        keys, values = cache[:, :, :, : place + 1]
        seen = functional.scaled_dot_product_attention(query, keys, values).view(rows, width)
        x = _normed(x + functional.linear(seen, *layer.own_out), layer.own_norm)
        # All answers about an image ask the same keys: they stand where a text's tokens would.
        asked = self._split(functional.linear(x, *layer.ask).view(-1, self._beams, width))
        seen = (asked @ layer.keys).softmax(dim=-1) @ layer.values
        seen = seen.transpose(1, 2).reshape(rows, width)
        x = _normed(x + functional.linear(seen, *layer.other_out), layer.other_norm)
        inner = self._activation(functional.linear(x, *layer.first))
        return _normed(x + functional.linear(inner, *layer.second), layer.last_norm)

    def reorder(self, rows: torch.Tensor) -> None:
        self._cache[..., : self._length, :] = self._cache[:, :, rows, :, : self._length]

    def keep(self, images: torch.Tensor) -> None:
        beams = torch.arange(self._beams, device=images.device)
        self._cache = self._cache[:, :, (images[:, None] * self._beams + beams).flatten()]
        self._layers = [
            replace(one, keys=one.keys[images], values=one.values[images]) for one in self._layers
        ]


def _linear(module: nn.Module) -> Linear:
    """Weight and bias of a linear module, also of one with an adapter beside it (PEFT)."""
    if type(module) is nn.Linear:
        return module.weight, module.bias
    width = int(module.in_features)  # type: ignore[arg-type]
    adapter = next(p for name, p in module.named_parameters() if "lora_" in name)  # others may be packed
    nothing = module(adapter.new_zeros(1, width))[0]
    return (module(torch.eye(width, dtype=adapter.dtype, device=adapter.device)) - nothing).T, nothing


def _norm(module: nn.LayerNorm) -> Norm:
    return module.weight, module.bias, module.eps


def _normed(x: torch.Tensor, norm: Norm) -> torch.Tensor:
    weight, bias, epsilon = norm
    return functional.layer_norm(x, weight.shape, weight, bias, epsilon)
