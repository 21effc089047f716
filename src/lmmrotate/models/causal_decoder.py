"""Writing with a decoder-only language model, a token of every answer at a time.

The prompts, image features included, are read once; keys and values lie in caches of fixed size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import StaticCache


class CausalAnswerDecoder:
    """See ``AnswerDecoder``."""

    def __init__(
        self,
        model: Any,
        head: nn.Linear,
        embeddings: torch.Tensor,
        mask: torch.Tensor,
        *,
        room: int,
        alphabet: torch.Tensor | None,
        beams: int,
    ) -> None:
        """
        Args:
            model: a Transformers decoder without its head.
            head: from its states to the vocabulary.
            embeddings: (B, P, d) of the prompts, filled up on the left.
            mask: (B, P), 1 for the prompt, 0 for what fills it up.
            room: tokens to be written at most.
            alphabet: (A,) ids of the tokens that logits are wanted for; default: the whole vocabulary.
            beams: answers an image.
        """
        self._model = model
        self._embeddings, self._mask = embeddings, mask
        self._beams = beams
        self._head_weight = head.weight if alphabet is None else head.weight[alphabet]
        self._head_bias = head.bias if alphabet is None or head.bias is None else head.bias[alphabet]
        self._cache = StaticCache(config=model.config, max_cache_len=embeddings.shape[1] + room)

    def begin(self) -> torch.Tensor:
        states = self._forward(self._embeddings, (self._mask.cumsum(dim=1) - 1).clamp(min=0))
        rows = torch.arange(len(states), device=states.device).repeat_interleave(self._beams)
        self._mask = self._mask[rows]
        self._choose(rows)
        return self._logits(states[rows])

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        place = self._mask.sum(dim=1, keepdim=True)
        self._mask = functional.pad(self._mask, (0, 1), value=1)
        embeddings = self._model.get_input_embeddings()(tokens[:, None])
        return self._logits(self._forward(embeddings, place))

    def reorder(self, rows: torch.Tensor) -> None:
        self._choose(rows)

    def keep(self, images: torch.Tensor) -> None:
        beams = torch.arange(self._beams, device=images.device)
        rows = (images[:, None] * self._beams + beams).flatten()
        self._mask = self._mask[rows]
        self._choose(rows)

    def _forward(self, embeddings: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """States (R, d) of the last token, where the next one is looked for."""
        out = self._model(
            inputs_embeds=embeddings,
            attention_mask=self._mask,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
        )
        states: torch.Tensor = out.last_hidden_state[:, -1]
        return states

    def _logits(self, states: torch.Tensor) -> torch.Tensor:
        return functional.linear(states, self._head_weight, self._head_bias).float()

    def _choose(self, rows: torch.Tensor) -> None:
        for layer in self._cache.layers:
            layer.keys, layer.values = layer.keys[rows], layer.values[rows]
