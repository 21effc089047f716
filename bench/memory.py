"""What training needs of a GPU's memory: full, with adapters, and with adapters on 4-bit weights.

Nothing is measured on a GPU: models are built without weights (the meta device), training's own code decides
what is trained and in which precision, images are processed as for training, and bytes are added up:

- weights, as kept: float32; frozen linear layers beside adapters bf16, or 4 bits and their statistics;
- gradients (4 bytes) and AdamW's moments (8) of what is trained: with tokens added to the vocabulary, beside
  adapters those of the whole tables of embeddings (last column);
- activations of one image with an answer of 1,000 tokens, with gradient checkpointing, sdpa and bf16: the
  input of every trained layer (4 bytes a number), what one layer computes (2), logits and gradient (10).

CUDA itself takes about 0.5 to 1 GB more, and the allocator loses some. Shapes are those of the published
configurations, typed in here by hand.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from operator import mul
from typing import Any

import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    GotOcr2ImageProcessorPil,
    LlavaOnevisionImageProcessorPil,
    Qwen2VLImageProcessorPil,
    SiglipImageProcessorPil,
)

from lmmrotate.models.base import FamilyOptions, ModelFamily
from lmmrotate.models.chat_prompt import CHATML
from lmmrotate.models.loading import family_class
from lmmrotate.models.preprocessing import SquareResize
from lmmrotate.models.presets import build_preset
from lmmrotate.models.vocabulary import build_chat_tokenizer
from lmmrotate.training.config import TrainConfig
from lmmrotate.training.parameters import choose_parameters

ANSWER_TOKENS = 1000
SIDES_PX = (512, 1024)
FOUR_BITS = 0.5 + 1 / 64 + 4 / (64 * 256)  # bytes a weight: value, statistic of 64, statistic of 256 of those
_QWEN2 = {"model_type": "qwen2", "vocab_size": 151674}
_SIGLIP = {
    "model_type": "siglip_vision_model", "hidden_size": 1152, "intermediate_size": 4304, "patch_size": 14,
    "num_attention_heads": 16, "vision_use_head": False,
}  # fmt: skip


def text(hidden: int, inner: int, layers: int, heads: int, kv: int, **more: Any) -> dict[str, Any]:
    """Settings of a language model."""
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    values = (hidden, inner, layers, heads)
    return {**dict(zip(names, values, strict=True)), "num_key_value_heads": kv,
            "max_position_embeddings": 32768, **more}  # fmt: skip


def qwen(vocabulary: int, *shape: int, tied: bool, vision: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a Qwen-VL."""
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]}
    return {
        "text_config": text(*shape, vocab_size=vocabulary, rope_parameters=rope, head_dim=128),
        "vision_config": dict(vision),
        "tie_word_embeddings": tied,
    }


def intern(*shape: int) -> dict[str, Any]:
    """Settings of an InternVL with InternViT-300M."""
    return {"text_config": text(*shape, **_QWEN2), "tie_word_embeddings": False}


def llava(*shape: int, tied: bool) -> dict[str, Any]:
    """Settings of a LLaVA-OneVision."""
    vision = _SIGLIP | {"image_size": 384, "num_hidden_layers": 26}
    return {
        "text_config": text(*shape, model_type="qwen2", vocab_size=152000),
        "vision_config": vision,
        "tie_word_embeddings": tied,
    }


_QWEN2_VISION = {"depth": 32, "embed_dim": 1280, "num_heads": 16}
_QWEN25_VISION = {"depth": 32, "hidden_size": 1280, "num_heads": 16, "intermediate_size": 3420}
_QWEN3_VISION = {"num_heads": 16, "num_position_embeddings": 2304, "patch_size": 16}
_QWEN3_SMALL = _QWEN3_VISION | {
    "depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "deepstack_visual_indexes": [5, 11, 17],
}  # fmt: skip
_QWEN3_LARGE = _QWEN3_VISION | {
    "depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "deepstack_visual_indexes": [8, 16, 24],
}  # fmt: skip
_GEMMA2 = text(2304, 9216, 26, 8, 4, model_type="gemma2", head_dim=256, vocab_size=257216)

MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "Florence-2-base": ("florence2", {}),
    "Florence-2-large": ("florence2", {}),
    "Qwen2-VL-2B": (
        "qwen2_vl",
        qwen(151936, 1536, 8960, 28, 12, 2, tied=True, vision=_QWEN2_VISION | {"hidden_size": 1536}),
    ),
    "Qwen2-VL-7B": (
        "qwen2_vl",
        qwen(152064, 3584, 18944, 28, 28, 4, tied=False, vision=_QWEN2_VISION | {"hidden_size": 3584}),
    ),
    "Qwen2.5-VL-3B": (
        "qwen2_5_vl",
        qwen(151936, 2048, 11008, 36, 16, 2, tied=True, vision=_QWEN25_VISION | {"out_hidden_size": 2048}),
    ),
    "Qwen2.5-VL-7B": (
        "qwen2_5_vl",
        qwen(152064, 3584, 18944, 28, 28, 4, tied=False, vision=_QWEN25_VISION | {"out_hidden_size": 3584}),
    ),
    "Qwen3-VL-4B": (
        "qwen3_vl",
        qwen(151936, 2560, 9728, 36, 32, 8, tied=True, vision=_QWEN3_SMALL | {"out_hidden_size": 2560}),
    ),
    "Qwen3-VL-8B": (
        "qwen3_vl",
        qwen(151936, 4096, 12288, 36, 32, 8, tied=False, vision=_QWEN3_LARGE | {"out_hidden_size": 4096}),
    ),
    "InternVL3-1B": ("internvl", intern(896, 4864, 24, 14, 2)),
    "InternVL3-2B": ("internvl", intern(1536, 8960, 28, 12, 2)),
    "InternVL3-8B": ("internvl", intern(3584, 18944, 28, 28, 4)),
    "LLaVA-OneVision-0.5B": ("llava_onevision", llava(896, 4864, 24, 14, 2, tied=True)),
    "LLaVA-OneVision-7B": ("llava_onevision", llava(3584, 18944, 28, 28, 4, tied=False)),
    "PaliGemma 2-3B-448": (
        "paligemma",
        {
            "vision_config": _SIGLIP | {"image_size": 448, "num_hidden_layers": 27},
            "text_config": _GEMMA2,
            "projection_dim": 2304,
            "hidden_size": 2304,
        },
    ),
}


def processor(model_type: str, patch_px: int) -> Any:
    """The published image processor, as far as sizes go."""
    if model_type.startswith("qwen"):
        size = {"shortest_edge": 56 * 56, "longest_edge": 12845056}
        return Qwen2VLImageProcessorPil(size=size, patch_size=patch_px)
    if model_type == "internvl":
        return GotOcr2ImageProcessorPil(size={"height": 448, "width": 448}, crop_to_patches=True)
    if model_type == "llava_onevision":
        return LlavaOnevisionImageProcessorPil()
    return SiglipImageProcessorPil(size={"height": 448, "width": 448})


def family_of(name: str, side_px: int) -> ModelFamily:
    """A model of published shape without weights."""
    model_type, settings = MODELS[name]
    kind = family_class(model_type)
    if model_type == "florence2":
        options = FamilyOptions(image_square_length=side_px, language_model_max_length=2048)
        with torch.device("meta"):
            model, tokenizer, side = build_preset(
                name.removeprefix("Florence-2-"), words=[options.prompt], location_tokens=(),
                image_square_length=side_px, language_model_max_length=2048,
            )  # fmt: skip
        return kind(model, tokenizer, SquareResize(side), options.prompt)  # type: ignore[no-any-return]
    config = AutoConfig.for_model(model_type, **settings)
    tokenizer = build_chat_tokenizer(["Locate"], kind.special_tokens)
    if kind.has_template:
        tokenizer.chat_template = CHATML.replace("IMAGE", kind.tiny_image)
    config.image_token_id = tokenizer.convert_tokens_to_ids(kind.image_token)
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(
            config, dtype=torch.float32, attn_implementation="eager"
        )
    patch = getattr(config.vision_config, "patch_size", 14)
    return kind(model, tokenizer, processor(model_type, patch), FamilyOptions())  # type: ignore[no-any-return]


Stack = tuple[int, int, int, int]
"""Layers, tokens, width, inner width."""


@dataclass(frozen=True)
class Need:
    """Bytes."""

    weights: float
    training: float
    """Gradients and the optimizer's moments."""
    activations: float

    @property
    def gib(self) -> float:
        return (self.weights + self.training + self.activations) / 2**30


def held(family: ModelFamily, layers: set[str], four_bits: bool) -> tuple[float, float]:
    """Bytes of weights, and of what training keeps beside them."""
    weights = training = 0.0
    for name, parameter in family.model.named_parameters():
        packed = four_bits and name.removesuffix(".base_layer.weight") in layers
        weights += parameter.numel() * (FOUR_BITS if packed else parameter.element_size())
        if parameter.requires_grad:
            training += parameter.numel() * 12
    return weights, training


def stacks(family: ModelFamily, batch: Mapping[str, torch.Tensor]) -> tuple[list[Stack], list[Stack]]:
    """Layers of the language model and of the vision tower."""
    config = family.model.config.get_text_config()
    vision = family.model.config.vision_config
    tokens = batch["input_ids"].numel()
    if hasattr(config, "encoder_layers"):
        answer, wide, inner = batch["labels"].numel(), config.d_model, config.encoder_ffn_dim
        language = [
            (config.encoder_layers, tokens, wide, inner),
            (config.decoder_layers, answer, wide, inner),
        ]
        stages = zip(vision.depths, vision.embed_dim, accumulate(vision.patch_stride, mul), strict=True)
        side = family.image_square_length
        # A DaViT block attends twice, over windows and over channels.
        return language, [(2 * depth, (side // px) ** 2, dim, 4 * dim) for depth, dim, px in stages]
    language = [(config.num_hidden_layers, tokens, config.hidden_size, config.intermediate_size)]
    width = getattr(vision, "embed_dim", None) or vision.hidden_size
    depth = getattr(vision, "depth", None) or vision.num_hidden_layers
    pixels = batch["pixel_values"]
    patches = len(pixels) if pixels.ndim == 2 else len(pixels) * (pixels.shape[-1] // 14) ** 2
    return language, [(depth, patches, width, 4 * width)]


def activations(family: ModelFamily, side_px: int) -> float:
    """Bytes for one image and answer."""
    answer = "1" * ANSWER_TOKENS
    batch = family.training_batch([Image.new("RGB", (side_px, side_px))], [answer])
    language, vision = stacks(family, batch)
    told = len(batch["logits_to_keep"]) if "logits_to_keep" in batch else batch["labels"].numel()
    logits = told * family.model.config.get_text_config().vocab_size * 10
    trained = any(p.requires_grad for module in family.parts()["vision"] for p in module.parameters())
    kept = sum(4 * count * tokens * wide for count, tokens, wide, _ in language + (vision if trained else []))
    at_once = max(
        tokens * (2 * (8 * wide + 3 * inner) + 8 * wide) for _, tokens, wide, inner in language + vision
    )
    return float(kept + at_once + logits)


def need(name: str, side_px: int, way: str) -> Need:
    family = family_of(name, side_px)
    options: dict[str, Any] = {"data_path": ("x",), "output_dir": "x", "precision": "bf16"}
    if way != "full":
        options |= {"language_model_lora": True, "lora_rank": 64, "freeze_vision": True}
    language = family.parts()["language"]
    inside = {id(m) for part in language for m in part.modules()}
    head = family.model.get_output_embeddings()
    layers = {n for n, m in family.model.named_modules()
              if isinstance(m, nn.Linear) and id(m) in inside and m is not head}  # fmt: skip
    choose_parameters(family, TrainConfig(**options), ())
    return Need(*held(family, layers, way == "QLoRA"), activations(family, side_px))


def more_for_tokens(name: str) -> float:
    """Bytes more where adapters train the rows of added tokens: gradients and moments of the whole tables."""
    family = family_of(name, SIDES_PX[0])
    options: dict[str, Any] = {"language_model_lora": True, "freeze_vision": True, "precision": "bf16"}
    config = TrainConfig(data_path=("x",), output_dir="x", **options)
    choose_parameters(family, config, ["Locate"])
    tables = (family.model.get_input_embeddings().weight, family.model.get_output_embeddings().weight)
    return 12.0 * sum({id(table): table.numel() for table in tables if table.requires_grad}.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--models", nargs="*", choices=list(MODELS), default=list(MODELS), metavar="NAME")
    options = parser.parse_args()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    table = Table(title=f"GiB to train one image of {' / '.join(map(str, SIDES_PX))} px at a time")
    for heading in ("model", "parameters, M", "image tokens", "full", "LoRA", "QLoRA", "added tokens"):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    for name in options.models:
        tokens, needs = [], {way: [] for way in ("full", "LoRA", "QLoRA")}
        for side in SIDES_PX:
            family = family_of(name, side)
            total = sum(p.numel() for p in family.model.parameters()) / 1e6
            batch = family.training_batch([Image.new("RGB", (side, side))], [""])
            tokens.append(int((batch["input_ids"] == family.model.config.image_token_id).sum()))
            for way, found in needs.items():
                found.append(need(name, side, way).gib)
        cells = (" / ".join(f"{one:.0f}" for one in found) for found in (tokens, *needs.values()))
        table.add_row(name, f"{total:,.0f}", *cells, f"+ {more_for_tokens(name) / 2**30:.0f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
