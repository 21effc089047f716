"""Qwen2-VL, Qwen2.5-VL and Qwen3-VL: any resolution, in whole cells of 28 or 32 px.

Coordinates that the models were pretrained on are pixels of the resized image (2 and 2.5) or thousandths (3).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt
from typing import Any, ClassVar

import torch
from PIL import Image
from transformers import (
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    Qwen2_5_VLConfig,
    Qwen2VLConfig,
    Qwen2VLImageProcessorPil,
    Qwen3VLConfig,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from lmmrotate.errors import DataError
from lmmrotate.models.chat_tiny import TINY_PATCH_PX, tiny_text
from lmmrotate.models.chat_vlm import ChatFamily, Look

_MOST_ASPECT = 200  # of smart_resize


class QwenVLFamily(ChatFamily):
    """What the three generations share."""

    processor_class = Qwen2VLImageProcessorPil
    image_token = "<|image_pad|>"
    tiny_image = "<|vision_start|><|image_pad|><|vision_end|>"
    special_tokens: ClassVar[Mapping[str, str]] = {
        "image_token": "<|image_pad|>",
        "video_token": "<|video_pad|>",
        "vision_bos_token": "<|vision_start|>",
        "vision_eos_token": "<|vision_end|>",
    }
    config_class: ClassVar[Any]
    tiny_vision: ClassVar[Mapping[str, Any]]

    def _look(self, image: Image.Image) -> Look:
        self.shown_wh(image.size)  # refuses what smart_resize would
        tensors = dict(self.image_processor(images=[image], return_tensors="pt"))
        count = int(tensors["image_grid_thw"].prod()) // self.image_processor.merge_size**2
        return Look([self.model.config.image_token_id] * count, tensors)

    def shown_wh(self, image_wh: tuple[int, int]) -> tuple[int, int]:
        if max(image_wh) > _MOST_ASPECT * min(image_wh):
            raise DataError(
                f"an image of {image_wh[0]} x {image_wh[1]} px is too narrow for "
                f"{self.model.config.model_type}: sides may differ {_MOST_ASPECT} times; cut it into tiles"
            )
        size = self.image_processor.size
        height, width = smart_resize(
            image_wh[1], image_wh[0], self._cell_px, size["shortest_edge"], size["longest_edge"]
        )
        return width, height

    @property
    def _cell_px(self) -> int:
        return int(self.image_processor.patch_size * self.image_processor.merge_size)

    @property
    def image_square_length(self) -> int:
        return isqrt(self.image_processor.size["longest_edge"]) // self._cell_px * self._cell_px

    def _limit_pixels(self, least: int | None, most: int | None) -> None:
        size = self.image_processor.size
        most = most or size["longest_edge"]
        least = min(least or size["shortest_edge"], most)
        self.image_processor.size = {"shortest_edge": least, "longest_edge": most}

    def _positions(self, ids: torch.Tensor, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        kinds = (ids == self.model.config.image_token_id).int()
        positions, _ = self.model.model.get_rope_index(
            ids[None], mm_token_type_ids=kinds[None], image_grid_thw=tensors["image_grid_thw"]
        )
        found: torch.Tensor = positions[:, 0]
        return found

    def parts(self) -> dict[str, list[torch.nn.Module]]:
        modules = dict(self.model.model.visual.named_children())
        projector = [modules.pop(name) for name in ("merger", "deepstack_merger_list") if name in modules]
        return self._parts(modules.values(), projector)

    @classmethod
    def tiny_parts(cls, tokenizer: PreTrainedTokenizerBase) -> tuple[PreTrainedConfig, Any]:
        rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [8, 4, 4]}
        names = {
            "image_token_id": "<|image_pad|>", "video_token_id": "<|video_pad|>",
            "vision_start_token_id": "<|vision_start|>", "vision_end_token_id": "<|vision_end|>",
        }  # fmt: skip
        config = cls.config_class(
            vision_config={"patch_size": TINY_PATCH_PX, "initializer_range": 0.08, **cls.tiny_vision},
            text_config=tiny_text(tokenizer) | {"head_dim": 32, "rope_parameters": rope},
            tie_word_embeddings=True,
            **{name: tokenizer.convert_tokens_to_ids(token) for name, token in names.items()},
        )
        size = {"shortest_edge": 32 * 32, "longest_edge": 256 * 256}
        return config, Qwen2VLImageProcessorPil(size=size, patch_size=TINY_PATCH_PX)


class Qwen2VLFamily(QwenVLFamily):
    """Qwen2-VL."""

    config_class = Qwen2VLConfig
    tiny_vision: ClassVar[Mapping[str, Any]] = {
        "depth": 2, "embed_dim": 64, "hidden_size": 128, "num_heads": 2, "mlp_ratio": 2
    }  # fmt: skip


class Qwen25VLFamily(QwenVLFamily):
    """Qwen2.5-VL."""

    config_class = Qwen2_5_VLConfig
    tiny_vision: ClassVar[Mapping[str, Any]] = {
        "depth": 2, "hidden_size": 64, "intermediate_size": 128, "num_heads": 2, "out_hidden_size": 128,
        "window_size": 64, "fullatt_block_indexes": [1],
    }  # fmt: skip


class Qwen3VLFamily(QwenVLFamily):
    """Qwen3-VL."""

    config_class = Qwen3VLConfig
    tiny_vision: ClassVar[Mapping[str, Any]] = {
        "depth": 2, "hidden_size": 64, "intermediate_size": 128, "num_heads": 2, "out_hidden_size": 128,
        "num_position_embeddings": 256, "deepstack_visual_indexes": [0],
    }  # fmt: skip
