"""PaliGemma and PaliGemma 2: images of one fixed size, no chat; the question is read in both directions.

Layout: ``<image> * N <bos> question \\n answer <eos>``. The vocabulary has location tokens of its own,
``<loc0000>`` to ``<loc1023>``; those of a codec begin as copies of the nearest of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from PIL import Image
from transformers import PaliGemmaConfig, PreTrainedConfig, PreTrainedTokenizerBase, SiglipImageProcessorPil

from lmmrotate.errors import ConfigError
from lmmrotate.models.chat_prompt import ChatPrompt
from lmmrotate.models.chat_rows import Row
from lmmrotate.models.chat_tiny import tiny_text, tiny_vision
from lmmrotate.models.chat_vlm import ChatFamily, Look

_OWN_LOCATIONS = tuple(f"<loc{number:04d}>" for number in range(1024))


class PaliGemmaFamily(ChatFamily):
    """See ``ChatFamily``."""

    processor_class = SiglipImageProcessorPil
    image_token = "<image>"
    tiny_image = ""
    special_tokens: ClassVar[Mapping[str, str]] = {"image_token": "<image>"}
    has_template = False
    can_pack = False
    attention: ClassVar[Mapping[str, Any]] = {
        "sdpa": {"vision_config": "sdpa", "text_config": "eager"}
    }  # Gemma 2

    def _question(self) -> ChatPrompt:
        if self.system_prompt:
            raise ConfigError("system_prompt: paligemma knows no conversation, only a prompt")
        text = f"{self.tokenizer.bos_token}{self.prompt}\n"
        after = self.tokenizer(text, add_special_tokens=False).input_ids
        return ChatPrompt((), tuple(after), self.tokenizer.eos_token_id, self.prompt)

    def _look(self, image: Image.Image) -> Look:
        tensors = self.image_processor(images=[image], return_tensors="pt")
        count = self.model.config.text_config.num_image_tokens
        return Look([self.model.config.image_token_id] * count, {"pixel_values": tensors["pixel_values"]})

    def shown_wh(self, image_wh: tuple[int, int]) -> tuple[int, int]:
        return self.image_square_length, self.image_square_length

    @property
    def image_square_length(self) -> int:
        return int(self.model.config.vision_config.image_size)

    @property
    def keeps_size(self) -> bool:
        return False

    def _limit_pixels(self, least: int | None, most: int | None) -> None:
        area = self.image_square_length**2
        if {least, most} - {None, area}:
            raise ConfigError(
                f"this checkpoint sees every image at {self.image_square_length} x "
                f"{self.image_square_length} px; leave image_square_length, min_pixels and max_pixels out"
            )

    def _positions(self, ids: torch.Tensor, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return torch.arange(1, len(ids) + 1)

    def _kinds(self, rows: Sequence[Row], length: int, left: bool) -> dict[str, torch.Tensor]:
        """``token_type_ids`` (B, T): 0 for the question, which is read in both directions."""
        kinds = torch.ones((len(rows), length), dtype=torch.int64)
        for kind, row in zip(kinds, rows, strict=True):
            start = length - len(row.ids) if left else 0
            kind[start : start + row.asked] = 0
        return {"token_type_ids": kinds}

    def add_tokens(self, tokens: Sequence[str]) -> int:
        known = self.tokenizer.get_vocab()
        fresh = {token for token in tokens if token not in known}
        added = super().add_tokens(tokens)
        places = [token for token in tokens if token.startswith("<loc_")]
        if all(token in known for token in _OWN_LOCATIONS):
            own = torch.tensor([known[token] for token in _OWN_LOCATIONS])
            table = self.model.get_input_embeddings().weight
            for place, token in enumerate(places):
                if token in fresh:
                    nearest = own[int((place + 0.5) / len(places) * len(own))]
                    with torch.no_grad():
                        table[self.tokenizer.convert_tokens_to_ids(token)] = table[nearest]
        return added

    def parts(self) -> dict[str, list[torch.nn.Module]]:
        inner = self.model.model
        return self._parts([inner.vision_tower], [inner.multi_modal_projector])

    @classmethod
    def tiny_parts(cls, tokenizer: PreTrainedTokenizerBase) -> tuple[PreTrainedConfig, Any]:
        side = 64
        text = {
            "model_type": "gemma2", "head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 1024,
            **tiny_text(tokenizer),
        }  # fmt: skip
        config = PaliGemmaConfig(
            vision_config={"model_type": "siglip_vision_model", "vision_use_head": False} | tiny_vision(side),
            text_config=text,
            image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
            projection_dim=128,
            hidden_size=128,
        )
        return config, SiglipImageProcessorPil(size={"height": side, "width": side})
