"""Writing with a decoder-only language model, a token of every answer at a time.

The prompts, image features included, are read once; keys and values are kept by Transformers' own cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import Cache, DynamicCache


class CausalAnswerDecoder:
    """See ``AnswerDecoder``."""

    def __init__(
        self,
        model: Any,
        head: nn.Linear,
        read: Callable[[Cache], torch.Tensor],
        mask: torch.Tensor,
        places: torch.Tensor,
        *,
        alphabet: torch.Tensor | None,
        beams: int,
    ) -> None:
        """
        Args:
            model: a Transformers decoder without its head.
            head: from its states to the vocabulary.
            read: reads the prompts, filled up on the left, into an empty cache; states (B, P, d).
            mask: (B, P), 1 for the prompt, 0 for what fills it up.
            places: (B,) position of the first token of every answer.
            alphabet: (A,) ids of the tokens that logits are wanted for; default: the whole vocabulary.
            beams: answers an image.
        """
        self._model, self._read = model, read
        self._mask, self._places = mask, places
        self._beams = beams
        self._softcap: float | None = getattr(model.config, "final_logit_softcapping", None)  # Gemma 2
        self._head_weight = head.weight if alphabet is None else head.weight[alphabet]
        self._head_bias = head.bias if alphabet is None or head.bias is None else head.bias[alphabet]
        self._cache = DynamicCache(config=model.config)

    def begin(self) -> torch.Tensor:
        states = self._read(self._cache)[:, -1]
        rows = torch.arange(len(states), device=states.device).repeat_interleave(self._beams)
        self._choose(rows)
        return self._logits(states[rows])

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        self._mask = functional.pad(self._mask, (0, 1), value=1)
        out = self._model(
            inputs_embeds=self._model.get_input_embeddings()(tokens[:, None]),
            attention_mask=self._mask,
            position_ids=self._places[:, None],
            past_key_values=self._cache,
            use_cache=True,
        )
        self._places = self._places + 1
        return self._logits(out.last_hidden_state[:, -1])

    def reorder(self, rows: torch.Tensor) -> None:
        self._choose(rows)

    def keep(self, images: torch.Tensor) -> None:
        beams = torch.arange(self._beams, device=images.device)
        self._choose((images[:, None] * self._beams + beams).flatten())

    def _logits(self, states: torch.Tensor) -> torch.Tensor:
        logits = functional.linear(states, self._head_weight, self._head_bias).float()
        return logits if self._softcap is None else (logits / self._softcap).tanh() * self._softcap

    def _choose(self, rows: torch.Tensor) -> None:
        """Beams of one image share their prompt, so that mask and places may be exchanged with the rest."""
        self._mask, self._places = self._mask[rows], self._places[rows]
        self._cache.batch_select_indices(rows)
