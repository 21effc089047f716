"""Writing with BART's decoder, a token of every answer at a time.

The same numbers as ``BartDecoder`` of Transformers, without what its general form costs: keys and values of
the encoder's states are computed once, queries, keys and values of a layer by one product, and the caches
are written in place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

_FIRST_CAPACITY = 64  # tokens; doubled when full


@dataclass(frozen=True, eq=False)
class _Layer:
    """A decoder layer and what is computed for it once a batch."""

    module: Any
    qkv_weight: torch.Tensor
    qkv_bias: torch.Tensor
    keys: torch.Tensor
    """(B, heads, P, d / heads) of the encoder's states."""
    values: torch.Tensor


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
        parts = (own.q_proj, own.k_proj, own.v_proj)
        return _Layer(
            layer,
            torch.cat([part.weight for part in parts]),
            torch.cat([part.bias for part in parts]),
            self._split(other.k_proj(states)),
            self._split(other.v_proj(states)),
        )

    def _split(self, states: torch.Tensor) -> torch.Tensor:
        """(B, T, d) to (B, heads, T, d / heads)."""
        return states.view(*states.shape[:2], self._heads, -1).transpose(1, 2).contiguous()

    def begin(self) -> torch.Tensor:
        return self.step(self._start)

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        place = self._length
        if place == self._cache.shape[4]:
            self._cache = torch.cat([self._cache, torch.empty_like(self._cache)], dim=4)
        self._length += 1
        positions = self._decoder.embed_positions
        x = self._decoder.layernorm_embedding(
            self._table[tokens] + positions.weight[place + positions.offset]
        )
        for layer, cache in zip(self._layers, self._cache, strict=True):
            x = self._through(layer, cache, x, place)
        return functional.linear(x, self._head_weight, self._head_bias).float()

    def _through(self, layer: _Layer, cache: torch.Tensor, x: torch.Tensor, place: int) -> torch.Tensor:
        """One layer: states (R, d) of the tokens at ``place`` in, states out."""
        module = layer.module
        rows, width = x.shape
        qkv = functional.linear(x, layer.qkv_weight, layer.qkv_bias)
        query, key, value = qkv.view(rows, 3, self._heads, 1, -1).unbind(1)
        cache[0, :, :, place], cache[1, :, :, place] = key[:, :, 0], value[:, :, 0]
        keys, values = cache[:, :, :, : place + 1]
        seen = functional.scaled_dot_product_attention(query, keys, values)
        x = module.self_attn_layer_norm(x + module.self_attn.out_proj(seen.reshape(rows, width)))
        # All answers about an image ask the same keys: they stand where a text's tokens would.
        asked = module.encoder_attn.q_proj(x).view(-1, self._beams, width)
        asked = asked.view(*asked.shape[:2], self._heads, -1).transpose(1, 2)
        seen = functional.scaled_dot_product_attention(asked, layer.keys, layer.values)
        seen = seen.transpose(1, 2).reshape(rows, width)
        x = module.encoder_attn_layer_norm(x + module.encoder_attn.out_proj(seen))
        out: torch.Tensor = module.final_layer_norm(x + module.fc2(self._activation(module.fc1(x))))
        return out

    def reorder(self, rows: torch.Tensor) -> None:
        self._cache[..., : self._length, :] = self._cache[:, :, rows, :, : self._length]

    def keep(self, images: torch.Tensor) -> None:
        beams = torch.arange(self._beams, device=images.device)
        self._cache = self._cache[:, :, (images[:, None] * self._beams + beams).flatten()]
        self._layers = [
            _Layer(one.module, one.qkv_weight, one.qkv_bias, one.keys[images], one.values[images])
            for one in self._layers
        ]
