"""InternVL 2.5, 3 and 3.5 in Transformers' own layout (the checkpoints whose names end in ``-hf``).

An image is stretched to a grid of square patches, chosen by its shape, and shown patch by patch, then as a
whole. Coordinates relative to width and height survive the stretching.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt
from typing import Any, ClassVar

import torch
from PIL import Image
from transformers import GotOcr2ImageProcessorPil, InternVLConfig, PreTrainedConfig, PreTrainedTokenizerBase
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import get_optimal_tiled_canvas

from lmmrotate.models.chat_tiny import TINY_PATCH_PX, tiny_text, tiny_vision
from lmmrotate.models.chat_vlm import ChatFamily, Look


class InternVLFamily(ChatFamily):
    """See ``ChatFamily``."""

    processor_class = GotOcr2ImageProcessorPil
    image_token = "<IMG_CONTEXT>"
    tiny_image = "<IMG_CONTEXT>\n"
    special_tokens: ClassVar[Mapping[str, str]] = {
        "start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>",
    }  # fmt: skip

    def _look(self, image: Image.Image) -> Look:
        # Stored settings may leave the cutting off: the joint processor of Transformers turns it on.
        tensors = self.image_processor(images=[image], crop_to_patches=True, return_tensors="pt")
        count = self.model.config.image_seq_length * len(tensors["pixel_values"])
        begin, end = self.tokenizer.convert_tokens_to_ids(["<img>", "</img>"])
        ids = [begin, *[self.model.config.image_token_id] * count, end]
        return Look(ids, {"pixel_values": tensors["pixel_values"]})

    def shown_wh(self, image_wh: tuple[int, int]) -> tuple[int, int]:
        processor, side = self.image_processor, self._patch_px
        columns, rows = get_optimal_tiled_canvas(
            image_wh[::-1], (side, side), processor.min_patches, processor.max_patches
        )
        return columns * side, rows * side

    @property
    def _patch_px(self) -> int:
        return int(self.image_processor.size["height"])

    @property
    def image_square_length(self) -> int:
        return self._patch_px * isqrt(self.image_processor.max_patches)

    def _limit_pixels(self, least: int | None, most: int | None) -> None:
        patch, processor = self._patch_px**2, self.image_processor
        processor.max_patches = max(1, most // patch) if most else processor.max_patches
        processor.min_patches = min(
            max(1, least // patch) if least else processor.min_patches, processor.max_patches
        )

    def parts(self) -> dict[str, list[torch.nn.Module]]:
        inner = self.model.model
        return self._parts([inner.vision_tower], [inner.multi_modal_projector])

    @classmethod
    def tiny_parts(cls, tokenizer: PreTrainedTokenizerBase) -> tuple[PreTrainedConfig, Any]:
        side = 64
        text = {"model_type": "qwen2"} | tiny_text(tokenizer)
        config = InternVLConfig(
            vision_config=tiny_vision(side) | {"initializer_range": 0.08},
            text_config=text,
            image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
            image_seq_length=(side // TINY_PATCH_PX // 2) ** 2,
            tie_word_embeddings=True,
        )
        size = {"height": side, "width": side}
        return config, GotOcr2ImageProcessorPil(size=size, crop_to_patches=True, max_patches=4)
