"""LLaVA-OneVision: the whole image first, then the image enlarged to the best of some sizes, in square crops.

The enlarged image keeps its shape and lies in the middle of its frame; the features of the frame's empty
margins are left out. Coordinates are relative to the image, not to the frame.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import sqrt
from pathlib import Path
from typing import Any, ClassVar

import torch
from PIL import Image
from transformers import (
    LlavaOnevisionConfig,
    LlavaOnevisionImageProcessorPil,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
)
from transformers.image_processing_utils import select_best_resolution
from transformers.models.llava_onevision.modeling_llava_onevision import (
    get_anyres_image_grid_shape,
    unpad_image,
)

from lmmrotate.errors import ConfigError
from lmmrotate.models.chat_tiny import tiny_text, tiny_vision
from lmmrotate.models.chat_vlm import ChatFamily, Look


class LlavaOnevisionFamily(ChatFamily):
    """See ``ChatFamily``."""

    processor_class = LlavaOnevisionImageProcessorPil
    image_token = "<image>"
    tiny_image = "<image>\n"
    special_tokens: ClassVar[Mapping[str, str]] = {"image_token": "<image>", "video_token": "<video>"}

    def __init__(self, model: Any, *parts: Any) -> None:
        super().__init__(model, *parts)
        # The model looks at states before it, and distributed training waits for every gradient.
        model.model.vision_tower.post_layernorm.requires_grad_(False)

    def _look(self, image: Image.Image) -> Look:
        tensors = self.image_processor(images=[image], return_tensors="pt")
        ids = [self.model.config.image_token_id] * self._features(tensors["image_sizes"][0].tolist())
        return Look(ids, {"pixel_values": tensors["pixel_values"][0], "image_sizes": tensors["image_sizes"]})

    def _features(self, image_hw: list[int]) -> int:
        """How many features an image has: counted as the model leaves them out."""
        config = self.model.config
        side = self._crop_px // config.vision_config.patch_size
        rows, columns = get_anyres_image_grid_shape(image_hw, self._frames, self._crop_px)
        _, height, width = unpad_image(torch.empty(1, rows * side, columns * side), image_hw).shape
        most = int(config.vision_aspect_ratio.removeprefix("anyres_max_"))
        ratio = sqrt(height * width / (most * side**2))
        if ratio > 1.1:
            height, width = int(height // ratio), int(width // ratio)
        return int(side**2 + height * (width + 1))  # every row ends with a feature of its own

    def save_processor(self, folder: Path) -> None:
        """Transformers' joint processor, and vLLM with it, needs settings of its own beside the others."""
        super().save_processor(folder)
        config = self.model.config
        settings = {
            "processor_class": "LlavaOnevisionProcessor",
            "image_token": self.image_token,
            "num_image_tokens": (self._crop_px // config.vision_config.patch_size) ** 2,
            "vision_feature_select_strategy": config.vision_feature_select_strategy,
            "vision_aspect_ratio": config.vision_aspect_ratio,
        }
        text = json.dumps(settings, indent=2) + "\n"
        (folder / "processor_config.json").write_text(text, encoding="utf-8")

    def shown_wh(self, image_wh: tuple[int, int]) -> tuple[int, int]:
        width, height = image_wh
        frame_height, frame_width = select_best_resolution((height, width), self._frames)
        scale = min(frame_width / width, frame_height / height)
        return max(1, round(width * scale)), max(1, round(height * scale))

    @property
    def _frames(self) -> list[list[int]]:
        frames: list[list[int]] = self.image_processor.image_grid_pinpoints
        return frames

    @property
    def _crop_px(self) -> int:
        return int(self.model.config.vision_config.image_size)

    @property
    def image_square_length(self) -> int:
        return max(map(min, self._frames))

    def _limit_pixels(self, least: int | None, most: int | None) -> None:
        kept = [
            frame
            for frame in self._frames
            if (least or 0) <= frame[0] * frame[1] and (most is None or frame[0] * frame[1] <= most)
        ]
        if not kept:
            areas = ", ".join(str(height * width) for height, width in self._frames)
            raise ConfigError(
                f"min_pixels {least}, max_pixels {most}: none of the model's sizes fits: {areas}"
            )
        self.image_processor.image_grid_pinpoints = self.model.config.image_grid_pinpoints = kept

    def parts(self) -> dict[str, list[torch.nn.Module]]:
        inner = self.model.model
        return self._parts([inner.vision_tower], [inner.multi_modal_projector])

    @classmethod
    def tiny_parts(cls, tokenizer: PreTrainedTokenizerBase) -> tuple[PreTrainedConfig, Any]:
        side = 48
        frames = [[side * rows, side * columns] for rows in (1, 2, 3) for columns in (1, 2, 3)]
        config = LlavaOnevisionConfig(
            vision_config={"model_type": "siglip_vision_model", "vision_use_head": False} | tiny_vision(side),
            text_config={"model_type": "qwen2"} | tiny_text(tokenizer),
            image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
            video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
            image_grid_pinpoints=frames,
            tie_word_embeddings=True,
        )
        size = {"height": side, "width": side}
        return config, LlavaOnevisionImageProcessorPil(size=size, image_grid_pinpoints=frames)
