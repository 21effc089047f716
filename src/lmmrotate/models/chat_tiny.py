"""What the tiny chat models have in common."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedTokenizerBase

TINY_PATCH_PX = 8


def tiny_text(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Settings of the language model of tiny models."""
    return {
        "vocab_size": len(tokenizer), "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 4096,
        "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id, "initializer_range": 0.08,
    }  # fmt: skip


def tiny_vision(side_px: int) -> dict[str, Any]:
    """Settings of a vision tower of tiny models that sees squares of one size."""
    return {
        "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128,
        "image_size": side_px, "patch_size": TINY_PATCH_PX,
    }  # fmt: skip
